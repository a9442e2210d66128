// The browser's half of the inbox: keys that never leave it, signatures over exactly the bytes that are shown, a page that follows its run.
"use strict";

const encoder = new TextEncoder();
const hex = (bytes) => [...new Uint8Array(bytes)].map((b) => b.toString(16).padStart(2, "0")).join("");
const unhex = (text) => new Uint8Array(text.match(/../g).map((pair) => parseInt(pair, 16)));
const base64 = (bytes) => { let text = ""; for (const b of new Uint8Array(bytes)) text += String.fromCharCode(b); return btoa(text); };
const $ = (id) => document.getElementById(id);
const say = (text) => { $("notice").textContent = text; $("notice").scrollIntoView({ block: "nearest" }); };
// A button that does nothing without this script waits for it: no click is lost.
const allow = (part) => part.querySelectorAll("[data-scripted]").forEach((b) => { b.disabled = false; });
const shut = (part) => part.querySelectorAll("[data-scripted]").forEach((b) => { b.disabled = true; b.removeAttribute("data-scripted"); });
const signs = Boolean(window.isSecureContext && window.crypto && crypto.subtle);

// Keys: CryptoKey objects that cannot be exported, in this browser's database.

const store = (mode, act) => new Promise((done, fail) => {
  const opening = indexedDB.open("heirloop", 1);
  opening.onupgradeneeded = () => { opening.result.createObjectStore("keys", { keyPath: "public" }); opening.result.createObjectStore("heads", { keyPath: "study" }); };
  opening.onerror = () => fail(opening.error);
  opening.onsuccess = () => {
    const asked = act(opening.result.transaction(["keys", "heads"], mode));
    asked.onsuccess = () => { done(asked.result); opening.result.close(); };
    asked.onerror = () => fail(asked.error);
  };
});
const keysHere = () => store("readonly", (t) => t.objectStore("keys").getAll());
const keep = (key) => store("readwrite", (t) => t.objectStore("keys").put(key));
const forget = (name) => store("readwrite", (t) => t.objectStore("keys").delete(name));

async function envelope(key, text, kind) {
  const type = `application/vnd.heirloop.${kind}+json`, body = encoder.encode(text);
  const head = encoder.encode(`DSSEv1 ${encoder.encode(type).length} ${type} ${body.length} `);
  const whole = new Uint8Array(head.length + body.length);
  whole.set(head); whole.set(body, head.length);
  const name = `{"keytype":"ed25519","keyval":{"public":"${key.public}"},"scheme":"ed25519"}`;
  const keyid = hex(await crypto.subtle.digest("SHA-256", encoder.encode(name)));
  const sig = base64(await crypto.subtle.sign("Ed25519", key.private, whole));
  return JSON.stringify({ payload: base64(body), payloadType: type, signatures: [{ keyid, sig }] });
}

// RFC 8785: sorted keys, no blanks; numbers here are whole and strings are JSON's own.
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value && typeof value === "object") return `{${Object.keys(value).sort().map((k) => `${JSON.stringify(k)}:${canonical(value[k])}`).join(",")}}`;
  return JSON.stringify(value);
}

// What is shown and what is signed are one: the server's notation of a character that does not print is undone here.
const raw = (shown) => shown.replace(/⟨U\+([0-9A-F]{4,6})(?: × (\d+))?⟩/g, (_, point, times) => String.fromCodePoint(parseInt(point, 16)).repeat(times ? Number(times) : 1));
const point = (c) => `⟨U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`;
const shown = (text) => text.replace(/[^\x20-\x7e\p{L}\p{N}\p{P}\p{S}]|[\u27e8\u2329\u3008]/gu, point);

async function post(path, fields) {
  const answer = await fetch(path, { method: "POST", headers: { accept: "application/json" }, body: new URLSearchParams(fields), redirect: "follow" });
  if (answer.headers.get("content-type")?.startsWith("application/json")) {
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.error || answer.statusText);
    return told;
  }
  throw new Error(answer.ok ? "The server did not say that anything was recorded. Sign in again." : await answer.text());
}

// A key file as `heirloop keys new` writes it: PKCS #8 under PBES2 with PBKDF2-HMAC-SHA-256 and AES-256-CBC.

function der(bytes, at = 0) {
  const tag = bytes[at]; let size = bytes[at + 1], start = at + 2;
  if (size & 0x80) { const n = size & 0x7f; size = 0; for (let i = 0; i < n; i++) size = size * 256 + bytes[start + i]; start += n; }
  const end = start + size, parts = [];
  if (end > bytes.length) throw new Error("the file is cut off");
  if (tag & 0x20) for (let next = start; next < end;) { const one = der(bytes, next); parts.push(one); next = one.end; }
  return { tag, parts, end, value: bytes.subarray(start, end) };
}

async function openFile(text, passphrase) {
  const found = text.match(/-----BEGIN ENCRYPTED PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END/);
  if (!found) throw new Error("this is no encrypted key file; `heirloop keys new NAME` writes one, NAME.key");
  const whole = der(Uint8Array.from(atob(found[1].replace(/\s/g, "")), (c) => c.charCodeAt(0)));
  const [algorithm, secret] = whole.parts, [kdf, cipher] = algorithm.parts[1].parts, [salt, rounds, ...rest] = kdf.parts[1].parts;
  const known = hex(kdf.parts[0].value) === "2a864886f70d01050c" && hex(cipher.parts[0].value) === "60864801650304012a"
    && rest.some((one) => one.parts.length && hex(one.parts[0].value) === "2a864886f70d0209");
  if (!known) throw new Error("the key file is encrypted in a way that this page does not open; use the terminal");
  const base = await crypto.subtle.importKey("raw", encoder.encode(passphrase), "PBKDF2", false, ["deriveKey"]);
  const iterations = [...rounds.value].reduce((n, b) => n * 256 + b, 0);
  const key = await crypto.subtle.deriveKey({ name: "PBKDF2", hash: "SHA-256", salt: salt.value, iterations }, base, { name: "AES-CBC", length: 256 }, false, ["decrypt"]);
  let plain;
  try { plain = new Uint8Array(await crypto.subtle.decrypt({ name: "AES-CBC", iv: cipher.parts[1].value }, key, secret.value)); }
  catch { throw new Error("the passphrase does not open this key"); }
  const open = await crypto.subtle.importKey("pkcs8", plain, "Ed25519", true, ["sign"]);  // for a moment, to learn the public half
  const half = hex(Uint8Array.from(atob((await crypto.subtle.exportKey("jwk", open)).x.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0)));
  const closed = await crypto.subtle.importKey("pkcs8", plain, "Ed25519", false, ["sign"]);
  plain.fill(0);
  return { public: half, private: closed };
}

// The door.

async function enter(key) {
  const text = canonical({ nonce: $("enter").dataset.nonce, origin: location.origin, public: key.public });
  const answer = await fetch("/enter", { method: "POST", headers: { accept: "application/json" }, body: new URLSearchParams({ envelope: await envelope(key, text, "sign-in") }) });
  if (answer.ok) { location.href = "/"; return; }
  const told = (await answer.json()).error;
  $("enter").dataset.nonce = (await (await fetch("/enter")).text()).match(/data-nonce="([0-9a-f]+)"/)[1];
  throw new Error(told);
}

async function door() {
  $("origin").textContent = location.origin;
  if (!signs) { say("This browser cannot sign here (it needs HTTPS or a loopback address). Sign elsewhere, as the last part of this page says."); $("other").open = true; shut($("enter")); return; }
  const list = $("known"), here = await keysHere();
  if (here.length) list.replaceChildren(...here.map((key) => {
    const item = document.createElement("li"), button = document.createElement("button");
    button.textContent = `Sign in as ${key.name}`;
    button.onclick = () => enter(key).catch((e) => say(e.message));
    item.append(button);
    return item;
  }));
  $("open").onsubmit = async (event) => {
    event.preventDefault();
    try {
      const file = $("file").files[0], key = await openFile(await file.text(), $("passphrase").value);
      key.name = file.name.replace(/\.(key|pem)$/, ""); key.opened = true;
      $("passphrase").value = "";
      await keep(key); await enter(key);
    } catch (e) { say(e.message); }
  };
  $("make").onsubmit = async (event) => {
    event.preventDefault();
    try {
      const pair = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
      const key = { public: hex(await crypto.subtle.exportKey("raw", pair.publicKey)), private: pair.privateKey };
      const half = await post("/enrol", { envelope: await envelope(key, canonical({ code: $("code").value.trim(), public: key.public }), "enrol") });
      key.name = half.name;
      await keep(key); await enter(key);
    } catch (e) { say(e.message); }
  };
}

// A batch: approvals of opened plans, held in this tab until they are signed, each for itself.

const batchOf = () => JSON.parse(sessionStorage.getItem("batch") || "[]").filter((one) => one.told.public === document.body.dataset.public);
const keepBatch = (items) => { sessionStorage.setItem("batch", JSON.stringify(items)); showBatch(); };
const isSame = (one, other) => one.run === other.run && one.digest === other.digest && one.told.change_class === other.told.change_class;

function showBatch() {
  const link = $("batch-link"), count = document.body.dataset.public ? batchOf().length : 0;
  link.hidden = !count;
  link.textContent = `Batch of ${count}`;
}

function row(item) {
  // what is signed is made here and shown whole
  const now = Math.floor(Date.now() / 1000), nonce = hex(crypto.getRandomValues(new Uint8Array(16)));
  const told = { ...item.told, issued: now, expires: now + (item.told.expires - item.told.issued), nonce };
  const place = document.createElement("section"), label = document.createElement("label"), box = document.createElement("input");
  const link = document.createElement("a"), more = document.createElement("details"), bytes = document.createElement("pre"), says = document.createElement("p");
  box.type = "checkbox"; box.checked = true;
  link.href = `/runs/${item.run}/plan/${item.digest}?act=${told.change_class}`; link.textContent = item.digest.slice(0, 12);
  label.append(box, ` ${told.answer} · ${told.change_class} · ${item.run}`);
  const summary = document.createElement("summary");
  summary.textContent = "The bytes that you sign";
  bytes.className = "bytes"; bytes.tabIndex = 0; bytes.textContent = shown(canonical(told));
  more.append(summary, bytes);
  says.textContent = `Reason: ${shown(told.reason)}`;
  place.append(label, " ", link, says, more);
  return { item, place, box, bytes, says };
}

async function batch() {
  const place = $("batch"), button = $("batch-sign"), items = batchOf();
  if (!items.length) return;
  if (!signs) throw new Error("This browser cannot sign here.");
  const key = (await keysHere()).find((one) => one.public === document.body.dataset.public);
  if (!key) throw new Error("The key that you signed in with is not in this browser.");
  const rows = items.map(row);
  place.replaceChildren(...rows.map((one) => one.place));
  const count = () => { button.textContent = `Sign and send ${rows.filter((one) => one.box.checked).length}`; };
  rows.forEach((one) => { one.box.onchange = count; });
  button.hidden = false;
  button.onkeydown = (event) => { if (event.key === "Enter") event.preventDefault(); };  // Enter never approves
  count();
  button.onclick = async () => {
    button.disabled = true;
    for (const one of rows.filter((row) => row.box.checked && !row.box.disabled)) {
      const { run, digest, typed } = one.item;
      try {
        const text = raw(one.bytes.textContent);
        if (JSON.parse(text).plan !== digest) throw new Error("The bytes are of another plan; nothing was signed.");
        const answer = await post(`/runs/${run}/plan/${digest}`, { token: place.dataset.token, typed, batch: "yes", envelope: await envelope(key, text, "approval") });
        one.says.textContent = `Recorded: ${answer.recorded}.`;
        one.box.disabled = true; one.box.checked = false;
        keepBatch(batchOf().filter((other) => !isSame(other, one.item)));
      } catch (e) { one.says.textContent = e.message; one.says.className = "bad"; }
    }
    button.disabled = false;
    count();
    say("Each row says what became of it.");
  };
}

// A decision.

function looked() {
  // milliseconds for which the page was visible and had the focus
  let total = 0, since = null;
  const note = () => { const on = document.visibilityState === "visible" && document.hasFocus(), now = performance.now();
    if (on && since === null) since = now; else if (!on && since !== null) { total += now - since; since = null; } };
  for (const what of ["visibilitychange", "focus", "blur"]) (what[0] === "v" ? document : window).addEventListener(what, note);
  note();
  return () => Math.round(total + (since === null ? 0 : performance.now() - since));
}

async function checkShown(digest, whose = "the plan's") {
  const found = hex(await crypto.subtle.digest("SHA-256", encoder.encode(raw($("canonical").textContent))));
  $("checked").textContent = found === digest ? `This browser took the digest of what it shows: it is ${whose}.` : "";
  if (found !== digest) throw new Error(`What this page shows has digest ${found.slice(0, 12)}, not ${whose}. Do not sign; tell the operator.`);
}

async function decision() {
  const form = $("decision"), draft = JSON.parse($("draft").textContent), { run, digest, act, token } = form.dataset;
  const seen = Math.floor(Date.now() / 1000), time = looked();
  const buttons = form.querySelectorAll("[data-answer]"), close = (text) => { say(text); shut(form); };
  if (!signs) { close("This browser cannot sign here. Take the request as a file and sign it elsewhere."); return; }
  const key = (await keysHere()).find((one) => one.public === document.body.dataset.public);
  if (!key) { close("The key that you signed in with is not in this browser. Take the request as a file and sign it elsewhere."); return; }
  if (draft.plan !== digest || (act && draft.change_class !== act)) { close("The page and the decision disagree. Do not sign; tell the operator."); return; }
  if ($("canonical")) try { await checkShown(digest); } catch (e) { close(e.message); return; }
  const ready = (answer) => {
    if (!$("reason").value.trim()) { say("A reason is missing: one sentence that says why."); $("reason").focus(); return false; }
    if (answer === "approve" && $("typed").value !== digest.slice(0, 6)) { say("The six characters do not match the digest's first six."); $("typed").focus(); return false; }
    return true;
  };
  const link = (href, text) => { const a = document.createElement("a"); a.href = href; a.textContent = text; $("notice").append(a, " "); return a; };
  const later = $("later");
  if (later) later.onclick = () => {
    if (!ready("approve")) return;
    const told = { ...draft, answer: "approve", reason: $("reason").value.trim(), seen, looked_ms: time() };
    const item = { run, digest, typed: $("typed").value, told };
    keepBatch([...batchOf().filter((other) => !isSame(other, item)), item]);
    close(`In the batch of ${batchOf().length}; nothing is signed yet. `);
    const next = later.dataset.next ? link(later.dataset.next, `Next ${told.change_class}`) : null, all = link("/batch", "Sign the batch");
    (next || all).focus();
  };
  buttons.forEach((button) => { button.onclick = () => {
    const answer = button.dataset.answer, reason = $("reason").value.trim();
    if (!ready(answer)) return;
    const now = Math.floor(Date.now() / 1000), nonce = hex(crypto.getRandomValues(new Uint8Array(16)));
    const told = { ...draft, answer, reason, seen, looked_ms: time(), issued: now, expires: now + (draft.expires - draft.issued), nonce };
    $("sign-what").textContent = `${answer} · ${draft.change_class} · ${digest.slice(0, 12)}`;
    $("bytes").textContent = shown(canonical(told));
    say("");
    $("sign").showModal();
  }; });
  $("sign-cancel").onclick = () => $("sign").close();
  $("sign-now").onclick = async () => {
    $("sign-now").disabled = true;
    try {
      const text = raw($("bytes").textContent), said = JSON.parse(text);
      if (said.plan !== digest) throw new Error("The bytes are of another plan; nothing was signed.");
      const signed = await envelope(key, text, "approval");
      const answer = await post(`/runs/${run}/plan/${digest}`, { token, typed: $("typed") ? $("typed").value : "", envelope: signed });
      $("sign").close();
      close(`Recorded: ${said.answer}. `);
      const next = answer.next ? link(answer.next, "Next request") : null, back = link("/", "Back to the inbox");
      (next || back).focus();
    } catch (e) { $("sign").close(); say(e.message); }
    $("sign-now").disabled = false;
  };
}

// A review of a claim: a probability, signed. It decides nothing.

async function review() {
  const form = $("review"), draft = JSON.parse($("draft").textContent), { path, token } = form.dataset;
  const seen = Math.floor(Date.now() / 1000), time = looked(), button = $("review-now");
  const close = (text) => { say(text); shut(form); };
  const key = signs && (await keysHere()).find((one) => one.public === document.body.dataset.public);
  if (!key) { close("This browser cannot sign here, or does not hold the key that you signed in with."); return; }
  try { await checkShown(draft.shown, "the claim's"); } catch (e) { close(e.message); return; }
  button.onclick = () => {
    const percent = Number($("percent").value), reason = $("reason").value.trim();
    if (!$("percent").value || !Number.isInteger(percent) || percent < 0 || percent > 100) { say("The probability should be a whole number from 0 to 100."); $("percent").focus(); return; }
    if (!reason) { say("A reason is missing: one sentence that says why."); $("reason").focus(); return; }
    const at = Math.floor(Date.now() / 1000), nonce = hex(crypto.getRandomValues(new Uint8Array(16)));
    $("sign-what").textContent = `${percent} % that it replicates`;
    $("bytes").textContent = shown(canonical({ ...draft, percent, reason, seen, looked_ms: time(), at, nonce }));
    say("");
    $("sign").showModal();
  };
  $("sign-cancel").onclick = () => $("sign").close();
  $("sign-now").onclick = async () => {
    $("sign-now").disabled = true;
    try {
      const text = raw($("bytes").textContent);
      if (JSON.parse(text).claim !== draft.claim) throw new Error("The bytes are of another claim; nothing was signed.");
      const answer = await post(path, { token, envelope: await envelope(key, text, "claim-review") });
      close("Recorded. ");
      const link = document.createElement("a");
      link.href = answer.next || path.replace(/\/[^/]*$/, ""); link.textContent = answer.next ? "Next claim" : "All claims";
      $("notice").append(link); link.focus();
    } catch (e) { say(e.message); }
    $("sign").close();
    $("sign-now").disabled = false;
  };
}

// A run as it goes on.

function follow(live) {
  let timer = null;
  const source = new EventSource(live.dataset.events);
  source.addEventListener("changed", () => {
    if (timer) return;
    timer = setTimeout(() => {
      timer = null;
      htmx.trigger(live, "changed");
      document.querySelectorAll("[data-figure]").forEach((image) => { image.src = image.src.split("?")[0] + "?at=" + Date.now(); });
    }, 1000);
  });
  addEventListener("pagehide", () => source.close());
}

// An auditor's own copy of the signed heads: kept here, compared at every visit.

async function audit(place) {
  const run = place.dataset.run, now = await (await fetch(`/runs/${run}/heads`)).json();
  const mine = (await store("readonly", (t) => t.objectStore("heads").get(now.study))) || { study: now.study, key: now.key, heads: [] };
  if (mine.key !== now.key) throw new Error("The study names another checkpoint key than the one that you hold. Its history was rewritten.");
  const key = await crypto.subtle.importKey("raw", unhex(mine.key), "Ed25519", false, ["verify"]);
  for (const { signature, ...head } of now.heads) {
    const good = await crypto.subtle.verify("Ed25519", key, unhex(signature), encoder.encode("heirloop-checkpoint:" + canonical(head)));
    if (!good) throw new Error(`The head at entry ${head.sequence} is not signed by this study.`);
  }
  const before = mine.heads.length, known = new Set(mine.heads.map((h) => h.signature));
  mine.heads.push(...now.heads.filter((h) => !known.has(h.signature)));
  const at = mine.heads.map((h) => h.sequence);
  const hashes = at.length ? await (await fetch(`/runs/${run}/hashes?at=${at.join(",")}`)).json() : {};
  for (const head of mine.heads) if (hashes[head.sequence] !== head.head) throw new Error(`Entry ${head.sequence} is not the one that was signed: the ledger was rewritten or cut.`);
  await store("readwrite", (t) => t.objectStore("heads").put(mine));
  place.textContent = `${mine.heads.length} signed heads in your copy, ${before} from earlier visits; all of them agree with the ledger of ${now.count} entries.`;
  $("audit-save").onclick = () => {
    const link = document.createElement("a"), lines = mine.heads.map((h) => canonical(h)).join("\n") + "\n";
    link.href = URL.createObjectURL(new Blob([lines], { type: "application/jsonl" })); link.download = `heads-${now.study.slice(0, 12)}.jsonl`; link.click();
  };
  $("audit-save").disabled = false;
}

function countdown() {
  const from = performance.now();
  setInterval(() => document.querySelectorAll("[data-left]").forEach((place) => {
    const left = Math.max(0, Number(place.dataset.left) - Math.floor((performance.now() - from) / 1000));
    const hours = Math.floor(left / 3600), minutes = Math.floor(left % 3600 / 60);
    place.textContent = left === 0 ? "no time" : hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min ${left % 60} s` : `${left} s`;
  }), 1000);
}

document.addEventListener("DOMContentLoaded", () => {
  const failed = (e) => say(e.message);
  showBatch();
  const prepared = [["enter", door], ["decision", decision], ["batch", batch], ["review", review]].filter(([place]) => $(place)).map(([place, prepare]) => prepare().then(() => allow($(place)), failed));
  Promise.all(prepared).then(() => { document.body.dataset.ready = ""; });
  if ($("live")) follow($("live"));
  if ($("audit")) audit($("audit")).catch((e) => { $("audit").textContent = e.message; $("audit").className = "bad"; });
  document.querySelector("[data-leave]")?.addEventListener("submit", async (event) => {
    event.preventDefault();
    for (const key of await keysHere()) if (key.opened) await forget(key.public);
    event.target.submit();
  });
  allow(document.querySelector("header"));
  countdown();
});
