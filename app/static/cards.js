// The cards under the player: frames, times, the file. Each function builds a card's content.

import { csrfToken } from "./csrf.js";
import { h, s } from "./dom.js";
import { hueOf, nearest, segmentAt } from "./segments.js";
import { clock, duration, formatName, label, milliseconds, plural, seconds, shell, size } from "./words.js";

const STAGES = { receive: "Receive", queue: "Wait", probe: "Inspect", decode: "Decode", infer: "Infer", answer: "Answer", other: "In between" };
const SMALLEST_REST_MS = 0.5;
const FRAMES = 12;

export function head(title, note = "") {
  return h("div.card-head", {}, h("h3.card-title", {}, title), note ? h("p.quiet", {}, note) : null);
}

/** A card whose content is shown when its head is clicked. */
function folded(title, note, ...content) {
  return h("details.folded", {}, h("summary.card-head", {}, h("h3.card-title", {}, title), note ? h("span.quiet", {}, note) : null), ...content);
}

// ---- the frames

/** The frames that were looked at; those of a video lead to their place in the player. */
export function framesCard(item, onSeek) {
  return item.result ? clipFrames(item.result, onSeek) : jobFrames(item, onSeek);
}

function clipFrames({ thumbnails, clips, media }, onSeek) {
  if (!thumbnails?.length) return [];
  if (media.kind !== "video") {
    return [head("What the model saw"), h("ol.frames.single", {}, h("li", {}, h("img", { src: thumbnails[0], alt: "The picture as the model saw it", width: 112, height: 112 })))];
  }
  const [first] = clips;
  const note = `${plural(first.frames.length, "frame")}, ${clock(first.start_s)} to ${clock(first.end_s)}${clips.length > 1 ? `; the first of ${clips.length} places` : ""}`;
  const frames = thumbnails.map((url, index) => frame(url, first.times_s[index], `${first.times_s[index].toFixed(2)} s`, null, onSeek));
  return [head("What the model saw", note), h("ol.frames.clip", {}, frames), span(clips, media.duration_s)];
}

function jobFrames(item, onSeek) {
  const { timeline, palette } = item;
  const { thumbnails } = timeline;
  if (!thumbnails.length) return [];
  const draw = ({ url, time_s: time }) => {
    const segment = timeline.segments[segmentAt(timeline.segments, time)];
    return frame(url, time, clock(time), segment && { words: label(segment.label), hue: hueOf(palette, segment.label) }, onSeek);
  };
  const some = best(thumbnails, timeline.segments);
  const list = h("ol.frames", {}, some.map(draw));
  const all = () => {
    list.replaceChildren(...thumbnails.map(draw));
    more.remove();
    list.querySelector("button").focus();
  };
  const more = h("button.button.small", { type: "button", onclick: all }, `Show all ${thumbnails.length} frames`);
  return [head("What the model saw", `${plural(some.length, "frame")} of those it looked at`), list, some.length < thumbnails.length ? more : null];
}

/** A frame from the middle of each of the longest segments first, then whichever lie evenly, in the order of time. */
function best(thumbnails, segments) {
  const longest = [...segments].sort((a, b) => b.end_s - b.start_s - (a.end_s - a.start_s)).slice(0, FRAMES);
  const chosen = new Set(longest.map(({ start_s: start, end_s: end }) => nearest(thumbnails, (start + end) / 2)));
  for (let place = 0; place < FRAMES && chosen.size < FRAMES; place++) {
    chosen.add(thumbnails[Math.floor(((place + 0.5) * thumbnails.length) / FRAMES)]);
  }
  return thumbnails.filter((each) => chosen.has(each));
}

function frame(url, time, words, labelled, onSeek) {
  return h("li", {}, h("button.frame", { type: "button", onclick: () => onSeek(time) },
    h("img", { src: url, alt: `Frame at ${words}`, width: 112, height: 112 }),
    h("span.frame-time", {}, words),
    labelled ? h("span.frame-label", {}, h("span", { class: `swatch ${labelled.hue}`, "aria-hidden": "true" }), labelled.words) : null));
}

/** Where in the video the clips lie. A clip of a long video is thinner than a pixel, and must be seen all the same. */
function span(clips, whole) {
  if (!whole) return null;
  const words = clips.length === 1 ? "The part of the video that was looked at" : `The ${clips.length} parts of the video that were looked at`;
  const marks = clips.map(({ start_s: start, end_s: end }) => {
    const width = Math.max((end - start) / whole, 0.006);
    return s("rect.bar-best", { x: `${(100 * Math.min(start / whole, 1 - width)).toFixed(3)}%`, width: `${(100 * width).toFixed(3)}%`, height: 10, rx: 3 });
  });
  return h("div.span", {},
    s("svg.span-line", { width: "100%", height: 10, role: "img", "aria-label": words }, s("rect.bar-track", { width: "100%", height: 10, rx: 5 }), marks),
    h("p.span-ends.quiet", {}, h("span", {}, "0"), h("span", {}, duration(whole))));
}

// ---- the times

export function timesCard(item) {
  return item.result ? stagesOf(item) : jobTimes(item);
}

function stagesOf(item) {
  const { timing_ms: timing } = item.result;
  const rows = Object.keys(STAGES).filter((name) => name in timing).map((name) => [name, Math.max(0, timing[name])]);
  const rest = timing.total - rows.reduce((sum, [, ms]) => sum + ms, 0);
  if (rest >= SMALLEST_REST_MS) rows.push(["other", rest]);
  const whole = rows.reduce((sum, [, ms]) => sum + ms, 0) || 1;
  let x = 0;
  const parts = rows.map(([name, ms]) => {
    const part = s("rect", { class: `stage-${name}`, x: `${x.toFixed(3)}%`, width: `${((100 * ms) / whole).toFixed(3)}%`, height: 14 });
    x += (100 * ms) / whole;
    return part;
  });
  return [folded("Where the time went", `${milliseconds(timing.total)} in all`,
    s("svg.stack", { width: "100%", height: 14, "aria-hidden": "true" }, parts),
    h("dl.stages", {}, rows.map(([name, ms]) => h("div", {}, h("dt", {}, swatch(`stage-${name}`), STAGES[name]), h("dd", {}, milliseconds(ms))))),
    sent(item),
  )];
}

function jobTimes(item) {
  const { timing_s: timing, cache } = item.record;
  const rows = [["queue", "In line", timing.queued], ["answer", "Analysis", timing.running], ["decode", "Decoding", timing.decode], ["infer", "The model", timing.infer]]
    .filter(([, , value]) => value !== undefined && value !== null);
  const longest = Math.max(...rows.map(([, , value]) => value), 0.001);
  const speed = item.state === "done" && cache !== "hit" && timing.running > 0 ? item.timeline.duration_s / timing.running : 0;
  return [folded("Where the time went", speed >= 1.5 ? `${speed.toFixed(speed < 10 ? 1 : 0)} times as fast as it plays` : "",
    h("dl.spent", {}, rows.map(([name, words, value]) => h(["decode", "infer"].includes(name) ? "div.part" : "div", {},
      h("dt", {}, words), h("dd", {}, seconds(value)),
      s("svg.bar", { width: "100%", height: 8, "aria-hidden": "true" }, s("rect.bar-track", { width: "100%", height: 8 }), s("rect", { class: `stage-${name}`, width: `${((100 * value) / longest).toFixed(2)}%`, height: 8 }))))),
    cache === "hit" ? h("p.quiet.note", {}, "This answer comes from the cache: the same file was analysed before.") : null,
    timing.decode ? h("p.quiet.note", {}, "Decoding and the model run at the same time, during the analysis.") : null,
    sent(item),
  )];
}

function sent(item) {
  if (item.upload.seconds === null) return null;
  return h("p.sent.quiet", {}, "Before that, the upload took ", h("b", {}, seconds(item.upload.seconds)), ".");
}

function swatch(hue) {
  return s("svg.swatch-box", { width: 10, height: 10, "aria-hidden": "true" }, s("rect", { class: hue, width: 10, height: 10, rx: 3 }));
}

// ---- the file

export function factsCard(item) {
  const media = item.media ?? { name: item.name, bytes: item.bytes };
  const rows = [
    ["File", item.name],
    ["Size", media.bytes ? size(media.bytes) : null],
    ["Length", media.duration_s ? duration(media.duration_s) : null],
    ["Picture", media.width ? `${media.width} × ${media.height}` : null],
    ["Turned", media.rotation ? `${media.rotation}°, set upright` : null],
    ["Frames", media.frames && media.kind === "video" ? media.frames.toLocaleString("en") : null],
    ["Frame rate", media.fps ? `${Number(media.fps.toPrecision(4))} per second` : null],
    ["Codec", media.codec ? formatName(media.codec) : null],
    ["Container", media.container ? formatName(media.container) : null],
  ].filter(([, value]) => value);
  return [head("The file"), h("dl.facts", {}, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))))];
}

export function terminalCard(item) {
  const { model, clips } = item.choices ?? {};
  const path = item.asJob || item.record ? "v1/jobs" : "v1/classify";
  const query = new URLSearchParams();
  if (model) query.set("model", item.result?.model ?? item.record?.model ?? model);
  if (Number(clips) > 1) query.set("clips", clips);
  const url = `${location.origin}/${path}${query.size ? `?${query}` : ""}`;
  const parts = [head("The same from a terminal"), h("pre.command", {}, h("code", {}, h("span.prompt", { "aria-hidden": "true" }, "$ "), `curl${csrfToken() ? ' -H "Authorization: Bearer $CLIPSTACK_KEY"' : ""} -X POST -T ${shell(item.name)} '${url}'`))];
  if (item.result) {
    const { thumbnails, ...rest } = item.result;
    parts.push(h("details", {}, h("summary", {}, "The whole answer as JSON"), h("pre", { tabindex: 0, role: "region", "aria-label": "The answer as JSON" }, h("code", {}, JSON.stringify(rest, null, 2)))));
    parts.push(h("p.footnote", {}, "Request ", h("code", {}, item.result.request_id)));
  } else if (item.jobId) parts.push(h("p.footnote", {}, "Job ", h("code", {}, item.jobId)));
  return parts;
}
