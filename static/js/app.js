// Small behaviours of every page. All of them are additions: without this file reading and deciding still work.
(() => {
  "use strict";

  // --- errors of HTMX requests: the server's own go to the flash area, anything else gets words ---

  function flash(text) {
    const area = document.getElementById("flash");
    if (!area) return;
    const box = document.createElement("div");
    box.className = "alert alert-danger flash";
    box.setAttribute("role", "alert");
    const words = document.createElement("div");
    words.className = "flash-text";
    words.textContent = text;
    box.append(words);
    area.append(box);
    area.scrollIntoView({ block: "nearest" });
  }

  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr } = event.detail;
    if (xhr.status < 400) return;
    const ours = xhr.getResponseHeader("HX-Retarget") || xhr.status === 422;
    event.detail.shouldSwap = Boolean(ours);
    event.detail.isError = !ours;
    if (!ours) flash(`The server answered ${xhr.status}. Nothing was changed on this page; reload it and try again.`);
  });
  document.addEventListener("htmx:sendError", () => {
    flash("The server cannot be reached. Check the connection and try again; nothing was changed on this page.");
  });

  // --- a thin line while a request is under way ---

  let pending = 0;
  const line = () => document.getElementById("progress-line");
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.elt.matches("[hx-trigger*='every']")) return;
    pending += 1;
    line()?.classList.add("on");
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.elt.matches("[hx-trigger*='every']")) return;
    pending = Math.max(0, pending - 1);
    if (!pending) line()?.classList.remove("on");
  });

  // --- lists: no empty parameters in the URL; the CSV link follows the filters ---

  document.addEventListener("htmx:configRequest", (event) => {
    if (!event.detail.elt.matches("form[data-clean]")) return;
    const sent = event.detail.parameters;
    for (const name of new Set(Object.keys(sent))) {
      if (sent[name] === "" || sent[name] === null) delete sent[name];
    }
  });
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("form[data-clean]")) return;
    for (const input of event.target.elements) if (input.name && !input.value) input.disabled = true;
  });
  function followFilters() {
    for (const link of document.querySelectorAll("a[data-csv]")) {
      const query = new URLSearchParams(window.location.search);
      query.delete("cursor");
      query.set("format", "csv");
      link.href = `${window.location.pathname}?${query}`;
    }
  }
  document.addEventListener("htmx:pushedIntoHistory", followFilters);

  // --- clicks ---

  async function copy(button) {
    const text = button.dataset.copy ?? document.getElementById(button.dataset.copyOf).textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea"); // plain http has no clipboard interface
      area.value = text;
      area.className = "visually-hidden";
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      button.focus();
    }
    const label = button.getAttribute("aria-label");
    button.classList.add("copied");
    button.setAttribute("aria-label", "Copied");
    setTimeout(() => {
      button.classList.remove("copied");
      button.setAttribute("aria-label", label);
    }, 1500);
  }

  document.addEventListener("click", (event) => {
    const copying = event.target.closest("[data-copy], [data-copy-of]");
    if (copying) copy(copying);
    const dismissing = event.target.closest("[data-dismiss]");
    if (dismissing) dismissing.closest(dismissing.dataset.dismiss)?.remove();
  });

  // --- bulk: choose all, and how many are chosen ---

  // The boxes may stand outside the form and name it (form="…"): a table's rows under its bulk bar.
  const boxesOf = (form) => [...form.elements].filter((box) => box.matches("input[type=checkbox][name]"));

  function countChosen(form) {
    const boxes = boxesOf(form);
    const chosen = boxes.filter((box) => box.checked).length;
    for (const place of form.querySelectorAll("[data-bulk-count]")) place.textContent = String(chosen);
    for (const button of form.querySelectorAll("[data-bulk-needed]")) button.disabled = chosen === 0;
    const all = form.querySelector("[data-bulk-all]");
    if (!all) return;
    all.checked = boxes.length > 0 && chosen === boxes.length;
    all.indeterminate = chosen > 0 && chosen < boxes.length;
  }
  document.addEventListener("change", (event) => {
    const form = event.target.form ?? event.target.closest("form[data-bulk]");
    if (!form?.matches("[data-bulk]")) return;
    if (event.target.matches("[data-bulk-all]")) {
      for (const box of boxesOf(form)) box.checked = event.target.checked;
    }
    countChosen(form);
  });
  // --- a choice that shows itself at once (its button is there without JavaScript) ---

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-autosubmit]")) event.target.form.requestSubmit();
  });

  function countAll() {
    for (const form of document.querySelectorAll("form[data-bulk]")) countChosen(form);
  }
  document.addEventListener("DOMContentLoaded", countAll);
  document.addEventListener("htmx:afterSettle", countAll);

  // --- keyboard: single keys act only where nobody is typing (WCAG 2.2, 2.1.4: they need a focused list, or "/") ---

  const typing = (node) => node.closest("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]");

  function move(list, step) {
    const items = [...list.querySelectorAll("[data-keyboard-item]")];
    const at = items.findIndex((item) => item === document.activeElement || item.contains(document.activeElement));
    const next = items[Math.min(items.length - 1, Math.max(0, at + step))];
    if (next) {
      next.focus();
      next.scrollIntoView({ block: "nearest" });
    }
  }

  function press(key, inside) {
    const wanted = `[data-shortcut="${CSS.escape(key)}"]`;
    const target = inside?.querySelector(wanted) ?? [...document.querySelectorAll(wanted)].find((node) => !node.closest("[data-keyboard-item]"));
    if (!target || target.disabled) return false;
    if (target.matches("input, textarea, select")) target.focus();
    else target.click();
    return true;
  }

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    const list = document.querySelector("[data-keyboard-list]");
    if (list && (event.key === "j" || event.key === "k")) {
      move(list, event.key === "j" ? 1 : -1);
      event.preventDefault();
      return;
    }
    if (event.key.length === 1 && press(event.key, event.target.closest("[data-keyboard-item]"))) event.preventDefault();
  });

  // --- a form that came back with errors says so first ---

  const toErrors = () => document.querySelector(".form-summary")?.focus();
  document.addEventListener("DOMContentLoaded", toErrors);
  document.addEventListener("htmx:afterSettle", (event) => event.target.querySelector?.(".form-summary")?.focus());
})();
