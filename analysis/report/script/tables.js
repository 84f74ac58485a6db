// A table of any rows: sorted by a column, filtered by words, as CSV; its first column stays, and says when there is more.
const MOST_ROWS = 500;
const comparisons = {
  "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b, "=": (a, b) => a === b, "!=": (a, b) => a !== b,
};
const wordOf = (name) => name.toLowerCase().replace(/\s+/g, "_");

class Table {
  // columns: {name, of: row → what is sorted, show: row → text, csv: [[heading, row → value], …]}; the last two may be left out.
  constructor(box, {file, label, keyOf, choose, example}) {
    Object.assign(this, {box, file, keyOf, choose, sorting: {name: null, up: true}, columns: [], rows: [], marked: []});
    this.filter = element("input", "", {type: "search", placeholder: example, "aria-label": `filter ${label}`});
    this.told = element("span", "", {role: "status", class: "quiet"});
    this.hint = element("p", "", {class: "hint", "aria-hidden": "true"});
    this.table = element("table", "", {"aria-label": label});
    this.scroll = element("div", "", {class: "scroll"});
    const save = element("button", "CSV", {type: "button", "aria-label": `download ${label} as CSV`}), tools = element("div", "", {class: "tools"});
    this.tools = tools;
    save.addEventListener("click", () => download(`${said.name}-${file()}.csv`, this.csv()));
    this.filter.addEventListener("input", () => this.draw());
    this.scroll.append(this.table);
    tools.append(this.filter, save, this.told);
    box.replaceChildren(tools, this.hint, this.scroll);
    this.scroll.addEventListener("scroll", () => this.sayMore());
    new ResizeObserver(() => this.sayMore()).observe(this.scroll);
  }
  set(columns, rows) {
    Object.assign(this, {columns, rows});
    this.draw();
  }
  mark(keys) {  // which rows are chosen
    this.marked = keys.map(String);
    const rows = [...this.table.querySelectorAll("tbody tr")];
    rows.forEach((row) => row.setAttribute("aria-selected", String(this.marked.includes(row.dataset.key))));
    // One row is reached with Tab, the others with the arrow keys.
    const entry = rows.find((row) => row.dataset.key === this.marked[0]) ?? rows[0];
    if (this.choose) rows.forEach((row) => { row.tabIndex = row === entry ? 0 : -1; });
  }

  found() {
    const terms = this.filter.value.trim().split(/\s+/).filter(Boolean).map((term) => this.test(term));
    const rows = this.rows.filter((row) => terms.every((test) => test(row)));
    const column = this.columns.find((one) => one.name === this.sorting.name);
    if (!column) return rows;
    const sign = this.sorting.up ? 1 : -1, isNothing = (v) => v === null || v === undefined || Number.isNaN(v);
    const keys = new Map(rows.map((row) => [row, column.of(row)]));
    return [...rows].sort((a, b) => {  // what has no value is last, whichever way
      const [p, q] = [keys.get(a), keys.get(b)];
      if (isNothing(p) || isNothing(q)) return isNothing(p) - isNothing(q);
      return (p < q ? -1 : p > q ? 1 : 0) * sign;
    });
  }
  test(term) {  // a word that some cell holds, or a comparison such as share>0.5
    const parts = /^([^<>=!]+)(<=|>=|!=|<|>|=)([^<>=]+)$/.exec(term);
    const column = parts && this.columns.find((one) => wordOf(one.name) === wordOf(parts[1]));
    if (!column) {
      const word = term.toLowerCase();
      return (row) => this.columns.some((one) => this.text(one, row).toLowerCase().includes(word));
    }
    const value = Number(parts[3]), compare = comparisons[parts[2]];
    return (row) => {
      const of = column.of(row);
      return typeof of === "number" && !Number.isNaN(value) ? compare(of, value) : compare(String(of), parts[3]);
    };
  }
  text(column, row) {
    return column.show ? column.show(row) : text(column.of(row));
  }
  csv() {
    const columns = this.columns.flatMap((one) => one.csv ?? [[wordOf(one.name), one.of]]);
    const plain = (v) => (v === null || v === undefined || Number.isNaN(v) ? "" : v === Infinity ? "inf" : v === -Infinity ? "-inf" : String(v));
    const quoted = (v) => (/[",\r\n]/.test(v) ? `"${v.replaceAll('"', '""')}"` : v);
    const lines = [columns.map(([heading]) => heading), ...this.found().map((row) => columns.map(([, of]) => plain(of(row))))];
    return lines.map((line) => line.map(quoted).join(",")).join("\n") + "\n";
  }

  draw() {
    const rows = this.found(), hadFocus = this.table.contains(document.activeElement) && document.activeElement.dataset.column;
    const head = document.createElement("thead").appendChild(document.createElement("tr"));
    this.columns.forEach((column) => {
      const sorted = this.sorting.name === column.name;
      const cell = element("th", "", {scope: "col", "aria-sort": !sorted ? "none" : this.sorting.up ? "ascending" : "descending"});
      const button = element("button", column.name, {type: "button"});
      button.dataset.column = column.name;
      if (sorted) button.append(this.sorting.up ? " ▲" : " ▼");
      button.addEventListener("click", () => {
        this.sorting = {name: column.name, up: sorted ? !this.sorting.up : true};
        this.draw();
      });
      cell.append(button);
      head.append(cell);
    });
    const body = document.createElement("tbody");
    rows.slice(0, MOST_ROWS).forEach((row) => body.append(this.row(row)));
    this.table.replaceChildren(head.parentElement, body);
    const left = rows.length - MOST_ROWS, some = rows.length < this.rows.length ? `${rows.length} of ${this.rows.length} rows` : `${rows.length} ${rows.length === 1 ? "row" : "rows"}`;
    this.told.textContent = left > 0 ? `${some}, the first ${MOST_ROWS} are shown: filter, or take the CSV` : some;
    if (hadFocus) [...this.table.querySelectorAll("th button")].find((one) => one.dataset.column === hadFocus)?.focus();
    this.mark(this.marked);
    this.sayMore();
  }
  row(row) {
    const made = document.createElement("tr");
    made.dataset.key = this.keyOf(row);
    this.columns.forEach((column, i) => made.append(element(i ? "td" : "th", this.text(column, row), i ? {} : {scope: "row"})));
    if (!this.choose) return made;
    made.tabIndex = -1;
    made.addEventListener("click", () => this.choose(row));
    made.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); this.choose(row); }
      const to = {ArrowDown: made.nextElementSibling, ArrowUp: made.previousElementSibling, Home: made.parentElement.firstElementChild, End: made.parentElement.lastElementChild}[event.key];
      if (to) { event.preventDefault(); to.focus(); }
    });
    return made;
  }
  sayMore() {
    const {scrollLeft, scrollWidth, clientWidth} = this.scroll, right = this.scroll.getBoundingClientRect().right;
    const hidden = [...this.table.querySelectorAll("thead th")].filter((th) => th.getBoundingClientRect().right > right + 1).length;
    const more = scrollWidth > clientWidth + 1;
    this.hint.hidden = !more;
    this.hint.textContent = hidden ? `${hidden} more ${hidden === 1 ? "column" : "columns"} to the right →` : scrollLeft > 0 ? "← more columns to the left" : "";
    this.scroll.classList.toggle("more", hidden > 0);
    if (more) this.scroll.tabIndex = 0; else this.scroll.removeAttribute("tabindex");
  }
}

const withEnds = (name, of) => [[name, (row) => asNumber(of(row)[0])], [`${name}_low`, (row) => asNumber(of(row)[1])], [`${name}_high`, (row) => asNumber(of(row)[2])]];
const intervalColumn = (name, of, word = wordOf(name)) => ({name, of: (row) => asNumber(of(row)[0]), show: (row) => interval(of(row)), csv: withEnds(word, of)});
function cellColumns() {
  const held = [...measures.values()].filter((m) => m.ends).map((m) => m.key), order = [view.measure, ...held.filter((key) => key !== view.measure)];
  const share = intervalColumn("share", (cell) => shares[cell.index].interval);
  return [
    ...said.axes.map((axis, i) => ({name: axis.name, of: (cell) => axis.values[cell.place[i]]})),
    {...share, csv: [["measure", () => view.measure], ["below", () => view.below], ...share.csv]},
    {name: "seeds", of: (cell) => shares[cell.index].n},
    intervalColumn("median steps", (cell) => cell.time), intervalColumn("never", (cell) => cell.never),
    ...order.map((key) => intervalColumn(`median ${key}`, (cell) => medianOf(cell, key))),
    ...(said.cells.some((cell) => cell.certified) ? [intervalColumn("certified", (cell) => cell.certified ?? [null, null, null])] : []),
  ];
}
