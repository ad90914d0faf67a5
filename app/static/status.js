// The page at /status: asks for what is new every few seconds, and shows it.

import { fit, h, write } from "./dom.js";
import { milliseconds, seconds } from "./words.js";
import { Chart } from "./status_chart.js";
import { checks, worst } from "./status_checks.js";
import { continued, loads, quantiles, rates, STAGES, stages } from "./status_series.js";

const KEPT = 185;
const VERDICTS = {
  good: ["All is well", "Ready"],
  warn: ["Something needs a look", "Needs a look"],
  bad: ["Something is broken", "Broken"],
};

const $ = (id) => document.getElementById(id);
const perSecond = (value) => (value >= 10 || value === 0 ? value.toFixed(0) : value.toFixed(value < 1 ? 2 : 1));
const percent = (value) => `${Math.round(100 * value)} %`;
const ms = (value) => (value === 0 ? "0" : milliseconds(value).replace(".0 ", " "));

const list = h("ul.checks");
const charts = {
  rates: new Chart({
    title: "Requests a second", note: "Files to be looked at, by what became of them.", form: perSecond, least: 1,
    series: [["ok", "Answered", "of-ok"], ["refused", "The file's fault", "of-refused"], ["failed", "Ours", "of-failed"]],
  }),
  quantiles: new Chart({
    title: "Time to an answer", note: "From the whole upload on, half and 99 of 100 take no longer.", least: 0.1,
    form: (value) => (value === 0 ? "0" : seconds(value)),
    series: [["p50", "Half", "of-p50"], ["p99", "99 of 100", "of-p99"]],
  }),
  stages: new Chart({
    title: "Where the time goes", note: "Of one request, on average.", form: ms, least: 10, stacked: true,
    series: STAGES.map(([name, words]) => [name, words, `of-${name}`]),
  }),
  loads: new Chart({
    title: "How much of it is in use", note: "At 100 % the next one waits.", form: percent, least: 1, most: 1,
    series: [["work", "At work", "of-p99"], ["slots", "Slots", "of-p50"], ["decoders", "Decoders", "of-decoders"]],
  }),
};
const makers = { rates, quantiles, stages, loads };
let points = [];

function show() {
  const known = continued(points);
  const times = known.map((point) => point.time);
  for (const [name, chart] of Object.entries(charts)) chart.show(times, makers[name](known));
  const found = checks(known);
  fit(list, found.length, () => h("li.check", {}, h("span.unseen"), h("b"), h("span.quiet")))
    .forEach((row, index) => {
      const [state, name, words] = found[index];
      row.dataset.state = state;
      [`${state}: `, name, words].forEach((text, place) => write(row.children[place], text));
    });
  const [verdict, word] = VERDICTS[worst(found)];
  say(verdict, word, worst(found));
  const amiss = found.filter(([state]) => state !== "good").map(([, name, words]) => `${name}: ${words}.`);
  write($("lede"), amiss.join(" ") || "The last quarter of an hour, and this moment.");
}

function say(verdict, word, state) {
  if ($("verdict").textContent !== verdict) write($("status"), verdict);
  write($("verdict"), verdict);
  write($("health"), word);
  $("health").className = `health ${{ good: "good", bad: "lost" }[state] ?? ""}`;
}

async function look() {
  const since = points.length > 1 ? points.at(-2).time : 0;
  const answer = await fetch(`/status.json?after=${since}`, { signal: AbortSignal.timeout(10_000) });
  if (!answer.ok) throw new Error(`${answer.status}`);
  const told = await answer.json();
  // The last point is of the moment of asking: the next answer has in its place what was written down
  points = [...points.slice(0, -1).filter((point) => point.time <= since), ...told.points].slice(-KEPT);
  return told.every_s;
}

async function follow() {
  let pause = 5;
  try {
    pause = await look();
    show();
  } catch {
    say("The service does not answer", "No answer", "bad");
    write($("lede"), "What is shown below is the last that was heard. This page goes on asking.");
  }
  document.documentElement.dataset.started = "";
  setTimeout(follow, 1000 * pause);
}

$("board").append(h("section.card.summary", { "aria-label": "Checks" }, list), ...Object.values(charts).map((chart) => chart.element));
follow();
