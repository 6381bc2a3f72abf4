// The selected architecture: its figures, the drawing of its cells, and what their operations cost.

function costsOf(row) {
  const size = data.sizes[rows.size[row]];
  if (size === undefined) return null;
  const of = new Map(); // cell name -> {times, macs, choices: Map(choice -> macs), nodes: Map}
  for (const [name, table] of size.positions) {
    const number = rows.cells[row].find(one => data.cells[one].name === name);
    if (number === undefined) return null;
    const cell = data.cells[number],
      dead = new Set(cell.dead || []);
    if (!of.has(name)) of.set(name, { times: 0, macs: 0, choices: new Map(), nodes: new Map() });
    const sum = of.get(name);
    sum.times += 1;
    const entered = new Set();
    for (const choice of cell.choices) {
      const macs = dead.has(choice) ? 0 : size.tables[table][choice] || 0;
      sum.choices.set(choice, (sum.choices.get(choice) || 0) + macs);
      sum.macs += macs;
      if (!dead.has(choice)) entered.add(data.choices[choice][1]);
    }
    for (const [node, macs] of Object.entries(cell.nodes ? size.nodes[table] : {})) {
      if (!entered.has(Number(node))) continue;
      sum.nodes.set(Number(node), (sum.nodes.get(Number(node)) || 0) + macs);
      sum.macs += macs;
    }
  }
  return { base: size.base, of };
}

const operationColour = number => OPERATIONS[number % OPERATIONS.length];
const mixed = (colour, share, other) => `color-mix(in srgb, ${colour} ${share}%, ${other})`;

function cellDrawing(number, name) {
  const found = data.drawings[number];
  if (!found) return null;
  const [width, height] = found.size;
  const svg = drawn("svg", { class: "cell", viewBox: `-6 -8 ${width + 12} ${height + 16}`,
  role: "img", "aria-label": `Drawing of ${name}`,
    style: `max-width: ${Math.round(width * 1.25)}px; min-width: ${Math.round(width * 0.8)}px` });
  const ink = one => (one === -1 ? "var(--pale)" : one === -2 ? "var(--ink)" : mixed(operationColour(one), 80,
    "var(--ink)"));
  for (const [x, bend, y, until, toX, toY, own, arrow] of found.lines) {
    const middle = (bend + until) / 2;
    svg.append(drawn("path", { d: `M${x} ${y}H${bend}C${middle} ${y} ${middle} ${toY} ${until} ${toY}H${toX}`,
      style: `stroke: ${ink(own)}` }));
    if (arrow) svg.append(drawn("path", { d: `M${toX} ${toY}l-7 -3.4v6.8z`,
      style: `fill: ${ink(own === -1 ? -1 : -2)}; stroke: none` }));
  }
  for (const [x, y, wide, high, kind, texts, operations] of found.boxes) {
    const each = kind === "operations" ? high / texts.length : high;
    (kind === "operations" ? texts.map(text => [text]) : [texts]).forEach((lines, place) => {
      const colour = operations.length ? operationColour(operations[place] < 0 ? 7 : operations[place]) : null;
      const fill = colour ? mixed(colour, 34, "#fff") : kind === "node" ? "#fff" : "#ddd";
      const top = y + place * each;
      svg.append(drawn("rect", { x: x + 1, y: top + 1, width: wide - 2, height: each - 2, rx: kind === "node" ?
          11 : 4,
        style: `fill: ${fill}; stroke: ${colour ? mixed(colour, 80, "#333") : "#333"}; stroke-width: 0.9` }));
      lines.forEach((text, line) => svg.append(drawn("text", { x: x + wide / 2, y: top + each / 2 + 3.5 + (
          line - (lines.length - 1) / 2) * 14 }, text)));
    });
  }
  return svg;
}

// Every choice in a line of its own, from its source to its target: this needs no layout, and so fits any cell.
function choicesTable(cell, costs, title) {
  const edges = cell.choices.map(choice => data.choices[choice]);
  const nodes = Math.max(...edges.map(edge => edge[1]), 0) + 1,
    gap = nodes > 9 ? 13 : 18,
    width = gap * nodes;
  const most = costs ? Math.max(...costs.choices.values(), ...costs.nodes.values(), 1) : 1;
  const dead = new Set(cell.dead || []);
  const strip = (inner, first) => {
    const svg = drawn("svg", { viewBox: `0 0 ${width} 22`, width, "aria-hidden": "true" });
    for (let node = 0; node < nodes; node++) {
      const x = gap * (node + 0.5);
      if (first) svg.append(drawn("text", { x, y: 15, "text-anchor": "middle", "font-size": nodes > 9 ? 8.5 : 11,
        style: "fill: var(--faint)" }, String(node)));
      else svg.append(drawn("line", { x1: x, x2: x, y1: 0, y2: 22, style: "stroke: var(--line)" }));
    }
    svg.append(...inner);
    return svg;
  };
  const line = (content, what, operation, macs, isDead) => {
    const cells = [element("td", {}, content), element("td", {}, what)];
    if (costs) {
      const bar = element(
      "i", { style: `width: ${(100 * macs) / most}%; background: ${operationColour(operation)}` });
      cells.push(element("td", { class: "bar" }, bar), element("td", { class: "number" }, isDead ? "unused" :
        multiplyAdds(macs)));
    }
    return element("tr", isDead ? { class: "dead" } : {}, ...cells);
  };
  const table = element("table", { class: "choices" }, ...(title ? [element("caption", {}, title)] : []));
  const head = [element("th", { scope: "col" }, strip([], true)), element("th", { scope: "col" }, "operation")];
  if (costs) head.push(element("th", { scope: "col", colspan: 2, style: "text-align: right" }, "multiply-adds"));
  table.append(element("thead", {}, element("tr", {}, ...head)));
  const body = element("tbody");
  // Of a block first what its nodes compute: most of its connections cost nothing.
  for (const [node, operation] of Object.entries(cell.nodes || {})) {
    const used = edges.some(([, target], place) => target === Number(node) && !dead.has(cell.choices[place]));
    if (!used) continue;
    const mark = [drawn("rect", { x: gap * (Number(node) + 0.5) - 5, y: 6, width: 10, height: 10, rx: 2,
      style: `fill: ${operationColour(data.operations.indexOf(operation))}` })];
    body.append(line(strip(mark), `${operation} at ${node}`, data.operations.indexOf(operation), costs?.nodes.get(
      Number(node)) || 0, false));
  }
  cell.choices.forEach((choice, place) => {
    const [source, target, operation] = edges[place], x = gap * (source + 0.5), end = gap * (target + 0.5);
    const colour = mixed(operationColour(operation), 85, "var(--ink)");
    const arrow = [
      drawn("circle", { cx: x, cy: 11, r: 3, style: `fill: ${colour}` }),
      drawn("path", { d: `M${x} 11H${end - 5}`, style: `stroke: ${colour}; stroke-width: 2` }),
      drawn("path", { d: `M${end} 11l-7 -4v8z`, style: `fill: ${colour}` }),
    ];
    const what = `${cell.nodes ? "" : data.operations[operation] + " "}`;
    const words = element("span", {}, what, element("span", { style: "color: var(--faint)" },
      `${source}→${target}`));
    body.append(line(strip(arrow), words, operation, costs?.choices.get(choice) || 0, dead.has(choice)));
  });
  table.append(body);
  return table;
}

function drawDetails() {
  const row = state.selected,
    place = byId("details");
  if (row === null) {
    place.replaceChildren(element("p", { class: "said" }, "Select a mark or a row: its cells are drawn here."));
    return;
  }
  const item = (name, value) => element("li", {}, element("span", {}, `${name} `), String(value));
  const list = element("ul", { class: "figures" }, item(label, figure(rows.value[row])));
  if (get("test", row) !== null) list.append(item(`test ${metric.label}`, figure(get("test", row))));
  if (get("inherited", row) !== null) list.append(item("inherited", figure(get("inherited", row))));
  list.append(item("multiply-adds", `${digits(rows.macs[row])} M`), item("params",
  `${digits(rows.params[row])} M`));
  list.append(item("method", get("method", row)), item("seed", get("seed", row)));
  if (names.run.length > 1) list.append(item("run", get("run", row)));
  if (get("epochs", row) !== null) list.append(item("epochs", get("epochs", row)));
  else list.append(item("search epoch", get("epoch", row)));
  if (get("trial", row) !== null) list.append(item("search", get("trial", row)));
  if (get("like", row) !== null) list.append(item("random, as dear as", get("like", row)));
  for (const [name, column] of Object.entries(data.knobs)) {
    const value = at(column, row);
    if (value !== null) list.append(item(name, typeof value === "number" ? digits(value) : value));
  }
  list.append(item("channels", get("channels", row)));
  const costs = costsOf(row);
  const parts = [element("h3", {}, `Architecture ${get("id", row)}`), list];
  if (get("weights", row) !== null) {
    // What a table holds is not for a shell unless it is a plain name.
    const [run, id] = ["run", "id"].map(name => (/^\w[\w.-]*$/.test(get(name, row)) ? get(name, row) : name.toUpperCase()));
    const command = `nasray export ${run} ${id} --to onnx --out network.onnx`;
    parts.push(element("p", { class: "said" }, "Take it away: ", element("code", {}, command)));
  }
  for (const number of rows.cells[row]) {
    const cell = data.cells[number],
      own = costs?.of.get(cell.name);
    const times = own && own.times > 1 ? ` × ${own.times}` : "";
    const title = `${cell.name}${times}${own ? `: ${multiplyAdds(own.macs)} multiply-adds` : ""}`;
    const drawing = cellDrawing(number, cell.name);
    if (drawing === null) {
      parts.push(choicesTable(cell, own, title));
      continue;
    }
    const scrolled = element("div", { class: "wide", tabindex: 0, role: "group", "aria-label": title }, drawing);
    const summary = element("summary", {}, own ? "multiply-adds of each operation" : "operations");
    parts.push(element("h4", {}, title), scrolled, element("details", {}, summary, choicesTable(cell, own, "")));
  }
  if (costs) {
    parts.push(element("p", { class: "said" },
      `Stem, preprocessing and classifier: ${multiplyAdds(costs.base)} multiply-adds.`));
  } else if (rows.cells[row].length) {
    parts.push(element("p", { class: "said" },
      "What its operations cost is not known here: the run does not say what an input is, or its space is a user's " +
      "own code that was not given."));
  }
  place.replaceChildren(...parts);
  place.scrollTop = 0;
}
