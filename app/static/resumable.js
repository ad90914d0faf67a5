// Sends a large file in chunks (tus), so that it continues after a broken connection or a reload of the page.

import { csrfHeaders } from "./csrf.js";
import { Problem, problemOf } from "./problems.js";

export const LARGE = 32 * 2 ** 20;
const ENDPOINT = "/v1/uploads";
const CHUNK = 8 * 2 ** 20;
const PAUSES_MS = [0, 1000, 2000, 4000, 8000, 15_000, 30_000]; // between tries without progress
const AGAIN = [409, 423, 429];
const TRUSTED_AFTER_MS = 1000;
const KEPT_MS = 24 * 3600_000; // as CLIPSTACK_UPLOAD_HOURS
const STORED = "tus::"; // of the library's keys in localStorage

let library = null;

/** tus-js-client, loaded with the first large file: a classic script, which sets a global. */
const load = () => (library ??= import("./tus.min.js").then(() => globalThis.tus));

/** Resolves to `{ id, forget }` of the complete upload; `on` as in send.js. Call `forget` once the upload is used. */
export async function sendResumable(file, { signal, on }) {
  const tus = await load();
  const began = performance.now();
  let first = null, paused = false;
  on.start(1);
  const upload = new tus.Upload(file, {
    endpoint: ENDPOINT,
    chunkSize: CHUNK,
    retryDelays: PAUSES_MS,
    metadata: { filename: file.name },
    headers: csrfHeaders(),
    onShouldRetry: (error, attempt) => {
      const status = error.originalResponse?.getStatus() ?? 0;
      const again = status === 0 || status >= 500 || AGAIN.includes(status);
      if (again && attempt < PAUSES_MS.length) {
        paused = true;
        on.wait({ problem: problemIn(error), attempt: attempt + 1, tries: PAUSES_MS.length, until: Date.now() + PAUSES_MS[attempt] });
      }
      return again;
    },
    onProgress: (sent, total) => {
      first ??= sent; // of an upload that continues
      if (paused) { paused = false; on.start(1); }
      const elapsed = performance.now() - began;
      const known = sent > first && elapsed >= TRUSTED_AFTER_MS;
      on.progress({ share: sent / total, left: known ? (elapsed * (total - sent)) / (sent - first) / 1000 : null });
    },
  });
  await new Promise((resolve, reject) => {
    const cancel = () => {
      if (upload.url) forget(upload.url); // now: the page may be left before the server answers
      upload.abort(true).catch(() => {});
      reject(new DOMException("cancelled", "AbortError"));
    };
    const end = (settle) => (value) => { signal.removeEventListener("abort", cancel); settle(value); };
    Object.assign(upload.options, { onSuccess: end(resolve), onError: end((error) => reject(problemIn(error))) });
    if (signal.aborted) return cancel();
    signal.addEventListener("abort", cancel, { once: true });
    upload.findPreviousUploads().then(([previous]) => {
      if (previous) upload.resumeFromPreviousUpload(previous);
      if (!signal.aborted) upload.start();
    }, reject);
  });
  const { url } = upload;
  return { id: url.split("/").pop(), forget: () => forget(url) };
}

/** The names of files whose upload was interrupted and can be continued. */
export function unfinished() {
  remove((entry) => Date.now() - new Date(entry.creationTime) > KEPT_MS);
  return stored().map(([, entry]) => entry.metadata?.filename).filter(Boolean);
}

function problemIn(error) {
  const response = error.originalResponse;
  return response ? problemOf(response.getBody()) : new Problem("no_connection");
}

function stored() {
  try {
    const keys = Object.keys(localStorage).filter((key) => key.startsWith(STORED));
    return keys.map((key) => [key, JSON.parse(localStorage.getItem(key))]);
  } catch {
    return []; // a browser may forbid storage
  }
}

const forget = (url) => remove((entry) => entry.uploadUrl === url);

function remove(matches) {
  for (const [key, entry] of stored()) if (matches(entry)) localStorage.removeItem(key);
}
