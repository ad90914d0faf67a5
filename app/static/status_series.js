// Series for the charts, computed from counters: rates, quantiles, the time of each stage.

const GAP_S = 20; // a longer time between two points is shown as a gap
const RATE_S = 30; // rates are means over this time, quantiles and stages over twice this time

export const STAGES = [
  ["receive", "Receive"], ["known", "Look up"], ["queue", "Wait"], ["probe", "Inspect"],
  ["decode", "Decode"], ["infer", "Infer"], ["answer", "Answer"],
];

const TOTALS = ["ok", "refused", "failed", "ends"];
const TOTALS_BY_NAME = ["seconds", "stages", "codes"];

/** Return the points with counters that never fall: a counter that restarted with its program continues from its last value. */
export function continued(points) {
  const lost = {}, last = {};
  const on = (key, total) => {
    if (total < (last[key] ?? 0)) lost[key] = (lost[key] ?? 0) + last[key];
    last[key] = total;
    return total + (lost[key] ?? 0);
  };
  return points.map((point) => {
    const totals = { ...point };
    for (const name of TOTALS) totals[name] = on(name, point[name]);
    for (const part of TOTALS_BY_NAME) {
      const names = new Set([...Object.keys(point[part]), ...Object.keys(last).filter((key) => key.startsWith(`${part}:`))
        .map((key) => key.slice(part.length + 1))]);
      totals[part] = Object.fromEntries([...names].map((name) => [name, on(`${part}:${name}`, point[part][name] ?? 0)]));
    }
    return totals;
  });
}

const gained = (before, after) => after - before;

function gainedEach(before, after) {
  return Object.fromEntries(Object.entries(after).map(([name, total]) => [name, gained(before[name] ?? 0, total)]));
}

/** Return the point `span` seconds before the one at `index`, or null if there is a gap between them. */
function earlier(points, index, span) {
  let found = null;
  for (let at = index; at > 0 && points[index].time - points[at - 1].time <= span + 1; at -= 1) {
    if (points[at].time - points[at - 1].time > GAP_S) break;
    found = points[at - 1];
  }
  return found;
}

const each = (points, span, compute) => points.map((point, index) => {
  const before = earlier(points, index, span);
  return before ? compute(before, point, point.time - before.time) : null;
});

/** Return requests per second, by result. */
export function rates(points) {
  return each(points, RATE_S, (before, now, seconds) => Object.fromEntries(
    ["ok", "refused", "failed"].map((name) => [name, gained(before[name], now[name]) / seconds])));
}

/** Return p50 and p99 of the latency in seconds; null where there was no answer. */
export function quantiles(points) {
  return each(points, 2 * RATE_S, (before, now) => {
    const counts = gainedEach(before.seconds, now.seconds);
    const half = quantile(counts, 0.5);
    return half === null ? null : { p50: half, p99: quantile(counts, 0.99) };
  });
}

/** Return a quantile of cumulative bucket counts, interpolated linearly within a bucket like in Prometheus; null without counts. */
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

/** Return the mean milliseconds of each stage of a request; null where there was no request. */
export function stages(points) {
  return each(points, 2 * RATE_S, (before, now) => {
    const asked = ["ok", "refused", "failed"].reduce((sum, name) => sum + gained(before[name], now[name]), 0);
    if (!asked) return null;
    const spent = gainedEach(before.stages, now.stages);
    return Object.fromEntries(STAGES.map(([name]) => [name, (1000 * (spent[name] ?? 0)) / asked]));
  });
}

const share = (part, whole) => (whole ? Math.min(1, part / whole) : 0);

/** Return the parts of capacity in use, 0 to 1. */
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

/** Return the counts of requests in the last `span` seconds by result, and their error codes, most frequent first. */
export function lately(points, span) {
  const now = points.at(-1);
  const before = earlier(points, points.length - 1, span);
  if (!before) return { asked: 0, ok: 0, refused: 0, failed: 0, codes: [], ends: 0 };
  const totals = Object.fromEntries(TOTALS.map((name) => [name, gained(before[name], now[name])]));
  const codes = Object.entries(gainedEach(before.codes, now.codes)).filter(([, count]) => count > 0);
  return { ...totals, asked: totals.ok + totals.refused + totals.failed, codes: codes.sort((one, other) => other[1] - one[1]) };
}
