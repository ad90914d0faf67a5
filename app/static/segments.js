// Pure arithmetic and words of a timeline's segments.

import { clock, label, percent } from "./words.js";

/** Stands in for the label of a segment whose score is below UNSURE_BELOW (docs/objects.md). */
export const UNSURE = "unsure";
export const UNSURE_BELOW = 0.3;

/** The segments as people read them: one that the model hardly believes is unsure, and its label is the guess. */
export const withUnsure = (segments) => segments.map((segment) =>
  (segment.score < UNSURE_BELOW ? { ...segment, label: UNSURE, guess: segment.label } : segment));

/** `Espresso`, or `Unsure (bobsled?)`. */
export const nameOf = ({ label: name, guess }) => (guess ? `${label(name)} (${guess.replaceAll("_", " ")}?)` : label(name));

/** The classes of page.css that colour a label. */
export function hueOf(palette, name) {
  const { hue, hatched } = palette.of(name);
  return hatched ? `${hue} hatched` : hue;
}

export const segmentWords = (segment) =>
  `${nameOf(segment)}, ${clock(segment.start_s)} to ${clock(segment.end_s)}, ${percent(segment.score)}`;

/** Index of the segment at a time; the last one from its end on, -1 when there is none. */
export function segmentAt(segments, time) {
  let low = 0, high = segments.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (segments[middle].start_s <= time + 1e-6) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Each label's share of the time and its mean score over that time; the largest share first. */
export function shares(timeline) {
  const sums = new Map();
  let whole = 0;
  for (const { label: name, start_s: start, end_s: end, score } of timeline?.segments ?? []) {
    const sum = sums.get(name) ?? { label: name, seconds: 0, weighted: 0 };
    sum.seconds += end - start;
    sum.weighted += (end - start) * score;
    whole += end - start;
    sums.set(name, sum);
  }
  return [...sums.values()]
    .map(({ label: name, seconds, weighted }) => ({ label: name, seconds, share: seconds / whole, score: weighted / seconds }))
    .filter((row) => row.seconds > 0)
    .sort((a, b) => b.seconds - a.seconds);
}

/** The window whose middle is nearest to a time, if one is near. */
export function windowAt(windows, time, hop) {
  let best = null, least = Infinity;
  for (const each of windows) {
    const distance = Math.abs((each.start_s + each.end_s) / 2 - time);
    if (distance < least) [best, least] = [each, distance];
  }
  return best && least <= Math.max(2 * hop, best.end_s - best.start_s) ? best : null;
}

/** The thumbnail nearest to a time. */
export function nearest(thumbnails, time) {
  return thumbnails.reduce((best, each) => (Math.abs(each.time_s - time) < Math.abs(best.time_s - time) ? each : best));
}
