/* What the pages do without the web app's state: new keys (shown once, kept in this page's memory only), copying,
   local times, and forms that remember what was typed. No eval, nothing inline, no other host. */
"use strict";

(() => {
  const PLACEHOLDER = "YOUR_API_KEY";
  let newKey = "";
  let making = false;
  let invitation = "";

  const all = (selector) => document.querySelectorAll(selector);
  const setText = (element, text) => {
    if (element.textContent !== text) element.textContent = text;
  };

  /* Keys */
  async function makeKey(path, wish) {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(wish),
      credentials: "same-origin",
    });
    const body = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error((body.error && body.error.message) || "The key could not be made. Try again.");
    newKey = body.key;
    showKey();
    const refresh = document.querySelector("[data-refresh-keys]");
    if (refresh) refresh.click();
  }

  function showKey() {
    for (const slot of all("[data-key-slot]")) setText(slot, newKey || PLACEHOLDER);
    for (const box of all("[data-key-box]")) box.hidden = !newKey;
  }

  function sayProblem(text) {
    for (const line of all("[data-key-problem]")) {
      setText(line, text);
      line.hidden = !text;
    }
  }

  /* Whether it was made: what was typed stays when it was not. */
  async function tryMakeKey(path, wish) {
    if (making) return false;
    making = true;
    sayProblem("");
    try {
      await makeKey(path, wish);
      return true;
    } catch (problem) {
      sayProblem(problem.message);
      return false;
    } finally {
      making = false;
    }
  }

  /* Invitations: the link's secret stands behind a #, which no server sees. It is taken away from there before the web
     app starts, which would tell its address, and kept for this tab until it is used. */
  function takeInvitation() {
    const found = location.hash.match(/^#(invite|join|confirm|reset)=([\w-]{20,2000})$/);
    if (!found) return;
    if (found[1] !== "invite") sessionStorage.setItem(`omni-${found[1]}`, found[2]);
    else invitation = `${location.origin}/join/#join=${found[2]}`;
    history.replaceState(history.state, "", location.pathname + location.search);
  }
  takeInvitation();

  function showInvitation() {
    for (const slot of all("[data-invite-link]")) setText(slot, invitation);
    for (const box of all("[data-invite-box]")) box.hidden = !invitation;
    const page = location.pathname.split("/")[1];
    for (const field of all("[data-mail-token]")) field.value = sessionStorage.getItem(`omni-${page}`) || "";
    for (const field of all("[data-join-token]")) field.value = sessionStorage.getItem("omni-join") || "";
  }

  /* The second factor: its secret and its recovery codes are shown once and are in this page's memory only. */
  let factor = { secret: "", qr: "", codes: [] };

  async function askFactor(step, wish) {
    sayFactorProblem("");
    const answer = await fetch(`/auth/second-factor/${step}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(wish),
      credentials: "same-origin",
    }).catch(() => null);
    const body = answer ? await answer.json().catch(() => ({})) : {};
    if (answer && answer.ok) return body;
    sayFactorProblem((body.error && body.error.message) || "That did not work. Try again.");
    return null;
  }

  function sayFactorProblem(text) {
    for (const line of all("[data-factor-problem]")) {
      setText(line, text);
      line.hidden = !text;
    }
  }

  function showFactor() {
    for (const form of all("[data-factor-begin]")) form.hidden = Boolean(factor.secret);
    for (const form of all("[data-factor-confirm]")) form.hidden = !factor.secret;
    for (const slot of all("[data-factor-secret]")) setText(slot, factor.secret.replace(/(.{4})(?=.)/g, "$1 "));
    for (const image of all("[data-factor-qr]")) if (factor.qr && image.src !== factor.qr) image.src = factor.qr;
    for (const slot of all("[data-factor-recovery]")) setText(slot, factor.codes.join("\n"));
    for (const box of all("[data-factor-recovery-box]")) box.hidden = !factor.codes.length;
  }

  async function beginFactor(form) {
    const begun = await askFactor("begin", { password: form.elements.password.value });
    if (!begun) return;
    form.reset();
    factor = { secret: begun.secret, qr: begun.qr, codes: [] };
    showFactor();
  }

  async function confirmFactor(form) {
    const done = await askFactor("confirm", { code: form.elements.code.value });
    if (!done) return;
    form.reset();
    factor = { secret: "", qr: "", codes: done.recovery_codes };
    showFactor();
    const refresh = document.querySelector("[data-refresh-account]");
    if (refresh) refresh.click();
  }

  function makeFirstKey() {
    const wish = document.querySelector("[data-first-key]");
    if (!wish || newKey || wish.dataset.asked) return;
    wish.dataset.asked = "yes";
    tryMakeKey("/auth/keys", { name: "First key", kind: "test" });
  }

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.matches("[data-key-form]")) {
      event.preventDefault();
      const fields = new FormData(form);
      const wish = { name: String(fields.get("name")).trim(), kind: String(fields.get("kind")) };
      if (fields.has("scope")) wish.scopes = fields.getAll("scope").map(String);
      tryMakeKey("/auth/keys", wish).then((made) => made && form.reset());
    }
    if (form.matches("[data-factor-begin], [data-factor-confirm]")) {
      event.preventDefault();
      (form.matches("[data-factor-begin]") ? beginFactor : confirmFactor)(form);
    }
    if (form.matches("[data-rotate-form]")) {
      event.preventDefault();
      const fields = new FormData(form);
      const wish = { id: String(fields.get("id")), grace_hours: Number(fields.get("grace")) };
      tryMakeKey("/auth/keys/rotate", wish).then((made) => made && scrollTo({ top: 0 }));
    }
    for (const field of form.querySelectorAll("[data-next]")) {
      field.value = new URLSearchParams(location.search).get("next") || "";
    }
    showInvitation(); // a form that the web app has just made anew is empty
    if (form.matches("[data-keep]")) keepTyped(form);
    if (form.matches("[action^='/auth/']")) forgetTab();
  });

  /* Forms that are tried at once: when a slider is let go, a key has moved it, or a number is left. */
  document.addEventListener("change", (event) => {
    const form = event.target.form;
    if (form && form.matches("[data-try]")) form.requestSubmit();
  });

  /* What a tab shows belongs to one person: another one starts with an empty tab. */
  function forgetTab() {
    sessionStorage.removeItem("token");
  }

  /* Forms keep what was typed, but for the password, when they come back with an error. */
  function keepTyped(form) {
    const typed = {};
    for (const field of form.elements) {
      if (field.name && !["password", "hidden"].includes(field.type)) typed[field.name] = field.value;
    }
    sessionStorage.setItem("omni-typed", JSON.stringify(typed));
  }

  function restoreTyped() {
    const form = document.querySelector("form[data-keep]");
    if (!form || form.dataset.restored) return;
    form.dataset.restored = "yes";
    if (!new URLSearchParams(location.search).has("error")) {
      sessionStorage.removeItem("omni-typed");
      return;
    }
    const typed = JSON.parse(sessionStorage.getItem("omni-typed") || "{}");
    for (const field of form.elements) {
      if (typed[field.name] && !field.value && field.type !== "password") field.value = typed[field.name];
    }
  }

  /* Drafts: a text field marked with its owner (`data-keep-draft`) keeps its text in this tab, over a reload, the
     session's end and a new log-in. Another person does not get it, and logging out throws it away. Never secrets. */
  const DRAFT = "omni-draft:";
  const draftName = (field) => DRAFT + location.pathname + "#" + field.id;
  const keepsDraft = (field) => field.matches("textarea, input[type=text], input[type=search], input:not([type])");

  document.addEventListener("input", (event) => {
    const field = event.target;
    const owner = field.dataset && field.dataset.keepDraft;
    if (!owner || !keepsDraft(field)) return;
    try {
      if (field.value) sessionStorage.setItem(draftName(field), JSON.stringify({ owner, text: field.value }));
      else sessionStorage.removeItem(draftName(field));
    } catch {
      /* A full or forbidden storage: the draft lives as long as the page. */
    }
  });

  function restoreDrafts() {
    for (const field of all("[data-keep-draft]")) {
      const owner = field.dataset.keepDraft;
      if (!owner || field.dataset.draft === owner || !keepsDraft(field)) continue;
      field.dataset.draft = owner;
      const kept = JSON.parse(sessionStorage.getItem(draftName(field)) || "{}");
      if (kept.owner === owner && kept.text && !field.value) typeInto(field, kept.text);
    }
  }

  /* As if a person had typed it, so that the web app notices. */
  function typeInto(field, text) {
    const kind = field instanceof HTMLTextAreaElement ? HTMLTextAreaElement : HTMLInputElement;
    Object.getOwnPropertyDescriptor(kind.prototype, "value").set.call(field, text);
    field.dispatchEvent(new Event("input", { bubbles: true }));
    const folded = field.closest("details");
    if (folded) folded.open = true;
  }

  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[action='/auth/logout']")) return;
    for (const name of Object.keys(sessionStorage)) if (name.startsWith(DRAFT)) sessionStorage.removeItem(name);
  });

  /* Ctrl+Enter (or Cmd+Enter) sends the form of a text that says so. */
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || !event.target.closest("[data-send-key]")) return;
    event.preventDefault();
    event.target.form.requestSubmit();
  });

  /* A filter form (`data-tidy`) leaves what is empty out of the address that it makes. */
  document.addEventListener("formdata", (event) => {
    if (!event.target.matches("[data-tidy]")) return;
    for (const [name, value] of [...event.formData]) if (!value) event.formData.delete(name);
  });

  /* Copying */
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    const source = button && document.getElementById(button.dataset.copy);
    if (!source) return;
    const label = button.dataset.label || (button.dataset.label = button.textContent);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source);
      button.textContent = "Press Ctrl+C";
    }
    setTimeout(() => (button.textContent = label), 1600);
  });

  /* Times in the reader's zone, UTC on hover */
  const full = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });
  function localTimes() {
    for (const element of all("time[data-local]")) {
      const instant = element.getAttribute("datetime");
      if (!instant || element.dataset.done === instant) continue;
      const when = new Date(instant);
      if (Number.isNaN(when.getTime())) continue;
      element.dataset.done = instant;
      element.title = instant.replace("T", " ").replace("Z", " UTC");
      setText(element, full.format(when));
    }
  }

  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-key-done]")) return;
    newKey = "";
    showKey();
  });

  /* The small-screen menu closes once a page was chosen. */
  document.addEventListener("click", (event) => {
    const menu = event.target.closest("details.menu");
    if (menu && event.target.closest("a")) menu.removeAttribute("open");
  });

  let planned = false;
  function refresh() {
    planned = false;
    localTimes();
    showKey();
    makeFirstKey();
    showInvitation();
    showFactor();
    restoreTyped();
    restoreDrafts();
  }
  function plan() {
    if (planned) return;
    planned = true;
    requestAnimationFrame(refresh);
  }
  /* The web app's own start must find the page as it was served: wait until it has said that it runs. */
  function whenAlive() {
    if (document.querySelector("[data-alive]")) {
      new MutationObserver(plan).observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ["datetime", "data-first-key", "data-keep-draft"] });
      refresh();
    } else {
      setTimeout(whenAlive, 50);
    }
  }
  whenAlive();
})();
