/* What the pages do without the web app's state: new keys (shown once, kept in this page's memory only), copying,
   local times, and forms that lose nothing. No eval, nothing inline, no other host; what is kept in the browser's
   storage is sealed. */
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

  /* Links: their secret stands behind a #, which no server sees. It is taken away from there before the web app starts,
     which would tell its address, and is in this page's memory only. An invitation may have to wait for a log-in, which
     is another page: our server has the browser keep it in a cookie that no script reads. */
  const secrets = {};
  function takeSecret() {
    const found = location.hash.match(/^#(invite|join|confirm|reset|lost-factor)=([\w-]{20,2000})$/);
    if (!found) return;
    const [, kind, secret] = found;
    if (kind === "invite") invitation = `${location.origin}/join/#join=${secret}`;
    else secrets[kind] = secret;
    if (kind === "join") keepInvitation(secret);
    history.replaceState(history.state, "", location.pathname + location.search);
  }

  function keepInvitation(token) {
    const body = new URLSearchParams({ token });
    fetch("/auth/keep-invitation", { method: "POST", body, credentials: "same-origin", keepalive: true }).catch(() => {});
  }
  takeSecret();

  function showSecrets() {
    for (const slot of all("[data-invite-link]")) setText(slot, invitation);
    for (const box of all("[data-invite-box]")) box.hidden = !invitation;
    const page = location.pathname.split("/")[1];
    for (const field of all("[data-link-secret]")) field.value = secrets[page] || "";
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
    showSecrets(); // a form that the web app has just made anew is empty
    if (form.matches("[data-in-place]")) {
      event.preventDefault();
      sendInPlace(form);
    } else if (form.matches("[action^='/auth/']")) forgetTab();
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

  /* Forms that stay as they are when something was wrong, but for their passwords: nothing typed is lost, and nothing of
     it is stored. Where the server does not answer as it should, the browser sends the form by itself. */
  async function sendInPlace(form) {
    if (form.ariaBusy === "true") return;
    form.ariaBusy = "true";
    const body = new URLSearchParams(new FormData(form));
    const answer = await fetch(form.action, { method: "POST", body, credentials: "same-origin" }).catch(() => null);
    form.ariaBusy = "false";
    const to = answer && answer.redirected ? new URL(answer.url) : null;
    if (to && to.pathname === location.pathname) {
      for (const field of form.querySelectorAll("[type=password]")) field.value = "";
      goWithoutLoading(to);
      return;
    }
    forgetTab();
    if (to) location.assign(to);
    else form.submit();
  }

  /* The web app hears of another address as when somebody goes back in the history; it then says what stands in it. */
  function goWithoutLoading(to) {
    history.replaceState(history.state, "", to);
    dispatchEvent(new PopStateEvent("popstate", { state: history.state }));
  }

  /* Drafts: a text field marked with its owner (`data-keep-draft`) keeps its text in this tab, over a reload, the
     session's end and a new log-in. Another person does not get it, and logging out throws it away. Never secrets.
     What is kept is sealed (AES-GCM, for its field). The key comes from our server, to whoever is signed in for their
     own drafts alone, and is in this page's memory only, where no script can read it. Where the browser has no
     cryptography (http on another host) a draft lives as long as its page. */
  const DRAFT = "omni-draft:";
  const draftName = (field) => DRAFT + location.pathname + "#" + field.id;
  const keepsDraft = (field) => field.matches("textarea, input[type=text], input[type=search], input:not([type])");
  const toText = (bytes) => btoa(Array.from(bytes, (one) => String.fromCharCode(one)).join(""));
  const toBytes = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const IV_BYTES = 12;
  let draftKey = null;
  let writing = Promise.resolve();
  let leaving = false;

  async function askDraftKey() {
    if (!crypto.subtle) return null;
    const answer = await fetch("/auth/draft-key", { credentials: "same-origin" });
    if (!answer.ok) return null;
    const { key, whose } = await answer.json();
    return { whose, key: await crypto.subtle.importKey("raw", toBytes(key), "AES-GCM", false, ["encrypt", "decrypt"]) };
  }

  async function keyOf(owner) {
    draftKey = draftKey || askDraftKey().catch(() => null);
    const found = await draftKey;
    return found && found.whose === owner ? found.key : null;
  }

  const sealing = (iv, name) => ({ name: "AES-GCM", iv, additionalData: new TextEncoder().encode(name) });

  async function sealed(key, name, text) {
    const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
    const hidden = await crypto.subtle.encrypt(sealing(iv, name), key, new TextEncoder().encode(text));
    return toText([...iv, ...new Uint8Array(hidden)]);
  }

  async function opened(key, name, kept) {
    const bytes = toBytes(kept);
    const text = await crypto.subtle.decrypt(sealing(bytes.slice(0, IV_BYTES), name), key, bytes.slice(IV_BYTES));
    return new TextDecoder().decode(text);
  }

  async function keepDraft(owner, name, text) {
    const key = await keyOf(owner);
    const kept = key && text ? await sealed(key, name, text) : "";
    if (!key || leaving) return;
    if (kept) sessionStorage.setItem(name, kept);
    else sessionStorage.removeItem(name);
  }

  document.addEventListener("input", (event) => {
    const field = event.target;
    const owner = field.dataset && field.dataset.keepDraft;
    if (!owner || !keepsDraft(field)) return;
    const name = draftName(field);
    const text = field.value;
    // One after the other. With a full or forbidden storage the draft lives as long as the page.
    writing = writing.then(() => keepDraft(owner, name, text)).catch(() => {});
  });

  function restoreDrafts() {
    for (const field of all("[data-keep-draft]")) {
      const owner = field.dataset.keepDraft;
      if (!owner || field.dataset.draft === owner || !keepsDraft(field)) continue;
      field.dataset.draft = owner;
      restoreDraft(field, owner).catch(() => {}); // somebody else's
    }
  }

  async function restoreDraft(field, owner) {
    const name = draftName(field);
    const kept = sessionStorage.getItem(name);
    const key = await keyOf(owner); // also for what will be typed
    const text = key && kept ? await opened(key, name, kept) : "";
    if (text && !field.value) typeInto(field, text);
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
    leaving = true;
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
  const full = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" });
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

  /* A question that has appeared is brought into view, and read out; from it the keyboard goes on to its answers. */
  function meetQuestions() {
    for (const question of all("[role=alertdialog]")) {
      if (question.dataset.met) continue;
      question.dataset.met = "yes";
      question.focus();
    }
  }

  let planned = false;
  function refresh() {
    planned = false;
    localTimes();
    showKey();
    makeFirstKey();
    showSecrets();
    showFactor();
    restoreDrafts();
    meetQuestions();
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
