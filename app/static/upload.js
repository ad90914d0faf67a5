// Sends one file as the raw body of a POST. XMLHttpRequest, because fetch does not tell how far an upload is.

import { csrfHeaders } from "./csrf.js";

// An upload that moves no byte, or an answer that does not come, for this long is given up.
const STALLED_AFTER_MS = 60_000;
const UNANSWERED_AFTER_MS = 180_000;
// The first second tells too little of the speed to promise anything.
const TRUSTED_AFTER_MS = 1000;

/**
 * Resolves to `{ status, text, retryAfter, cache, seconds }`, status 0 when the connection was lost; rejects with
 * AbortError when `signal` says so. `onProgress({ share, left })`: 0 to 1, and seconds or null; `onSent()`: all is there.
 */
export function upload(url, file, { headers = {}, signal, type = "application/octet-stream", onProgress, onSent }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const began = performance.now();
    let taken = null, timer = 0;

    const end = (settle, value) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", cancel);
      settle(value);
    };
    const cancel = () => { request.abort(); end(reject, new DOMException("cancelled", "AbortError")); };
    const lost = () => { request.abort(); end(resolve, { status: 0, text: "", retryAfter: null, cache: null, seconds: taken }); };
    const patience = (ms) => { clearTimeout(timer); timer = setTimeout(lost, ms); };
    const sent = () => {
      if (taken !== null) return;
      taken = (performance.now() - began) / 1000;
      patience(UNANSWERED_AFTER_MS);
      onSent();
    };

    request.upload.addEventListener("progress", ({ loaded, total }) => {
      patience(STALLED_AFTER_MS);
      const share = total ? loaded / total : 0;
      const elapsed = performance.now() - began;
      const known = share > 0 && elapsed >= TRUSTED_AFTER_MS;
      onProgress({ share, left: known ? (elapsed * (1 - share)) / share / 1000 : null });
    });
    request.upload.addEventListener("load", sent);
    request.addEventListener("load", () => {
      const retryAfter = Number.parseInt(request.getResponseHeader("Retry-After") ?? "", 10);
      end(resolve, {
        status: request.status,
        text: request.responseText,
        retryAfter: Number.isNaN(retryAfter) ? null : retryAfter,
        cache: request.getResponseHeader("X-Clipstack-Cache"),
        seconds: taken,
      });
    });
    request.addEventListener("error", lost);
    if (signal.aborted) return cancel();
    signal.addEventListener("abort", cancel);
    request.open("POST", url);
    // Never the file's own type: one that calls itself JSON or a form would be read as one.
    request.setRequestHeader("Content-Type", type);
    request.setRequestHeader("X-File-Name", encodeURIComponent(wellFormed(file.name)));
    for (const [name, value] of Object.entries({ ...csrfHeaders(), ...headers })) request.setRequestHeader(name, value);
    patience(STALLED_AFTER_MS);
    request.send(file);
  });
}

/** Half a character, as names from other systems can hold, has no encoding. */
function wellFormed(name) {
  return name.replace(/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g, "\uFFFD");
}
