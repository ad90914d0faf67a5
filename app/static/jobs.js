// The jobs of the service: ask, cancel, remove, and follow one until it ends.

import { csrfHeaders } from "./csrf.js";
import { Problem, problemOf } from "./problems.js";
import { pause } from "./send.js";

export const ACTIVE = ["queued", "running"];
const POLL_MS = 1000;
// Streams that break before they say anything: then there is something between us that does not let them through.
const BROKEN_STREAMS = 3;

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("no_connection");
  }
  const text = await response.text();
  if (!response.ok) throw problemOf(text);
  return JSON.parse(text);
}

const address = (id) => `/v1/jobs/${encodeURIComponent(id)}`;

export const list = async (limit = 50) => (await ask(`/v1/jobs?limit=${limit}`)).jobs;
export const get = (id, signal) => ask(address(id), { signal });
/** All windows of a job; they come in pages. */
export async function windows(id) {
  const all = [];
  for (let offset = 0; offset !== null; ) {
    const { timeline } = await ask(`${address(id)}?windows=true&offset=${offset}`);
    all.push(...(timeline?.windows ?? []));
    offset = timeline?.next_offset ?? null;
  }
  return all;
}
export const models = async () => (await ask("/v1/models")).models;
/** Cancels what is active and removes what has ended; resolves to the record, or `{ id, state: "removed" }`. */
export const end = (id) => ask(address(id), { method: "DELETE", headers: csrfHeaders() });
/** The moments of kept jobs that are most like a window of a job. */
export const similar = (id, window, limit) =>
  ask(`/v1/search?${new URLSearchParams({ job: id, window, limit })}`, { method: "POST", headers: csrfHeaders() });
export const sourceOf = (id) => `${address(id)}/source`;
export const timelineOf = (id, format) => `${address(id)}/timeline?format=${format}`;

/** Calls `onRecord` with every news of a job until it has ended or `signal` says stop: a stream, else by asking. */
export async function follow(id, onRecord, signal) {
  const ended = await streamed(id, onRecord, signal);
  while (!ended && !signal.aborted) {
    try {
      const record = await get(id, signal);
      onRecord(record);
      if (!ACTIVE.includes(record.state)) return;
    } catch (error) {
      if (signal.aborted || error.code === "job_not_found") return;
    }
    await pause(POLL_MS, signal).catch(() => {});
  }
}

/** Resolves to whether the job's end was seen; false when streams do not work here. */
function streamed(id, onRecord, signal) {
  return new Promise((resolve) => {
    const source = new EventSource(`${address(id)}/events`);
    let broken = 0;
    const close = (ended) => { source.close(); resolve(ended); };
    const take = (event) => { broken = 0; onRecord(JSON.parse(event.data)); };
    source.addEventListener("progress", take);
    source.addEventListener("end", (event) => { take(event); close(true); });
    // A stream closes now and then and the browser opens it again; what is closed for good was refused.
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED || ++broken >= BROKEN_STREAMS) close(false);
    });
    signal.addEventListener("abort", () => close(true), { once: true });
  });
}
