// A chart of the last 15 minutes, as lines or as a stack. Pointer and arrow keys select a moment to read.

import { fit, h, s, set, write } from "./dom.js";

const SPANS_S = [180, 300, 600, 900]; // the smallest one that covers the data is used
const [HEIGHT, TOP, BOTTOM, LEFT, RIGHT] = [168, 10, 24, 58, 12];
const GAP_S = 20;

/** Return the smallest of 1, 2, 5, 10, 20 … that is at least `most`. */
export function roof(most, least) {
  const wanted = Math.max(most, least);
  const unit = 10 ** Math.floor(Math.log10(wanted));
  return [1, 2, 5, 10].map((step) => step * unit).find((step) => step >= wanted * 0.999);
}

export class Chart {
  /** `series`: [name, words, class]; `form` formats a value; `least` and `most` limit the top of the scale. */
  constructor({ title, note, series, form, stacked = false, least, most = null }) {
    Object.assign(this, { series, form, stacked, least, most, title });
    this.times = [];
    this.values = [];
    this.at = null;
    this.grid = s("g");
    this.marks = s("g");
    this.cursor = s("line.cursor", { y1: TOP, y2: HEIGHT - BOTTOM });
    this.svg = s("svg.plot", { height: HEIGHT, role: "img", tabindex: 0 }, this.grid, this.marks, this.cursor);
    this.figures = series.map(() => h("b"));
    this.moment = h("span.quiet.moment");
    const keys = series.map(([, words, kind], index) => h("li", {},
      s(`svg.key.${kind}`, { width: 10, height: 10, "aria-hidden": "true" }, s("rect", { width: 10, height: 10, rx: 3 })),
      h("span", {}, words), this.figures[index]));
    this.element = h("section.card.chart", {},
      h("div.card-head", {}, h("h2.card-title", {}, title), this.moment),
      h("p.quiet", {}, note), this.svg, h("ul.keys", {}, ...keys));
    this.svg.addEventListener("pointermove", (event) => this.read(this.nearest(event.offsetX)));
    this.svg.addEventListener("pointerleave", () => this.read(null));
    this.svg.addEventListener("blur", () => this.read(null));
    this.svg.addEventListener("keydown", (event) => this.press(event));
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  /** `values` has an object of figures by name for each of `times`, or null. */
  show(times, values) {
    Object.assign(this, { times, values });
    if (this.at !== null && this.at >= times.length) this.at = null;
    this.draw();
  }

  get span() {
    const known = this.times.at(-1) - this.times[0];
    return SPANS_S.find((span) => span >= known) ?? SPANS_S.at(-1);
  }

  get width() { return Math.max(240, this.svg.clientWidth); }
  x(time) { return LEFT + (this.width - LEFT - RIGHT) * (1 - (this.times.at(-1) - time) / this.span); }
  y(value) { return TOP + (HEIGHT - TOP - BOTTOM) * (1 - Math.min(1, value / this.top)); }

  draw() {
    if (!this.times.length) return;
    const whole = (value) => (this.stacked ? this.series.reduce((sum, [name]) => sum + value[name], 0)
      : Math.max(...this.series.map(([name]) => value[name])));
    this.top = this.most ?? roof(Math.max(0, ...this.values.filter(Boolean).map(whole)), this.least);
    this.drawGrid();
    const base = this.values.map((value) => value && 0);
    const paths = this.series.map(([name, , kind]) => {
      const tops = this.values.map((value, index) => value && value[name] + (this.stacked ? base[index] : 0));
      const d = this.path(tops, this.stacked ? [...base] : null);
      if (this.stacked) tops.forEach((top, index) => { base[index] = top; });
      return [d, `${this.stacked ? "area" : "line"} ${kind}`];
    });
    if (!this.stacked) paths.reverse(); // the first is on top
    fit(this.marks, paths.length, () => s("path")).forEach((path, index) => {
      set(path, { d: paths[index][0], class: paths[index][1] });
    });
    this.read(this.at);
  }

  drawGrid() {
    const lines = [0, 0.5, 1].map((part) => {
      const y = this.y(part * this.top);
      return [s("line.rule", { x1: LEFT, x2: this.width - RIGHT, y1: y, y2: y }),
        s("text", { x: LEFT - 8, y: y + 4, "text-anchor": "end" }, this.form(part * this.top))];
    });
    const parts = this.width < 380 ? [0, 1] : [0, 1 / 2, 1];
    const minutes = parts.map((part) => s("text", {
      x: this.x(this.times.at(-1) - part * this.span), y: HEIGHT - 6, "text-anchor": { 0: "end", 1: "start" }[part] ?? "middle",
    }, part ? `${+((part * this.span) / 60).toFixed(1)} min ago` : "now"));
    this.grid.replaceChildren(...lines.flat(), ...minutes);
  }

  /** Return the SVG path, one piece between two gaps; an area is closed along `floor`. */
  path(tops, floor) {
    const pieces = [[]];
    tops.forEach((top, index) => {
      if (top === null || (index && this.times[index] - this.times[index - 1] > GAP_S)) pieces.push([]);
      if (top !== null && this.times.at(-1) - this.times[index] <= this.span) pieces.at(-1).push(index);
    });
    const spot = (index, value) => `${this.x(this.times[index]).toFixed(1)},${this.y(value).toFixed(1)}`;
    return pieces.filter((piece) => piece.length).map((piece) => {
      const there = piece.map((index) => spot(index, tops[index]));
      if (!floor) return `M${there.join("L")}${piece.length === 1 ? "h.1" : ""}`;
      return `M${there.join("L")}L${piece.toReversed().map((index) => spot(index, floor[index])).join("L")}Z`;
    }).join("");
  }

  nearest(x) {
    const distances = this.times.map((time) => Math.abs(this.x(time) - x));
    return distances.indexOf(Math.min(...distances));
  }

  press(event) {
    const last = this.times.length - 1;
    const moves = { ArrowLeft: -1, ArrowRight: 1, PageUp: -12, PageDown: 12, Home: -last, End: last };
    if (event.key === "Escape") this.read(null);
    if (!(event.key in moves)) return;
    event.preventDefault();
    this.read(Math.min(last, Math.max(0, (this.at ?? last) + moves[event.key])));
  }

  /** Show the figures of one moment; null is now. */
  read(at) {
    this.at = at;
    const index = at ?? this.times.length - 1;
    const value = this.values[index];
    this.series.forEach(([name], place) => write(this.figures[place], value ? this.form(value[name]) : "–"));
    const ago = Math.round(this.times.at(-1) - this.times[index]);
    write(this.moment, at === null ? "now" : ago < 90 ? `${ago} s ago` : `${Math.round(ago / 60)} min ago`);
    set(this.cursor, { x1: this.x(this.times[index]), x2: this.x(this.times[index]), class: at === null ? "cursor off" : "cursor" });
    const readings = this.series.map(([name, words]) => `${words} ${value ? this.form(value[name]) : "unknown"}`);
    set(this.svg, { "aria-label": `${this.title}, ${this.moment.textContent}: ${readings.join(", ")}` });
  }
}
