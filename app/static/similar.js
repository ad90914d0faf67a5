// The card of moments that are like a segment, from all kept videos.

import { head } from "./cards.js";
import { h } from "./dom.js";
import * as jobs from "./jobs.js";
import { clock, label, percent } from "./words.js";

const SHOWN = 12;
const LEAST = 0.5; // similarity of a moment that is shown

/** The window of a timeline whose middle is nearest to the middle of a segment. */
export function windowOf(segment, { hop_s: hop, window_s: span }, windows) {
  const middle = (segment.start_s + segment.end_s) / 2;
  return Math.max(0, Math.min(windows - 1, Math.round((middle - span / 2) / hop)));
}

export class SimilarMoments {
  #item = null;
  #asked = 0; // only the answer to the last question counts

  /** `onMoment(jobId, seconds)` shows a moment. */
  constructor(onMoment) {
    this.onMoment = onMoment;
    this.element = h("section.card.wide", { hidden: true, tabindex: -1, "aria-live": "polite" });
  }

  /** Whether moments like those of an item can be found. */
  static offered(item) {
    return item?.state === "done" && Boolean(item.record?.parameters?.embedding) && item.record.progress.windows > 0;
  }

  /** Empties the card when another item is shown. */
  update(item) {
    if (item === this.#item) return;
    this.#item = item;
    this.#asked++;
    this.element.hidden = true;
  }

  async show(segment) {
    const asked = ++this.#asked;
    const { jobId, timeline, record } = this.#item;
    const title = `More like ${label(segment.label)}, ${clock(segment.start_s)} – ${clock(segment.end_s)}`;
    this.#fill(title, "Searching", []);
    let found;
    try {
      found = await jobs.similar(jobId, windowOf(segment, timeline, record.progress.windows), SHOWN);
    } catch (error) {
      if (asked === this.#asked) this.#fill(title, error.message || error.title, []);
      return;
    }
    if (asked !== this.#asked) return;
    const { searched } = found;
    const matches = found.matches.filter(({ similarity }) => similarity >= LEAST);
    const note = matches.length ? `of ${searched.windows.toLocaleString("en")} moments in ${searched.jobs} kept ${searched.jobs === 1 ? "video" : "videos"}` : "Nothing like it in the kept videos";
    this.#fill(title, note, matches);
    this.element.scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    this.element.querySelector("button")?.focus({ preventScroll: true });
  }

  #fill(title, note, matches) {
    this.element.hidden = false;
    const frames = matches.map((match) => h("li", {}, h("button.frame", { type: "button", onclick: () => this.onMoment(match.job, match.start_s) },
      h("img", { src: match.thumbnail, alt: "", width: 112, height: 112, loading: "lazy" }),
      h("span.frame-label", {}, h("b", {}, percent(Math.max(0, match.similarity))), match.label ? label(match.label) : ""),
      h("span.frame-time", { title: match.name }, `${clock(match.start_s)} · ${match.name || "Without a name"}`))));
    this.element.replaceChildren(...[head(title, note), frames.length ? h("ol.frames.similar", {}, frames) : null].filter(Boolean));
  }
}
