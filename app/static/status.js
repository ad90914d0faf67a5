// The page at /status: polls /status.json and shows the result.

import { fit, h, write } from "./dom.js";
import { milliseconds, seconds } from "./words.js";
import { Chart } from "./status_chart.js";
import { checks, worst } from "./status_checks.js";
import { continued, loads, quantiles, rates, STAGES, stages } from "./status_series.js";

const KEPT = 185;
const VERDICTS = {
  good: ["All systems normal", "Ready"],
  warn: ["Attention needed", "Warning"],
  bad: ["Something is broken", "Broken"],
};

const $ = (id) => document.getElementById(id);
const perSecond = (value) => (value >= 10 || value === 0 ? value.toFixed(0) : value.toFixed(value < 1 ? 2 : 1));
const percent = (value) => `${Math.round(100 * value)} %`;
const ms = (value) => (value === 0 ? "0" : milliseconds(value).replace(".0 ", " "));

const list = h("ul.checks");
const charts = {
  rates: new Chart({
    title: "Requests per second", note: "Classifications, by result.", form: perSecond, least: 1,
    series: [["ok", "Answered", "of-ok"], ["refused", "Refused (4xx)", "of-refused"], ["failed", "Failed (5xx)", "of-failed"]],
  }),
  quantiles: new Chart({
    title: "Latency", note: "From the end of the upload to the answer: p50 and p99.", least: 0.1,
    form: (value) => (value === 0 ? "0" : seconds(value)),
    series: [["p50", "p50", "of-p50"], ["p99", "p99", "of-p99"]],
  }),
  stages: new Chart({
    title: "Time by stage", note: "Mean for one request.", form: ms, least: 10, stacked: true,
    series: STAGES.map(([name, words]) => [name, words, `of-${name}`]),
  }),
  loads: new Chart({
    title: "Capacity", note: "Part in use. At 100 % the next request waits.", form: percent, least: 1, most: 1,
    series: [["work", "Requests", "of-p99"], ["slots", "Slots", "of-p50"], ["decoders", "Decoders", "of-decoders"]],
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
  const problems = found.filter(([state]) => state !== "good").map(([, name, words]) => `${name}: ${words}.`);
  write($("lede"), problems.join(" ") || "The last 15 minutes.");
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
  const news = await answer.json();
  // The last point is a live reading; the next answer replaces it with the recorded one.
  points = [...points.slice(0, -1).filter((point) => point.time <= since), ...news.points].slice(-KEPT);
  return news.every_s;
}

async function follow() {
  let pause = 5;
  try {
    pause = await look();
    show();
  } catch {
    say("The service does not answer", "No answer", "bad");
    write($("lede"), "The figures below are from its last answer. This page keeps trying.");
  }
  document.documentElement.dataset.started = "";
  setTimeout(follow, 1000 * pause);
}

$("board").append(h("section.card.summary", { "aria-label": "Checks" }, list), ...Object.values(charts).map((chart) => chart.element));
follow();
