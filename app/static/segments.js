// Pure arithmetic and words of a timeline's segments.

import { clock, label, percent } from "./words.js";

/** Stands in for the label of a segment whose score is below UNSURE_BELOW (docs/objects.md). */
export const UNSURE = "unsure";
export const UNSURE_BELOW = 0.3;

/** Below this score a segment is worth a look. */
export const DOUBT_BELOW = 0.6;

export const isDoubtful = ({ score }) => score < DOUBT_BELOW;

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

const TOUCHES_S = 1e-6;
const OVERLAP_S = 0.001; // times are rounded to milliseconds
const PAST_THE_END_S = 0.25; // a player stops a little after the last segment

/** Indices of the segments at a time: none in a gap, several where labels overlap, the last ones just after their end. */
export function segmentsAt(segments, time) {
  let low = 0, high = segments.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (segments[middle].start_s <= time + TOUCHES_S) low = middle + 1;
    else high = middle;
  }
  const begun = Array.from({ length: low }, (_, index) => index);
  const here = begun.filter((index) => segments[index].end_s > time + TOUCHES_S);
  if (here.length || low < segments.length) return here;
  const end = segments.reduce((last, each) => Math.max(last, each.end_s), 0);
  return time - end > PAST_THE_END_S ? [] : begun.filter((index) => segments[index].end_s >= end - OVERLAP_S);
}

/** Index of the segment at a time, of several the one that began last; -1 when there is none. */
export const segmentAt = (segments, time) => segmentsAt(segments, time).at(-1) ?? -1;

export const ORDERS = { time: "by time", doubt: "least sure first", length: "longest first" };

/** Indices of the segments in one of ORDERS, all of them or the doubtful ones. */
export function ordered(segments, order, doubtfulOnly) {
  const length = ({ start_s: start, end_s: end }) => end - start;
  const keys = { time: () => 0, doubt: ({ score }) => score, length: (segment) => -length(segment) };
  return segments.map((_, index) => index).filter((index) => !doubtfulOnly || isDoubtful(segments[index]))
    .sort((one, other) => keys[order](segments[one]) - keys[order](segments[other]) || one - other);
}

/** Index of the first doubtful segment that begins after a time, from the start again after the last; -1 if there is none. */
export function nextDoubtful(segments, time) {
  const doubtful = segments.map((_, index) => index).filter((index) => isDoubtful(segments[index]));
  return doubtful.find((index) => segments[index].start_s > time + TOUCHES_S) ?? doubtful[0] ?? -1;
}

/** Rows of labels: the row of each, those of the longest time first, or none when no two segments overlap. */
export function lanes(timeline) {
  const { segments } = timeline;
  const overlaps = segments.some((each, index) => index > 0 && each.start_s < segments[index - 1].end_s - OVERLAP_S);
  return overlaps ? new Map(shares(timeline).map(({ label: name }, row) => [name, row])) : null;
}

/** Each label's share of the time so far and its mean score over that time; the largest share first. */
export function shares(timeline) {
  const sums = new Map();
  const whole = timeline?.complete_to_s;
  for (const { label: name, start_s: start, end_s: end, score } of timeline?.segments ?? []) {
    const sum = sums.get(name) ?? { label: name, seconds: 0, weighted: 0 };
    sum.seconds += end - start;
    sum.weighted += (end - start) * score;
    sums.set(name, sum);
  }
  return [...sums.values()]
    .map(({ label: name, seconds, weighted }) => ({ label: name, seconds, share: Math.min(1, seconds / whole), score: weighted / seconds }))
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
