// The policy's editor: checks as you type, completion, ready rules, tests. Without this file it is a plain form.
(() => {
  "use strict";

  const form = document.querySelector("form[data-policy-editor]");
  const area = form?.querySelector("textarea[name='source']");
  const tests = form?.querySelector("textarea[name='tests']");
  if (!form || !area) return;

  const PAUSE = 400;
  const MOST = 12;
  const token = form.querySelector("input[name='csrfmiddlewaretoken']").value;

  const make = (name, attributes = {}, text = "") => {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.textContent = text;
    return node;
  };

  async function ask(url, body) {
    const answer = await fetch(url, {
      method: body ? "POST" : "GET",
      headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRFToken": token },
      body: body && JSON.stringify(body),
    });
    return { ok: answer.ok, status: answer.status, document: await answer.json() };
  }

  // --- checks as you type ---

  const shown = make("div", { class: "policy-checks", role: "status" });
  area.after(shown);

  function place(line, column) {
    const lines = area.value.split("\n");
    const at = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0) + column - 1;
    area.focus();
    area.setSelectionRange(at, at);
    area.scrollTop = Math.max(0, (line - 5) * lineHeight());
  }

  function say(words, faults) {
    shown.replaceChildren(make("span", {}, words));
    if (!faults.length) return;
    const list = make("ul");
    for (const fault of faults.slice(0, 20)) {
      const item = make("li");
      const button = make("button", { type: "button" }, `line ${fault.line}, column ${fault.column}: ${fault.message}`);
      button.addEventListener("click", () => place(fault.line, fault.column));
      item.append(button);
      list.append(item);
    }
    shown.append(list);
  }

  let waiting = 0;
  let asked = 0;
  async function check() {
    const mine = ++asked;
    try {
      const { ok, status, document: found } = await ask(form.dataset.check, { source: area.value });
      if (mine !== asked) return; // something newer was typed meanwhile
      if (ok) say(`No faults; ${found.rules.length} ${found.rules.length === 1 ? "rule" : "rules"}.`, []);
      else if (status === 422 && found.errors?.[0]?.line) say("It cannot be used yet:", found.errors);
      else say(found.detail || "It cannot be checked now.", []);
    } catch {
      if (mine === asked) say("It cannot be checked now: the server does not answer. Saving checks it too.", []);
    }
  }
  function checkSoon() {
    clearTimeout(waiting);
    waiting = setTimeout(check, PAUSE);
  }
  area.addEventListener("input", checkSoon);

  // --- tests ---

  if (tests) {
    const results = make("div", { class: "policy-checks", role: "status" });
    tests.after(results);
    form.querySelector("[data-run-tests]")?.addEventListener("click", async () => {
      results.replaceChildren(make("span", {}, "Running…"));
      try {
        const { ok, document: found } = await ask(form.dataset.tests, { source: area.value, tests: tests.value });
        const words = ok ? `${found.passed} passed, ${found.failed} failed.` : found.detail;
        results.replaceChildren(make("span", {}, words));
        const list = make("ul");
        for (const one of (ok ? found.results : []).filter((result) => !result.passed)) {
          const rules = [...one.missing.map((r) => `${r} did not fire`), ...one.unwanted.map((r) => `${r} fired`)];
          list.append(make("li", {}, `${one.name}: expected ${one.expected}, found ${one.found}${rules.length ? `; ${rules.join(", ")}` : ""}`));
        }
        results.append(list);
      } catch {
        results.replaceChildren(make("span", {}, "They cannot be run now: the server does not answer."));
      }
    });
  }

  // --- ready rules ---

  // A list under ``key`` at the top of the document takes one more entry, indented as its others are.
  function added(text, key, entry) {
    const lines = text.replace(/\s+$/, "").split("\n");
    const at = lines.findIndex((line) => line.startsWith(`${key}:`));
    const first = lines.slice(at + 1).find((line) => /^\s*- /.test(line));
    const indent = at >= 0 && first ? first.match(/^\s*/)[0] : "  ";
    const body = entry.replace(/\s+$/, "").split("\n").map((line) => (line ? indent + line : line));
    let end = lines.length;
    for (let n = at + 1; at >= 0 && n < lines.length; n += 1) {
      if (/^[^\s#-]/.test(lines[n])) { end = n; break; }
    }
    const head = at >= 0 ? lines.slice(0, end) : [...lines.filter((line, n) => line || n), `${key}:`];
    return `${[...head, "", ...body, ...(at >= 0 ? lines.slice(end) : [])].join("\n")}\n`;
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-insert-rule]");
    if (!button) return;
    area.value = added(area.value, "rules", button.dataset.insertRule);
    if (tests) tests.value = added(tests.value, "tests", button.dataset.insertTests);
    const at = area.value.indexOf(button.dataset.insertRule.split("\n")[0].trim());
    place(area.value.slice(0, at).split("\n").length, 1);
    check();
  });

  // --- completion ---

  let words = [];
  ask(form.dataset.vocabulary).then(({ ok, document: found }) => {
    if (!ok) return;
    words = [
      ...found.words,
      ...found.words.filter((word) => word.words.length).flatMap((word) => word.words.map((value) => (
        { name: `"${value}"`, type: word.name, about: `a value of ${word.name}` }))),
      ...found.functions.map((name) => ({ name: `${name}(`, type: "function", about: "" })),
    ];
  }).catch(() => {});

  const holder = make("div", { class: "policy-area" });
  area.before(holder);
  holder.append(area);
  const list = make("ul", { class: "policy-words", role: "listbox", id: "policy-words", "aria-label": "Words of the policy" });
  list.hidden = true;
  holder.append(list);
  for (const [name, value] of [["aria-autocomplete", "list"], ["aria-controls", "policy-words"], ["aria-expanded", "false"], ["role", "combobox"]]) {
    area.setAttribute(name, value);
  }

  const typed = () => area.value.slice(0, area.selectionStart).match(/[\w."]*$/)[0];
  const lineHeight = () => parseFloat(getComputedStyle(area).lineHeight) || 18;
  let found = [];
  let chosen = -1;

  function close() {
    list.hidden = true;
    chosen = -1;
    area.setAttribute("aria-expanded", "false");
    area.removeAttribute("aria-activedescendant");
  }

  function choose(number) {
    chosen = (number + found.length) % found.length;
    [...list.children].forEach((item, n) => item.setAttribute("aria-selected", String(n === chosen)));
    list.children[chosen].scrollIntoView({ block: "nearest" });
    area.setAttribute("aria-activedescendant", list.children[chosen].id);
  }

  function accept(word) {
    const end = area.selectionStart;
    const begin = end - typed().length;
    area.setRangeText(word.name, begin, end, "end");
    close();
    area.focus();
    checkSoon();
  }

  function stand() {
    const before = area.value.slice(0, area.selectionStart);
    const style = getComputedStyle(area);
    const pen = document.createElement("canvas").getContext("2d");
    pen.font = `${style.fontSize} ${style.fontFamily}`;
    const line = before.split("\n").length;
    const column = before.length - before.lastIndexOf("\n") - 1 - typed().length;
    const left = parseFloat(style.paddingLeft) + column * pen.measureText("0").width - area.scrollLeft;
    const top = parseFloat(style.paddingTop) + line * lineHeight() - area.scrollTop;
    list.style.left = `${Math.max(0, Math.min(left, holder.clientWidth - 300))}px`;
    list.style.top = `${Math.max(0, Math.min(top, area.clientHeight))}px`;
  }

  function open(all) {
    const start = typed();
    if (!all && start.length < 2) return close();
    const wanted = start.toLowerCase();
    const last = wanted.split(".").pop();
    found = words
      .filter((word) => word.name.toLowerCase().startsWith(wanted) || (!start.includes(".") && last.length > 1 && word.name.toLowerCase().includes(`.${last}`)))
      .filter((word) => word.name !== start)
      .slice(0, MOST);
    if (!found.length) return close();
    list.replaceChildren(...found.map((word, n) => {
      const item = make("li", { role: "option", id: `policy-word-${n}`, "aria-selected": "false" });
      item.append(make("code", {}, word.name), make("span", {}, [word.type, word.about].filter(Boolean).join(": ")));
      item.addEventListener("mousedown", (event) => { event.preventDefault(); accept(word); });
      return item;
    }));
    list.hidden = false;
    area.setAttribute("aria-expanded", "true");
    stand();
    return choose(0);
  }

  area.addEventListener("input", () => open(false));
  area.addEventListener("blur", close);
  area.addEventListener("scroll", close);
  area.addEventListener("click", close);
  area.addEventListener("keydown", (event) => {
    if (event.key === " " && event.ctrlKey) {
      event.preventDefault();
      open(true);
    } else if (!list.hidden && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      choose(chosen + (event.key === "ArrowDown" ? 1 : -1));
    } else if (!list.hidden && (event.key === "Enter" || event.key === "Tab")) {
      event.preventDefault();
      accept(found[chosen]);
    } else if (!list.hidden && event.key === "Escape") {
      event.preventDefault();
      close();
    }
  });
})();
