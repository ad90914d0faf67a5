// The answer: the best label in large, the others as bars under it.

import { h, s } from "./dom.js";
import * as feedback from "./feedback.js";
import { models } from "./jobs.js";
import { hueOf, shares, UNSURE, UNSURE_BELOW } from "./segments.js";
import { label, percent, sentence, share } from "./words.js";

const NOTHING = "None of the labels passes its threshold";

const MOST_BARS = 8;

/** The card's content for an item that has an answer, or a part of one; `onLabel(name)` lets a label's segments stand out. */
export function answerCard(item, onLabel) {
  return item.result ? [...classified(item.result), review(item)] : overTime(item, onLabel);
}

/** The question whether the answer is right, of a file that this page still holds. */
function review({ file, result }) {
  if (!feedback.isOn() || !file) return null;
  const { element } = new feedback.Review({
    predicted: result.predictions[0].label,
    loadLabels: async () => (await models()).find((model) => model.name === result.model)?.labels ?? [],
    give: (labels) => feedback.giveForFile(file, result, labels),
  });
  return element;
}

function classified(result) {
  const [best, ...others] = result.predictions;
  const { decision } = result;
  const sure = best.score >= 0.8 ? "Answer" : best.score >= 0.5 ? "Likely" : "Not sure; the best guess";
  const several = decision.length !== 1 || decision[0] !== best.label;
  return [
    decision === "none" ? h("p.warning", {}, sentence(NOTHING)) : several ? h("p.passing", {}, `Found: ${decision.map(label).join(", ")}.`) : null,
    verdict(decision === "none" ? "The best guess" : sure, best.label, percent(best.score), best.score, "bar-best"),
    bars(others.map(({ label: name, score }) => ({ name: label(name), figure: percent(score), part: score })), "The next best"),
    ...result.warnings.map((warning) => h("p.warning", {}, sentence(warning))),
    h("p.footnote", {}, `By ${result.model}, version ${result.model_version}`),
  ];
}

function overTime(item, onLabel) {
  const rows = shares(item.timeline);
  const [most, ...others] = rows;
  if (!most) return [h("p.card-title", {}, "Answer"), h("p.warning", {}, sentence(NOTHING))];
  const how = item.state !== "done" ? "So far" : most.share > 0.995 ? "All the time" : most.share >= 0.5 ? "Mostly" : "Most often";
  const hue = (name) => hueOf(item.palette, name);
  const shown = others.slice(0, MOST_BARS - 1);
  const rest = others.slice(MOST_BARS - 1);
  const version = item.record.model_version ? `, version ${item.record.model_version}` : "";
  return [
    verdict(how, most.label, share(most.share), most.share, hue(most.label), "of the time"),
    bars([
      ...shown.map((row) => ({ name: label(row.label), figure: share(row.share), part: row.share, hue: hue(row.label), act: () => onLabel(row.label) })),
      ...(rest.length ? [{ name: `${rest.length} more`, figure: share(covered(rest)), part: covered(rest) }] : []),
    ], "The other labels, by their share of the time"),
    rows.some((row) => row.label === UNSURE) ? h("p.quiet.note", {}, `Unsure: the best label has less than ${share(UNSURE_BELOW)}.`) : null,
    item.media?.truncated ? h("p.warning", {}, "The file is cut off: only the part that could be read was looked at.") : null,
    h("p.footnote", {}, `${percent(rows.reduce((sum, row) => sum + row.share * row.score, 0) / rows.reduce((sum, row) => sum + row.share, 0))} sure on average · by ${item.record.model}${version}`),
  ];
}

/** The share of the time of several labels, which may overlap. */
const covered = (rows) => Math.min(1, rows.reduce((sum, row) => sum + row.share, 0));

function verdict(how, name, figure, part, hue, unit = "") {
  return h("div.verdict", {},
    h("p.card-title", {}, how),
    h("h3", { "data-label": name }, label(name)),
    h("p.verdict-score", {}, figure, unit ? h("small", {}, ` ${unit}`) : null),
    bar(part, 12, hue));
}

function bars(rows, words) {
  if (!rows.length) return null;
  return h("ol.bars", { start: 2, "aria-label": words }, rows.map(({ name, figure, part, hue, act }) =>
    h("li", {}, named(name, hue, act), h("span.bar-figure", {}, figure), bar(part, 8, hue ?? "bar-value"))));
}

/** A label's name; with `act` a button that shows where the label is. */
function named(name, hue, act) {
  const swatch = hue ? h("span.swatch", { class: `swatch ${hue}`, "aria-hidden": "true" }) : null;
  return act ? h("button.bar-name", { type: "button", onclick: act, title: `Show ${name} in the timeline` }, swatch, name) : h("span.bar-name", {}, swatch, name);
}

function bar(part, height, hue) {
  return s("svg.bar", { width: "100%", height, "aria-hidden": "true" },
    s("rect.bar-track", { width: "100%", height }), s("rect", { class: hue, width: `${(100 * part).toFixed(2)}%`, height }));
}
