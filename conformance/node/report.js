// What both Node clients share: see clients/report.py.
export const url = process.env.OMNI_URL;
export const key = process.env.OMNI_KEY;
export const question = "Write a Python function that reverses a linked list.";
export const png =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
export const person = {
  type: "object",
  properties: { name: { type: "string" }, age: { type: "integer" } },
  required: ["name", "age"],
  additionalProperties: false,
};

export function check(fact, what) {
  if (!fact) throw new Error(what);
}

export class NotSupported extends Error {}

export async function usage() {
  return await (await fetch(`${url}/v1/usage`, { headers: { Authorization: `Bearer ${key}` } })).json();
}

export async function failedRequests() {
  const { total_requests, successful_requests } = await usage();
  return total_requests - successful_requests;
}

export async function checkCancelled(before) {
  for (let round = 0; round < 50; round++) {
    if ((await failedRequests()) > before) return;
    await new Promise((done) => setTimeout(done, 200));
  }
  throw new Error("the server did not notice that the client went away");
}

export async function rejects(promise, fits) {
  let met;
  try {
    await promise;
  } catch (error) {
    met = error;
  }
  check(met && fits(met), `not the expected error: ${met}`);
}

export async function run(checks) {
  for (const [capability, one] of Object.entries(checks)) {
    let [result, detail] = ["pass", ""];
    try {
      await one();
    } catch (error) {
      [result, detail] = [error instanceof NotSupported ? "not supported" : "fail", String(error).slice(0, 500)];
      console.error(error);
    }
    console.log(JSON.stringify({ capability, result, detail }));
  }
}
