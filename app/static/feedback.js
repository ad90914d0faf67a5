// Confirm or correct an answer: what a person says of it goes to the service, which keeps it with the file.

import { csrfHeaders } from "./csrf.js";
import { h, write } from "./dom.js";
import { Problem, problemOf } from "./problems.js";
import { label } from "./words.js";

const PAGE = 500;
const MAX_LABEL = 100;
const HALF = 0.5;

/** Whether the service keeps feedback. */
export const isOn = () => document.getElementById("upload").dataset.feedback !== undefined;

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", ...options, headers: csrfHeaders() });
  } catch {
    throw new Problem("no_connection");
  }
  const text = await response.text();
  if (!response.ok) throw problemOf(text);
  return JSON.parse(text);
}

/** Says that `labels` are right for a segment of a job. */
export function giveForSegment(jobId, segment, labels) {
  const query = new URLSearchParams({ job: jobId, start_s: segment.start_s, end_s: segment.end_s, labels: JSON.stringify(labels) });
  return ask(`/v1/feedback?${query}`, { method: "POST" });
}

/** Says that `labels` are right for a file that this page holds, and that was answered by `result`. */
export function giveForFile(file, result, labels) {
  const body = new FormData();
  body.append("labels", JSON.stringify(labels));
  body.append("predicted", JSON.stringify([result.predictions[0].label]));
  body.append("model", `${result.model}@${result.model_version}`);
  body.append("file", file, file.name);
  return ask("/v1/feedback", { method: "POST", body });
}

/** What is known already of a job: the right labels by `keyOf` of their segment. */
export async function ofJob(jobId) {
  const known = new Map();
  for (let cursor = ""; cursor !== null; ) {
    const query = new URLSearchParams({ job: jobId, limit: PAGE, ...(cursor ? { cursor } : {}) });
    const { feedback, next_cursor: next } = await ask(`/v1/feedback?${query}`);
    for (const entry of feedback) if (entry.state !== "unsure") known.set(keyOf(entry), entry.labels);
    cursor = next;
  }
  return known;
}

export const keyOf = ({ start_s: start, end_s: end }) => `${Number(start).toFixed(3)} ${Number(end).toFixed(3)}`;

/** The labels that cover at least half of a segment: its own, and those of a sigmoid that overlap it. */
export function labelsOver(segments, segment) {
  const covered = new Map();
  for (const { start_s: start, end_s: end, label: name, guess } of segments) {
    const shared = Math.min(end, segment.end_s) - Math.max(start, segment.start_s);
    if (shared > 0) covered.set(guess ?? name, (covered.get(guess ?? name) ?? 0) + shared);
  }
  return [...covered].filter(([, shared]) => shared >= HALF * (segment.end_s - segment.start_s)).map(([name]) => name);
}

let count = 0;

/**
 * The question whether an answer is right, with its two answers.
 * `predicted` is the label in question, `others` further labels of the same place, `known` what was said before;
 * `loadLabels()` resolves to the model's labels, `give(labels)` to nothing once they are kept.
 */
export class Review {
  constructor({ predicted, others = [], known = null, loadLabels, give, onGiven = () => {} }) {
    Object.assign(this, { predicted, others, loadLabels, give, onGiven });
    const button = (words, act) => h("button.button.small", { type: "button", onclick: act }, words);
    this.question = h("p.review-words", { role: "status" });
    this.right = button("Right", () => this.#send([predicted, ...others]));
    this.wrong = button("Wrong", () => this.#edit());
    this.change = button("Change", () => this.#edit());
    this.labels = h("datalist", { id: `labels-${++count}` });
    this.input = h("input.review-input", { type: "text", maxlength: MAX_LABEL, required: true, autocomplete: "off", list: this.labels.id, "aria-label": "Right label" });
    this.form = h("form.review-form", { onsubmit: (event) => { event.preventDefault(); this.#save(); } },
      this.input, h("button.button.small.primary", { type: "submit" }, "Save"), button("Cancel", () => this.#show()), this.labels);
    this.form.addEventListener("keydown", (event) => { if (event.key === "Escape") this.#show(); });
    this.element = h("div.review", {}, this.question, this.right, this.wrong, this.change, this.form);
    this.known = known;
    this.#show(false);
  }

  #show(byHand = true) {
    const { known } = this;
    const words = known && known.map(label).join(", ");
    write(this.question, known ? `You said: ${words}.` : `Is “${[this.predicted, ...this.others].map(label).join(", ")}” right?`);
    this.right.hidden = this.wrong.hidden = Boolean(known);
    this.change.hidden = !known;
    this.form.hidden = true;
    if (byHand) (known ? this.change : this.wrong).focus();
  }

  async #edit() {
    write(this.question, "What is right?");
    this.right.hidden = this.wrong.hidden = this.change.hidden = true;
    this.form.hidden = false;
    this.input.value = "";
    this.input.focus();
    if (this.labels.childElementCount) return;
    const names = await this.loadLabels().catch(() => []);
    this.labels.replaceChildren(...names.map((name) => h("option", { value: name }, label(name))));
  }

  #save() {
    const text = this.input.value.trim();
    if (text) this.#send([text, ...this.others]);
  }

  async #send(labels) {
    const buttons = [...this.element.querySelectorAll("button")];
    for (const button of buttons) button.disabled = true;
    try {
      await this.give(labels);
      this.known = labels;
      this.onGiven(labels);
    } catch (error) {
      write(this.question, error instanceof Problem ? `${error.title}. ${error.advice}` : "It was not kept. Please try again.");
      return;
    } finally {
      for (const button of buttons) button.disabled = false;
    }
    this.#show();
  }
}
