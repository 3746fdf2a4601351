"use strict";
// The page of `fastmap report`. Text of users reaches the document through textContent only, and plotly, which reads
// some markup, through `plain`.

const DATA = JSON.parse(document.getElementById("data").textContent);
const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]; // Okabe and Ito
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down"];
const PREFIXES = ["y", "z", "a", "f", "p", "n", "µ", "m", "", "k", "M", "G", "T", "P", "E"];
const SHOWN_ROWS = 200;
const DRAWN_POINTS = 3000; // more would make the cloud slow; those in view count

const byId = (id) => document.getElementById(id);
let charts = false; // whether the plotting library is there yet
const state = { layer: null, objective: null, a: null, b: null, sort: "value", falling: false, filters: {} };

// ------------------------------------------------------------------------------------------------ elements and text

// An element with properties and children; strings become text nodes.
function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

// A value in its base unit, with four digits and a prefix.
function quantity(value, unit) {
  if (!value || !isFinite(value)) return `${value} ${unit}`;
  const rounded = Number(value.toPrecision(4));
  const power = Math.max(-8, Math.min(6, Math.floor(Math.log10(Math.abs(rounded)) / 3 + 1e-9)));
  return `${(rounded / 1000 ** power).toPrecision(4)} ${PREFIXES[power + 8]}${unit}`;
}

const energy = (pj) => quantity(pj * 1e-12, "J");
const duration = (ns) => quantity(ns * 1e-9, "s");
const integer = (value) => Math.round(value).toLocaleString("en-US");
const ordinal = (n) => `${n}${n % 100 > 10 && n % 100 < 14 ? "th" : ["th", "st", "nd", "rd"][n % 10] || "th"}`;
const percent = (share) => `${Number((100 * share).toPrecision(3))} %`;

// ------------------------------------------------------------------------------------------------ results and values

DATA.results.forEach((result, index) => {
  result.index = index;
  const same = DATA.results.filter((other) => other.architecture === result.architecture && other.file !== result.file);
  result.label = result.architecture + (same.length ? ` in ${DATA.files[result.file].name}` : "");
  result.visible = true;
});
const LABELS = [...new Set(DATA.results.map((result) => result.label))];
DATA.results.forEach((result) => {
  const place = LABELS.indexOf(result.label);
  result.colour = COLOURS[place % COLOURS.length];
  result.symbol = SYMBOLS[place % SYMBOLS.length];
});
const LAYERS = [...new Set(DATA.results.flatMap((result) => [result.layer, ...result.also]))];

const holds = (result, layer) => result.layer === layer || result.also.includes(layer);
const shownResults = () => DATA.results.filter((result) => result.visible && holds(result, state.layer));
const latencyNs = (result, point) => result.latency_cycles[point] * result.clock_ns;

function valueOf(energyPj, cycles, clockNs, objective) {
  return objective === "latency" ? cycles * clockNs : energyPj * (cycles * clockNs) ** DATA.objectives[objective];
}
const value = (result, point, objective = state.objective) =>
  valueOf(result.energy_pj[point], result.latency_cycles[point], result.clock_ns, objective);

function valueText(number, objective = state.objective) {
  if (objective === "latency") return duration(number);
  const power = DATA.objectives[objective];
  const unit = power === 0 ? "J" : power === 1 ? "J s" : `J s${power}`;
  return quantity(number * 1e-12 * 1e-9 ** power, unit);
}
const goal = (objective) => (objective.startsWith("ed") ? objective.toUpperCase() : objective);

function kindOf(result, point) {
  if (result.best[state.objective] === point) return "best";
  return result.front.includes(point) ? "front" : "mapping";
}

// ------------------------------------------------------------------------------------------------ the cloud

const AXIS = { type: "log", tickmode: "array", gridcolor: "#e4e8ec", zeroline: false, ticks: "outside" };
const LAYOUT = {
  margin: { l: 84, r: 12, t: 8, b: 46 }, font: { size: 12 }, hovermode: "closest", dragmode: "zoom",
  legend: { orientation: "h", y: -0.16, itemsizing: "constant" }, paper_bgcolor: "#ffffff", plot_bgcolor: "#ffffff",
};
// The page sends nothing anywhere: without the button that would.
const CONFIG = { responsive: true, displaylogo: false, scrollZoom: true, plotlyServerURL: "",
  modeBarButtonsToRemove: ["sendChartToCloud", "select2d", "lasso2d"] };

function pointTrace(result, points, name, style) {
  return {
    type: "scatter", name: plain(name), x: points.map((point) => result.energy_pj[point] * 1e-12),
    y: points.map((point) => latencyNs(result, point) * 1e-9), customdata: points.map((point) => [result.index, point]),
    text: points.map((point) => `${energy(result.energy_pj[point])}, ${duration(latencyNs(result, point))}<br>` +
      `${goal(state.objective)} ${valueText(value(result, point))}`),
    hoverinfo: "text", ...style,
  };
}

function densityTrace(result) {
  const { energy_pj, latency_ns, bins } = result.density;
  const z = latency_ns.slice(1).map(() => energy_pj.slice(1).map(() => null));
  for (const [i, j, mappings] of bins) z[j][i] = Math.log10(mappings);
  return {
    type: "heatmap", x: energy_pj.map((pj) => pj * 1e-12), y: latency_ns.map((ns) => ns * 1e-9), z, hoverinfo: "skip",
    colorscale: [[0, "#edf0f3"], [1, "#9aa6b2"]], showscale: false, name: "all mappings",
  };
}

// Nothing to see, but axes of some length around a single point, too.
function cornersTrace(traces) {
  const around = (values) => [values.reduce((x, y) => Math.min(x, y), Infinity) / 1.2, values.reduce((x, y) => Math.max(x, y), 0) * 1.2];
  return { type: "scatter", mode: "markers", marker: { opacity: 0 }, x: around(traces.flatMap(({ x }) => x)),
    y: around(traces.flatMap(({ y }) => y)), hoverinfo: "skip", showlegend: false };
}

// Mappings beside the front that lie in the part of the cloud that is in view.
function inView(result) {
  const front = new Set(result.front);
  const { xaxis, yaxis } = byId("cloud").layout || {};
  const sees = (axis, each) => !axis || axis.autorange !== false || (axis.range[0] <= Math.log10(each) && Math.log10(each) <= axis.range[1]);
  const zoomed = state.zoomed === state.layer;
  return result.id.map((_, point) => point).filter((point) => !front.has(point) && (!zoomed ||
    (sees(xaxis, result.energy_pj[point] * 1e-12) && sees(yaxis, latencyNs(result, point) * 1e-9))));
}

function drawCloud() {
  const results = shownResults();
  const rowsOf = new Map(results.map((result) => [result, inView(result)]));
  const count = [...rowsOf.values()].reduce((sum, rows) => sum + rows.length, 0);
  const step = Math.ceil(count / DRAWN_POINTS);
  const traces = results.length === 1 && results[0].density ? [densityTrace(results[0])] : [];
  for (const result of results) {
    const { colour, symbol, label } = result;
    const rows = rowsOf.get(result).filter((_, place) => place % step === 0);
    if (rows.length) {
      traces.push(pointTrace(result, rows, label, { mode: "markers", marker: { color: colour, symbol, size: 5, opacity: 0.45 } }));
    }
    if (result.front.length) {
      const line = { color: colour, width: 1.5, shape: "hv" };
      traces.push(pointTrace(result, result.front, `front, ${label}`,
        { mode: "lines+markers", line, marker: { color: colour, symbol, size: 6 } }));
    }
    const best = result.best[state.objective];
    if (best !== null) {
      traces.push(pointTrace(result, [best], `best ${goal(state.objective)}, ${label}`, { mode: "markers",
        marker: { color: colour, symbol: "star", size: 15, line: { color: "#000000", width: 1 } } }));
    }
  }
  if (traces.length) traces.push(cornersTrace(traces));
  const axes = { xaxis: { ...AXIS, title: { text: "energy" } }, yaxis: { ...AXIS, title: { text: "latency" } } };
  // The same revision keeps the zoom; another layer has other axes.
  if (charts) Plotly.react("cloud", traces, { ...LAYOUT, ...axes, uirevision: state.layer, annotations: signs() }, CONFIG).then(labelAxes);
  const sparse = step > 1 ? `; every ${ordinal(step)} of them is drawn: zoom in for more` : "";
  byId("cloud-note").textContent = results.map((result) => noteOf(result)).join("; ") + sparse;
}

// Where to label a logarithmic axis between two powers of ten, so that labels do not run into each other.
function ticksBetween(low, high) {
  if (high - low < 0.8) {
    const rough = (10 ** high - 10 ** low) / 4;
    const unit = 10 ** Math.floor(Math.log10(rough));
    const step = unit * [1, 2, 5, 10].find((each) => each * unit >= rough);
    const first = Math.ceil(10 ** low / step);
    return Array.from({ length: Math.floor(10 ** high / step) - first + 1 }, (_, i) => (first + i) * step);
  }
  const digits = high - low > 2.2 ? [1] : [1, 2, 5];
  const every = Math.ceil((high - low) / 6);
  const powers = Array.from({ length: Math.ceil(high) - Math.floor(low) + 1 }, (_, i) => Math.floor(low) + i);
  return powers.filter((power) => power % every === 0).flatMap((power) => digits.map((digit) => digit * 10 ** power))
    .filter((each) => low <= Math.log10(each) && Math.log10(each) <= high);
}

function labelAxes() {
  const changes = {};
  for (const [axis, unit] of [["xaxis", "J"], ["yaxis", "s"]]) {
    const { range, tickvals } = byId("cloud").layout[axis];
    const wanted = ticksBetween(...range);
    if (String(wanted) === String(tickvals)) continue;
    changes[`${axis}.tickvals`] = wanted;
    changes[`${axis}.ticktext`] = wanted.map((each) => quantity(each, unit).replace(/\.?0+ /, " "));
  }
  if (Object.keys(changes).length) Plotly.relayout("cloud", changes);
}

// A and B in the cloud. Annotations are redrawn at once, however many points there are.
function signs() {
  return ["a", "b"].filter((side) => state[side] && shownResults().includes(DATA.results[state[side].r])).map((side) => {
    const { r, p } = state[side];
    const [x, y] = [DATA.results[r].energy_pj[p] * 1e-12, latencyNs(DATA.results[r], p) * 1e-9];
    return { x: Math.log10(x), y: Math.log10(y), text: side.toUpperCase(), ax: side === "a" ? -24 : 24, ay: -24, arrowhead: 2,
      arrowwidth: 1.2, standoff: 6, font: { size: 14, color: "#000000" }, bgcolor: "#ffffff", bordercolor: "#000000", borderpad: 2 };
  });
}

function noteOf(result) {
  const { kind, of, shown } = result.rows;
  const total = `of ${integer(result.mappings_total)} mappings`;
  if (!of) return `${result.label}: ${integer(result.id.length)} best ${total}`;
  const what = kind === "sample" ? "mappings drawn as a sample" : "rows";
  return `${result.label}: ${integer(shown)} of ${integer(of)} ${what}, and the best, ${total}`;
}

// ------------------------------------------------------------------------------------------------ one mapping

function loopsOf(result, point) {
  return result.loops[point].split(" ").filter(Boolean).map((loop) => [loop.replace(/\d+$/, ""), Number(/\d+$/.exec(loop)[0])]);
}

// The loops, the outermost first, each with the memory in which every operand keeps its tile. Neighbours of one
// dimension and the same memories are one loop.
function nest(result, point) {
  const operands = Object.keys(result.chains);
  const merged = [];
  loopsOf(result, point).forEach(([dim, size], place) => {
    const homes = operands.map((operand, o) => result.chains[operand][result.cuts[point][o].findIndex((cut) => place < cut)]);
    const last = merged[merged.length - 1];
    if (last && last.dim === dim && last.homes.join() === homes.join()) last.size *= size;
    else merged.push({ dim, size, homes });
  });
  const body = element("tbody");
  merged.reverse().forEach(({ dim, size, homes }, depth) => {
    body.append(row([`${" ".repeat(depth)}for ${dim} in 0..${size - 1}`, ...homes]));
  });
  const inner = element("td", { colSpan: 4, textContent: `${" ".repeat(merged.length)}parallel ${result.spatial[result.spatial_of[point]]}` });
  inner.className = "text";
  body.append(element("tr", {}, inner));
  const names = ["loop nest", ...operands.map((operand) => `${operand} kept in`)];
  return element("table", { className: "nest" }, element("thead", {}, row(names, "th")), body);
}

function row(cells, kind = "td") {
  return element("tr", {}, ...cells.map((cell) => element(kind, { className: "text", textContent: cell })));
}

// Parts of a cost with bars, the largest first.
function parts(title, names, values, words, className) {
  const whole = values.reduce((sum, each) => sum + each, 0) || 1;
  const rows = names.map((name, i) => [name, values[i]]).filter(([, each]) => each > 0).sort((x, y) => y[1] - x[1]);
  const body = element("tbody");
  for (const [name, each] of rows) {
    const bar = element("span", { className: "bar" });
    bar.style.width = `${(100 * each) / rows[0][1]}%`;
    bar.title = percent(each / whole);
    body.append(element("tr", {}, element("td", { className: "text", textContent: name }),
      element("td", { textContent: words(each) }), element("td", {}, bar)));
  }
  return element("table", { className: `parts ${className}` }, element("thead", {}, row([title, "", ""], "th")), body);
}

function card(reference, title) {
  const { r, p } = reference;
  const result = DATA.results[r];
  const swatch = element("span", { className: "swatch" });
  swatch.style.background = result.colour;
  const figures = `${energy(result.energy_pj[p])}, ${integer(result.latency_cycles[p])} cycles = ` +
    `${duration(latencyNs(result, p))}, EDP ${valueText(value(result, p, "edp"), "edp")}, ` +
    `array use ${percent(result.utilization[p])}`;
  const head = element("h3", {}, `${title ? `${title}: ` : ""}`, swatch, `${state.layer} on ${result.label}`);
  const details = element("div", { className: "details" },
    parts("energy", result.energy_parts, result.energy[p], energy, "energies"),
    parts("cycles", result.cycle_parts, result.cycles[p], integer, "cycles"));
  return [head, element("p", { className: "figures", textContent: figures }), nest(result, p), details];
}

function showHovered(reference) {
  byId("hovered").replaceChildren(...(reference ? card(reference, kindOf(DATA.results[reference.r], reference.p))
    : [element("p", { className: "muted", textContent: `${unknownBest()}Point at a mapping to see its loop nest and what it costs.` })]));
}

// Why no best is shown, where the files hold that of another objective only.
function unknownBest() {
  const results = shownResults();
  if (!results.length || results.some((result) => result.best[state.objective] !== null)) return "";
  const searched = [...new Set(results.map((result) => goal(result.objective)))].join(", ");
  return `The best ${goal(state.objective)} of this layer is not known: the search was for ${searched}. `;
}

// ------------------------------------------------------------------------------------------------ two mappings

function drawComparison() {
  for (const side of ["a", "b"]) {
    byId(`card-${side}`).replaceChildren(...(state[side] ? card(state[side], side.toUpperCase())
      : [element("p", { className: "muted", textContent: `${side.toUpperCase()}: nothing chosen yet` })]));
  }
  byId("difference").replaceChildren(...(state.a && state.b ? [differences()] : []));
}

function differences() {
  const [a, b] = ["a", "b"].map((side) => ({ result: DATA.results[state[side].r], p: state[side].p }));
  const body = element("tbody");
  const add = (name, before, after, words) => {
    if (before === undefined && after === undefined) return;
    const change = before && after ? `${after >= before ? "+" : ""}${percent(after / before - 1)}` : "";
    const cells = [before, after].map((each) => (each === undefined ? "" : words(each)));
    const same = before === after;
    body.append(element("tr", { className: same ? "muted" : "" }, element("td", { className: "text", textContent: name }),
      ...[...cells, same ? "the same" : change].map((cell) => element("td", { textContent: cell }))));
  };
  const both = (get) => [get(a.result, a.p), get(b.result, b.p)];
  add("energy", ...both((result, p) => result.energy_pj[p]), energy);
  add("latency", ...both(latencyNs), duration);
  for (const objective of Object.keys(DATA.objectives).filter((name) => name.startsWith("ed"))) {
    add(goal(objective), ...both((result, p) => value(result, p, objective)), (number) => valueText(number, objective));
  }
  add("array use", ...both((result, p) => result.utilization[p]), percent);
  for (const [names, values, unit, words] of [["energy_parts", "energy", "energy: ", energy],
    ["cycle_parts", "cycles", "cycles: ", integer]]) {
    for (const part of new Set([...a.result[names], ...b.result[names]])) {
      const [before, after] = both((result, p) => result[values][p][result[names].indexOf(part)]);
      if (before || after) add(unit + part, before, after, words);
    }
  }
  const head = element("tr", {}, ...["", "A", "B", "B against A"].map((name, i) =>
    element("th", { className: i ? "" : "text", textContent: name })));
  return element("table", { id: "differences" }, element("thead", {}, head), body);
}

function choose(reference) {
  state[document.querySelector("input[name=side]:checked").value] = reference;
  redrawChoice();
}

function chooseBest() {
  const result = shownResults().filter((each) => each.best[state.objective] !== null)
    .sort((x, y) => value(x, x.best[state.objective]) - value(y, y.best[state.objective]))[0];
  state.a = result ? { r: result.index, p: result.best[state.objective] } : null;
}

function redrawChoice() {
  if (charts) Plotly.relayout("cloud", { annotations: signs() });
  drawComparison();
  drawRows();
  drawCommands();
}

// ------------------------------------------------------------------------------------------------ the table

const COLUMNS = [
  { name: "architecture", of: ({ result }) => result.label, text: true },
  { name: "what", of: ({ result, p }) => kindOf(result, p), text: true },
  { name: "energy", of: ({ result, p }) => result.energy_pj[p] * 1e-12, words: (each) => quantity(each, "J") },
  { name: "cycles", of: ({ result, p }) => result.latency_cycles[p], words: integer, hint: "< 2000" },
  { name: "latency", of: ({ result, p }) => latencyNs(result, p) * 1e-9, words: (each) => quantity(each, "s") },
  { name: "value", of: ({ result, p }) => value(result, p), words: (each) => valueText(each) },
  { name: "array use", of: ({ result, p }) => result.utilization[p], words: percent, hint: "> 50%" },
  { name: "spatial mapping", of: ({ result, p }) => result.spatial[result.spatial_of[p]], text: true, wide: true },
  { name: "loops, innermost first", of: ({ result, p }) => result.loops[p] || "none", text: true, wide: true },
];

// The value of the objective has a column of its own, unless there is one.
const shownColumns = () => COLUMNS.filter(({ name }) => name !== "value" || !COLUMNS.some((one) => one.name === state.objective));

function drawHead() {
  const names = element("tr");
  const filters = element("tr");
  const columns = shownColumns();
  const sorted = columns.some((column) => column.name === state.sort) ? state.sort : state.objective;
  for (const column of columns) {
    const title = column.name === "value" ? goal(state.objective) : column.name;
    const arrow = sorted !== column.name ? "" : state.falling ? " ▼" : " ▲";
    const button = element("button", { type: "button", textContent: title + arrow });
    button.addEventListener("click", () => {
      state.falling = sorted === column.name && !state.falling;
      state.sort = column.name;
      drawHead();
      drawRows();
    });
    const head = element("th", { className: column.text ? "text" : "", scope: "col" }, button);
    head.setAttribute("aria-sort", !arrow ? "none" : state.falling ? "descending" : "ascending");
    names.append(head);
    const field = element("input", { type: "text", value: state.filters[column.name] || "",
      placeholder: column.text ? "contains" : column.hint || "< 1.5u" });
    field.setAttribute("aria-label", `filter ${title}`);
    field.addEventListener("input", () => {
      state.filters[column.name] = field.value;
      drawRows();
    });
    filters.append(element("th", {}, field));
  }
  byId("mappings").tHead.replaceChildren(names, filters);
}

// A condition of a filter field: text that must be contained, or a number such as 1.5u after <, <=, > or >=.
function condition(column, written) {
  const words = written.trim().toLowerCase();
  if (!words) return () => true;
  if (column.text) return (each) => each.toLowerCase().includes(words);
  const match = /^(<=|>=|<|>|=)?\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*([a-zµ%]?)/i.exec(written.trim());
  if (!match) return () => true;
  const scale = match[3] === "%" ? 0.01 : match[3] === "u" ? 1e-6 :
    match[3] && PREFIXES.includes(match[3]) ? 1000 ** (PREFIXES.indexOf(match[3]) - 8) : 1;
  // The objective's own unit is pJ and ns, as it is computed.
  const unit = column.name !== "value" ? 1 : state.objective === "latency" ? 1e-9 : 1e-12 * 1e-9 ** DATA.objectives[state.objective];
  const limit = (Number(match[2]) * scale) / unit;
  const tests = { "<": (x) => x < limit, "<=": (x) => x <= limit, ">": (x) => x > limit, ">=": (x) => x >= limit,
    "=": (x) => Math.abs(x - limit) <= 5e-4 * Math.abs(limit) };
  return tests[match[1] || "="];
}

function drawRows() {
  const all = shownResults().flatMap((result) => result.id.map((_, p) => ({ result, p })));
  const columns = shownColumns();
  const tests = columns.map((column) => [column, condition(column, state.filters[column.name] || "")]);
  const chosen = all.filter((each) => tests.every(([column, test]) => test(column.of(each))));
  const column = COLUMNS.find((each) => each.name === state.sort);
  const keyed = chosen.map((each) => [column.of(each), each]);
  const sign = state.falling ? -1 : 1;
  keyed.sort(([x], [y]) => sign * (column.text ? x.localeCompare(y) : x - y));
  const rows = keyed.slice(0, SHOWN_ROWS).map(([, each]) => {
    const reference = { r: each.result.index, p: each.p };
    const cells = columns.map((one) => element("td", { className: one.wide ? "text words" : one.text ? "text" : "",
      textContent: (one.words || String)(one.of(each)) }));
    const made = element("tr", { tabIndex: 0 }, ...cells);
    const sides = ["a", "b"].filter((side) => state[side] && state[side].r === reference.r && state[side].p === reference.p);
    if (sides.length) made.className = "chosen";
    made.addEventListener("click", () => choose(reference));
    made.addEventListener("keydown", (event) => event.key === "Enter" && choose(reference));
    made.addEventListener("mouseenter", () => showHovered(reference));
    return made;
  });
  byId("mappings").tBodies[0].replaceChildren(...rows);
  const first = chosen.length > SHOWN_ROWS ? `first ${SHOWN_ROWS} of ` : "";
  byId("table-note").textContent = `${first}${integer(chosen.length)}` +
    (chosen.length < all.length ? `, filtered from ${integer(all.length)}` : "");
}

// ------------------------------------------------------------------------------------------------ architectures

function drawArchitectures() {
  const of = (label, layer) => DATA.results.find((result) => result.label === label && holds(result, layer));
  const known = (label, layer) => of(label, layer) && of(label, layer).best[state.objective] !== null;
  const common = LAYERS.filter((layer) => LABELS.every((label) => known(label, layer)));
  const sums = LABELS.map((label) => {
    const bests = common.map((layer) => [of(label, layer), of(label, layer).best[state.objective]]);
    const sum = (get) => bests.reduce((total, [result, p]) => total + get(result, p), 0);
    const first = DATA.results.find((result) => result.label === label);
    const pj = sum((result, p) => result.energy_pj[p]);
    const cycles = sum((result, p) => result.latency_cycles[p]);
    return { label, pj, ns: cycles * first.clock_ns, area: first.area_mm2, value: valueOf(pj, cycles, first.clock_ns, state.objective) };
  });
  const least = Math.min(...sums.map((each) => each.value));
  const names = ["architecture", "energy", "latency", ...(["energy", "latency"].includes(state.objective) ? [] : [goal(state.objective)]), "against the best", "area"];
  const head = element("tr", {}, ...names.map((name, i) => element("th", { className: i ? "" : "text", textContent: name })));
  const rows = sums.map((each) => {
    const cells = [each.label, energy(each.pj), duration(each.ns), ...(names.length === 6 ? [valueText(each.value)] : []),
      `${(each.value / least).toPrecision(4)} times`, `${each.area.toPrecision(4)} mm²`];
    return element("tr", {}, ...cells.map((cell, i) => element("td", { className: i ? "" : "text", textContent: cell })));
  });
  byId("totals").tHead.replaceChildren(...(common.length ? [head] : []));
  byId("totals").tBodies[0].replaceChildren(...(common.length ? rows : []));
  byId("architectures-note").textContent = common.length
    ? `sums of the best ${goal(state.objective)} of ${common.length === LAYERS.length ? "all" : "the"} ${common.length} layer${common.length === 1 ? "" : "s"}` +
      (common.length === LAYERS.length ? "" : " that all have")
    : `no layer whose best ${goal(state.objective)} is known on each`;
  const layers = LAYERS.filter((layer) => LABELS.some((label) => known(label, layer)));
  const bestOf = (label, layer) => known(label, layer) ? value(of(label, layer), of(label, layer).best[state.objective]) : null;
  const leastOf = layers.map((layer) => Math.min(...LABELS.map((label) => bestOf(label, layer)).filter((each) => each !== null)));
  const relative = LABELS.length > 1; // else there is nothing to compare with but the largest layer
  const traces = LABELS.map((label, i) => ({
    type: "bar", name: plain(label), x: layers.map((_, place) => place), hoverinfo: "text", textposition: "none",
    y: layers.map((layer, place) => {
      const own = bestOf(label, layer);
      return own === null ? null : own / (relative ? leastOf[place] : Math.max(...leastOf));
    }),
    text: layers.map((layer) => `${plain(layer)}, ${plain(label)}: ${known(label, layer) ? valueText(bestOf(label, layer)) : ""}`),
    marker: { color: COLOURS[i % COLOURS.length], pattern: { shape: ["", "/", ".", "x", "-", "\\", "+"][i % 7], size: 5 } },
  }));
  byId("architectures").hidden = layers.length * LABELS.length < 2;
  const against = relative ? "times the least of the layer" : "of the largest";
  if (charts) Plotly.react("architectures", traces, { ...LAYOUT, barmode: "group", showlegend: relative,
    legend: { orientation: "h", y: 1.12 }, margin: { l: 60, r: 12, t: 24, b: 100 },
    xaxis: { tickvals: layers.map((_, place) => place), ticktext: layers.map(plain), tickangle: -45 },
    yaxis: { gridcolor: AXIS.gridcolor, title: { text: `best ${goal(state.objective)}, ${against}` } } }, CONFIG);
}

// ------------------------------------------------------------------------------------------------ commands

function drawCommands() {
  const made = [];
  for (const file of DATA.files) {
    const note = `${file.name}: written by fastmap ${file.version}, ${file.created}`;
    made.push(element("p", { className: "muted", textContent: note }), command(file.command || "(no command recorded)"));
  }
  for (const side of ["a", "b"]) {
    if (!state[side]) continue;
    const result = DATA.results[state[side].r];
    made.push(element("p", { className: "muted", textContent: `the mapping ${side.toUpperCase()}, costed anew` }),
      command(`${result.reproduce} ${result.id[state[side].p]}`));
  }
  byId("commands").replaceChildren(...made);
}

function command(text) {
  const code = element("code", { textContent: text });
  const button = element("button", { type: "button", textContent: "copy" });
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      getSelection().selectAllChildren(code); // where pages may not write to the clipboard, they may copy a selection
      document.execCommand("copy");
    }
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
  return element("div", { className: "command" }, code, button);
}

// ------------------------------------------------------------------------------------------------ start

function redraw() {
  chooseBest();
  if (state.b && !holds(DATA.results[state.b.r], state.layer)) state.b = null;
  showHovered(state.a);
  drawHead();
  drawCloud();
  drawArchitectures();
  redrawChoice();
}

function start() {
  byId("files").textContent = DATA.files.map((file) => file.name).join(", ");
  byId("layer").append(...LAYERS.map((layer) => new Option(layer, layer)));
  const known = Object.keys(DATA.objectives).filter((name) => DATA.results.some((result) => result.best[name] !== null));
  byId("objective").append(...known.map((name) => new Option(goal(name), name)));
  const searched = DATA.results[0].objective;
  state.layer = LAYERS[0];
  state.objective = known.includes(searched) ? searched : known[0] || "edp";
  byId("objective").value = state.objective;
  LABELS.forEach((label, i) => {
    const box = element("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => {
      DATA.results.filter((result) => result.label === label).forEach((result) => { result.visible = box.checked; });
      redraw();
    });
    const swatch = element("span", { className: "swatch" });
    swatch.style.background = COLOURS[i % COLOURS.length];
    byId("results").append(element("label", {}, box, swatch, label));
  });
  for (const name of ["layer", "objective"]) {
    byId(name).addEventListener("change", () => { state[name] = byId(name).value; redraw(); });
  }
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("optimum").addEventListener("click", () => { chooseBest(); redrawChoice(); });
  byId("swap").addEventListener("click", () => { [state.a, state.b] = [state.b, state.a]; redrawChoice(); });
  redraw();
  document.body.dataset.readable = Math.round(performance.now());
  // The library takes most of the time: it runs when everything else has been painted.
  requestAnimationFrame(() => setTimeout(startCharts));
}

function startCharts() {
  document.head.append(element("script", { text: byId("plotly").textContent }));
  charts = true;
  byId("footer").textContent = `fastmap ${DATA.version}; drawn with plotly.js ${Plotly.version} (MIT licence)`;
  drawCloud();
  drawArchitectures();
  const cloud = byId("cloud");
  const reference = ({ points }) => points[0].customdata && { r: points[0].customdata[0], p: points[0].customdata[1] };
  cloud.on("plotly_hover", (event) => reference(event) && showHovered(reference(event)));
  cloud.on("plotly_click", (event) => reference(event) && choose(reference(event)));
  cloud.on("plotly_relayout", (event) => {
    if (!Object.keys(event).some((key) => /^[xy]axis\.(range|autorange)/.test(key))) return;
    state.zoomed = state.layer;
    if (shownResults().reduce((sum, result) => sum + result.id.length, 0) > DRAWN_POINTS) drawCloud();
    else labelAxes();
  });
  document.body.dataset.ready = Math.round(performance.now());
}

start();
