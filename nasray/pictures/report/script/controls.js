// What happens when.

// A figure is drawn when it is first seen, and from then on at every change.
const later = { search: drawSearch, knobs: drawKnobs, importance: drawImportance, retrained: drawRetrained,
  curves: drawCurves };
const seen = new Set();
const eyes = new IntersectionObserver(entries => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting || seen.has(target.id)) continue;
    seen.add(target.id);
    later[target.id]();
    clickable(`${target.id}-plot`);
  }
}, { rootMargin: "300px" });

const redraw = names => names.filter(name => seen.has(name)).forEach(name => later[name]());

function clickable(id) {
  byId(id).on?.("plotly_click", event => {
    const row = event.points[0].customdata;
    if (typeof row === "number") select(row);
  });
}

function refresh() {
  refilter();
  resort();
  drawFront();
  drawTable();
  byId("retrained").hidden = !shown.some(row => get("inherited", row) !== null);
  redraw(Object.keys(later));
}

function select(row, focus = false) {
  state.selected = row;
  const place = sorted.indexOf(row);
  if (place >= 0) state.page = Math.floor(place / PAGE);
  drawTable();
  drawDetails();
  drawFront();
  redraw(["search"]);
  if (focus) document.querySelector(`#table tr[data-row="${row}"]`)?.focus();
}

function fill(select, options) {
  select.replaceChildren(...options.map(([value, text]) => element("option", { value }, text)));
}

function checkboxes(id, name) {
  const field = byId(id),
    values = distinct(name);
  field.hidden = values.length < 2;
  for (const value of values) {
    const box = element("input", { type: "checkbox", checked: "" });
    box.addEventListener("change", () => {
      box.checked ? state.off[name].delete(value) : state.off[name].add(value);
      refresh();
    });
    const inner = [box];
    if (name === "method") inner.push(element("span", { class: "swatch",
      style: `background: ${value === data.baseline ? GREY : colourOf(searched.indexOf(value))}` }));
    field.append(element("label", {}, ...inner, value === data.baseline && name === "method" ?
      `${value} (baseline)` : String(value)));
  }
}

checkboxes("methods", "method");
checkboxes("runs", "run");
checkboxes("seeds", "seed");
fill(byId("part"), [...data.parts.map((text, part) => [part, text]), ...(rows.part.includes(-1) ? [
  [-1, "stopped early, on no front"]
] : [])]);
fill(byId("cost"), Object.entries(data.costs));
byId("colour-label").hidden = names.run.length < 2;
byId("colour").value = state.colour;
byId("surfaces-label").hidden = data.surfaces === null;
byId("part").addEventListener("change", event => {
  state.part = Number(event.target.value);
  state.page = 0;
  refresh();
  const last = frontOf(means).at(-1);
  if (last) select(last.row);
});
byId("cost").addEventListener("change", event => { state.cost = event.target.value;
  refresh(); });
byId("colour").addEventListener("change", event => { state.colour = event.target.value;
  refresh(); });
byId("others").addEventListener("change", event => { state.others = event.target.checked;
  drawFront(); });
byId("surfaces").addEventListener("change", event => { state.surfaces = event.target.checked;
  drawFront(); });
byId("only-front").addEventListener("change", event => { state.onlyFront = event.target.checked;
  state.page = 0;
  resort();
  drawTable(); });
byId("filters").addEventListener("submit", event => event.preventDefault());

const most = rows.macs.reduce((a, b) => Math.max(a, b)),
  least = rows.macs.reduce((a, b) => Math.min(a, b));
const ofSlider = value => (value >= 100 ? Infinity : least > 0 ? least * (most / least) ** (value / 100) : (most *
  value) / 100);
byId("budget").addEventListener("input", event => {
  state.budget = ofSlider(Number(event.target.value));
  byId("budget-number").value = state.budget === Infinity ? "" : digits(state.budget, 3);
  refresh();
});
byId("budget-number").addEventListener("change", event => {
  const value = Number(event.target.value);
  state.budget = event.target.value === "" || !(value >= 0) ? Infinity : value;
  byId("budget").value = state.budget === Infinity ? 100 : least > 0 && most > least ? (100 * Math.log(Math.max(
    value, least) / least)) / Math.log(most / least) : (100 * value) / most;
  refresh();
});

byId("table").tHead.addEventListener("click", event => {
  const name = event.target.closest("button")?.dataset.sort;
  if (name === undefined) return;
  const numeric = !columns.find(column => column.name === name).text;
  state.sort = { name, down: state.sort.name === name ? !state.sort.down : numeric && name !== "macs" &&
      name !== "params" };
  state.page = 0;
  resort();
  drawTable();
  document.querySelector(`#table button[data-sort="${CSS.escape(name)}"]`)?.focus();
});
byId("table").tBodies[0].addEventListener("click", event => {
  const row = event.target.closest("tr")?.dataset.row;
  if (row !== undefined) select(Number(row), true);
});
byId("table").tBodies[0].addEventListener("keydown", event => {
  const row = Number(event.target.closest("tr")?.dataset.row),
    place = sorted.indexOf(row);
  const steps = { ArrowDown: place + 1, ArrowUp: place - 1, PageDown: place + PAGE, PageUp: place - PAGE,
    Home: 0, End: sorted.length - 1, Enter: place, " ": place };
  if (!(event.key in steps)) return;
  event.preventDefault();
  select(sorted[Math.min(Math.max(steps[event.key], 0), sorted.length - 1)], true);
});
byId("before").addEventListener("click", () => { state.page -= 1;
  drawTable(); });
byId("after").addEventListener("click", () => { state.page += 1;
  drawTable(); });
byId("front-plot").addEventListener("keydown", event => {
  const way = { ArrowLeft: -1, ArrowRight: 1 } [event.key],
    own = frontOf(means);
  if (way === undefined || !own.length) return;
  event.preventDefault();
  const place = own.findIndex(mean => mean.rows.includes(state.selected));
  select(own[place < 0 ? (way > 0 ? 0 : own.length - 1) : Math.min(Math.max(place + way, 0), own.length - 1)]
    .row);
});

const candidates = indices.some(row => get("table", row) === "candidates");
byId("search").hidden = !candidates;
fill(byId("search-figure"), [
  ["macs", "multiply-adds (M)"],
  ["value", `${metric.label} with inherited weights`],
  ["supernet", `${metric.label} of the supernet`]
]);
byId("search-figure").addEventListener("change", drawSearch);
byId("knobs").hidden = !Object.keys(data.knobs).length;
fill(byId("knob"), Object.keys(data.knobs).map(name => [name, name]));
byId("knob").addEventListener("change", drawKnobs);
byId("importance").hidden = !data.mattered.length;
if (data.mattered.length) {
  fill(byId("importance-of"), data.mattered.map((own, place) => [place, `${own.method} on ${own.space}`]));
  byId("importance-of-label").hidden = data.mattered.length < 2;
  fillEffects();
  byId("importance-of").addEventListener("change", () => { fillEffects();
    drawImportance(); });
  byId("effect").addEventListener("change", () => drawEffect(matteredOf()));
}
byId("curves").hidden = data.curves === null;
if (data.curves) {
  const kinds = data.curves.kind.of;
  fill(byId("curve-kind"), kinds.map(kind => [kind, kind === "evaluation" ? "trainings from scratch" : kind ===
    "search" ? "searches" : kind
  ]));
  if (kinds.includes("evaluation")) byId("curve-kind").value = "evaluation";
  fillCurveFigures();
  byId("curve-kind").addEventListener("change", () => { fillCurveFigures();
    drawCurves(); });
  byId("curve-figure").addEventListener("change", drawCurves);
}

refilter();
const best = frontOf(means).at(-1);
const chips = [
  best && [figure(best.y), `best ${metric.label}`],
  best && [`${digits(rows.macs[best.row])} M`, "its multiply-adds"],
  [String(frontOf(means).length), "on the front"],
  [String(data.count), "rows"],
  data.hypervolume && [digits(data.hypervolume.volume, 4),
    `hypervolume, from ${digits(data.hypervolume.reference[0])} M and ${digits(data.hypervolume.reference[1])}`
  ],
  [digits(data.hours, 3), "device-hours"],
].filter(Boolean);
byId("summary").append(...chips.map(([value, text]) => element("li", {}, element("b", {}, value), element(
  "span", {}, text))));
if (best) state.selected = best.row;
byId("filters-box").open = !narrow;
refresh();
drawDetails();
clickable("front-plot");
Object.keys(later).forEach(id => eyes.observe(byId(id)));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", refresh);
document.documentElement.dataset.ready = performance.now().toFixed(0);
