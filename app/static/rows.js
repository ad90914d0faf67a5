// The rows of the two lists: a file under way with its bars, an answered one with its stripe of colours.

import { h, icon, s, set, write } from "./dom.js";
import { hueOf, lanes } from "./segments.js";
import { stateWords } from "./state.js";
import { when } from "./words.js";

const STRIPE = 6; // pixels high

/** A row that is made once and brought up to date: what has the focus keeps it. */
export class Row {
  constructor(item, { onOpen, onCancel, onRetry, onDismiss, onRemove }) {
    this.item = item;
    this.name = h("span.row-name");
    this.state = h("span.row-state");
    this.twin = h("span.row-twin", { hidden: true });
    this.open = h("button.row-open", { type: "button", onclick: () => onOpen(item) }, this.name, this.state, this.twin);
    this.mark = h("span.row-mark", { "aria-hidden": "true" });
    this.sending = h("progress", { max: 1, value: 0 });
    this.looking = h("progress", { max: 100, value: 0 });
    this.bars = h("div.row-bars", {},
      h("span", {}, h("span", { "aria-hidden": "true" }, "Upload"), this.sending),
      h("span", {}, h("span", { "aria-hidden": "true" }, "Analysis"), this.looking));
    this.stripe = s("svg.stripe", { width: "100%", height: STRIPE, "aria-hidden": "true" });
    const action = (drawing, words, act) => {
      const button = h("button.icon-button", { type: "button", title: words, onclick: () => act(item) }, icon(drawing), h("span.unseen"));
      button.words = words;
      return button;
    };
    this.cancel = action("cancel", "Cancel", onCancel);
    this.retry = action("retry", "Try again", onRetry);
    this.dismiss = action("cancel", "Take off the list", onDismiss);
    this.remove = action("remove", "Delete", onRemove);
    this.element = h("li.row", {}, this.mark, this.open, h("span.row-actions", {}, this.retry, this.cancel, this.dismiss, this.remove), this.bars, this.stripe);
    this.buttons = [this.cancel, this.retry, this.dismiss, this.remove];
  }

  /** `twin`: the item that this one is nearly the same as, or null. */
  update({ chosen, earlier, twin }) {
    const { item } = this;
    set(this.element, { "data-state": item.state, "data-job": item.jobId });
    set(this.open, { "aria-current": chosen && "true" });
    write(this.name, item.name);
    set(this.name, { title: item.name });
    write(this.state, earlier && item.record ? [when(item.record.created), stateWords(item)].filter(Boolean).join(" · ") : stateWords(item));
    this.twin.hidden = !twin;
    write(this.twin, twin ? `Nearly the same as ${twin.name === item.name ? `that of ${when(twin.record.created)}` : twin.name}` : "");
    for (const button of this.buttons) write(button.lastElementChild, `${button.words}: ${item.name}`);
    this.cancel.hidden = !item.active;
    this.retry.hidden = item.active || item.state === "done" || !item.file;
    this.dismiss.hidden = item.active || earlier;
    this.remove.hidden = item.active || !earlier;
    this.#progress();
    this.#picture();
    drawStripe(this.stripe, item);
  }

  #progress() {
    const { item } = this;
    this.bars.hidden = !item.active;
    const uploaded = ["sent", "queued", "running"].includes(item.state);
    set(this.sending, { value: uploaded ? 1 : item.upload.share, "aria-label": `Upload of ${item.name}` });
    // A bar without a value moves by itself: nobody knows how long a few places of a video take.
    set(this.looking, {
      value: item.state === "sent" && !item.asJob ? null : (item.record?.progress?.percent ?? 0),
      "aria-label": `Analysis of ${item.name}`,
    });
  }

  #picture() {
    const { item } = this;
    const thumbnails = item.timeline?.thumbnails;
    const own = item.kind === "picture" && item.file && !this.cannotShow ? item.url : item.result?.thumbnails?.[0];
    const source = own ?? thumbnails?.[Math.floor(thumbnails.length / 2)]?.url ?? null;
    if (this.shown === (source ?? item.kind)) return;
    this.shown = source ?? item.kind;
    if (!source) {
      this.mark.replaceChildren(icon(item.kind === "picture" ? "picture" : "film"));
      return;
    }
    const image = h("img", { src: source, alt: "", loading: "lazy" });
    // Most browsers show no HEIC or TIFF: then the answer's own thumbnail is shown
    image.addEventListener("error", () => { if (!this.cannotShow) { this.cannotShow = true; this.#picture(); } });
    this.mark.replaceChildren(image);
  }
}

/** The timeline in small. */
function drawStripe(stripe, item) {
  const { timeline } = item;
  const shown = Boolean(timeline?.segments.length) && item.state !== "failed";
  stripe.toggleAttribute("hidden", !shown || item.active);
  if (stripe.hasAttribute("hidden") || stripe.drawn === timeline) return;
  stripe.drawn = timeline;
  const rows = lanes(timeline);
  const height = STRIPE / (rows?.size ?? 1);
  stripe.replaceChildren(...timeline.segments.map((segment) => s("rect", {
    class: hueOf(item.palette, segment.label),
    y: (rows?.get(segment.label) ?? 0) * height,
    x: `${(100 * segment.start_s) / timeline.duration_s}%`,
    width: `${(100 * (segment.end_s - segment.start_s)) / timeline.duration_s}%`,
    height,
  })));
}
