// One file on its way, or a job of earlier: what is known of it, and nothing of how it looks.

import { ACTIVE } from "./jobs.js";
import { Palette } from "./colours.js";
import { Problem } from "./problems.js";

// waiting -> uploading -> sent [-> paused -> uploading] -> queued -> running -> done | failed | cancelled
export const UNDER_WAY = ["waiting", "uploading", "sent", "paused", ...ACTIVE];

let count = 0;

export class Item {
  number = ++count;
  state = "waiting";
  upload = { share: 0, left: null, seconds: null };
  pause = null; // { problem, attempt, tries, until }
  problem = null;
  record = null; // of a job
  result = null; // of /v1/classify
  key = null; // Idempotency-Key: the same for every try of one upload, so that they are one job
  stop = null; // AbortController of what is under way
  #palette = null;
  #url = null;

  /** Of a `file` with its `kind` ("video" or "picture") and the choices, or of a job's `record`. */
  constructor({ file = null, kind = "video", choices = null, record = null }) {
    Object.assign(this, { file, kind, choices });
    if (record) this.take(record);
  }

  get name() { return this.file?.name || this.record?.name || "Without a name"; }
  get bytes() { return this.file?.size ?? this.record?.bytes ?? 0; }
  get jobId() { return this.record?.id ?? null; }
  get active() { return UNDER_WAY.includes(this.state); }
  get timeline() { return this.record?.timeline ?? null; }
  /** Videos are looked at from end to end in a job, unless a person asks for a few places alone. */
  get asJob() { return this.kind === "video" && this.choices?.clips === "whole"; }
  get media() { return this.record?.media ?? this.result?.media ?? null; }

  /** An address of the file that this page holds, for the player. */
  get url() {
    if (this.file && !this.#url) this.#url = URL.createObjectURL(this.file);
    return this.#url;
  }

  get palette() {
    const labels = this.timeline?.labels;
    if (!this.#palette && labels) this.#palette = new Palette(labels);
    return this.#palette ?? new Palette();
  }

  /** The job's record; one from the list has no timeline, and leaves the one that is known. */
  take(record) {
    const known = this.record;
    this.record = "timeline" in record || !known ? record : { ...record, timeline: known.timeline };
    this.state = record.state;
    this.problem = record.error ? new Problem(record.error.code, record.error.message) : null;
  }

  /** Whether all that the service knows is here. */
  get complete() {
    return this.record !== null && ("timeline" in this.record) && (this.timeline !== null || this.state !== "done");
  }

  forget() {
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = null;
  }
}
