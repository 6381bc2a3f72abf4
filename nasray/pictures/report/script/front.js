// The front, and what all figures have in common.

const narrow = matchMedia("(max-width: 560px)").matches;
const config = { responsive: true, displaylogo: false, displayModeBar: narrow ? false : "hover", modeBarButtons: [
    ["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]
  ] };

function layoutOf(changes) {
  const ink = style("--ink"),
    grid = style("--grid");
  const axis = { gridcolor: grid, zeroline: false, linecolor: style("--line"), automargin: true };
  const { xaxis, yaxis, yaxis2, yaxis3, ...rest } = changes;
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: ink, size: 13 },
    margin: { l: 56, r: narrow ? 12 : 36, t: 12, b: 48 },
    hovermode: "closest",
    hoverlabel: { align: "left" },
    modebar: { orientation: "v", bgcolor: "rgba(0,0,0,0)", color: style("--faint"), activecolor: ink },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    xaxis: { ...axis, ...xaxis },
    yaxis: { ...axis, ...yaxis },
    ...(yaxis2 ? { yaxis2: { ...axis, ...yaxis2 } } : {}),
    ...(yaxis3 ? { yaxis3: { ...axis, ...yaxis3 } } : {}),
    ...rest,
  };
}

const canvas = document.createElement("canvas");
const hasGl = Boolean(canvas.getContext("webgl"));
const MANY = 1500;

// Thousands of marks are drawn by WebGL or, where there is none, thinned out.
function marks(points, trace) {
  if (points.length <= MANY) return { type: "scatter", ...trace(points) };
  if (hasGl) return { type: "scattergl", ...trace(points) };
  const step = Math.ceil(points.length / MANY);
  return { type: "scatter", ...trace(points.filter((_, place) => place % step === 0)) };
}

const words = new Map();

// Of many thousand marks each is put into words once.
function said(row) {
  if (!words.has(row)) words.set(row, inWords(row));
  return words.get(row);
}

function inWords(row, std = null, count = 1) {
  const lines = [
    `<b>${label} ${figure(count > 1 ? std.mean : rows.value[row])}${std && count > 1 ? ` ± ${figure(std.std)}` : ""}</b>`,
    `${digits(rows.macs[row])} M multiply-adds`,
    `${plain(get("method", row))}, ${count > 1 ? `${count} seeds` : `seed ${get("seed", row)}`}`,
  ];
  if (names.run.length > 1) lines.push(`run ${plain(get("run", row))}`);
  for (const [name, column] of Object.entries(data.knobs)) {
    const value = at(column, row);
    if (value !== null) lines.push(`${plain(name)} ${plain(typeof value === "number" ? digits(value) : value)}`);
  }
  lines.push(plain(get("id", row)));
  return lines.join("<br>");
}

const told = mean =>
  mean.rows.length > 1 ? inWords(mean.row, { mean: mean.y, std: mean.std }, mean.rows.length) : said(mean.row);

function quantile(sorted, share) {
  const place = share * (sorted.length - 1),
    below = Math.floor(place);
  return sorted[below] + (place - below) * ((sorted[below + 1] ?? sorted[below]) - sorted[below]);
}

// As plots.py has it: marks far off cannot press the fronts together.
function limits(of, points, sign, reach) {
  const all = points.map(point => sign * of(point)).sort((one, other) => one - other);
  const own = fronts.flatMap(front => front.points).map(point => sign * of(point)).sort((one, other) => one -
  other);
  if (!own.length) return null;
  const worst = reach ? own[0] : Math.min(quantile(all, 0.75), own.at(-1) - 2.5 * (own.at(-1) - quantile(own,
    0.25)));
  const best = own.at(-1),
    low = best - all[0] <= (reach ? 2.5 : 1.5) * (best - worst) ? all[0] : Math.max(worst, all[0]);
  const pad = 0.06 * (best - low) || Math.abs(best) * 0.05 || 0.05;
  const range = [low - pad, best + pad];
  return { range: sign > 0 ? range : [-range[1], -range[0]], outside: all.filter(value => value < low).length };
}

const volumes = data.surfaces === null ? "" :
  `Hypervolume over ${data.surfaces.names.length} repetitions: ${
  Object.entries(data.surfaces.volumes).map(([method, [mean, std]]) => `${method} ${digits(mean)} ± ${digits(std, 2)}`).join(", ")}.`;

function drawFront() {
  const points = state.others ? means : fronts.flatMap(front => front.points);
  const costs = points.map(point => point.x);
  const log = costs.length > 0 && Math.min(...costs) > 0 && costs.reduce((a, b) => Math.max(a, b)) > 10 * Math.min(
    ...costs);
  const alongX = log ? point => Math.log10(point.x) : point => point.x;
  const x = limits(alongX, points, -1, true),
    y = limits(point => point.y, points, better, false);
  const right = x === null ? 0 : log ? 10 ** x.range[1] : x.range[1];
  const traces = [];
  for (const { look, all, points: own } of fronts) {
    const behind = state.others ? all.filter(point => !own.includes(point)) : [];
    traces.push(
      marks(behind, some => ({
        mode: "markers",
        x: some.map(p => p.x),
        y: some.map(p => p.y),
        customdata: some.map(p => p.row),
        text: some.map(told),
        hovertemplate: "%{text}<extra></extra>",
        showlegend: false,
        legendgroup: look.name,
        marker: { color: look.colour, size: 7, opacity: 0.38, symbol: look.symbol },
      })),
    );
    const held = own.length ? [...own, { x: right, y: own.at(-1).y }] : [];
    traces.push({
      type: "scatter",
      mode: "lines",
      x: held.map(p => p.x),
      y: held.map(p => p.y),
      hoverinfo: "skip",
      showlegend: false,
      line: { shape: "hv", color: look.colour, width: 2, dash: look.dash },
      legendgroup: look.name,
    });
    const spread = own.map(point => point.std || 0);
    traces.push({
      type: "scatter",
      mode: "markers",
      name: `${plain(look.name)} (${own.length})`,
      x: own.map(p => p.x),
      y: own.map(p => p.y),
      customdata: own.map(p => p.row),
      text: own.map(told),
      hovertemplate: "%{text}<extra></extra>",
      legendgroup: look.name,
      marker: { color: look.colour, size: 10, symbol: look.symbol, line: { color: look.dash === "dot" ? look
            .colour : style("--back"), width: 1.2 } },
      ...(spread.some(Boolean) ? { error_y: { type: "data", array: spread, color: look.colour, thickness: 1.4,
          width: 4 } } : {}),
    });
  }
  const surfaces = data.surfaces;
  if (state.surfaces && surfaces && state.cost === "macs") {
    Object.entries(surfaces.of).forEach(([method, own]) => {
      const colour = method === data.baseline ? GREY : COLOURS[searched.indexOf(method) % COLOURS.length] ||
        GREY;
      own.forEach(([fraction, costs, values], place) => traces.push({
        type: "scatter",
        mode: "lines",
        x: [...costs, right],
        y: [...values, values.at(-1)],
        showlegend: place === 0,
        name: `${plain(method)}, attained`,
        legendgroup: `attained ${method}`,
        line: { shape: "hv", color: colour, width: place === 1 ? 3 : 1 },
        hovertemplate: `${plain(method)}: attained by ${100 * fraction} % of repetitions<extra></extra>`,
      }));
    });
  }
  const chosen = means.find(mean => mean.rows.includes(state.selected));
  traces.push({
    type: "scatter",
    mode: "markers",
    x: chosen ? [chosen.x] : [],
    y: chosen ? [chosen.y] : [],
    hoverinfo: "skip",
    showlegend: false,
    marker: { size: 19, symbol: "circle-open", color: style("--ink"), line: { width: 2.5 } },
  });
  Plotly.react("front-plot", traces, layoutOf({
    xaxis: { title: { text: plain(data.costs[state.cost] || state.cost) }, type: log ? "log" : "linear",
      range: x?.range, ...(log ? { dtick: undefined, tickformat: "~g" } : {}) },
    yaxis: { title: { text: label }, range: y?.range },
  }), config);
  const outside = y === null ? 0 : points.filter(p => better * p.y < better * (better > 0 ? y.range[0] : y.range[
    1]) || alongX(p) > x.range[1]).length;
  byId("front-said").textContent = [
    `${onFront.size ? new Set([...onFront].map(row => rows.what[row])).size : 0} of ${means.length} are on the common front.`,
    outside ? `${outside} lie outside of the picture: zoom out, or double-click, to see them.` : "",
    means.some(mean => mean.std !== null) ? "Error bars are standard deviations over seeds." : "",
    volumes,
  ].filter(Boolean).join(" ");
}
