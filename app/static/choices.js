// What a person chooses before a file is sent: the model, and how much of a video is looked at.

import * as jobs from "./jobs.js";
import { h } from "./dom.js";
import { pause } from "./send.js";
import { label } from "./words.js";

const ASK_AGAIN_MS = 2000;

export class Choices {
  #models = [];

  constructor(form) {
    this.form = form;
    this.clips = form.elements.clips;
    // In a page without JavaScript an answer must come at once: the whole of a video is for this one
    this.clips.prepend(h("option", { value: "whole", selected: true }, "the whole video"));
    this.clips.value = "whole";
  }

  /** Asks for the models until there are some: the page may be open before they are ready. */
  async learn(onReady) {
    for (;;) {
      try {
        this.#models = await jobs.models();
      } catch {
        this.#models = [];
      }
      onReady(this.#models.length > 0);
      if (this.#models.length) return this.#offer();
      await pause(ASK_AGAIN_MS);
    }
  }

  /** The choices for a file of this kind. A model that wants videos is no use for a picture: another takes it. */
  of(kind) {
    const chosen = this.form.elements.model?.value ?? "";
    const model = this.#models.find((each) => each.name === chosen);
    const other = kind === "picture" && model?.kind === "video" && this.#models.find((each) => each.kind === "image");
    return { model: other ? other.name : chosen, clips: this.clips.value };
  }

  #offer() {
    const place = this.form.querySelector("[data-slot=model]");
    if (this.form.elements.model || !place) return;
    const options = this.#models.map((model) => h("option", { value: model.name, selected: model.default }, label(model.name)));
    place.replaceChildren(h("span.picker", {}, h("select", { name: "model", "aria-label": "Model" }, options)));
  }
}
