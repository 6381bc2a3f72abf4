// What the filters leave of the rows, and its fronts.

const state = {
  part: data.parts.length ? 0 : -1,
  cost: Object.keys(data.costs)[0],
  colour: names.run.length > 1 && searched.length < 2 ? "run" : "method",
  off: { method: new Set(), run: new Set(), seed: new Set() },
  budget: Infinity,
  others: true,
  surfaces: false,
  onlyFront: false,
  sort: { name: "value", down: metric.higher_is_better },
  page: 0,
  selected: null,
};
const PAGE = 25;
let shown = []; // rows that the filters leave
let means = []; // of rows with the same `what`: {row, rows, x, y, std}
let fronts = []; // {look, points}
let onFront = new Set();

function refilter() {
  const { method, run, seed } = state.off;
  shown = indices.filter(
    row =>
    rows.part[row] === state.part && rows.macs[row] <= state.budget && !method.has(get("method", row)) &&
    !run.has(get("run", row)) && !seed.has(get("seed", row)),
  );
  const groups = new Map();
  for (const row of shown) {
    const x = get(state.cost, row),
      y = rows.value[row];
    if (x === null || y === null) continue;
    const key = `${rows.what[row]} ${lookOf(row).name}`;
    if (!groups.has(key)) groups.set(key, { row, rows: [], x: 0, y: 0, std: null });
    groups.get(key).rows.push(row);
  }
  means = [...groups.values()];
  for (const mean of means) {
    const values = mean.rows.map(row => rows.value[row]),
      count = values.length;
    mean.x = mean.rows.reduce((sum, row) => sum + get(state.cost, row), 0) / count;
    mean.y = values.reduce((sum, value) => sum + value, 0) / count;
    if (count > 1) mean.std = Math.sqrt(values.reduce((sum, value) => sum + (value - mean.y) ** 2, 0) / (count -
    1));
  }
  const looks = new Map();
  for (const mean of means) {
    const look = lookOf(mean.row);
    if (!looks.has(look.name)) looks.set(look.name, { look, points: [] });
    looks.get(look.name).points.push(mean);
  }
  fronts = [...looks.values()].map(({ look, points }) => ({ look, all: points, points: frontOf(points) }));
  fronts.sort((one, other) => ordered(one.look.name, other.look.name));
  onFront = new Set(state.part < 0 ? [] : frontOf(means).flatMap(mean => mean.rows));
}

function frontOf(points) {
  const sorted = [...points].sort((one, other) => one.x - other.x || better * (other.y - one.y));
  let best = -Infinity;
  return sorted.filter(point => better * point.y > best && ((best = better * point.y), true));
}
