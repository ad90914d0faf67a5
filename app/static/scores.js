// The small box over the timeline: what the model saw in the window under the pointer, label by label.

import { fit, h, s, set, write } from "./dom.js";
import { hueOf, segmentAt, windowAt } from "./segments.js";
import { clock, label, percent } from "./words.js";

const STALE_AFTER_MS = 2000; // of a job under way, whose windows become more

export class Scores {
  #timeline = null;
  #palette = null;
  #windows = [];
  #askedFor = -1;
  #askedAt = 0;
  #time = null;

  constructor(loadWindows) {
    this.loadWindows = loadWindows;
    this.head = h("p.scores-head");
    this.list = h("ul.scores-list");
    this.element = h("div.scores", { hidden: true, "aria-hidden": "true" }, this.head, this.list);
  }

  update(timeline, palette) {
    if (palette !== this.#palette) {
      this.#windows = [];
      this.#askedFor = -1;
      this.#askedAt = 0;
    }
    this.#timeline = timeline;
    this.#palette = palette;
  }

  /** Shows the scores at a time of the video, over that place of a stripe `width` pixels wide. */
  show(time, width) {
    this.#time = time;
    this.width = width;
    this.#ask();
    this.#draw();
  }

  hide() {
    this.#time = null;
    this.element.hidden = true;
  }

  async #ask() {
    const complete = this.#timeline.complete_to_s;
    if (this.#askedFor >= complete || Date.now() - this.#askedAt < STALE_AFTER_MS) return;
    this.#askedFor = complete;
    this.#askedAt = Date.now();
    const palette = this.#palette;
    try {
      const windows = await this.loadWindows();
      if (palette !== this.#palette) return;
      this.#windows = windows;
      this.#draw();
    } catch {
      this.#askedFor = -1; // the segment's own score is shown, and the next movement asks again
    }
  }

  #draw() {
    if (this.#time === null) return;
    const time = this.#time, timeline = this.#timeline;
    const segment = timeline.segments[segmentAt(timeline.segments, time)];
    const near = windowAt(this.#windows, time, timeline.hop_s);
    this.element.hidden = !(near || segment) || time > timeline.complete_to_s;
    if (this.element.hidden) return;
    const rows = near?.predictions ?? [segment];
    write(this.head, near ? `${clock(near.start_s)} to ${clock(near.end_s)}` : `${clock(segment.start_s)} to ${clock(segment.end_s)}`);
    const items = fit(this.list, rows.length, () => h("li", {}, h("span.swatch"), h("span.scores-name"), h("b"), s("svg.bar", { width: "100%", height: 4 }, s("rect.bar-track", { width: "100%", height: 4 }), s("rect", { height: 4 }))));
    for (const [index, item] of items.entries()) {
      const { label: name, score } = rows[index];
      const [swatch, words, figure, bar] = item.children;
      // A label that no segment has needs no colour of its own
      const hue = timeline.segments.some((each) => each.label === name) ? hueOf(this.#palette, name) : "hue-none";
      swatch.className = `swatch ${hue}`;
      write(words, label(name));
      write(figure, percent(score));
      set(bar.lastElementChild, { class: hue, width: `${100 * score}%` });
    }
    const room = this.element.offsetWidth;
    const x = (time / timeline.duration_s) * this.width;
    this.element.style.left = `${Math.max(0, Math.min(this.width - room, x - room / 2))}px`;
  }
}
