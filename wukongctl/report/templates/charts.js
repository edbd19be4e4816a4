// Line charts as SVG: axes, curves, and the point nearest to the pointer in the caption.
const HEIGHT = 250, LEFT = 58, RIGHT = 10, TOP = 10, BOTTOM = 42;

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const UNITS = [[1e24, "Y"], [1e21, "Z"], [1e18, "E"], [1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];

function short(value) {
  const unit = Math.abs(value) >= 1e4 ? UNITS.find(([size]) => Math.abs(value) >= size) : undefined;
  if (unit) return `${+(value / unit[0]).toPrecision(3)}${unit[1]}`;
  if (value !== 0 && Math.abs(value) < 1e-3) return (+value.toPrecision(3)).toExponential();
  return String(+value.toPrecision(4));
}

function linearTicks(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((one) => one >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}

function logTicks(low, high, count) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const times of [1, 2, 5]) found.push(times * 10 ** power);
  }
  const inside = found.filter((one) => one >= low * 0.999 && one <= high * 1.001);
  if (inside.length < 3) return linearTicks(low, high, count);
  const decades = inside.filter((one) => Math.abs(Math.log10(one) % 1) < 1e-9);
  const shown = inside.length > count + 2 && decades.length > 1 ? decades : inside;
  return shown.filter((_, index) => index % Math.ceil(shown.length / (count + 2)) === 0);
}

function axis(values, logarithmic, start, end, count) {
  let low = Math.min(...values), high = Math.max(...values);
  if (low === high) [low, high] = low === 0 ? [0, 1] : [low - Math.abs(low) * 0.05, high + Math.abs(high) * 0.05];
  [low, high] = logarithmic ? [low / (high / low) ** 0.02, high * (high / low) ** 0.02] : [low - (high - low) * 0.02, high + (high - low) * 0.02];
  const map = logarithmic ? Math.log : (value) => value;
  const scale = (end - start) / (map(high) - map(low));
  const place = (value) => start + (map(value) - map(low)) * scale;
  return { place, ticks: (logarithmic ? logTicks : linearTicks)(low, high, count) };
}

// series: [{label, hue, dash, points: [[x, y, note]], line, marks}]
function drawChart(figure, { title, xTitle, series, logX = false, logY = false, empty }) {
  const positive = ([x, y]) => y !== null && x !== null && (!logX || x > 0) && (!logY || y > 0);
  const shown = series.map((one) => ({ ...one, points: one.points.filter(positive) })).filter((one) => one.points.length);
  const heading = element("h3", { textContent: title });
  if (!shown.length) return figure.replaceChildren(heading, element("p", { className: "empty", textContent: empty }));
  const width = Math.max(260, figure.clientWidth - 28), points = shown.flatMap((one) => one.points);
  const spread = (index) => points.reduce(([low, high], point) => [Math.min(low, point[index]), Math.max(high, point[index])], [Infinity, -Infinity]);
  const x = axis(spread(0), logX, LEFT, width - RIGHT, width < 420 ? 4 : 7);
  const y = axis(spread(1), logY, HEIGHT - BOTTOM, TOP, 5);
  const canvas = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": `${title} against ${xTitle}` });
  for (const tick of y.ticks) {
    canvas.append(svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y.place(tick), y2: y.place(tick) }));
    canvas.append(svg("text", { x: LEFT - 7, y: y.place(tick) + 4, "text-anchor": "end" }, short(tick)));
  }
  for (const tick of x.ticks) canvas.append(svg("text", { x: x.place(tick), y: HEIGHT - BOTTOM + 18, "text-anchor": "middle" }, short(tick)));
  canvas.append(svg("text", { x: (LEFT + width - RIGHT) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, xTitle));
  const placed = [];
  for (const one of shown) {
    const spots = one.points.map((point) => ({ x: x.place(point[0]), y: y.place(point[1]), point, one }));
    placed.push(...spots);
    const path = (one.line ?? one.points).map((point) => `${x.place(point[0]).toFixed(1)},${y.place(point[1]).toFixed(1)}`).join(" ");
    canvas.append(svg("polyline", { class: "curve", points: path, style: `--hue:${one.hue}`, "stroke-dasharray": one.dash ?? "" }));
    if (one.marks || spots.length < 3) for (const spot of spots) canvas.append(svg("circle", { class: "mark", cx: spot.x, cy: spot.y, r: 4, style: `--hue:${one.hue}` }));
  }
  figure.replaceChildren(heading, canvas, watchPointer(canvas, placed, width, xTitle));
}

function watchPointer(canvas, placed, width, xTitle) {
  const caption = element("figcaption", { textContent: "" });
  const dot = svg("circle", { class: "mark", r: 5, visibility: "hidden" });
  canvas.append(dot);
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect(), scale = width / box.width;
    const [px, py] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    const nearest = placed.reduce((best, spot) => {
      const distance = (spot.x - px) ** 2 + (spot.y - py) ** 2;
      return distance < best.distance ? { distance, spot } : best;
    }, { distance: Infinity }).spot;
    const { point, one } = nearest;
    for (const [name, value] of Object.entries({ cx: nearest.x, cy: nearest.y, style: `--hue:${one.hue}`, visibility: "visible" })) dot.setAttribute(name, value);
    caption.textContent = `${point[2] ?? one.label}: ${+point[1].toPrecision(6)} at ${xTitle} ${short(point[0])}`;
  });
  canvas.addEventListener("pointerleave", () => { dot.setAttribute("visibility", "hidden"); caption.textContent = ""; });
  return caption;
}
