// What a person chooses before a file is sent: the model, and how much of a video is looked at.

import * as jobs from "./jobs.js";
import { h } from "./dom.js";
import { pause } from "./send.js";
import { label } from "./words.js";

const ASK_AGAIN_MS = 2000;

export class Choices {
  constructor(form) {
    this.form = form;
    this.clips = form.elements.clips;
    // In a page without JavaScript an answer must come at once: the whole of a video is for this one
    this.clips.prepend(h("option", { value: "whole" }, "the whole video"));
    this.clips.value = "whole";
  }

  /** Offers the models as soon as there are some, where the page was opened before they were ready. */
  async offer(onReady) {
    const place = this.form.querySelector("[data-slot=model]");
    if (!place) return;
    let models = [];
    while (!models.length) {
      await pause(ASK_AGAIN_MS);
      models = await jobs.models().catch(() => []);
    }
    const options = models.map((model) => h("option", { value: model.name, selected: model.default, "data-kind": model.kind }, label(model.name)));
    place.replaceWith(h("span.picker", {}, h("select", { name: "model", "aria-label": "Model" }, options)));
    onReady();
  }

  /** The choices for a file of this kind. A model that wants videos is no use for a picture: another takes it. */
  of(kind) {
    const select = this.form.elements.model;
    const options = [...(select?.options ?? [])];
    const chosen = options.find((option) => option.value === select.value);
    const other = kind === "picture" && chosen?.dataset.kind === "video" && options.find((option) => option.dataset.kind === "image");
    return { model: (other || chosen)?.value ?? "", clips: this.clips.value };
  }
}
