// Where a file is, in words.

import { shares } from "./segments.js";
import { label, left, ordinal, percent, share } from "./words.js";

/** Where an item is, in words; `whole` says what the percentage is of, where there is room for it. */
export function stateWords(item, whole = false) {
  const { progress } = item.record ?? {};
  const dotted = (...parts) => parts.filter(Boolean).join(" · ");
  if (item.cancelWanted && item.active) return "Cancelling";
  switch (item.state) {
    case "waiting": return "Waiting for its turn";
    case "uploading": return dotted("Uploading", `${Math.floor(item.upload.share * 100)} %`, item.upload.left === null ? "" : left(item.upload.left));
    case "sent": return item.asJob ? "Uploaded" : "Looking at the frames";
    case "paused": {
      const wait = Math.max(1, Math.ceil((item.pause.until - Date.now()) / 1000));
      return dotted(item.pause.problem.title, `trying again in ${wait} s`, `${ordinal(item.pause.attempt + 1)} of ${item.pause.tries} tries`);
    }
    case "queued": return dotted("In line", progress?.position > 0 ? ordinal(progress.position) : "");
    case "running": return dotted("Analysing", `${Math.floor(progress?.percent ?? 0)} %`, progress?.eta_s === null ? "" : left(progress?.eta_s));
    case "done": return answerWords(item, whole);
    case "failed": return item.problem?.title ?? "Something went wrong";
    default: return "Cancelled";
  }
}

/** The answer in a few words: what is most of the video, or the labels that pass. */
export function answerWords(item, whole = false) {
  if (item.result) {
    const { decision, predictions: [best] } = item.result;
    if (decision === "none") return "Nothing found";
    return decision.length === 1 && decision[0] === best.label ? `${label(best.label)} · ${percent(best.score)}${whole ? " sure" : ""}` : decision.map(label).join(", ");
  }
  if (!item.timeline) return "Done";
  const [most] = shares(item.timeline);
  return most ? `${label(most.label)} · ${share(most.share)}${whole ? " of the time" : ""}` : "Nothing found";
}
