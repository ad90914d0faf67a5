// The timeline: a stripe of segments under the player, cuts as ticks, the playhead; for mouse, finger and keyboard.
//
//     |  Pan left     |  Static          | Zoom in     |░░░░ not yet seen ░░░░|
//     |...............^ cut..............|.............|......................|
//     0:00          0:10               0:20          0:30                  0:40
//
// Where labels overlap, each has a row of its own. Gaps, in which no label passes, stay empty.
// One segment is in the tab order, the arrow keys go to its neighbours; every segment says what and when it is.

import { fit, h, s, set, write } from "./dom.js";
import { Scores } from "./scores.js";
import { hueOf, isDoubtful, lanes, segmentWords, segmentsAt } from "./segments.js";
import { clock, duration, label, plural } from "./words.js";

const HEIGHT = 48; // of a single row
const ROW_HEIGHT = 26; // of one of several
const MAX_ROWS = 12; // the remaining labels share the last
const TOP = 7; // above the segments, for the playhead's knob
const STEPS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
const TICK_ROOM = 84; // pixels from one time to the next
const INSET = 9; // pixels left and right of a label

export class Timeline {
  #timeline = null;
  #palette = null;
  #focused = 0;
  #width = 0;
  #here = [];
  #rows = null; // the row of each label where labels overlap
  #label = null; // whose segments stand out

  /** `onSeek(seconds)`: a person wants to see that; `loadWindows()`: the scores of every window, asked for when needed. */
  constructor({ onSeek, loadWindows }) {
    this.onSeek = onSeek;
    this.segments = s("g");
    this.cuts = s("g.cuts");
    this.unseen = s("rect.unseen-part", { y: TOP, height: HEIGHT });
    this.head = s("svg.playhead", { y: 0, width: 1, height: HEIGHT + TOP, overflow: "visible" },
      s("line", { y1: 0, y2: HEIGHT + TOP }), s("circle", { cy: 4, r: 4 }));
    this.ground = s("rect.track-ground", { y: TOP, width: "100%", height: HEIGHT, rx: 6 });
    this.svg = s("svg.track", { width: "100%", height: HEIGHT + TOP, role: "group" },
      hatch(), this.ground, this.unseen, this.segments, this.cuts, this.head);
    this.axis = h("div.axis", { "aria-hidden": "true" });
    this.scores = new Scores(loadWindows);
    this.element = h("div.timeline", {}, this.svg, this.axis, this.scores.element);
    this.#listen();
    new ResizeObserver(([entry]) => { this.#width = entry.contentRect.width; this.#lay(); }).observe(this.element);
  }

  /** Shows a timeline; a partial one as far as it is complete, and an empty stripe before anything is known (null). */
  update(timeline, palette) {
    if (!timeline) return this.#clear();
    if (this.#palette !== palette) { this.#focused = 0; this.#label = null; this.scores.hide(); }
    this.#timeline = timeline;
    this.#palette = palette;
    this.#rows = lanes(timeline);
    this.scores.update(timeline, palette);
    const count = timeline.segments.length;
    set(this.svg, { class: "track", "aria-label": `Timeline of ${duration(timeline.duration_s)}, ${plural(count, "segment")}. Arrow keys go from one to the next, Enter jumps there.` });
    this.#focused = Math.min(this.#focused, Math.max(0, count - 1));
    this.#lay();
  }

  /** Takes the room that the timeline will need, so that nothing moves when it comes. */
  #clear() {
    this.#timeline = null;
    this.#here = [];
    this.#rows = null;
    this.#resize();
    this.scores.hide();
    for (const filled of [this.segments, this.cuts, this.axis]) filled.replaceChildren();
    set(this.unseen, { x: 0, width: "100%" });
    set(this.svg, { class: "track empty", "aria-label": "Timeline: nothing is known yet." });
  }

  get #height() { return this.#rows ? Math.min(this.#rows.size, MAX_ROWS) * ROW_HEIGHT : HEIGHT; }

  #rowOf(segment) { return Math.min(this.#rows?.get(segment.label) ?? 0, MAX_ROWS - 1); }

  #resize() {
    const height = this.#height;
    set(this.unseen, { height });
    set(this.ground, { height });
    set(this.svg, { height: height + TOP });
    set(this.head, { height: height + TOP });
    set(this.head.firstElementChild, { y2: height + TOP });
  }

  /** Lets the segments of a label stand out; the same label again ends that. Returns whether they do. */
  highlight(name) {
    this.#label = this.#label === name ? null : name;
    this.#lay();
    return this.#label !== null;
  }

  /** Moves the playhead, and marks the segments that are seen. */
  playhead(time) {
    if (!this.#timeline) return;
    set(this.head, { x: this.#percent(time) });
    const here = segmentsAt(this.#timeline.segments, time);
    if (String(here) === String(this.#here)) return;
    for (const index of this.#here) this.segments.children[index]?.classList.remove("here");
    for (const index of here) this.segments.children[index]?.classList.add("here");
    this.#here = here;
  }

  #percent(time) {
    return `${Math.min(100, Math.max(0, (100 * time) / this.#timeline.duration_s)).toFixed(4)}%`;
  }

  #lay() {
    const timeline = this.#timeline;
    if (!timeline || !this.#width) return;
    const pixels = this.#width / timeline.duration_s;
    this.#resize();
    const height = this.#rows ? ROW_HEIGHT : HEIGHT;
    const groups = fit(this.segments, timeline.segments.length, () => s("g.segment", { role: "button" }, s("rect"), s("rect.hatching"), s("text")));
    for (const [index, group] of groups.entries()) {
      const segment = timeline.segments[index];
      const [ground, hatching, text] = group.children;
      const y = TOP + this.#rowOf(segment) * height;
      const place = { x: this.#percent(segment.start_s), width: this.#percent(segment.end_s - segment.start_s), y, height };
      const words = label(segment.label);
      const room = (segment.end_s - segment.start_s) * pixels;
      set(group, {
        class: ["segment", hueOf(this.#palette, segment.label), this.#here.includes(index) && "here", isDoubtful(segment) && "doubtful",
          this.#label !== null && segment.label !== this.#label && "dimmed"].filter(Boolean).join(" "),
        "aria-label": segmentWords(segment),
        tabindex: index === this.#focused ? 0 : -1,
      });
      set(ground, place);
      set(hatching, place);
      set(text, { x: place.x, dx: INSET, y: y + height / 2 + 5 });
      write(text, room >= widthOf(text, words) + 2 * INSET ? words : "");
    }
    const cuts = fit(this.cuts, timeline.cuts_s.length, () => s("path", {}, s("title")));
    for (const [index, cut] of cuts.entries()) {
      const x = timeline.cuts_s[index] * pixels;
      set(cut, { d: `M${x.toFixed(2)} ${TOP + this.#height}m-5 0h10l-5-7z` });
      write(cut.firstElementChild, `Cut at ${clock(timeline.cuts_s[index])}`);
    }
    const complete = Math.min(timeline.complete_to_s, timeline.duration_s);
    set(this.unseen, { x: this.#percent(complete), width: this.#percent(timeline.duration_s - complete) });
    this.#axis(pixels);
  }

  #axis(pixels) {
    const { duration_s: end } = this.#timeline;
    const step = STEPS_S.find((each) => each * pixels >= TICK_ROOM) ?? 7200;
    const times = [];
    for (let place = 0; place * step < end - (TICK_ROOM * 0.7) / pixels; place++) times.push(place * step);
    times.push(end);
    const marks = fit(this.axis, times.length, () => h("span"));
    for (const [index, mark] of marks.entries()) {
      write(mark, clock(times[index], step < 1 || (index === times.length - 1 && end < 60) ? 1 : 0));
      mark.style.left = this.#percent(times[index]);
      mark.classList.toggle("last", index === times.length - 1 && index > 0);
      mark.classList.toggle("first", index === 0);
    }
  }

  // ---- what a person does

  #listen() {
    const { svg } = this;
    const timeOf = (event) => {
      const box = svg.getBoundingClientRect();
      return (Math.min(1, Math.max(0, (event.clientX - box.left) / box.width))) * this.#timeline.duration_s;
    };
    svg.addEventListener("pointermove", (event) => {
      if (this.#timeline) this.scores.show(timeOf(event), this.#width);
    });
    svg.addEventListener("pointerleave", () => this.scores.hide());
    svg.addEventListener("click", (event) => {
      if (!this.#timeline) return;
      const index = this.#under(event, timeOf(event));
      if (index < 0 || timeOf(event) > this.#timeline.complete_to_s) return;
      this.#focus(index);
      this.#jump(index);
    });
    svg.addEventListener("focusin", () => {
      const { start_s: start, end_s: end } = this.#timeline.segments[this.#focused];
      if (svg.querySelector(":focus-visible")) this.scores.show((start + end) / 2, this.#width);
    });
    svg.addEventListener("focusout", () => this.scores.hide());
    svg.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Index of the segment under the pointer, in the row that it points at; -1 when there is none. */
  #under(event, time) {
    const { segments } = this.#timeline;
    const row = Math.floor((event.clientY - this.svg.getBoundingClientRect().top - TOP) / ROW_HEIGHT);
    return segmentsAt(segments, time).findLast((index) => !this.#rows || this.#rowOf(segments[index]) === row) ?? -1;
  }

  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const last = this.#timeline.segments.length - 1;
    const goto = {
      ArrowRight: Math.min(last, this.#focused + 1),
      ArrowLeft: Math.max(0, this.#focused - 1),
      Home: 0,
      End: last,
    }[event.key];
    if (goto !== undefined) this.#focus(goto);
    else if (event.key === "Enter" || event.key === " ") this.#jump(this.#focused);
    else if (event.key === "Escape") this.scores.hide();
    else return;
    event.preventDefault();
  }

  #focus(index) {
    const groups = this.segments.children;
    groups[this.#focused]?.setAttribute("tabindex", -1);
    this.#focused = index;
    groups[index].setAttribute("tabindex", 0);
    groups[index].focus({ preventScroll: true });
  }

  #jump(index) {
    this.onSeek(this.#timeline.segments[index].start_s);
  }
}

const pen = document.createElement("canvas").getContext("2d");
const widths = new Map();

/** How many pixels `words` take in the font of `text`; each is measured once, and without a layout of the page. */
function widthOf(text, words) {
  if (!widths.has(words)) {
    const { fontWeight, fontSize, fontFamily } = getComputedStyle(text);
    pen.font = `${fontWeight} ${fontSize} ${fontFamily}`;
    widths.set(words, pen.measureText(words).width);
  }
  return widths.get(words);
}

/** The pattern that tells a second label of the same colour apart. */
function hatch() {
  return s("defs", {}, s("pattern", { id: "hatch", width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    s("line", { y2: 7, "stroke-width": 5 })));
}
