// The segments as a list: what the stripe shows, to be read, sorted, filtered and reviewed.

import { fit, h, icon, set, write } from "./dom.js";
import * as feedback from "./feedback.js";
import { hueOf, isDoubtful, nameOf, ordered, ORDERS, segmentsAt, segmentWords } from "./segments.js";
import { clock, label, percent, plural } from "./words.js";

const LISTED = 60;

/** Kept from one progress to the next, so that the focus and the place in the list stay. */
export class SegmentList {
  #all = false;
  #known = new Map(); // what was said of the segments, by keyOf
  #loaded = false;
  #order = []; // indices of the segments in the order of the rows

  /** `onSeek(seconds)` goes to a segment, `onSimilar(segment)` looks for others like it where `offers(item)`. */
  constructor({ onSeek, onSimilar, offers }) {
    Object.assign(this, { onSeek, onSimilar, offers });
    this.note = h("p.quiet");
    this.order = h("select", { "aria-label": "Order of the segments", onchange: () => this.#fill() },
      Object.entries(ORDERS).map(([value, words]) => h("option", { value }, words)));
    this.doubtful = h("button.button.small", { type: "button", "aria-pressed": "false", onclick: () => this.#toggleDoubtful() });
    this.list = h("ol.segments");
    this.more = h("button.button.small", { type: "button", onclick: () => { this.#all = true; this.#fill(); } });
    this.element = h("section.card.wide", { "aria-labelledby": "segments-title" },
      h("div.card-head", {}, h("h3.card-title", { id: "segments-title" }, "Segments"), this.note,
        h("div.segment-tools", {}, this.doubtful, h("span.picker", {}, this.order))), this.list, this.more);
  }

  update(item) {
    if (item !== this.item) {
      this.#all = false;
      set(this.doubtful, { "aria-pressed": "false" });
      this.#known = new Map();
      this.#loaded = false;
      for (const row of this.list.children) { row.review?.remove(); row.review = null; }
    }
    this.item = item;
    this.#load();
    this.element.hidden = !item.timeline?.segments.length;
    if (!this.element.hidden) this.#fill();
  }

  /** Marks the segments that the player shows. */
  here(time) {
    const now = segmentsAt(this.item?.timeline?.segments ?? [], time);
    if (String(now) === String(this.now)) return;
    this.now = now;
    this.#markHere();
  }

  #markHere() {
    for (const [place, row] of [...this.list.children].entries()) {
      set(row.firstElementChild, { "aria-current": this.now?.includes(this.#order[place]) ? "true" : null });
    }
  }

  /** Shows all segments, or the doubtful ones alone. */
  #toggleDoubtful() {
    set(this.doubtful, { "aria-pressed": String(this.doubtful.getAttribute("aria-pressed") !== "true") });
    this.#fill();
  }

  get #reviewed() { return feedback.isOn() && this.item.state === "done" && Boolean(this.item.jobId); }

  /** Asks the service once what was said of this job's segments. */
  async #load() {
    if (this.#loaded || !this.#reviewed) return;
    this.#loaded = true;
    const { item } = this;
    const known = await feedback.ofJob(item.jobId).catch(() => new Map());
    if (item !== this.item) return;
    this.#known = known;
    if (known.size && item.timeline) this.#fill();
  }

  /** Opens or closes the question under a row. */
  #review(row, index) {
    if (row.review) {
      row.review.remove();
      row.review = null;
    } else {
      const { jobId, timeline: { segments, labels } } = this.item;
      const segment = segments[index];
      const predicted = segment.guess ?? segment.label;
      const { element } = new feedback.Review({
        predicted,
        others: feedback.labelsOver(segments, segment).filter((name) => name !== predicted),
        known: this.#known.get(feedback.keyOf(segment)) ?? null,
        loadLabels: async () => labels,
        give: (right) => feedback.giveForSegment(jobId, segment, right),
        onGiven: (right) => { this.#known.set(feedback.keyOf(segment), right); this.#fill(); },
      });
      row.review = element;
      row.append(element);
      element.querySelector("button:not([hidden])").focus();
    }
    this.#mark(row, index);
  }

  /** Writes what the button at the end of a row does, and whether something was said of its segment. */
  #mark(row, index) {
    const button = row.children[1];
    button.hidden = !this.#reviewed;
    const segment = this.item.timeline.segments[index];
    const said = this.#known.get(feedback.keyOf(segment));
    const words = said ? `You said: ${said.map(label).join(", ")}` : "Right or wrong?";
    set(button, { title: words, "aria-label": `${words} ${nameOf(segment)}, ${clock(segment.start_s)}`, "aria-expanded": String(Boolean(row.review)), "data-said": said ? "yes" : null });
    if (button.drawn !== Boolean(said)) button.replaceChildren(icon(said ? "check" : "pencil"));
    button.drawn = Boolean(said);
  }

  #fill() {
    const { timeline: { segments, cuts_s: cuts }, palette } = this.item;
    const count = segments.filter(isDoubtful).length;
    this.doubtful.hidden = !count;
    write(this.doubtful, `Unsure (${count})`);
    this.order.parentElement.hidden = segments.length < 2;
    const before = String(this.#order);
    this.#order = ordered(segments, this.order.value, count > 0 && this.doubtful.getAttribute("aria-pressed") === "true");
    // A question stands under its own segment alone
    if (!String(this.#order).startsWith(before)) for (const row of this.list.children) { row.review?.remove(); row.review = null; }
    const shown = this.#all ? this.#order.length : Math.min(LISTED, this.#order.length);
    write(this.note, `${plural(segments.length, "segment")}, ${cuts.length ? plural(cuts.length, "cut") : "no cut"}`);
    const rows = fit(this.list, shown, (index) => h("li", {}, h("button.segment-row", { type: "button", onclick: () => this.onSeek(this.item.timeline.segments[this.#order[index]].start_s) },
      h("span.swatch", { "aria-hidden": "true" }), h("span.segment-name"), h("span.segment-time"), h("span.segment-score")),
      h("button.icon-button.segment-review", { type: "button", onclick: ({ currentTarget }) => this.#review(currentTarget.parentElement, this.#order[index]) }),
      h("button.icon-button.segment-like", { type: "button", title: "More like this", onclick: () => this.onSimilar(this.item.timeline.segments[this.#order[index]]) }, icon("like"), h("span.unseen"))));
    const offered = this.offers(this.item);
    for (const [place, row] of rows.entries()) {
      const index = this.#order[place];
      const segment = segments[index];
      const [colour, name, time, score] = row.firstElementChild.children;
      set(colour, { class: `swatch ${hueOf(palette, segment.label)}` });
      write(name, nameOf(segment));
      write(time, `${clock(segment.start_s)} – ${clock(segment.end_s)}`);
      write(score, percent(segment.score));
      this.#mark(row, index);
      const like = row.children[2];
      like.hidden = !offered;
      write(like.lastElementChild, `More like this: ${segmentWords(segment)}`);
    }
    this.#markHere();
    this.more.hidden = shown === this.#order.length;
    write(this.more, `Show all ${this.#order.length}`);
  }
}
