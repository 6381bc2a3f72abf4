// The rows of the runs as columns, and how their figures, words and colours look.

const byId = id => document.getElementById(id);

async function unpacked(id) {
  const bytes = Uint8Array.from(atob(byId(id).textContent), letter => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

function element(name, attributes = {}, ...inner) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined) made.setAttribute(key, value);
  }
  made.append(...inner);
  return made;
}

function drawn(name, attributes = {}, ...inner) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...inner);
  return made;
}

const data = JSON.parse(await unpacked("figures"));
const script = document.createElement("script");
script.textContent = await unpacked("plotly");
document.head.append(script);

// --- rows

const rows = { ...data.rows, ...data.more_costs };
const metric = data.metric;
const better = metric.higher_is_better ? 1 : -1;
const label = metric.label[0].toUpperCase() + metric.label.slice(1);
const indices = Array.from({ length: data.count }, (_, row) => row);
const isText = column => column !== undefined && !Array.isArray(column);

function at(column, row) {
  if (column === undefined) return null;
  if (Array.isArray(column)) return column[row];
  return column.is[row] < 0 ? null : column.of[column.is[row]];
}

const get = (name, row) => at(rows[name], row);
const distinct = name => [...new Set(indices.map(row => get(name, row)))].filter(one => one !== null).sort(ordered);
const isBaseline = row => get("method", row) === data.baseline;

function ordered(one, other) {
  if (one === null || other === null) return (one === null) - (other === null);
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other), "en", { numeric: true });
}

// --- words

const digits = (value, count = 4) => (value === null || value === undefined ? "" : String(Number(value.toPrecision(
  count))));
const figure = value => (value === null || value === undefined ? "" : metric.unit === "fraction" ? value.toFixed(
  4) : digits(value, 5));

function multiplyAdds(count) {
  if (count === 0) return "0";
  for (const [unit, size] of [
      ["G", 1e9],
      ["M", 1e6],
      ["k", 1e3]
    ]) {
    if (count >= size) return `${digits(count / size, 3)} ${unit}`;
  }
  return String(count);
}

// Plotly reads tags in its texts: what comes from runs has none.
const plain = text => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

// --- colours: Okabe and Ito's, which colour-blind readers tell apart

const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#8C6D31", "#7F7F7F"];
const OPERATIONS = ["#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#F0E442", "#999999"];
const SYMBOLS = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x", "star"];
const GREY = "#8A939C";
const names = { method: distinct("method"), run: distinct("run") };
const searched = names.method.filter(name => name !== data.baseline);

function lookOf(row) {
  const by = state.colour;
  const place = (by === "run" ? names.run : searched).indexOf(get(by, row));
  const baseline = isBaseline(row);
  return {
    name: by === "run" && baseline ? `${get("run", row)}, ${data.baseline}` : get(by, row),
    colour: baseline && by !== "run" ? GREY : COLOURS[place % COLOURS.length],
    symbol: SYMBOLS[place < 0 ? 3 : place % SYMBOLS.length] + (baseline ? "-open" : ""),
    dash: baseline ? "dot" : "solid",
  };
}

const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
