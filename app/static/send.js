// Sends a file until it is taken: a busy service is asked again when it said so, a lost connection is tried again.

import { Problem, problemOf } from "./problems.js";
import { upload } from "./upload.js";

const TRIES = { busy: 8, lost: 4 };
const LONGEST_WAIT_S = 30;
const BUSY = [429, 502, 503, 504];

/**
 * Resolves to `{ body, cache, seconds }`; rejects with a Problem, or AbortError. `on.wait({ problem, until, attempt,
 * tries })` tells of a pause; the others as in upload.js.
 */
export async function send(url, file, { headers, signal, on, type }) {
  for (let attempt = 1; ; attempt++) {
    on.start(attempt);
    const answer = await upload(url, file, { headers, signal, type, onProgress: on.progress, onSent: on.sent });
    if (answer.status >= 200 && answer.status < 300) return { ...answer, body: JSON.parse(answer.text) };
    const lost = answer.status === 0;
    const problem = lost ? new Problem("no_connection") : problemOf(answer.text);
    const tries = lost ? TRIES.lost : TRIES.busy;
    if (attempt >= tries || !(lost || BUSY.includes(answer.status))) throw problem;
    const wait = Math.min(LONGEST_WAIT_S, Math.max(answer.retryAfter ?? 0, 2 ** (attempt - 1)));
    on.wait({ problem, attempt, tries, until: Date.now() + wait * 1000 });
    await pause(wait * 1000, signal);
  }
}

export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => { clearTimeout(timer); reject(new DOMException("cancelled", "AbortError")); };
    const timer = setTimeout(() => { signal?.removeEventListener("abort", stop); resolve(); }, ms);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}
