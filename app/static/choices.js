// What a person chooses before a file is sent: the model, and how much of a video is looked at.

import * as jobs from "./jobs.js";
import { h, write } from "./dom.js";
import { pause } from "./send.js";
import { label } from "./words.js";

const ASK_AGAIN_MS = 2000;
const KINDS = { video: "videos", image: "pictures" };

/** What a model answers, some of its labels, and what a model for pictures makes of a video. */
const about = (model) => [
  model.description, `For example: ${model.examples.map(label).join(", ")}.`, model.kind === "image" ? "A video gets a timeline of single frames." : "",
].filter(Boolean).join(" ");

/** `Camera motion for videos, Objects for pictures`. */
const defaults = (models) => Object.entries(KINDS).flatMap(([kind, files]) =>
  models.filter((model) => model.default_for.includes(kind)).map((model) => `${label(model.title)} for ${files}`)).join(", ");

export class Choices {
  constructor(form) {
    this.form = form;
    this.clips = form.elements.clips;
    // In a page without JavaScript an answer must come at once: the whole of a video is for this one
    this.clips.prepend(h("option", { value: "whole" }, "the whole video"));
    this.clips.value = "whole";
    form.addEventListener("change", () => this.describe());
    this.describe();
  }

  /** Writes below the picker what the chosen model answers. */
  describe() {
    const note = this.form.querySelector("[data-slot=about]");
    if (note) write(note, this.form.elements.model?.selectedOptions[0]?.dataset.about ?? "");
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
    const options = models.map((model) => h("option", {
      value: model.name, "data-kind": model.kind, "data-default-for": model.default_for.join(" "), "data-embedding": model.embedding_size, "data-about": about(model) }, label(model.title)));
    options.unshift(h("option", { value: "", "data-about": defaults(models) }, "Automatic"));
    place.replaceWith(h("span.picker", {}, h("select", { name: "model", "aria-label": "Model" }, options)));
    this.describe();
    onReady();
  }

  /** `{ name, title, embedding }` of the model that pictures go to, when another one takes the videos; else null. */
  get forPictures() {
    const option = this.form.querySelector('option[data-kind=image][data-default-for="image"]');
    return option && { name: option.value, title: option.textContent, embedding: Number(option.dataset.embedding) > 0 };
  }

  /** The choices for a file of this kind. A picture that the chosen model does not take goes to the default model. */
  of(kind) {
    const select = this.form.elements.model;
    const options = [...(select?.options ?? [])];
    const chosen = options.find((option) => option.value === select.value);
    const takes = kind !== "picture" || chosen?.dataset.kind !== "video";
    const model = takes ? chosen?.value ?? "" : "";
    // Jobs keep embeddings, so that other moments like theirs can be found
    const used = model ? chosen : this.form.querySelector('option[data-default-for~="video"]') ?? this.form.querySelector("[data-embedding]");
    return { model, clips: this.clips.value, embedding: Number(used?.dataset.embedding) > 0 };
  }
}
