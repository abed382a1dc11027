// The Vercel AI SDK: `ai` with `@ai-sdk/openai-compatible`.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embedMany, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { check, checkCancelled, failedRequests, key, png, question, rejects, run, url } from "./report.js";

const options = { name: "omni", baseURL: `${url}/v1`, apiKey: key, includeUsage: true };
const provider = createOpenAICompatible({ ...options, supportsStructuredOutputs: true });
const model = provider("auto");
const prompt = question;

async function plain() {
  const { text } = await generateText({ model, prompt });
  check(text, "no text");
  return text;
}

await run({
  plain,
  stream: async () => {
    let text = "";
    for await (const piece of streamText({ model, prompt }).textStream) text += piece;
    check(text === (await plain()), "the stream differs");
  },
  "stream with usage": async () => {
    const streamed = streamText({ model, prompt });
    await streamed.consumeStream();
    check((await streamed.usage).outputTokens > 0, "no usage");
  },
  tools: async () => {
    const asked = [];
    const execute = async ({ city }) => asked.push(city) && "Sunny";
    const weather = tool({ description: "The weather in a city", inputSchema: z.object({ city: z.string() }), execute });
    const common = { model, prompt: "What is the weather in Paris?", tools: { weather }, stopWhen: stepCountIs(3) };
    check((await generateText(common)).text && asked.length === 1, "no call");
    const streamed = streamText(common);
    await streamed.consumeStream();
    check((await streamed.text) && asked.length === 2, "no call in the stream");
  },
  "JSON schema": async () => {
    const output = Output.object({ schema: z.object({ name: z.string(), age: z.number() }) });
    check((await generateText({ model, prompt, output })).output.age !== undefined, "not the schema");
  },
  vision: async () => {
    const content = [{ type: "text", text: "Describe this." }, { type: "image", image: png, mediaType: "image/png" }];
    check((await generateText({ model, messages: [{ role: "user", content }] })).text, "no text");
  },
  errors: async () => {
    const status = (wanted) => (error) => APICallError.isInstance(error) && error.statusCode === wanted;
    await rejects(generateText({ model: provider("none"), prompt }), status(404));
    const stranger = createOpenAICompatible({ ...options, apiKey: "nonsense" });
    await rejects(generateText({ model: stranger("auto"), prompt }), status(401));
  },
  cancel: async () => {
    const before = await failedRequests();
    const leaving = new AbortController();
    const streamed = streamText({ model, prompt, abortSignal: leaving.signal, onError: () => {} });
    for await (const _ of streamed.textStream) {
      leaving.abort();
      break;
    }
    await checkCancelled(before);
  },
  embeddings: async () => {
    const values = ["red apple", "red pear"];
    const { embeddings } = await embedMany({ model: provider.embeddingModel("auto"), values });
    check(embeddings.length === 2 && embeddings[0].length === 384, "no vectors");
  },
});
