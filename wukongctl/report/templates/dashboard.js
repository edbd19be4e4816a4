// The page: a table of recipes and runs, what is selected in it, and the charts of that.
const content = JSON.parse(document.getElementById("content").textContent);
const { runs, recipes } = content;
const $ = (id) => document.getElementById(id);
recipes.forEach((recipe, index) => recipe.runs.forEach((run) => { runs[run].of = index; }));
const datasets = [...new Set(recipes.map((recipe) => recipe.dataset))].sort();
// In the order, and so the colors, of reports: Wukong first.
const rank = (curve) => (curve.toLowerCase().startsWith("wukong") ? 0 : 1) + curve;
const curves = [...new Set(recipes.map((recipe) => recipe.curve).filter((curve) => curve !== null))].sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
const tested = content.metrics.filter((metric) => metric.compared && recipes.some((recipe) => recipe.metrics.test?.[metric.name]));
const validated = content.metrics.filter((metric) => runs.some((run) => run.curves.valid?.values[metric.name]));
const hueOf = (index) => `var(--c${index % 8})`;
const DASHES = ["", "7 3", "2 3", "8 3 2 3"];
const dashOf = (index) => DASHES[Math.floor(index / 8) % DASHES.length];
const state = { selected: [], open: [], q: "", data: "", sort: "", down: false, x: "step", curve: "", metric: "", log: false, first: "", second: "" };

function readHash() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const key of ["q", "data", "sort", "curve", "metric", "first", "second"]) state[key] = given.get(key) ?? "";
  state.down = given.has("down");
  state.log = given.has("log");
  state.x = given.get("x") === "examples" ? "examples" : "step";
  state.selected = given.has("none") || given.has("run") ? known(given.getAll("run")) : byDefault();
  // A link to a run, from a report, shows its seed.
  const single = state.selected.map((index) => runs[index].of).filter((recipe) => !recipes[recipe].runs.every((run) => state.selected.includes(run)));
  state.open = [...new Set([...known(given.getAll("open")).map((index) => runs[index].of), ...(given.has("run") ? single : [])])];
}

// Indices of runs by folder, as this page writes them, or by name, as reports do.
function known(names) {
  const of = (key, name) => runs.flatMap((run, index) => (run[key] === name ? [index] : []));
  return [...new Set(names.flatMap((name) => { const found = of("folder", name); return found.length ? found : of("name", name); }))];
}

function byDefault() {
  const leaders = content.leaders.map((leader) => recipes[leader.recipe].runs[0]);
  return (leaders.length ? leaders : runs.map((_, index) => index)).slice(0, 8);
}

function writeHash() {
  const kept = new URLSearchParams();
  for (const key of ["q", "data", "sort", "curve", "metric", "first", "second"]) if (state[key]) kept.set(key, state[key]);
  for (const key of ["down", "log"]) if (state[key]) kept.set(key, "1");
  if (state.x !== "step") kept.set("x", state.x);
  for (const run of state.selected) kept.append("run", runs[run].folder);
  if (!state.selected.length) kept.set("none", "1");
  for (const recipe of state.open) kept.append("open", runs[recipes[recipe].runs[0]].folder);
  history.replaceState(null, "", `#${kept}`);
}

// ----- table of runs -----

const number = (value, digits = 4) => (value === null || value === undefined ? "–" : String(+value.toPrecision(digits)));
const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
const mean = (values) => (values.length ? values.reduce((sum, one) => sum + one, 0) / values.length : null);
const spread = (found) => (found ? found.mean.toFixed(5) + (found.sd === null ? "" : ` ± ${found.sd.toFixed(5)}`) : "–");

function statusOf(recipe) {
  const counts = new Map();
  for (const run of recipe.runs) counts.set(runs[run].status, (counts.get(runs[run].status) ?? 0) + 1);
  if (counts.size === 1) return [...counts.keys()][0];
  return [...counts].map(([status, count]) => `${count} ${status}`).join(", ");
}

const speedOf = (members) => mean(members.map((run) => runs[run].examples_per_second).filter((one) => one !== null));
const columns = [
  { key: "recipe", value: (recipe) => recipe.name },
  { key: "dataset", left: true, value: (recipe) => recipe.dataset },
  { key: "model", left: true, value: (recipe) => recipe.model ?? "–" },
  { key: "status", left: true, value: statusOf },
  { key: "seeds", value: (recipe) => recipe.runs.length },
  ...tested.map((metric) => ({
    key: metric.title, value: (recipe) => recipe.metrics.test?.[metric.name]?.mean ?? null,
    show: (_, recipe) => spread(recipe.metrics.test?.[metric.name]), run: (run) => run.metrics.test?.[metric.name]?.toFixed(5) ?? "–",
  })),
  { key: "MFLOP/example", value: (recipe) => recipe.gflop_per_example && recipe.gflop_per_example * 1e3, show: (value) => number(value) },
  { key: "training FLOP", value: (recipe) => recipe.training_flop, show: (value) => (value === null ? "–" : value.toExponential(2)) },
  { key: "rows/s", value: (recipe) => speedOf(recipe.runs), show: (value) => (value === null ? "–" : Math.round(value).toLocaleString("en")), run: (run) => (run.examples_per_second === null ? "–" : Math.round(run.examples_per_second).toLocaleString("en")) },
  { key: "seconds", value: (recipe) => mean(recipe.runs.map((run) => runs[run].seconds).filter((one) => one !== null)), show: (value) => number(value, 3), run: (run) => number(run.seconds, 3) },
];

const bestFirst = { value: (recipe) => datasets.indexOf(recipe.dataset) * 1e6 + (recipe.metrics.test?.[content.chosen_by]?.mean ?? 1e5) };

function shownRecipes() {
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  const text = (recipe) => [recipe.name, recipe.dataset, recipe.model, recipe.curve, statusOf(recipe), ...recipe.runs.map((run) => runs[run].run)].join(" ").toLowerCase();
  const indices = recipes.map((_, index) => index).filter((index) => (!state.data || recipes[index].dataset === state.data) && words.every((word) => text(recipes[index]).includes(word)));
  const column = columns.find((one) => one.key === state.sort) ?? bestFirst;
  const order = (a, b) => (typeof a === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
  const keyed = indices.map((index) => [column.value(recipes[index]), index]);
  keyed.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : state.down ? order(b, a) : order(a, b)));
  return keyed.map(([, index]) => index);
}

function drawTable() {
  const heading = (column) => element("th", { scope: "col", className: column.left ? "left" : "", ...(state.sort === column.key && { "aria-sort": state.down ? "descending" : "ascending" }) },
    element("button", { type: "button", textContent: column.key, "data-focus": column.key, onclick: () => { state.down = state.sort === column.key && !state.down; state.sort = column.key; draw(); } }));
  const focus = document.activeElement?.dataset.focus;
  $("runs").tHead.replaceChildren(element("tr", {}, ...columns.map(heading)));
  const shown = shownRecipes();
  $("runs").tBodies[0].replaceChildren(...shown.flatMap((index) => [recipeRow(index), ...(state.open.includes(index) ? recipes[index].runs.map(seedRow) : [])]));
  // The elements are new ones: the keyboard stays where it was.
  if (focus) [...$("runs").querySelectorAll("[data-focus]")].find((one) => one.dataset.focus === focus)?.focus({ preventScroll: true });
  const count = shown.reduce((sum, index) => sum + recipes[index].runs.length, 0);
  $("summary").textContent = `${count} of ${runs.length} runs, ${counted(shown.length, "recipe")}, ${counted(datasets.length, "dataset")}`;
}

function rowOf(members, hue, name, cells, className, fold = []) {
  const all = members.every((run) => state.selected.includes(run)), some = members.some((run) => state.selected.includes(run));
  const toggle = () => {
    state.selected = state.selected.filter((run) => !members.includes(run));
    if (!all) state.selected.push(...members);
    draw();
  };
  const box = element("input", { type: "checkbox", checked: all, indeterminate: some && !all, ariaLabel: `plot ${name}`, "data-focus": `${className} ${members}`, onchange: toggle });
  const key = element("span", { className: "key", style: some ? `--hue:${hue}` : "" });
  const first = element("th", { scope: "row" }, element("span", { className: "name" }, ...fold, box, key, name));
  const row = element("tr", { className: some ? `${className} plotted` : className, onclick: (event) => { if (!event.target.closest("input, button, a")) toggle(); } }, first, ...cells);
  row.title = members.map((run) => [runs[run].run, runs[run].reason, ...runs[run].warnings].filter(Boolean).join(": ")).join("\n");
  return row;
}

const cell = (text, className = "") => element("td", { textContent: text, className });

function recipeRow(index) {
  const recipe = recipes[index], open = state.open.includes(index), several = recipe.runs.length > 1;
  const toggle = () => { state.open = open ? state.open.filter((one) => one !== index) : [...state.open, index]; draw(); };
  const fold = element("button", { type: "button", className: "fold", textContent: open ? "▾" : "▸", disabled: !several, ariaLabel: `seeds of ${recipe.name}`, ariaExpanded: String(open), "data-focus": `fold ${index}`, onclick: toggle });
  const cells = columns.slice(1).map((column) => {
    const value = column.value(recipe);
    const state = column.key === "status" ? `left ${value.replace(/^\d+ complete, /, "").split(" ").pop()}` : column.left ? "left" : "";
    return cell(column.show ? column.show(value, recipe) : String(value), state);
  });
  return rowOf(recipe.runs, colors().get(index)?.hue, recipe.name, cells, "", [fold]);
}

function seedRow(index) {
  const run = runs[index];
  const texts = { status: `${run.status}${run.status === "complete" ? "" : ` at step ${run.step}`}` };
  const cells = columns.slice(1).map((column) => cell(texts[column.key] ?? column.run?.(run) ?? "", column.key === "status" ? `left ${run.status}` : ""));
  return rowOf([index], colors().get(run.of)?.hue, run.seed === null ? run.run : `seed ${run.seed}`, cells, "seed");
}

// ----- charts -----

const selected = () => state.selected.filter((run) => !state.data || recipes[runs[run].of].dataset === state.data);

function colors() {
  const chosen = [...new Set(selected().map((run) => runs[run].of))], of = (recipe) => recipes[recipe];
  const kinds = new Set(chosen.map((recipe) => JSON.stringify([of(recipe).dataset, of(recipe).curve])));
  if (kinds.size < chosen.length || curves.length > 8) return new Map(chosen.map((recipe, place) => [recipe, { hue: hueOf(place), dash: dashOf(place) }]));
  // One recipe of each model: the colors of the models, as in the leaderboard.
  return new Map(chosen.map((recipe) => [recipe, { hue: hueOf(Math.max(0, curves.indexOf(of(recipe).curve))), dash: DASHES[datasets.indexOf(of(recipe).dataset) % DASHES.length] }]));
}

const labelOf = (run) => `${recipes[runs[run].of].name}${recipes[runs[run].of].runs.length > 1 ? `, seed ${runs[run].seed}` : ""}`;

function curveOf(run, kind, name, look) {
  const table = runs[run].curves[kind], values = table?.values[name];
  return { label: labelOf(run), ...look, points: values ? values.map((value, index) => [table[state.x][index], value]) : [] };
}

const peak = (curve) => curve.points.reduce((high, [, y]) => Math.max(high, y ?? 0), 0);

function drawCurves() {
  const looks = colors(), chosen = selected().map((run) => [run, looks.get(runs[run].of)]);
  $("legend").replaceChildren(...[...looks].map(([recipe, look]) => element("li", {}, svg("svg", { class: "line", viewBox: "0 0 24 8", style: `--hue:${look.hue}` }, svg("line", { x1: 0, x2: 24, y1: 4, y2: 4, "stroke-dasharray": look.dash })), recipes[recipe].name)));
  const metric = validated.find((one) => one.name === state.curve), nothing = chosen.length ? "not logged by these runs" : "no runs selected";
  const every = (kind, name) => chosen.map(([run, look]) => curveOf(run, kind, name, look));
  const rates = chosen.flatMap(([run, look]) => [["dense_lr", look.dash, "dense"], ["embedding_lr", "2 4", "embedding"]].map(([name, dash, kind]) => {
    const curve = curveOf(run, "train", name, { ...look, dash });
    return { ...curve, label: `${curve.label}, ${kind}` };
  }));
  const xTitle = state.x, losses = every("train", "loss"), unlike = (values, times) => Math.max(...values) > times * Math.min(...values);
  const known = losses.flatMap((curve) => curve.points.map(([, y]) => y)).filter((y) => y > 0), highest = rates.map(peak).filter((one) => one > 0);
  const logRates = state.log || unlike(highest, 50), logLoss = state.log || unlike(known, 20);
  // A schedule that ends at zero would fill a logarithmic axis with its last steps.
  const drawn = logRates ? rates.map((curve) => ({ ...curve, points: curve.points.filter(([, y]) => y > peak(curve) / 1e3) })) : rates;
  drawChart($("chart-loss"), { title: "Training loss", xTitle, series: losses, logY: logLoss, empty: nothing });
  drawChart($("chart-valid"), { title: `Validation ${metric?.title ?? "metrics"}`, xTitle, series: metric ? every("valid", metric.name) : [], empty: nothing });
  drawChart($("chart-rate"), { title: "Learning rates (embeddings dotted)", xTitle, series: drawn, logY: logRates, empty: nothing });
  drawChart($("chart-speed"), { title: "Rows per second", xTitle, series: every("speed", "rows_per_second"), empty: nothing });
}

function drawScaling() {
  const metric = tested.find((one) => one.name === state.metric);
  $("models").replaceChildren(...curves.map((curve, place) => element("li", {}, element("span", { className: "key", style: `--hue:${hueOf(place)}` }), curve)));
  const shown = datasets.filter((dataset) => (!state.data || dataset === state.data) && recipes.some((recipe) => recipe.dataset === dataset && recipe.training_flop));
  const figures = shown.map(() => element("figure", { className: "card" }));
  $("scaling").replaceChildren(...(shown.length ? figures : [element("p", { className: "card empty", textContent: "no finished run with a FLOP count" })]));
  shown.forEach((dataset, place) => {
    const series = curves.map((curve, index) => {
      const members = recipes.filter((recipe) => recipe.dataset === dataset && recipe.curve === curve && recipe.training_flop && recipe.metrics.test?.[metric?.name]);
      const points = members.map((recipe) => [recipe.training_flop, recipe.metrics.test[metric.name].mean, recipe.name]).sort((a, b) => a[0] - b[0]);
      return { label: curve, hue: hueOf(index), dash: dashOf(index), points, line: frontier(points, metric?.higher_is_better), marks: true };
    });
    drawChart(figures[place], { title: `${metric?.title ?? "Metric"}, ${dataset}`, xTitle: "training FLOP", series, logX: true, empty: "no test metrics" });
  });
}

function frontier(points, higher) {
  let best = higher ? -Infinity : Infinity;
  return points.filter(([, value]) => { const better = higher ? value > best : value < best; if (better) best = value; return better; });
}

// ----- differences and leaders -----

function drawDifference() {
  const chosen = selected(), options = () => chosen.map((run) => new Option(labelOf(run), runs[run].folder));
  for (const [place, key] of ["first", "second"].entries()) {
    $(key).replaceChildren(...options());
    const kept = chosen.find((run) => runs[run].folder === state[key]) ?? chosen[place] ?? chosen[0];
    $(key).value = kept === undefined ? "" : runs[kept].folder;
  }
  const [one, other] = ["first", "second"].map((key) => runs.find((run) => run.folder === $(key).value));
  const body = $("difference").tBodies[0], plain = (value) => (value === undefined ? "–" : typeof value === "string" ? value : JSON.stringify(value));
  $("difference").tHead.replaceChildren();
  if (!one || one === other) return body.replaceChildren(element("tr", {}, element("td", { className: "empty", textContent: "select two runs" })));
  const keys = [...new Set([...Object.keys(one.recipe), ...Object.keys(other.recipe)])].filter((key) => plain(one.recipe[key]) !== plain(other.recipe[key]));
  $("difference").tHead.append(element("tr", {}, ...["key", one.run, other.run].map((text) => element("th", { scope: "col", className: "left", textContent: text }))));
  body.replaceChildren(...keys.map((key) => element("tr", {}, element("th", { scope: "row" }, element("code", { textContent: key })), cell(plain(one.recipe[key])), cell(plain(other.recipe[key])))));
  if (!keys.length) body.append(element("tr", {}, element("td", { colSpan: 3, textContent: "the recipes are equal" })));
}

function drawLeaders() {
  const titles = ["model", "dataset", "recipe", "chosen from", "seeds", ...tested.map((metric) => metric.title)];
  $("leaders").tHead.replaceChildren(element("tr", {}, ...titles.map((text, place) => element("th", { scope: "col", className: place < 3 ? "left" : "", textContent: text }))));
  $("leaders").tBodies[0].replaceChildren(...content.leaders.filter((leader) => !state.data || leader.dataset === state.data).map((leader) => {
    const recipe = recipes[leader.recipe], split = leader.chosen_on === "valid" ? "" : `, chosen on ${leader.chosen_on}`;
    const counts = [leader.of, Math.max(...Object.values(recipe.metrics).flatMap((found) => Object.values(found)).map((found) => found.n))];
    return element("tr", {}, element("th", { scope: "row" }, element("span", { className: "dot", style: `--hue:${hueOf(curves.indexOf(leader.curve))}` }), leader.curve), cell(leader.dataset, "left"), cell(recipe.name + split, "left"),
      ...counts.map((count) => cell(count)), ...tested.map((metric) => cell(spread(recipe.metrics.test?.[metric.name]))));
  }));
}

// ----- the page -----

function draw() {
  writeHash();
  drawTable();
  drawCurves();
  drawDifference();
  drawLeaders();
  drawScaling();
}

function choose(id, key, options) {
  $(id).replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  if (!options.some(([value]) => value === state[key])) state[key] = (options.find(([value]) => value === content.chosen_by) ?? options[0])?.[0] ?? "";
  $(id).value = state[key];
}

function begin() {
  readHash();
  choose("dataset", "data", [["", "all"], ...datasets.map((name) => [name, name])]);
  choose("curve", "curve", validated.map((metric) => [metric.name, metric.title]));
  choose("metric", "metric", tested.map((metric) => [metric.name, metric.title]));
  $("datasets").hidden = datasets.length < 2;
  $("filter").value = state.q;
  $("log").checked = state.log;
  for (const radio of document.getElementsByName("x")) radio.checked = radio.value === state.x;
  const linked = location.hash.includes("run=");
  draw();
  const row = $("runs").querySelector(".seed.plotted") ?? $("runs").querySelector(".plotted");
  if (linked) row?.scrollIntoView({ block: "nearest" });
}

for (const [id, key] of [["filter", "q"], ["dataset", "data"], ["curve", "curve"], ["metric", "metric"], ["first", "first"], ["second", "second"]]) {
  $(id).addEventListener("input", () => { state[key] = $(id).value; draw(); });
}
for (const radio of document.getElementsByName("x")) radio.addEventListener("change", () => { state.x = radio.value; draw(); });
$("log").addEventListener("change", () => { state.log = $("log").checked; draw(); });
$("clear").addEventListener("click", () => { state.selected = []; draw(); });
addEventListener("resize", () => { drawCurves(); drawScaling(); });
addEventListener("hashchange", begin);
begin();
