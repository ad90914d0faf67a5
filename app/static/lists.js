// The two lists beside the player: what is under way here, and what was analysed earlier.

import { h, write } from "./dom.js";
import { Row } from "./rows.js";
import { plural } from "./words.js";

const FIRST_SHOWN = 6;

export class Lists {
  #rows = new Map();
  #all = false;

  /** `now` and `earlier`: the places of the two lists. */
  constructor({ queue, now, earlier, acts }) {
    Object.assign(this, { queue, acts });
    const section = (id, title) => {
      const note = h("p.quiet"), list = h("ol.rows");
      const card = h("section.card.list", { "aria-labelledby": id, id: `${id}-card`, hidden: true }, h("div.card-head", {}, h("h2.card-title", { id }, title), note), list);
      return { card, note, list };
    };
    this.now = section("queue", "Queue");
    this.earlier = section("history", "Earlier");
    this.more = h("button.button.small", { type: "button", onclick: () => { this.#all = true; this.update(); } });
    this.earlier.card.append(this.more);
    now.append(this.now.card);
    earlier.append(this.earlier.card);
    // Earlier jobs come without their timeline: it is fetched for those that are seen
    this.watcher = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) if (isIntersecting) this.#fetch(target.item);
    });
  }

  /** Brings both lists in step with the queue; `chosen` is the item in full view. */
  update(chosen = this.chosen) {
    this.chosen = chosen;
    const { items, earlier } = this.queue;
    const shown = this.#all ? earlier : earlier.slice(0, FIRST_SHOWN);
    this.#fill(this.now, items, false);
    this.#fill(this.earlier, shown, true);
    const going = items.filter((item) => item.active).length;
    write(this.now.note, going ? `${going} of ${plural(items.length, "file")} to go` : "");
    write(this.earlier.note, earlier.length ? "" : "No earlier videos");
    this.more.hidden = shown.length === earlier.length;
    write(this.more, `Show all ${earlier.length}`);
    for (const item of this.#rows.keys()) if (!items.includes(item) && !shown.includes(item)) this.#rows.delete(item);
  }

  /** Scrolls to the earlier jobs and shows all of them. */
  showHistory() {
    this.#all = true;
    this.update();
    this.earlier.card.hidden = false;
    this.earlier.card.scrollIntoView();
  }

  refresh(item) {
    this.#rows.get(item)?.update({ chosen: item === this.chosen, earlier: this.queue.earlier.includes(item), twin: this.queue.twinOf(item) });
    const { items } = this.queue;
    const going = items.filter((each) => each.active).length;
    write(this.now.note, going ? `${going} of ${plural(items.length, "file")} to go` : "");
  }

  #fill({ card, list }, items, earlier) {
    card.hidden = items.length === 0;
    const rows = items.map((item) => this.#row(item));
    for (const row of rows) row.update({ chosen: row.item === this.chosen, earlier, twin: this.queue.twinOf(row.item) });
    const wanted = rows.map((row) => row.element);
    for (const element of [...list.children]) if (!wanted.includes(element)) element.remove();
    // Only what stands in the wrong place is moved: moving takes the focus away
    for (const [index, element] of wanted.entries()) {
      if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
    }
  }

  #row(item) {
    if (!this.#rows.has(item)) {
      const row = new Row(item, this.acts);
      row.element.item = item;
      this.#rows.set(item, row);
      this.watcher.observe(row.element);
    }
    return this.#rows.get(item);
  }

  #fetch(item) {
    if (item.jobId && item.state === "done" && !item.complete && !item.asked) {
      item.asked = true;
      this.queue.load(item).catch(() => { item.asked = false; });
    }
  }
}
