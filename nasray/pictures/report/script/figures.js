// The other figures.

const colourOf = place => COLOURS[place % COLOURS.length];
const MOST_LINES = 60;

function drawSearch() {
  const name = byId("search-figure").value;
  const trials = new Map();
  for (const row of indices) {
    if (get("table", row) !== "candidates" || state.off.method.has(get("method", row)) || state.off.run.has(get(
        "run", row)) || state.off.seed.has(get("seed", row))) continue;
    const key = `${get("run", row)} ${get("trial", row)}`;
    if (!trials.has(key)) trials.set(key, []);
    trials.get(key).push(row);
  }
  const own = state.selected === null ? null : `${get("run", state.selected)} ${get("trial", state.selected)}`;
  let keys = [...trials.keys()];
  const all = keys.length;
  if (all > MOST_LINES) keys = keys.filter((key, place) => place < MOST_LINES || key === own);
  const traces = keys.map((key, place) => {
    const of = trials.get(key).sort((one, other) => get("epoch", one) - get("epoch", other) || get("snapshot",
      one) - get("snapshot", other));
    return {
      type: all * of.length > 4000 && hasGl ? "scattergl" : "scatter",
      mode: "lines+markers",
      name: key,
      x: of.map(row => get("epoch", row)),
      y: of.map(row => get(name, row)),
      customdata: of,
      text: of.map(row => said(row)),
      hovertemplate: "epoch %{x}<br>%{text}<extra></extra>",
      line: { color: colourOf(place), width: key === own ? 4 : 1.4 },
      marker: { size: key === own ? 9 : 6 },
      opacity: own && key !== own && trials.has(own) ? 0.35 : 0.9,
    };
  });
  const values = traces.flatMap(trace => trace.y).filter(value => value !== null);
  const log = name === "macs" && values.length > 0 && Math.min(...values) > 0 && Math.max(...values) > 10 * Math
    .min(...values);
  Plotly.react("search-plot", traces, layoutOf({
    showlegend: false,
    xaxis: { title: { text: "epoch of the search" }, rangemode: "tozero" },
    yaxis: { title: { text: plain(byId("search-figure").selectedOptions[0].textContent) }, type: log ? "log" :
        "linear", ...(log ? { tickformat: "~g" } : {}) },
  }), config);
  byId("search-said").textContent =
    "Each line is a search, each mark an architecture that it gave: lines fall where it prunes. " + (all > MOST_LINES ?
      `${keys.length} of ${all} searches are drawn; select a row to see its own.` : "That of the selected row is thick.");
}

function drawKnobs() {
  const name = byId("knob").value,
    column = data.knobs[name];
  const own = shown.filter(row => at(column, row) !== null && rows.value[row] !== null);
  const values = [...new Set(own.map(row => at(column, row)))].sort(ordered);
  const numbers = values.every(value => typeof value === "number");
  const log = numbers && values.length > 1 && values[0] > 0 && values.at(-1) > 10 * values[0];
  const both = [
    ["y", row => rows.value[row]],
    ["y2", row => rows.macs[row]]
  ];
  const traces = both.flatMap(([axis, of], place) => [
    marks(own, some => ({
      mode: "markers",
      x: some.map(row => at(column, row)),
      y: some.map(of),
      yaxis: axis,
      customdata: some,
      text: some.map(row => said(row)),
      hovertemplate: "%{text}<extra></extra>",
      marker: { color: colourOf(place), size: 7, opacity: 0.55 },
    })), {
      type: "scatter",
      mode: "lines",
      x: values,
      yaxis: axis,
      hovertemplate: "median %{y:.4g}<extra></extra>",
      line: { color: colourOf(place), width: 2 },
      y: values.map(value => quantile(own.filter(row => at(column, row) === value).map(of).sort((a, b) => a -
        b), 0.5)),
    },
  ]);
  Plotly.react("knobs-plot", traces, layoutOf({
    showlegend: false,
    xaxis: { title: { text: plain(name) }, type: log ? "log" : numbers ? "linear" : "category", anchor: "y2",
      ...(values.length <= 12 ? { tickmode: "array", tickvals: values } : log ? { tickformat: "~g" } : {}) },
    yaxis: { title: { text: label }, domain: [0.55, 1] },
    yaxis2: { title: { text: "multiply-adds (M)" }, domain: [0, 0.45], anchor: "x" },
  }), config);
}

function drawRetrained() {
  const own = shown.filter(row => get("inherited", row) !== null && rows.value[row] !== null);
  byId("retrained").hidden = !own.length;
  if (!own.length) return;
  const tau = data.taus[state.part];
  const ends = [...own.map(row => rows.inherited[row]), ...own.map(row => rows.value[row])];
  const traces = [
    { type: "scatter", mode: "lines", x: [Math.min(...ends), Math.max(...ends)], y: [Math.min(...ends), Math.max(
        ...ends)], hoverinfo: "skip", line: { color: style("--pale"), dash: "dot" } },
    marks(own, some => ({
      mode: "markers",
      x: some.map(row => rows.inherited[row]),
      y: some.map(row => rows.value[row]),
      customdata: some,
      text: some.map(row => said(row)),
      hovertemplate: "%{text}<extra></extra>",
      marker: { size: 9, color: some.map(row => lookOf(row).colour), symbol: some.map(row => lookOf(row)
          .symbol) },
    })),
  ];
  Plotly.react("retrained-plot", traces, layoutOf({
    showlegend: false,
    xaxis: { title: { text: `${label} with inherited weights` } },
    yaxis: { title: { text: `${label}, trained from scratch` } },
  }), config);
  byId("retrained-said").textContent = tau === null || tau === undefined ?
    "Too few architectures to compare their ranks." :
    `Kendall's tau is ${tau.toFixed(2)} over all rows shown as this: 1 where the search ranks ` +
      "architectures as training from scratch does, 0 where its ranks say nothing.";
}

function fillCurveFigures() {
  const of = data.curves.kind, kind = byId("curve-kind").value, before = byId("curve-figure").value;
  const own = data.curves.epoch.map((_, point) => point).filter(point => at(of, point) === kind);
  const names = Object.keys(data.curves).filter(name => !["run", "kind", "trial_id", "epoch"].includes(name));
  const there = names.filter(name => own.some(point => at(data.curves[name], point) !== null));
  fill(byId("curve-figure"), there.map(name => [name, name.replace(/_/g, " ")]));
  if (there.includes(before)) byId("curve-figure").value = before;
}

function drawCurves() {
  const curves = data.curves;
  if (!curves) return;
  const kind = byId("curve-kind").value,
    name = byId("curve-figure").value;
  const trials = new Map();
  curves.epoch.forEach((epoch, point) => {
    const value = at(curves[name], point);
    if (at(curves.kind, point) !== kind || value === null || state.off.run.has(at(curves.run, point))) return;
    const key = `${at(curves.run, point)} ${at(curves.trial_id, point)}`;
    if (!trials.has(key)) trials.set(key, { x: [], y: [] });
    trials.get(key).x.push(epoch);
    trials.get(key).y.push(value);
  });
  const keys = [...trials.keys()].slice(0, 3 * MOST_LINES);
  Plotly.react("curves-plot", keys.map((key, place) => ({
    type: "scatter",
    mode: trials.get(key).x.length > 1 ? "lines" : "markers",
    ...trials.get(key),
    name: plain(key),
    line: { color: colourOf(place), width: 1.4 },
    opacity: 0.8,
    hovertemplate: `${plain(key)}<br>epoch %{x}: %{y:.4g}<extra></extra>`,
  })), layoutOf({ showlegend: false, xaxis: { title: { text: "epoch" } }, yaxis: { title: { text: plain(name
          .replace(/_/g, " ")) } } }), config);
  byId("curves-said").textContent = keys.length < trials.size ?
    `${keys.length} of ${trials.size} trials are drawn.` : `${keys.length} trials.`;
}
