// The review queue by keyboard. Without this file the same links and buttons do everything.
(() => {
  "use strict";

  const items = () => [...document.querySelectorAll("[data-queue-item]:not([data-done])")];
  const shown = () => document.getElementById("review")?.dataset.decision;
  const current = () => items().find((item) => item.dataset.queueItem === shown());
  const typing = (node) => node.closest("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]");

  function mark() {
    for (const item of document.querySelectorAll("[data-queue-item]")) {
      const on = item.dataset.queueItem === shown();
      item.toggleAttribute("data-current", on);
      const link = item.querySelector("a");
      if (on) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    current()?.scrollIntoView({ block: "nearest" });
  }

  // --- the next one is here before it is asked for ---

  const ahead = new Map(); // id: the part of the page about it, as a promise of its text
  const part = (id) => `${location.pathname}?decision=${id}`;

  function fetchPart(id) {
    const headers = { "HX-Request": "true", "HX-Target": "review" };
    return fetch(part(id), { headers, credentials: "same-origin" }).then((answer) => (answer.ok ? answer.text() : null), () => null);
  }

  function lookAhead() {
    const all = items();
    const at = all.indexOf(current());
    const wanted = [all[at + 1], all[at - 1], all[at + 2]].filter(Boolean).map((item) => item.dataset.queueItem);
    for (const id of [...ahead.keys()]) if (!wanted.includes(id)) ahead.delete(id);
    for (const id of wanted) {
      if (ahead.has(id)) continue;
      fetchAhead(id);
    }
  }

  function fetchAhead(id) {
    const entry = { text: null };
    entry.ready = fetchPart(id).then((text) => {
      if (text === null) ahead.delete(id);
      else entry.text = text;
    });
    ahead.set(id, entry);
    return entry;
  }

  // Shows it now, or as soon as it is here; what was decided cannot be decided again meanwhile.
  let awaited = null;
  function showSoon(item) {
    const id = item.dataset.queueItem;
    awaited = null;
    if (showAhead(item)) return;
    awaited = id;
    document.getElementById("review")?.setAttribute("aria-busy", "true");
    (ahead.get(id) ?? fetchAhead(id)).ready.then(async () => {
      if (awaited !== id || showAhead(item)) return;
      await sending; // it may lead away from here: whatever came of the votes is told before
      if (awaited === id && !signedOut) item.querySelector("a").click();
    });
  }

  // Shows what was fetched ahead; false where it is not here yet.
  function showAhead(item) {
    const text = ahead.get(item?.dataset.queueItem)?.text;
    const old = document.getElementById("review");
    if (!text || !old) return false;
    const made = document.createElement("template");
    made.innerHTML = text;
    const article = made.content.querySelector("#review");
    if (!article || article.dataset.decision !== item.dataset.queueItem) return false;
    const inList = document.activeElement?.closest("[data-queue-item] a");
    old.replaceWith(article);
    window.htmx?.process(article);
    history.replaceState(history.state, "", part(item.dataset.queueItem));
    mark();
    // Whoever walks through the list stays in it; everybody else stands at what is shown.
    (inList ? item.querySelector("a") : article).focus({ preventScroll: true });
    lookAhead();
    return true;
  }

  function step(by) {
    const all = items();
    const next = all[all.indexOf(current()) + by];
    if (!next || showAhead(next)) return;
    next.querySelector("a").focus({ preventScroll: true });
    next.querySelector("a").click();
  }

  // --- a vote: the next one shows at once, the answer comes when it comes ---

  const said = () => document.getElementById("queue-said");
  let sending = Promise.resolve(); // one after the other, as they were cast

  function tellAnswer(html) {
    if (said()) said().innerHTML = html; // the server's own fragment, escaped there
    window.htmx?.process(said());
    fadeUndo();
  }

  function fadeUndo() {
    const form = document.querySelector("form[data-undo]");
    if (form) setTimeout(() => form.remove(), Number(form.dataset.undo) * 1000);
  }

  function count(by) {
    const place = document.querySelector("[data-queue-count]");
    if (place) place.textContent = place.textContent.replace(/^\d+/, (found) => String(Math.max(0, Number(found) + by)));
  }

  let signedOut = false;
  const LATER = 500; // from this status on, and where no answer came, the same vote may be taken when it is tried again

  async function post(body, id) {
    const headers = {
      "HX-Request": "true",
      "HX-Target": "queue-said",
      "HX-Current-URL": location.origin + part(id), // where to come back to
      "X-CSRFToken": body.get("csrfmiddlewaretoken"),
    };
    try {
      return await fetch(location.pathname, { method: "POST", body, headers, credentials: "same-origin", keepalive: true });
    } catch {
      return null;
    }
  }

  async function send(body, item) {
    // What was cast after the session ended is not sent: it would be refused, and told twice.
    const answer = signedOut ? null : await post(body, item.dataset.queueItem);
    const text = answer ? await answer.text() : "";
    if (answer?.ok) return tellAnswer(text);
    const mayBeTaken = !answer || [401, 422, 429].includes(answer.status) || answer.status >= LATER;
    if (mayBeTaken) {
      item.removeAttribute("data-done"); // the request is back in its place
      count(1);
    }
    tellRefusal(item, answer, text, mayBeTaken);
    return undefined;
  }

  // The words say why. They lie over the page: nothing moves under the person's eyes.
  function tellRefusal(item, answer, text, mayBeTaken) {
    const name = `request ${item.dataset.queueItem} (${item.dataset.risk})`;
    const area = document.getElementById("queue-refused");
    if (area && answer?.headers.get("HX-Retarget")) {
      area.insertAdjacentHTML("beforeend", text); // the server's own fragment, escaped there
      const about = document.createElement("div");
      about.textContent = `Your vote on ${name} was not taken${mayBeTaken ? "; it is still in the list" : ""}.`;
      area.lastElementChild?.querySelector(".flash-text")?.append(about);
    }
    if (answer?.status === 401) {
      signedOut = true;
      area?.querySelector("[data-signed-out] a")?.focus({ preventScroll: true });
    }
    const next = mayBeTaken ? "It is still in the list; try again." : "It needs no vote of yours any more.";
    if (said()) said().textContent = `The vote on ${name} was not taken. ${signedOut ? "Sign in first." : next}`;
  }

  // False where nothing follows, or words are missing: then the form is sent as it always is.
  function voteAhead(form, choice) {
    if ("sent" in form.dataset) return true;
    const item = current();
    const all = items();
    const at = all.indexOf(item);
    const next = all[at + 1] ?? all[at - 1];
    if (!item || !next) return false;
    if (choice === "reject" && !form.querySelector("textarea[name=comment]")?.value.trim()) return false;
    const body = new FormData(form);
    body.set("choice", choice);
    form.dataset.sent = "";
    item.setAttribute("data-done", "");
    const box = item.querySelector("input[name=ids]");
    if (box) box.checked = false;
    showSoon(next);
    count(-1);
    const verb = choice === "approve" ? "Approved" : "Rejected";
    if (said()) said().textContent = `${verb}: ${item.dataset.risk}. Now: ${next.dataset.risk}, request ${next.dataset.queueItem}.`;
    sending = sending.then(() => send(body, item));
    return true;
  }

  // In front of htmx, which listens at the form itself.
  document.addEventListener(
    "submit",
    (event) => {
      const form = event.target;
      if (!form.matches("form[data-vote]") || !event.submitter || !voteAhead(form, event.submitter.value)) return;
      event.preventDefault();
      event.stopImmediatePropagation();
    },
    true,
  );

  // Undo waits for the votes that are still under way, so that it means the one that was seen.
  async function undo() {
    await sending;
    document.querySelector("form[data-undo]")?.requestSubmit();
  }

  function choose() {
    const box = current()?.querySelector("input[name=ids]");
    if (!box) return;
    box.checked = !box.checked;
    box.dispatchEvent(new Event("change", { bubbles: true }));
  }

  // The comment of the form that is shown, not the one for several.
  const comment = () => document.querySelector("form[data-vote] textarea[name=comment]");
  const press = (choice) => document.querySelector(`form[data-vote] button[value=${choice}]`)?.click();

  function reject() {
    if (comment()?.value.trim()) press("reject");
    else comment()?.focus();
  }

  const keys = {
    j: () => step(1),
    k: () => step(-1),
    x: choose,
    a: () => press("approve"),
    r: reject,
    c: () => comment()?.focus(),
    u: undo,
    "?": () => document.getElementById("keys")?.showModal(),
  };

  // Before the page's own shortcuts, which would press the same buttons a second time.
  document.addEventListener(
    "keydown",
    (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      if (event.key === "Escape" && event.target.matches("textarea")) event.target.blur();
      const act = keys[event.key];
      if (!act || typing(event.target) || !document.querySelector("[data-queue]")) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      act();
    },
    true,
  );

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-keys]")) document.getElementById("keys")?.showModal();
  });

  // Whoever chooses one for a decision on several finds the buttons for it open.
  document.addEventListener("change", (event) => {
    const bulk = event.target.matches("[data-queue] input[type=checkbox]") && document.querySelector(".queue-bulk");
    if (bulk && event.target.checked) bulk.open = true;
  });

  // After a vote the list stays where it was; what was chosen for several stays chosen.
  let kept = null;
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target?.id !== "queue") return;
    const chosen = [...document.querySelectorAll("[data-queue] input[name=ids]:checked")].map((box) => box.value);
    kept = { top: document.querySelector("[data-queue-items]")?.scrollTop ?? 0, chosen };
  });
  document.addEventListener("htmx:afterSettle", () => {
    if (kept) {
      const list = document.querySelector("[data-queue-items]");
      if (list) list.scrollTop = kept.top;
      for (const box of document.querySelectorAll("[data-queue] input[type=checkbox][name=ids]")) {
        box.checked = kept.chosen.includes(box.value);
      }
      kept = null;
      document.querySelector("form[data-bulk]")?.dispatchEvent(new Event("change"));
    }
    mark();
    lookAhead();
  });
  document.addEventListener("DOMContentLoaded", () => {
    lookAhead();
    fadeUndo();
  });
})();
