// t("...") is replaced by the text in the language of the page.
(async () => {
  const source = document.getElementById("rows");
  if (!source) return;
  const bytes = () => Uint8Array.from(atob(source.textContent), c => c.charCodeAt(0));
  const data = source.dataset.gzip
    ? await new Response(new Blob([bytes()]).stream().pipeThrough(new DecompressionStream("gzip"))).json()
    : JSON.parse(source.textContent);
  const PAGE = 20, root = document.getElementById("explorer"), labels = JSON.parse(root.dataset.groups);
  const code = c => "[U+" + c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0") + "]";
  const visible = text => String(text)
    .replace(/[\x00-\x08\x0b-\x1f]/g, c => String.fromCharCode(0x2400 + c.charCodeAt(0)))
    .replace(/\x7f/g, "\u2421")
    .replace(/[\x80-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g, code);
  const make = (tag, text, attributes) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = visible(text);
    return Object.assign(node, attributes);
  };
  const user = text => make("bdi", text);
  const words = text => text.match(/[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]|\p{N}+(?:[.,:\/-]\p{N}+)+|[\p{L}\p{N}_]+|\s+|[^]/gu) || [];

  // Both texts in order: [sign, words]; "-" only in the reference, "+" only in the answer. An answer that has less than
  // a third of its words from the reference is another text: it has no signs.
  function difference(reference, answer) {
    const a = words(reference), b = words(answer);
    if (a.length * b.length > 250000) return [["", answer]];
    const common = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
    for (let i = a.length - 1; i >= 0; i--)
      for (let j = b.length - 1; j >= 0; j--)
        common[i][j] = a[i] === b[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
    const parts = [];
    let i = 0, j = 0, equal = 0, minus = "", plus = "", space = "";
    const flush = () => {
      parts.push(...[["-", minus], ["+", plus], ["", space]].filter(part => part[1]));
      minus = plus = space = "";
    };
    while (i < a.length || j < b.length) {
      if (i < a.length && j < b.length && a[i] === b[j]) {
        const isSpace = !a[i].trim();
        if (isSpace && (minus || plus)) space += a[i]; // between changed words it belongs to both
        else { flush(); parts.push(["", a[i]]); }
        equal += !isSpace; i++; j++;
        continue;
      }
      minus += space; plus += space; space = "";
      if (j === b.length || (i < a.length && common[i + 1][j] >= common[i][j + 1])) minus += a[i++];
      else plus += b[j++];
    }
    flush();
    return 3 * equal < b.filter(word => word.trim()).length ? [["", answer]] : parts;
  }

  function answerCell(answer, reference) {
    const cell = make("td", undefined, { className: reference.length < 40 ? "text label" : "text" });
    if (answer === 0) cell.append(make("span", "✓ ", { className: "same" }), user(reference));
    else if (Array.isArray(answer)) cell.append(make("em", answer[0] + " "), user(answer[1]));
    else if (answer === null) cell.append(make("em", t("no answer")));
    else if (reference.length < 30 && !/\s/.test(reference)) cell.append(user(answer));
    else {
      const box = make("bdi");
      for (const [sign, word] of difference(reference, answer))
        box.append(sign ? make(sign === "+" ? "ins" : "del", word) : visible(word));
      cell.append(box);
    }
    return cell;
  }

  const known = answer => Array.isArray(answer) ? answer.join(" ") : answer || "";
  const rows = data.rows.map(row => ({ row, text: [row[1], "line " + row[2], row[3], row[4], ...row[5].map(known)].join("\n").toLowerCase() }));
  const filters = make("div", undefined, { className: "filters" });
  const search = make("input", undefined, { type: "search", placeholder: t("Search texts and answers"), ariaLabel: t("Search texts and answers") });
  const state = { group: root.dataset.first, shown: PAGE };
  const selects = [];
  function select(title, values, test) {
    const different = [...new Set(values)].sort((a, b) => String(a).localeCompare(String(b), undefined, { numeric: true }));
    if (different.length < 2 || different.length > 300 || different.some(value => value.length > 60)) return;
    const box = make("select", undefined, { ariaLabel: title });
    box.append(make("option", title + t(": all"), { value: "" }), ...different.map((value, n) => make("option", value, { value: n + 1 })));
    box.addEventListener("change", () => { state.shown = PAGE; draw(); });
    selects.push(row => !box.value || test(row) === different[box.value - 1]);
    filters.append(box);
  }
  const buttons = {}, tabs = make("div", undefined, { className: "tabs" });
  for (const [group, label] of [...labels, ["", t("All")]]) {
    const count = group ? rows.filter(({ row }) => row[0] === group).length : rows.length;
    buttons[group] = make("button", `${label} (${count})`, { type: "button" });
    buttons[group].dataset.group = group;
    buttons[group].addEventListener("click", () => { state.group = group; state.shown = PAGE; draw(); });
    tabs.append(buttons[group]);
  }
  search.addEventListener("input", () => { state.shown = PAGE; draw(); });
  filters.append(search);
  select(t("Reference"), data.rows.map(row => row[4]), row => row[4]);
  const outcome = row => Array.isArray(row[5][0]) ? row[5][0][0] : "ok";
  select(t("Outcome"), data.rows.map(outcome), outcome);
  data.columns.forEach((column, n) => select(column, data.rows.map(row => row[6][n]), row => row[6][n]));

  const count = make("output", "", { id: "row-count" });
  const table = make("table"), caption = make("caption", t("Test rows")), head = make("thead"), body = make("tbody");
  const top = head.insertRow();
  const titles = [t("Line"), t("Text"), t("Reference"), ...data.variants.map(name => t("Answer of ") + name)];
  for (const title of titles)
    top.append(make("th", title, { scope: "col", className: title === t("Line") ? "" : "text" }));
  table.append(caption, head, body);
  const wrapper = make("div", undefined, { className: "wide", tabIndex: 0, role: "region", ariaLabel: t("Test rows") });
  wrapper.append(table);
  const more = make("button", t("Show more"), { type: "button" });
  more.addEventListener("click", () => { state.shown += 4 * PAGE; draw(); });

  function draw() {
    const needle = search.value.toLowerCase();
    const matching = rows.filter(({ row, text }) =>
      (!state.group || row[0] === state.group) && text.includes(needle) && selects.every(test => test(row)));
    for (const [group, button] of Object.entries(buttons)) button.setAttribute("aria-pressed", group === state.group);
    count.textContent = t("{matching} of {total} rows").replace("{matching}", matching.length).replace("{total}", rows.length);
    body.replaceChildren(...matching.slice(0, state.shown).map(({ row }) => {
      const line = make("tr", undefined, { title: "id " + row[1] });
      line.append(make("td", row[2] || ""));
      for (const text of [row[3], row[4]]) {
        const cell = make("td", undefined, { className: text.length < 40 ? "text label" : "text" });
        cell.append(user(text));
        line.append(cell);
      }
      line.append(...row[5].map(answer => answerCell(answer, row[4])));
      titles.forEach((title, n) => { line.cells[n].dataset.label = visible(title); });
      return line;
    }));
    more.hidden = matching.length <= state.shown;
  }
  root.replaceChildren(tabs, filters, count, wrapper, more);
  draw();
})();
