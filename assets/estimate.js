/* The savings estimator of the landing page: reads a file in this browser, sends it in parts to this server, adds up the
   answers, and keeps nothing. Everything of a file is shown as text. No eval, nothing inline, no other host. */
"use strict";

(() => {
  const MAX_LINES = 20000;
  const MAX_JSON_BYTES = 20e6;
  const LINES_A_PART = 500;
  const CHARACTERS_A_PART = 700000;
  const SHOWN = 20;
  const RETRIES = 8;
  const EXAMPLE = "/estimate-example.jsonl";
  const KINDS =
    "Taken are: a .jsonl file with one request a line ({\"model\": …, \"messages\": […]}, or a line of the Batch API), " +
    "the activity export of OpenAI’s usage dashboard (completions_usage_….csv), or the JSON answer of " +
    "/v1/organization/usage/completions grouped by model.";
  const TASKS = {
    chat: "Chat", coding: "Coding", reasoning: "Reasoning", summarization: "Summarization",
    translation: "Translation", agent_step: "Agent step",
  };

  let running = null;
  let last = null;

  const find = (name) => document.querySelector(`[data-estimate-${name}]`);
  const number = new Intl.NumberFormat("en-US");

  class Refused extends Error {}

  /* Reading */
  async function* linesOf(file) {
    const reader = file.stream().pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    let tooLong = false;
    let line = 0;
    for (;;) {
      const { done, value } = await reader.read();
      rest += done ? "" : value;
      let start = 0;
      for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n", start)) {
        line += 1;
        yield [line, tooLong || end - start > CHARACTERS_A_PART ? null : rest.slice(start, end).replace(/\r$/, "")];
        tooLong = false;
        start = end + 1;
      }
      rest = rest.slice(start);
      if (done) break;
      if (rest.length > CHARACTERS_A_PART) {
        tooLong = true;
        rest = "";
      }
    }
    if (tooLong) yield [line + 1, null];
    else if (rest.trim()) yield [line + 1, rest];
  }

  async function* entriesOf(entries) {
    for (const [place, entry] of entries.entries()) yield [place + 1, JSON.stringify(entry)];
  }

  async function* without(lines, count) {
    for await (const line of lines) if (line[0] > count) yield line;
  }

  const parsed = (text) => {
    try {
      return JSON.parse(text);
    } catch {
      return undefined;
    }
  };
  const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
  const isRequest = (value) => isObject(value) && ["messages", "body", "request"].some((name) => name in value);
  const isBucket = (value) => isObject(value) && Array.isArray(value.results);

  /* What kind of file it is: {form, header?, lines}. */
  async function open(file) {
    if (!file.size) throw new Refused("The file is empty. " + KINDS);
    const head = (await file.slice(0, 65536).text()).replace(/^\ufeff/, "");
    const first = head.trimStart().split("\n", 1)[0].trim();
    if (/^[{[]/.test(first)) return openJson(file, parsed(first), head);
    const names = first.toLowerCase();
    if (names.includes("amount_value") && !names.includes("input_tokens")) {
      throw new Refused("This is the costs export, which has no tokens. Choose the activity export instead. " + KINDS);
    }
    if (!/[,\t]/.test(names) || !names.includes("model")) throw new Refused("This is no file that can be read here. " + KINDS);
    const blank = head.slice(0, head.length - head.trimStart().length).split("\n").length - 1;
    return { form: "csv", header: first, lines: without(linesOf(file), blank + 1) };
  }

  async function openJson(file, first, head) {
    const many = head.trim().includes("\n") || file.size > 65536;
    if (isRequest(first) || (isObject(first) && many && !isBucket(first) && !("data" in first))) {
      return { form: "requests", lines: linesOf(file) };
    }
    if (file.size > MAX_JSON_BYTES) {
      throw new Refused("A file of one JSON value may have 20 MB; larger ones as JSONL, one request a line. " + KINDS);
    }
    const whole = parsed((await file.text()).replace(/^\ufeff/, ""));
    if (whole === undefined) return { form: "requests", lines: linesOf(file) };
    const entries = Array.isArray(whole) ? whole : isObject(whole) && Array.isArray(whole.data) ? whole.data : [whole];
    if (entries.some(isBucket)) return { form: "usage", lines: entriesOf(entries.flatMap((one) => (isBucket(one) ? one.results : []))) };
    if (entries.some(isRequest)) return { form: "requests", lines: entriesOf(entries) };
    if (entries.some((one) => isObject(one) && "input_tokens" in one)) return { form: "usage", lines: entriesOf(entries) };
    throw new Refused("This JSON holds neither requests nor usage. " + KINDS);
  }

  async function* partsOf(lines, totals) {
    let part = [];
    let characters = 0;
    for await (const [line, text] of lines) {
      if (text === null || text.length > CHARACTERS_A_PART) {
        totals.bad.push({ line, reason: `is longer than ${number.format(CHARACTERS_A_PART)} characters` });
        continue;
      }
      if (totals.sent + part.length >= MAX_LINES) {
        totals.cut = true;
        break;
      }
      if (part.length >= LINES_A_PART || (part.length && characters + text.length > CHARACTERS_A_PART)) {
        yield part;
        part = [];
        characters = 0;
      }
      part.push([line, text]);
      characters += text.length;
    }
    if (part.length) yield part;
  }

  /* Asking */
  const pause = (seconds, signal) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, 1000 * seconds);
      signal.addEventListener("abort", () => {
        clearTimeout(timer);
        reject(signal.reason);
      }, { once: true });
    });

  async function ask(body, signal) {
    for (let tries = 0; ; tries += 1) {
      const answer = await fetch("/estimate", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
        credentials: "omit",
        signal,
      });
      if (answer.ok) return answer.json();
      const problem = await answer.json().catch(() => ({}));
      const words = (problem.error && problem.error.message) || "The server could not do it.";
      if (![429, 503].includes(answer.status) || tries >= RETRIES) throw new Refused(sentence(words));
      say("Waiting for a free moment …");
      await pause(Number(answer.headers.get("Retry-After")) || 3, signal);
    }
  }

  const sentence = (words) => words.charAt(0).toUpperCase() + words.slice(1) + (/[.?!]$/.test(words) ? "" : ".");

  function add(totals, answer, sent) {
    totals.sent += sent;
    totals.asOf = answer.prices_as_of;
    totals.bad.push(...answer.bad);
    for (const one of answer.kinds) {
      const place = JSON.stringify([one.model, one.task, one.chosen]);
      const sums = totals.kinds.get(place) || { ...one, requests: 0, tokens: 0, cost: 0n, routed: 0n };
      sums.requests += one.requests;
      sums.tokens += one.input_tokens + one.output_tokens;
      sums.cost += BigInt(one.cost_pico);
      sums.routed += BigInt(one.routed_cost_pico);
      totals.kinds.set(place, sums);
    }
    for (const one of answer.left_out) {
      const place = JSON.stringify([one.model, one.reason]);
      const known = totals.leftOut.get(place) || { ...one, requests: 0 };
      known.requests += one.requests;
      totals.leftOut.set(place, known);
    }
  }

  async function estimate(file, name) {
    if (running) running.abort();
    const stop = (running = new AbortController());
    last = { file, name };
    const totals = { kinds: new Map(), leftOut: new Map(), bad: [], sent: 0, cut: false, asOf: "", form: "", stopped: false };
    const result = find("result");
    result.replaceChildren();
    working(true);
    say(`Reading ${name} …`);
    try {
      const { form, header, lines } = await open(file);
      totals.form = form;
      const choice = { form, choice: find("choice").value, tasks: find("tasks").value };
      if (header) choice.header = header;
      for await (const part of partsOf(lines, totals)) {
        if (stop.signal.aborted) break;
        add(totals, await ask({ ...choice, lines: part }, stop.signal), part.length);
        say(`${number.format(totals.sent)} lines of ${name} done …`);
      }
    } catch (problem) {
      if (stop !== running) return;
      if (!stop.signal.aborted) {
        working(false);
        say("");
        const words = problem instanceof Refused ? problem.message : "The connection broke off. Try again.";
        result.append(make("p", { class: "notice", "data-tone": "bad", role: "alert" }, words));
        if (totals.sent) show(result, totals, name);
        return;
      }
    }
    if (stop !== running) return;
    totals.stopped = stop.signal.aborted;
    working(false);
    show(result, totals, name);
  }

  function working(on) {
    find("stop").hidden = !on;
    find("progress").hidden = !on;
  }

  function say(text) {
    find("status").textContent = text;
  }

  /* Figures in words */
  function dollars(pico) {
    const size = pico < 0n ? -pico : pico;
    if (size === 0n) return "$0";
    /* Cents from a dollar on, three significant digits below. */
    const places = size >= 10n ** 12n ? 2 : Math.min(12, Math.max(2, 15 - String(size).length));
    const unit = 10n ** BigInt(12 - places);
    const rounded = ((size + unit / 2n) / unit) * unit;
    const whole = number.format(rounded / 10n ** 12n);
    const decimals = String(rounded % 10n ** 12n).padStart(12, "0").slice(0, places);
    const kept = decimals.slice(0, 2) + decimals.slice(2).replace(/0+$/, "");
    return `${pico < 0n ? "−" : ""}$${whole}.${kept}`;
  }

  function percent(part, whole) {
    if (whole === 0n) return "–";
    const tenths = Number((part * 10000n) / whole) / 100;
    return `${tenths.toFixed(Math.abs(tenths) < 10 ? 1 : 0).replace("-", "−")}%`;
  }

  const plural = (count, one) => `${number.format(count)} ${one}${count === 1 ? "" : "s"}`;

  /* Showing */
  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children.filter((child) => child !== null));
    return element;
  }

  function grouped(kinds, key) {
    const rows = new Map();
    for (const one of kinds) {
      const name = key(one);
      const row = rows.get(name) || { name, of: one, requests: 0, tokens: 0, cost: 0n, routed: 0n, chosen: new Map() };
      row.requests += one.requests;
      row.tokens += one.tokens;
      row.cost += one.cost;
      row.routed += one.routed;
      row.chosen.set(one.chosen, (row.chosen.get(one.chosen) || 0) + one.requests);
      rows.set(name, row);
    }
    return [...rows.values()].sort((a, b) => (a.cost < b.cost ? 1 : a.cost > b.cost ? -1 : 0));
  }

  const moneyCell = (pico) => make("td", { class: "num money", title: exact(pico) }, dollars(pico));
  const exact = (pico) => {
    const size = pico < 0n ? -pico : pico;
    const decimals = String(size % 10n ** 12n).padStart(12, "0").replace(/0+$/, "");
    return `${pico < 0n ? "−" : ""}$${size / 10n ** 12n}${decimals ? "." + decimals : ""}`;
  };

  function table(caption, heads, rows) {
    const head = heads.map((name) => make("th", { scope: "col", class: name.startsWith("#") ? "num" : "" }, name.replace("#", "")));
    return make("div", { class: "table", tabindex: "0", role: "region", "aria-label": caption },
      make("table", {}, make("caption", { class: "sr-only" }, caption), make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows)));
  }

  function chosenText(row) {
    const chosen = [...row.chosen].sort((a, b) => b[1] - a[1]);
    const named = chosen.slice(0, 3).map(([model, requests]) => `${model} ${percent(BigInt(requests), BigInt(row.requests))}`);
    if (chosen.length > 3) named.push(`${chosen.length - 3} more`);
    return named.join(", ");
  }

  function byModel(kinds) {
    const rows = grouped(kinds, (one) => one.model).map((row) => {
      const priced = row.of.priced_as;
      const note = priced === row.name || priced.endsWith("/" + row.name) ? null : make("span", { class: "sub" }, `priced as ${priced}`);
      return make("tr", {},
        make("td", {}, row.name, note),
        make("td", { class: "num" }, number.format(row.requests)),
        make("td", { class: "num" }, number.format(row.tokens)),
        moneyCell(row.cost), moneyCell(row.routed), moneyCell(row.cost - row.routed),
        make("td", { class: "num" }, percent(row.cost - row.routed, row.cost)),
        make("td", {}, make("div", { class: "wrap small" }, chosenText(row))));
    });
    return table("By model of the file", ["Model of the file", "#Requests", "#Tokens", "#Cost", "#Routed", "#Saved", "#%", "Taken instead"], rows);
  }

  function byTask(kinds) {
    const rows = grouped(kinds, (one) => one.task).map((row) =>
      make("tr", {},
        make("td", {}, TASKS[row.name] || row.name),
        make("td", { class: "num" }, number.format(row.requests)),
        moneyCell(row.cost), moneyCell(row.routed), moneyCell(row.cost - row.routed),
        make("td", { class: "num" }, percent(row.cost - row.routed, row.cost))));
    return table("By task", ["Task", "#Requests", "#Cost", "#Routed", "#Saved", "#%"], rows);
  }

  const stat = (label, figure, note, tone) =>
    make("div", { class: "stat", "data-tone": tone || "" }, make("dt", {}, label), make("dd", { class: "figure" }, figure), make("dd", { class: "note" }, note));

  function problems(totals) {
    const parts = [];
    const leftOut = [...totals.leftOut.values()];
    if (leftOut.length) {
      const lines = leftOut.slice(0, SHOWN).map((one) => make("li", {}, `${one.model || "no model"}: ${plural(one.requests, "request")}, ${one.reason}`));
      if (leftOut.length > SHOWN) lines.push(make("li", {}, `and ${leftOut.length - SHOWN} more kinds`));
      parts.push(make("div", { "data-left-out": "" }, make("h3", {}, `Left out: ${plural(leftOut.reduce((sum, one) => sum + one.requests, 0), "request")}`), make("ul", { class: "bullets small" }, ...lines)));
    }
    if (totals.bad.length) {
      const lines = totals.bad.slice(0, SHOWN).map((one) => make("li", {}, `line ${number.format(one.line)}: ${one.reason}`));
      if (totals.bad.length > SHOWN) lines.push(make("li", {}, `and ${number.format(totals.bad.length - SHOWN)} more`));
      parts.push(make("div", { "data-bad-lines": "" }, make("h3", {}, `Could not be read: ${plural(totals.bad.length, "line")}`), make("ul", { class: "bullets small" }, ...lines)));
    }
    return parts;
  }

  function notes(totals) {
    const usage = totals.form !== "requests";
    const said = [
      `List prices of ${totals.asOf} on both sides, standard tier, for the same number of tokens. Each model counts tokens a little differently.`,
      usage
        ? "The export holds no prompts: each row is counted as that many average requests of the kind chosen above, none of them unusually hard. A file of requests gives a better estimate."
        : "Each request was classified and routed by its own text. Where the file does not say how many tokens were billed, they are estimated: the prompt from its text, the answer as a usual one for its task.",
      (find("choice").value === "as_good"
        ? "Only models with a public rating at least as high, for the task, as the model of the file’s were allowed. "
        : "Any model of the catalogue was allowed, also one that is rated lower than yours; hard requests only go to models rated high enough for them. The third choice above compares with models rated as high alone. ") +
        "Ratings are averages over other people’s prompts: try your own before you switch.",
      "This is an estimate over every model of the catalogue, not a promise. Discounts, batch prices and cache hits that you would have elsewhere are not known here; cache hits in the file count for both sides.",
    ];
    return make("ul", { class: "bullets small", "data-notes": "" }, ...said.map((one) => make("li", {}, one)));
  }

  function show(result, totals, name) {
    const kinds = [...totals.kinds.values()];
    const sum = (field) => kinds.reduce((all, one) => all + one[field], field === "requests" ? 0 : 0n);
    const [requests, cost, routed] = [sum("requests"), sum("cost"), sum("routed")];
    const saved = cost - routed;
    const limits = [];
    if (totals.stopped) limits.push(make("p", { class: "notice", "data-tone": "warn" }, `Stopped after ${plural(totals.sent, "line")}: what follows counts those alone.`));
    if (totals.cut) limits.push(make("p", { class: "notice", "data-tone": "warn" }, `The first ${plural(MAX_LINES, "line")} were taken; the rest of the file was not read.`));
    if (!requests) {
      say("");
      const words = totals.stopped ? "Stopped." : "Nothing in this file could be compared. " + (totals.leftOut.size || totals.bad.length ? "The reasons are below." : KINDS);
      result.append(make("p", { class: "notice", "data-tone": "warn" }, words), ...problems(totals));
      return;
    }
    const headline = saved >= 0n
      ? `Routing would have saved ${dollars(saved)} (${percent(saved, cost)}) on ${plural(requests, "request")}.`
      : `Routing would have cost ${dollars(-saved)} more on ${plural(requests, "request")}.`;
    say(headline);
    result.append(
      ...limits,
      make("dl", { class: "stats" },
        stat("It cost", dollars(cost), `${plural(requests, "request")} of ${name}`),
        stat("Routed", dollars(routed), find("choice").selectedOptions[0].textContent),
        stat(saved >= 0n ? "Saved" : "More", dollars(saved >= 0n ? saved : -saved), percent(saved, cost), saved > 0n ? "good" : "")),
      make("h3", {}, "By model"), byModel(kinds),
      make("h3", {}, "By task"), byTask(kinds),
      ...problems(totals), notes(totals));
  }

  /* The controls */
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-estimate-file]") && event.target.files[0]) estimate(event.target.files[0], event.target.files[0].name);
    if (event.target.matches("[data-estimate-choice], [data-estimate-tasks]") && last) estimate(last.file, last.name);
  });

  document.addEventListener("click", async (event) => {
    if (event.target.closest("[data-estimate-stop]") && running) running.abort(new DOMException("stopped", "AbortError"));
    if (!event.target.closest("[data-estimate-example]")) return;
    const answer = await fetch(EXAMPLE).catch(() => null);
    if (answer && answer.ok) estimate(await answer.blob(), "the example");
    else say("The example could not be loaded. Try again.");
  });

  const zone = (event) => event.target instanceof Element && event.target.closest("[data-estimate-drop]");
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => {
      if (!zone(event)) return;
      event.preventDefault();
      zone(event).dataset.over = "yes";
    });
  }
  document.addEventListener("dragleave", (event) => {
    if (zone(event)) delete zone(event).dataset.over;
  });
  document.addEventListener("drop", (event) => {
    const place = zone(event);
    if (!place) return;
    event.preventDefault();
    delete place.dataset.over;
    const file = event.dataTransfer.files[0];
    if (file) estimate(file, file.name);
  });
})();
