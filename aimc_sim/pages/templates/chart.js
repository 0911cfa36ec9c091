"use strict";
// Line charts with bands: one for every figure of class "chart", from the JSON inside it.
// Values of all curves at one stop are shown at the pointer, by touch, and with the arrow keys.
const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { left: 56, right: 16, top: 12, letter: 6.4 };

function make(name, attributes, parent) {
  const found = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
  if (parent) parent.append(found);
  return found;
}

function niceStep(range, wanted) {
  const size = 10 ** Math.floor(Math.log10(range / wanted));
  return [1, 2, 5, 10].map((k) => k * size).find((step) => range / step <= wanted);
}

function marker(parent, x, y, kind, look) {
  const r = 4;
  if (kind === 1) return make("rect", { x: x - r, y: y - r, width: 2 * r, height: 2 * r, class: look }, parent);
  if (kind === 2) return make("path", { d: `M${x} ${y - r - 1}l${r + 1} ${2 * r}h${-2 * r - 2}z`, class: look }, parent);
  if (kind === 3) return make("path", { d: `M${x} ${y - r - 1}l${r + 1} ${r + 1}l${-r - 1} ${r + 1}l${-r - 1} ${-r - 1}z`, class: look }, parent);
  return make("circle", { cx: x, cy: y, r, class: look }, parent);
}

class LineChart {
  constructor(figure) {
    this.data = JSON.parse(figure.querySelector("script").textContent);
    this.plot = figure.querySelector(".plot");
    this.plot.tabIndex = 0;
    this.plot.setAttribute("role", "group");
    this.plot.setAttribute("aria-label", `${this.data.title}: values with the left and right arrow keys`);
    this.stop = null;
    this.toggles(figure);
    this.plot.addEventListener("pointermove", (event) => this.point(event));
    this.plot.addEventListener("pointerdown", (event) => this.point(event));
    this.plot.addEventListener("pointerleave", () => this.leave());
    this.plot.addEventListener("focus", () => { if (this.plot.matches(":focus-visible")) this.show(this.stop ?? 0, true); });
    this.plot.addEventListener("blur", () => this.leave());
    this.plot.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => { if (this.plot.clientWidth !== this.width) this.draw(); }).observe(this.plot);
    this.draw();
  }

  toggles(figure) {
    const list = document.createElement("ul");
    list.className = "toggles";
    const add = (text, look) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = look;
      button.textContent = text;
      const item = document.createElement("li");
      item.append(button);
      list.append(item);
      return button;
    };
    const groups = [...new Set(this.data.series.map((s) => s.group))];
    if (groups.length > 1) {
      for (const group of [null, ...groups]) {
        add(group === null ? "all" : `only ${group}`, "all").addEventListener("click", () => {
          for (const s of this.data.series) s.on = group === null || s.group === group;
          this.update();
        });
      }
    }
    this.buttons = this.data.series.map((s) => {
      const button = add(s.name, "curve");
      const key = make("svg", { viewBox: "0 0 30 12", class: `c${s.colour}`, "aria-hidden": "true" });
      make("path", { d: "M0 6H30", class: `line d${s.dash}` }, key);
      marker(key, 15, 6, s.dash, "dot");
      button.prepend(key);
      button.addEventListener("click", () => { s.on = !s.on; this.update(); });
      return button;
    });
    this.plot.before(list);
    this.press();
  }

  press() {
    this.data.series.forEach((s, i) => this.buttons[i].setAttribute("aria-pressed", String(s.on)));
  }

  update() { this.press(); this.draw(); }

  range() {
    const values = this.data.series.filter((s) => s.on).flatMap((s) => s.values).filter(Boolean).flat().filter((v) => v !== null);
    if (this.data.zero || values.length === 0) values.push(0);
    let low = Math.min(...values), high = Math.max(...values);
    const room = 0.04 * (high - low) || 0.5;
    low = Math.max(low - room, this.data.bounds[0]);
    high = Math.min(high + room, this.data.bounds[1]);
    return low < high ? [low, high] : [low - 0.5, high + 0.5];
  }

  draw() {
    const { stops, series } = this.data;
    this.width = this.plot.clientWidth;
    const upright = stops.length > 12;
    const longest = Math.max(...stops.map(([, label]) => label.length));
    const below = upright ? MARGIN.letter * Math.min(longest, 24) + 14 : 24;
    const height = Math.min(380, 240 + 0.1 * this.width) + below;
    const left = MARGIN.left, right = this.width - MARGIN.right, bottom = height - below - 20;
    const [low, high] = this.range();
    this.x = stops.map(([at]) => left + 14 + at * (right - left - 28));
    this.y = (value) => bottom - (value - low) / (high - low) * (bottom - MARGIN.top);
    const svg = make("svg", { width: this.width, height, "aria-hidden": "true" });
    const step = niceStep(high - low, 6);
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) {
      const y = this.y(k * step);
      make("line", { x1: left, x2: right, y1: y, y2: y, class: k === 0 && this.data.zero ? "axis" : "grid" }, svg);
      make("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, svg).textContent = (k * step).toFixed(digits);
    }
    this.ticks(svg, bottom, upright);
    make("text", { x: (left + right) / 2, y: height - 4, "text-anchor": "middle" }, svg).textContent = this.data.x;
    make("text", { transform: `translate(12 ${(MARGIN.top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, svg)
      .textContent = `${this.data.y} (${this.data.unit})`;
    this.cross = make("line", { y1: MARGIN.top, y2: bottom, class: "cross", visibility: "hidden" }, svg);
    const shown = series.filter((s) => s.on);
    const aside = (i) => (this.data.joined ? 0 : 9 * (i - (shown.length - 1) / 2));
    shown.forEach((s, i) => this.curve(svg, s, "band", aside(i)));
    shown.forEach((s, i) => this.curve(svg, s, "line", aside(i)));
    this.plot.replaceChildren(svg);
    if (this.stop !== null) this.mark();
  }

  ticks(svg, bottom, upright) {
    let free = -Infinity;
    this.data.stops.forEach(([, label], i) => {
      const text = label.length > 24 ? `${label.slice(0, 23)}…` : label;
      const half = upright ? 7 : MARGIN.letter * text.length / 2 + 4;
      if (this.x[i] - half < free) return;
      free = this.x[i] + half;
      make("line", { x1: this.x[i], x2: this.x[i], y1: bottom, y2: bottom + 4, class: "axis" }, svg);
      const place = upright
        ? { transform: `translate(${this.x[i] + 4} ${bottom + 8}) rotate(-90)`, "text-anchor": "end" }
        : { x: this.x[i], y: bottom + 18, "text-anchor": "middle" };
      make("text", place, svg).textContent = text;
    });
  }

  curve(svg, s, part, aside) {
    const group = make("g", { class: `c${s.colour}` }, svg);
    const points = s.values.map((v, i) => v && [this.x[i] + aside, ...v]).filter((p) => p && p[1] !== null);
    if (points.length === 0) return;
    const path = (list) => list.map(([x, v]) => `${x.toFixed(1)} ${this.y(v).toFixed(1)}`).join("L");
    const known = points.filter((p) => p[2] !== null && p[3] !== null);
    if (part === "band") {
      if (known.length > 1 && this.data.joined) {
        const upper = known.map((p) => [p[0], p[3]]), lower = known.map((p) => [p[0], p[2]]).reverse();
        make("path", { d: `M${path([...upper, ...lower])}Z`, class: "band" }, group);
      } else {
        for (const [x, , low, high] of known) make("line", { x1: x, x2: x, y1: this.y(low), y2: this.y(high), class: "ends" }, group);
      }
      return;
    }
    if (this.data.joined) make("path", { d: `M${path(points)}`, class: `line d${s.dash}` }, group);
    for (const [x, v] of points) marker(group, x, this.y(v), s.dash, "dot");
  }

  point(event) {
    const x = event.clientX - this.plot.getBoundingClientRect().left;
    const far = this.x.map((at) => Math.abs(at - x));
    this.show(far.indexOf(Math.min(...far)), false);
  }

  key(event) {
    const last = this.x.length - 1;
    const to = { ArrowRight: (this.stop ?? -1) + 1, ArrowLeft: (this.stop ?? 1) - 1, Home: 0, End: last }[event.key];
    if (event.key === "Escape") this.leave();
    if (to === undefined) return;
    event.preventDefault();
    this.show(Math.max(0, Math.min(last, to)), true);
  }

  text(stop) {
    const write = (v) => (v === null ? "?" : v.toFixed(this.data.digits));
    const lines = this.data.series.filter((s) => s.on && s.values[stop])
      .map((s) => { const [mean, low, high] = s.values[stop]; return `${s.name}: ${write(mean)} [${write(low)}, ${write(high)}]`; });
    return [`${this.data.stops[stop][1]} (${this.data.unit})`, ...lines].join("\n");
  }

  show(stop, keyboard) {
    this.stop = stop;
    this.mark();
    const place = () => { const box = this.plot.getBoundingClientRect(); return [box.left + this.x[stop], box.top + MARGIN.top]; };
    tip.show(this.text(stop), place, keyboard);
  }

  mark() {
    for (const end of ["x1", "x2"]) this.cross.setAttribute(end, this.x[this.stop]);
    this.cross.setAttribute("visibility", "visible");
  }

  leave() { this.stop = null; this.cross.setAttribute("visibility", "hidden"); tip.hide(); }
}
