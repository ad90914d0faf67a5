// One file on its way, or a job of earlier: what is known of it, and nothing of how it looks.

import { ACTIVE } from "./jobs.js";
import { Palette } from "./colours.js";
import { Problem } from "./problems.js";
import { withUnsure } from "./segments.js";

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
  complete = false;
  stop = null; // AbortController of what is under way
  #palette = null;
  #url = null;

  /** Of a `file` with its `kind` ("video" or "picture") and the choices, or of a job's `record`. */
  constructor({ file = null, kind = "video", choices = null, record = null, brief = false }) {
    Object.assign(this, { file, kind, choices });
    if (record) this.take(record, brief);
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

  /** A job's record; a `brief` one, of the list, has no timeline and leaves the one that is known. */
  take(record, brief = false) {
    const { timeline } = record;
    const read = timeline && { ...timeline, segments: withUnsure(timeline.segments) };
    this.record = { ...record, timeline: brief ? this.timeline : read };
    this.state = record.state;
    this.complete = !brief; // whether this is all that the service knows
    this.problem = record.state === "failed" ? new Problem(record.error?.code ?? "", record.error?.message) : null;
  }

  forget() {
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = null;
  }
}
