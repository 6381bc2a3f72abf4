// The table: sorted, page by page.

function tableColumns() {
  const trained = shown.some(row => get("table", row) === "evaluations") || (!shown.length && rows.table.of[0] ===
    "evaluations");
  const some = name => rows[name] !== undefined && shown.some(row => get(name, row) !== null);
  const list = [
    { name: "front", title: "Front", value: row => (onFront.has(row) ? 1 : 0), show: row => (onFront.has(row) ?
        "★" : "") },
    { name: "value", title: label, value: row => rows.value[row], show: row => figure(rows.value[row]) },
    some("test") && { name: "test", title: `Test ${metric.label}`, show: row => figure(get("test", row)) },
    some("supernet") && { name: "supernet", title: "Supernet", show: row => figure(get("supernet", row)) },
    some("inherited") && { name: "inherited", title: "Inherited", show: row => figure(get("inherited", row)) },
    { name: "macs", title: "Macs (M)", show: row => digits(rows.macs[row]) },
    { name: "params", title: "Params (M)", show: row => digits(rows.params[row]) },
    ...Object.keys(data.more_costs).filter(some).map(name => ({ name, title: data.costs[name], show: row =>
        digits(get(name, row)) })),
    { name: "method", title: "Method", text: true },
    names.run.length > 1 && { name: "run", title: "Run", text: true },
    distinct("space").length > 1 && { name: "space", title: "Space", text: true },
    { name: "seed", title: "Seed" },
    trained ? { name: "epochs", title: "Epochs" } : { name: "epoch", title: "Epoch" },
    ...Object.entries(data.knobs).map(([name, column]) => ({
      name: `knob ${name}`,
      title: name,
      text: isText(column),
      value: row => at(column, row),
      show: row => (typeof at(column, row) === "number" ? digits(at(column, row)) : at(column, row) ?? ""),
    })),
    { name: "seconds", title: "Seconds", show: row => digits(get("seconds", row), 3) },
    { name: "id", title: "Architecture", text: true },
  ].filter(Boolean);
  for (const column of list) {
    column.value ??= row => get(column.name, row);
    column.show ??= row => column.value(row) ?? "";
  }
  return list;
}

let columns = [];
let sorted = [];

function resort() {
  columns = tableColumns();
  const by = columns.find(column => column.name === state.sort.name) || columns[1];
  const direction = state.sort.down ? -1 : 1;
  sorted = state.onlyFront ? shown.filter(row => onFront.has(row)) : [...shown];
  sorted.sort((one, other) => {
    const a = by.value(one),
      b = by.value(other);
    if (a === null || b === null) return ordered(a, b); // what is missing stands last
    return direction * ordered(a, b) || one - other;
  });
}

function drawTable() {
  const pages = Math.max(1, Math.ceil(sorted.length / PAGE));
  state.page = Math.min(Math.max(state.page, 0), pages - 1);
  const head = element("tr");
  for (const column of columns) {
    const own = column.name === state.sort.name;
    const arrow = own ? (state.sort.down ? " ▼" : " ▲") : "";
    const button = element("button", { type: "button", "data-sort": column.name }, column.title + arrow);
    head.append(element("th", { scope: "col", class: column.text ? "text" : undefined, "aria-sort": own ? (state
        .sort.down ? "descending" : "ascending") : "none" }, button));
  }
  byId("table").tHead.replaceChildren(head);
  const there = sorted.slice(state.page * PAGE, (state.page + 1) * PAGE);
  const stop = there.includes(state.selected) ? state.selected : there[0];
  byId("table").tBodies[0].replaceChildren(...there.map(row => element(
    "tr", { "data-row": row, tabindex: row === stop ? 0 : -1, "aria-selected": row === state.selected },
    ...columns.map(column => element("td", { class: column.text ? "text" : undefined }, String(column.show(
      row)))),
  )));
  byId("page-said").textContent = `Page ${state.page + 1} of ${pages}`;
  byId("rows-said").textContent = `${sorted.length} rows. Click a heading to sort by it, a row to see its cells.`;
  byId("before").disabled = state.page === 0;
  byId("after").disabled = state.page >= pages - 1;
}
