// The files of this page and the jobs of the service: what is sent when, followed, cancelled, tried again, removed.

import { Item } from "./item.js";
import * as jobs from "./jobs.js";
import { Problem } from "./problems.js";
import { LARGE, sendResumable } from "./resumable.js";
import { send } from "./send.js";
import { size } from "./words.js";

const UPLOADS_AT_ONCE = 2;
const LISTED = 50;

/** Tells of news by the events "change" (detail: the item), "list" (items came or went) and "end" (one has ended). */
export class Queue extends EventTarget {
  items = []; // of this page, and jobs under way, in the order of their coming
  earlier = []; // jobs that had ended, newest first

  constructor({ limit, limitWords }) {
    super();
    Object.assign(this, { limit, limitWords });
  }

  get all() { return [...this.items, ...this.earlier]; }
  find(jobId) { return this.all.find((item) => item.jobId === jobId) ?? null; }

  /** `files`: pairs of a File and its kind; `choices(kind)`: the choices for it. Returns the new items. */
  add(files, choices) {
    const added = files.map(([file, kind]) => new Item({ file, kind, choices: choices(kind) }));
    this.items.push(...added);
    this.#listed();
    this.#pump();
    return added;
  }

  /** Stops an item; one that is a job already is cancelled there. */
  async cancel(item) {
    if (item.state === "sent" && item.asJob) {
      item.cancelWanted = true; // the job may be there already: it is cancelled as soon as its number is known
      this.#changed(item);
    } else if (item.jobId && item.active) {
      item.take(await jobs.end(item.jobId));
      this.#changed(item);
    } else {
      item.stop?.abort();
      this.#over(item, "cancelled");
    }
  }

  /** Sends a file again. A job that has ended is no answer to it any more: it gets a new key. */
  retry(item) {
    if (item.record) item.key = null;
    Object.assign(item, { state: "waiting", problem: null, record: null, result: null, pause: null, cancelWanted: false });
    item.upload = { share: 0, left: null, seconds: null };
    this.#changed(item);
    this.#pump();
  }

  /** Takes an item off the page; its job stays among the earlier ones. */
  dismiss(item) {
    this.items = this.items.filter((each) => each !== item);
    if (item.jobId) this.earlier.unshift(item);
    else item.forget();
    this.#listed();
  }

  /** Removes a job and its file from the service. */
  async remove(item) {
    await jobs.end(item.jobId).catch((error) => { if (error.code !== "job_not_found") throw error; });
    this.items = this.items.filter((each) => each !== item);
    this.earlier = this.earlier.filter((each) => each !== item);
    item.forget();
    this.#listed();
  }

  /** The listed job that an item is nearly the same as, if there is one. */
  twinOf(item) {
    for (const id of item.record?.near_duplicates ?? []) {
      const twin = this.find(id);
      if (twin) return twin;
    }
    return null;
  }

  /** Brings the items in step with the service's list of jobs. */
  async refresh() {
    const records = await jobs.list(LISTED);
    const listed = new Set(records.map((record) => record.id));
    let news = false;
    for (const record of [...records].reverse()) {
      const item = this.find(record.id);
      if (item) this.#meet(item, record, true);
      else {
        news = true;
        const found = new Item({ record, brief: true, choices: { clips: "whole" } });
        if (found.active) this.items.push(found);
        else this.earlier.unshift(found);
      }
    }
    if (records.length < LISTED) {
      const gone = this.earlier.filter((item) => !listed.has(item.jobId));
      this.earlier = this.earlier.filter((item) => !gone.includes(item));
      news ||= gone.length > 0;
      for (const item of this.items) if (item.jobId && item.active && !listed.has(item.jobId)) await this.load(item);
    }
    if (news) this.#listed();
  }

  /** The item of a job, also of one too old for the list. */
  async open(jobId) {
    const known = this.find(jobId);
    if (known) return known;
    const item = new Item({ record: await jobs.get(jobId), choices: { clips: "whole" } });
    if (item.active) this.items.push(item);
    else this.earlier.push(item);
    this.#listed();
    return item;
  }

  /** Fetches all that is known of a job. */
  async load(item) {
    try {
      this.#meet(item, await jobs.get(item.jobId));
    } catch (error) {
      if (error.code !== "job_not_found") throw error;
      this.#fail(item, error);
    }
  }

  /** Follows a job's progress until it has ended or `signal` says stop. */
  follow(item, signal) {
    return jobs.follow(item.jobId, (record) => this.#meet(item, record), signal);
  }

  #meet(item, record, brief = false) {
    if (record.state === "removed") return this.#fail(item, new Problem("job_not_found"));
    // The list and the stream come by different ways: what has ended does not run again, and has no news in the list.
    if (!item.active && (brief || jobs.ACTIVE.includes(record.state))) return;
    const ran = item.active;
    item.take(record, brief);
    this.#changed(item);
    if (ran && !item.active) this.#ended(item);
  }

  #pump() {
    const busy = this.items.filter((item) => ["uploading", "sent", "paused"].includes(item.state)).length;
    for (const item of this.items.filter((each) => each.state === "waiting").slice(0, Math.max(0, UPLOADS_AT_ONCE - busy))) {
      this.#send(item);
    }
  }

  async #send(item) {
    const file = item.file;
    if (file.size === 0) return this.#fail(item, new Problem("empty_file"));
    if (this.limit && file.size > this.limit) {
      return this.#fail(item, new Problem("too_large", `It has ${size(file.size)}; up to ${this.limitWords} are taken`));
    }
    if (item.kind === "other") return this.#fail(item, new Problem("unsupported_media", "Its first bytes are those of another kind of file"));
    item.stop = new AbortController();
    item.key ??= unguessable();
    const change = (values) => { Object.assign(item, values); this.#changed(item); };
    const on = {
      start: () => change({ state: "uploading", pause: null, upload: { ...item.upload, share: 0, left: null } }),
      progress: (upload) => change({ upload: { ...item.upload, ...upload } }),
      sent: () => change({ state: "sent", upload: { ...item.upload, share: 1, left: null } }),
      wait: (pause) => change({ state: "paused", pause }),
    };
    const { model, clips, embedding } = item.choices;
    const query = new URLSearchParams(item.asJob ? { model, ...(embedding && { embedding }) } : { model, clips: item.kind === "video" ? clips : 1, thumbnails: true });
    if (!model) query.delete("model");
    const headers = item.asJob ? { "Idempotency-Key": item.key } : {};
    try {
      const { signal } = item.stop;
      const answer = item.asJob && file.size >= LARGE
        ? await this.#sendLarge(`/v1/jobs?${query}`, file, { headers, signal, on })
        : await send(`${item.asJob ? "/v1/jobs" : "/v1/classify"}?${query}`, file, { headers, signal, on });
      item.upload.seconds = answer.seconds;
      if (item.asJob) await this.#accepted(item, answer.body);
      else {
        item.result = { ...answer.body, cache: answer.cache };
        this.#over(item, "done");
      }
    } catch (error) {
      if (error.name !== "AbortError") this.#fail(item, error instanceof Problem ? error : new Problem(""));
    } finally {
      this.#pump();
    }
  }

  /** Sends a large file in chunks, then asks for the job of the complete upload. */
  async #sendLarge(url, file, { headers, signal, on }) {
    const { id, forget } = await sendResumable(file, { signal, on });
    on.sent();
    const body = new File([JSON.stringify({ upload: id })], file.name);
    const quiet = { ...on, start: on.sent, progress: () => {} };
    const answer = await send(url, body, { headers, signal, on: quiet, type: "application/json" });
    forget();
    return answer;
  }

  async #accepted(item, record) {
    const twin = this.find(record.id);
    if (twin && twin !== item) {
      // The list was quicker than the answer to the upload
      this.items = this.items.filter((each) => each !== twin);
      this.earlier = this.earlier.filter((each) => each !== twin);
    }
    item.take(record);
    this.#listed();
    if (item.cancelWanted && item.active) return this.cancel(item);
    if (!item.active) this.#ended(item);
  }

  #fail(item, problem) {
    item.problem = problem;
    this.#over(item, "failed");
    this.#pump();
  }

  #over(item, state) {
    Object.assign(item, { state, pause: null });
    this.#changed(item);
    this.#ended(item);
  }

  #ended(item) {
    if (item.jobId && !item.complete) this.load(item).catch(() => {});
    this.dispatchEvent(new CustomEvent("end", { detail: item }));
  }

  #changed(item) { this.dispatchEvent(new CustomEvent("change", { detail: item })); }
  #listed() { this.dispatchEvent(new CustomEvent("list")); }
}

/** crypto.randomUUID is there on https and localhost alone. */
function unguessable() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
