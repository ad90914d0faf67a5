// A colour for each label: the same in every video of a model, and two labels of one timeline never share one.

import { UNSURE } from "./segments.js";

export const HUES = 12;

/** Deals out classes of page.css: `hue-0` to `hue-11`, and the same hatched when a timeline has more labels. */
export class Palette {
  #dealt = new Map();
  #taken = new Set();

  constructor(labels = []) {
    this.places = new Map(labels.map((label, place) => [label, place]));
  }

  /** `{ hue, hatched }` of a label. Who comes first gets the colour of its place in the model's list. */
  of(label) {
    if (label === UNSURE) return { hue: "hue-none", hatched: false };
    if (!this.#dealt.has(label)) {
      const wanted = (this.places.get(label) ?? this.#dealt.size) % HUES;
      const order = Array.from({ length: 2 * HUES }, (_, step) => ((wanted + step) % HUES) + (step < HUES ? 0 : HUES));
      const slot = order.find((each) => !this.#taken.has(each)) ?? wanted + HUES;
      this.#taken.add(slot);
      this.#dealt.set(label, { hue: `hue-${slot % HUES}`, hatched: slot >= HUES });
    }
    return this.#dealt.get(label);
  }
}
