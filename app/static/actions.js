// What a person can do with a job that has ended: download its timeline, copy its link, delete it.

import { h, icon, set, write } from "./dom.js";
import { timelineOf } from "./jobs.js";

const FORMATS = [["json", "JSON", "everything"], ["csv", "CSV", "for a spreadsheet"], ["vtt", "WebVTT", "subtitles"], ["svg", "SVG", "a drawing"], ["png", "PNG", "a picture"]];
const COPIED_MS = 2000;

export class Actions {
  #item = null;

  /** `onRemove(item)` deletes a job. */
  constructor(onRemove) {
    this.links = FORMATS.map(([, words, what]) => h("a.menu-item", {}, `${words}, ${what}`));
    this.download = menu("Download", "down", this.links);
    this.copy = h("button.menu-item", { type: "button", onclick: () => this.#copyLink() }, "Copy link");
    this.remove = h("button.menu-item", { type: "button", onclick: () => onRemove(this.#item) }, "Delete");
    this.more = menu("More", null, [this.copy, this.remove]);
    this.element = h("div.actions", {}, this.download, this.more);
    addEventListener("click", ({ target }) => this.#close((each) => !each.contains(target) || (target.matches(".menu-item") && target !== this.copy)));
    addEventListener("keydown", ({ key }) => { if (key === "Escape") this.#close(() => true); });
  }

  update(item) {
    this.#item = item;
    this.element.hidden = item.active || !item.jobId;
    this.download.hidden = item.state !== "done";
    const stem = item.name.replace(/\.[^.]*$/, "");
    for (const [index, [format]] of FORMATS.entries()) {
      set(this.links[index], { href: item.jobId ? timelineOf(item.jobId, format) : null, download: `${stem}.${format}` });
    }
  }

  async #copyLink() {
    const done = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
    write(this.copy, done ? "Copied" : "Copy it from the address bar");
    setTimeout(() => write(this.copy, "Copy link"), COPIED_MS);
  }

  #close(which) {
    for (const each of [this.download, this.more]) if (each.open && which(each)) each.open = false;
  }
}

function menu(words, mark, items) {
  return h("details.menu", {}, h("summary.button.small", {}, mark ? icon(mark) : null, words), h("div.menu-items", {}, items));
}
