// Continue's command line, `cn -p`: the same core as in the editor, with a config of ours. It streams, and calls its tools.
import { spawn } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { check, key, NotSupported, question, run, url, usage } from "./report.js";

const command = join(import.meta.dirname, "node_modules", ".bin", "cn");

async function cn(prompt, { apiKey = key, model = "auto" } = {}) {
  const home = mkdtempSync(join(tmpdir(), "continue-"));
  const models = [{ name: "omni", provider: "openai", model, apiBase: `${url}/v1`, apiKey, roles: ["chat"] }];
  const config = join(home, "config.yaml");
  writeFileSync(config, JSON.stringify({ name: "omni", version: "1.0.0", schema: "v1", models }));
  const env = { ...process.env, HOME: home, CONTINUE_TELEMETRY_ENABLED: "0" };
  const child = spawn(process.execPath, [command, "-p", prompt, "--config", config], { cwd: home, env });
  const said = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (piece) => said.push(piece));
  const late = setTimeout(() => child.kill("SIGKILL"), 90_000);
  await new Promise((done) => child.on("close", done));
  clearTimeout(late);
  return Buffer.concat(said).toString();
}

const absent = async () => {
  throw new NotSupported("its command line has no such thing");
};

await run({
  plain: async () => {
    const said = await cn(question);
    check(said.includes("simulated answer of"), said.slice(-400));
  },
  stream: async () => {
    const before = (await usage()).successful_requests;
    await cn(question);
    check((await usage()).successful_requests > before, "no whole stream in the ledger");
  },
  "stream with usage": absent,
  tools: async () => {
    const before = (await usage()).total_requests;
    const said = await cn(question);
    check((await usage()).total_requests >= before + 2, "no tool was called and answered");
    check(said.includes("simulated answer of"), said.slice(-400));
  },
  "JSON schema": absent,
  vision: absent,
  errors: async () => {
    const stranger = await cn(question, { apiKey: "nonsense" });
    check(stranger.includes("401"), stranger.slice(-400));
    const missing = await cn(question, { model: "none" });
    check(missing.includes("404"), missing.slice(-400));
  },
  cancel: absent,
  embeddings: absent,
});
