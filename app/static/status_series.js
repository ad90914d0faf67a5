// From totals that only grow to what happened in between: rates, quantiles, the time of each stage.

const GAP_S = 20; // a longer silence between two points is shown as one
const RATE_S = 30; // rates are means of so long, quantiles and stages of twice that

export const STAGES = [
  ["receive", "Receive"], ["known", "Look up"], ["queue", "Wait"], ["probe", "Inspect"],
  ["decode", "Decode"], ["infer", "Infer"], ["answer", "Answer"],
];

const TOTALS = ["ok", "refused", "failed", "ends"];
const TOTALS_BY_NAME = ["seconds", "stages", "codes"];

/** The same points with totals that never fall: one that fell began anew with its program, and goes on from there. */
export function continued(points) {
  const lost = {}, last = {};
  const on = (key, total) => {
    if (total < (last[key] ?? 0)) lost[key] = (lost[key] ?? 0) + last[key];
    last[key] = total;
    return total + (lost[key] ?? 0);
  };
  return points.map((point) => {
    const told = { ...point };
    for (const name of TOTALS) told[name] = on(name, point[name]);
    for (const part of TOTALS_BY_NAME) {
      const names = new Set([...Object.keys(point[part]), ...Object.keys(last).filter((key) => key.startsWith(`${part}:`))
        .map((key) => key.slice(part.length + 1))]);
      told[part] = Object.fromEntries([...names].map((name) => [name, on(`${part}:${name}`, point[part][name] ?? 0)]));
    }
    return told;
  });
}

const gained = (before, after) => after - before;

function gainedEach(before, after) {
  return Object.fromEntries(Object.entries(after).map(([name, total]) => [name, gained(before[name] ?? 0, total)]));
}

/** The point that is `span` seconds before the one at `index`, or null when there was a silence since. */
function earlier(points, index, span) {
  let found = null;
  for (let at = index; at > 0 && points[index].time - points[at - 1].time <= span + 1; at -= 1) {
    if (points[at].time - points[at - 1].time > GAP_S) break;
    found = points[at - 1];
  }
  return found;
}

const each = (points, span, tell) => points.map((point, index) => {
  const before = earlier(points, index, span);
  return before ? tell(before, point, point.time - before.time) : null;
});

/** Requests a second, by what became of them. */
export function rates(points) {
  return each(points, RATE_S, (before, now, seconds) => Object.fromEntries(
    ["ok", "refused", "failed"].map((name) => [name, gained(before[name], now[name]) / seconds])));
}

/** The times, in seconds, that half of the answers and 99 of 100 were quicker than; null where nothing was answered. */
export function quantiles(points) {
  return each(points, 2 * RATE_S, (before, now) => {
    const counts = gainedEach(before.seconds, now.seconds);
    const half = quantile(counts, 0.5);
    return half === null ? null : { p50: half, p99: quantile(counts, 0.99) };
  });
}

/** Within a bucket answers are taken to be spread evenly, as Prometheus does it. */
export function quantile(counts, part) {
  const steps = Object.entries(counts).map(([le, count]) => [le === "+Inf" ? Infinity : Number(le), count])
    .sort(([one], [other]) => one - other);
  const all = steps.at(-1)?.[1] ?? 0;
  if (!all) return null;
  let [low, below] = [0, 0];
  for (const [high, count] of steps) {
    if (count >= part * all) return high === Infinity ? low : low + ((high - low) * (part * all - below)) / (count - below);
    [low, below] = [high, count];
  }
  return low;
}

/** Milliseconds of each stage an answered request; null where nothing was asked. */
export function stages(points) {
  return each(points, 2 * RATE_S, (before, now) => {
    const asked = ["ok", "refused", "failed"].reduce((sum, name) => sum + gained(before[name], now[name]), 0);
    if (!asked) return null;
    const spent = gainedEach(before.stages, now.stages);
    return Object.fromEntries(STAGES.map(([name]) => [name, (1000 * (spent[name] ?? 0)) / asked]));
  });
}

const share = (part, whole) => (whole ? Math.min(1, part / whole) : 0);

/** How much of what there is was in use, 0 to 1. */
export function loads(points) {
  return points.map((point) => {
    const slots = point.slots, decoders = point.decoders;
    const held = (slots["web:used"] ?? 0) + (slots["web:quarantined"] ?? 0);
    const atWork = Object.values(point.lanes).reduce((sum, lane) => sum + (lane.at_work ?? 0), 0);
    return {
      work: share(atWork, point.facts.limit),
      slots: share(held, held + (slots["web:free"] ?? 0)),
      decoders: share(decoders["web:busy"] ?? 0, (decoders["web:busy"] ?? 0) + (decoders["web:free"] ?? 0)),
    };
  });
}

/** What was asked in the last `span` seconds: how often it went well or not, and the codes of the errors, most first. */
export function lately(points, span) {
  const now = points.at(-1);
  const before = earlier(points, points.length - 1, span);
  if (!before) return { asked: 0, ok: 0, refused: 0, failed: 0, codes: [], ends: 0 };
  const told = Object.fromEntries(TOTALS.map((name) => [name, gained(before[name], now[name])]));
  const codes = Object.entries(gainedEach(before.codes, now.codes)).filter(([, count]) => count > 0);
  return { ...told, asked: told.ok + told.refused + told.failed, codes: codes.sort((one, other) => other[1] - one[1]) };
}
