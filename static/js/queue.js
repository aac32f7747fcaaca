// The review queue by keyboard. Without this file the same links and buttons do everything.
(() => {
  "use strict";

  const items = () => [...document.querySelectorAll("[data-queue-item]")];
  const shown = () => document.getElementById("review")?.dataset.decision;
  const current = () => items().find((item) => item.dataset.queueItem === shown());
  const typing = (node) => node.closest("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]");

  function mark() {
    for (const item of items()) {
      const on = item.dataset.queueItem === shown();
      item.toggleAttribute("data-current", on);
      const link = item.querySelector("a");
      if (on) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    current()?.scrollIntoView({ block: "nearest" });
  }

  function step(by) {
    const all = items();
    const next = all[all.indexOf(current()) + by];
    if (!next) return;
    next.querySelector("a").focus({ preventScroll: true });
    next.querySelector("a").click();
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
  });
})();
