// The openai SDK for Node.
import OpenAI from "openai";
import { check, checkCancelled, failedRequests, key, person, png, question, rejects, run, url } from "./report.js";

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key });
const model = "auto";
const messages = [{ role: "user", content: question }];
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ type: "function", function: { name: "weather", parameters } }];
const create = (more) => client.chat.completions.create({ model, messages, ...more });

async function plain() {
  const text = (await create()).choices[0].message.content;
  check(text, "no text");
  const three = (await create({ n: 3 })).choices.map((one) => one.message.content);
  check(new Set(three).size === 3, "n = 3 gave no three answers");
  return text;
}

async function chunks(more) {
  const all = [];
  for await (const one of await create({ stream: true, ...more })) all.push(one);
  return all;
}

await run({
  plain,
  stream: async () => {
    const text = (await chunks()).map((one) => one.choices[0].delta.content ?? "").join("");
    check(text === (await plain()), "the stream differs");
  },
  "stream with usage": async () => {
    const usage = (await chunks({ stream_options: { include_usage: true } })).at(-1).usage;
    check(usage?.completion_tokens > 0, "no usage");
  },
  tools: async () => {
    const ask = [{ role: "user", content: "What is the weather in Paris?" }];
    const streamed = client.chat.completions.stream({ model, messages: ask, tools });
    const whole = [(await create({ messages: ask, tools })), await streamed.finalChatCompletion()];
    for (const answer of whole) {
      const message = answer.choices[0].message;
      const call = message.tool_calls[0];
      check(call.function.name === "weather" && "city" in JSON.parse(call.function.arguments), "no call");
      const result = { role: "tool", tool_call_id: call.id, content: "Sunny" };
      const told = await create({ messages: [...ask, message, result], tools });
      check(told.choices[0].message.content, "no answer after the tool");
    }
  },
  "JSON schema": async () => {
    const json_schema = { name: "person", schema: person, strict: true };
    const answer = await create({ response_format: { type: "json_schema", json_schema } });
    check("age" in JSON.parse(answer.choices[0].message.content), "not the schema");
  },
  vision: async () => {
    const image = { type: "image_url", image_url: { url: `data:image/png;base64,${png}` } };
    const content = [{ type: "text", text: "Describe this." }, image];
    check((await create({ messages: [{ role: "user", content }] })).choices[0].message.content, "no text");
  },
  errors: async () => {
    await rejects(create({ model: "none" }), (error) => error instanceof OpenAI.NotFoundError);
    const stranger = new OpenAI({ baseURL: `${url}/v1`, apiKey: "nonsense" });
    const asked = stranger.chat.completions.create({ model, messages });
    await rejects(asked, (error) => error instanceof OpenAI.AuthenticationError);
    const before = await failedRequests();
    const failing = create({ metadata: { sandbox_fail: "all:error" } });
    await rejects(failing, (error) => error instanceof OpenAI.InternalServerError);
    await new Promise((done) => setTimeout(done, 2000));
    check((await failedRequests()) === before + 1, "the client sent a failed call again");
  },
  cancel: async () => {
    const before = await failedRequests();
    for await (const _ of await create({ stream: true })) break;
    await checkCancelled(before);
  },
  embeddings: async () => {
    const { data } = await client.embeddings.create({ model, input: ["red apple", "red pear"] });
    check(data.length === 2 && data[0].embedding.length === 384, "no vectors");
  },
});
