// What mattered of what was varied, each method's searches for themselves.

const matteredOf = () => data.mattered[Number(byId("importance-of").value)];
const axisTitle = name => (name === metric.name ? label : name === "macs" ? "multiply-adds (M)" : name);

function fillEffects() {
  const before = byId("effect").value,
    settings = Object.keys(matteredOf().effects);
  fill(byId("effect"), settings.map(name => [name, name]));
  if (settings.includes(before)) byId("effect").value = before;
}

function drawImportance() {
  const own = matteredOf(),
    told = own.importance;
  const settings = Object.keys(own.effects);
  const share = (name, setting) => told.importance[told.importance.findIndex((_, place) => at(told.metric, place) ===
    name && at(told.setting, place) === setting)];
  const traces = own.metrics.map(([name], place) => ({
    type: "bar",
    orientation: "h",
    name: plain(axisTitle(name)),
    y: settings.map(plain),
    x: settings.map(setting => share(name, setting)),
    marker: { color: colourOf(place) },
    hovertemplate: `${plain(axisTitle(name))}: %{x:.2f}<extra>%{y}</extra>`,
  }));
  byId("importance-plot").hidden = told.importance.every(one => one === null);
  if (!byId("importance-plot").hidden) Plotly.react("importance-plot", traces, layoutOf({
    barmode: "group",
    xaxis: { title: { text: "share of what the settings explain" }, range: [0, 1] },
    yaxis: { type: "category", autorange: "reversed" },
  }), config);
  const title = name => (name === metric.name ? metric.label : axisTitle(name).replace(" (M)", ""));
  const known = own.metrics.filter(([, , explained]) => explained !== null).map(([name, , explained]) =>
    `${Math.round(100 * Math.max(explained, 0))} % for ${title(name)}`);
  const noted = own.metrics.filter(([, note]) => note).map(([name, note]) => [note, title(name)]);
  const notes = [...new Set(noted.map(([note]) => note))].map(note => {
    const of = noted.filter(([other]) => other === note).map(([, name]) => name);
    return `${of.join(", ")}: ${note}.`;
  });
  byId("importance-said").textContent = [
    `${own.searches} searches of ${own.method} on ${own.space}, ${own.kind}; filters do not change this.`,
    "Importance is fANOVA's, of each setting by itself.",
    known.length ? `Of searches that were not learnt from, the settings predict this share of the variance: ${known.join(
      ", ")}.` : "",
    ...notes,
  ].filter(Boolean).join(" ");
  drawEffect(own);
}

function drawEffect(own) {
  const setting = byId("effect").value,
    effect = own.effects[setting];
  const all = effect.mean.map((_, place) => place);
  const value = place => at(effect.value, place);
  const numbers = all.every(place => typeof value(place) === "number");
  const values = [...new Set(all.map(value))];
  const log = numbers && values.length > 1 && Math.min(...values) > 0 && Math.max(...values) > 10 * Math.min(...
    values);
  const traces = own.metrics.map(([name], panel) => {
    const places = all.filter(place => at(effect.metric, place) === name).sort((one, other) => ordered(value(one),
      value(other)));
    const half = places.map(place => (effect.high[place] === null ? 0 : effect.high[place] - effect.mean[place]));
    return {
      type: "scatter",
      mode: numbers ? "lines+markers" : "markers",
      name: plain(axisTitle(name)),
      x: places.map(place => (numbers ? value(place) : plain(value(place)))),
      y: places.map(place => effect.mean[place]),
      yaxis: panel ? `y${panel + 1}` : "y",
      error_y: { type: "data", array: half, thickness: 1.4, width: 5 },
      text: places.map(place => {
        const range = at(effect.least, place) === at(effect.most, place) ? "" : numbers ?
          ` (${digits(at(effect.least, place))} to ${digits(at(effect.most, place))})` : "";
        return `${numbers ? digits(value(place)) : plain(value(place))}${range}, ${effect.searches[place]} searches`;
      }),
      hovertemplate: "%{y:.4g}<br>%{text}<extra></extra>",
      line: { color: colourOf(panel), width: 2 },
      marker: { color: colourOf(panel), size: 8 },
    };
  });
  const [first, second, third] = own.metrics.map(([name]) => ({ title: { text: plain(axisTitle(name)) } }));
  Plotly.react("effects-plot", traces, layoutOf({
    showlegend: false,
    xaxis: { title: { text: plain(setting) }, type: log ? "log" : numbers ? "linear" : "category", anchor: "y3",
      ...(numbers && values.length <= 12 ? { tickmode: "array", tickvals: values, ticktext: values.map(one => digits(
          one, 3)) } : {}) },
    yaxis: { ...first, domain: [0.7, 1] },
    yaxis2: { ...second, domain: [0.35, 0.65], anchor: "x" },
    yaxis3: { ...third, domain: [0, 0.3], anchor: "x" },
  }), config);
}
