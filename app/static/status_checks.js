// The checks of the status page. Their limits are those of deploy/monitoring/rules.yml.

import { plural, seconds, share, size } from "./words.js";
import { lately } from "./status_series.js";

const LATELY_S = 300;
const [FEW_FAILURES, MANY_FAILURES] = [0.01, 0.05];
const [DISK_LOW, DISK_FULL] = [0.1, 0.03];
const STUCK_S = 1800;
const WATCHDOG_S = 30;
const MANY_RESTARTS = 3; // within 5 minutes; deploy/stack/restarts.py

const PLACES = { data: "Disk of jobs", uploads: "Disk of uploads", shared_memory: "Shared memory" };
const ORDER = ["bad", "warn", "good"];

/** Return [state, name, words] of each check; the state is `good`, `warn` or `bad`. */
export function checks(points) {
  const now = points.at(-1);
  return [answers(points), triton(now), ...models(now), room(now), jobs(now), ...disks(now), programs(now), watchdog(now), web(now)];
}

/** Return the worst state of the checks. */
export const worst = (found) => ORDER.find((state) => found.some(([each]) => each === state)) ?? "good";

function answers(points) {
  const recent = lately(points, LATELY_S);
  const part = recent.asked ? recent.failed / recent.asked : 0;
  const state = part >= MANY_FAILURES ? "bad" : part >= FEW_FAILURES ? "warn" : "good";
  if (!recent.asked) return [state, "Answers", "no requests in the last 5 minutes"];
  const codes = recent.codes.slice(0, 3).map(([code, count]) => `${Math.round(count)} ${code}`).join(", ");
  return [state, "Answers", `${plural(Math.round(recent.asked), "request")} in 5 minutes, ${share(part)} failed${codes && ` (errors: ${codes})`}`];
}

function triton(now) {
  return now.facts.triton_answers ? ["good", "Triton", "answers"] : ["bad", "Triton", "does not answer"];
}

function models(now) {
  const known = Object.entries(now.models);
  if (!known.length) return [["bad", "Models", "none loaded yet"]];
  return known.map(([key, ready]) => {
    const [name, version] = key.split(":");
    return [ready ? "good" : "bad", name, ready ? `version ${version} is ready` : `version ${version} does not answer`];
  });
}

function room(now) {
  const [free, used, quarantined] = ["free", "used", "quarantined"].map((state) => now.slots[`web:${state}`] ?? 0);
  const state = free === 0 ? "bad" : free / (free + used + quarantined) < 0.1 || quarantined ? "warn" : "good";
  const held = quarantined ? `, ${quarantined} held by cancelled inferences` : "";
  return [state, "Slots", `${free} of ${plural(free + used + quarantined, "slot")} free${held}`];
}

function jobs(now) {
  const { queued = 0, running = 0, failed = 0 } = now.jobs;
  const waits = now.facts.oldest_waiting_s ?? 0;
  const state = waits > STUCK_S || !now.facts.jobs ? "bad" : "good";
  const words = `${running} running, ${queued} waiting${queued ? `, the oldest for ${seconds(waits)}` : ""}, ${failed} failed`;
  return [state, "Jobs", now.facts.jobs ? words : `no job worker runs: ${words}`];
}

function disks(now) {
  const { data, uploads } = now.disks;
  const one = data && uploads && data.whole === uploads.whole && Math.abs(data.free - uploads.free) < 1e6;
  const rows = Object.entries(now.disks).filter(([name]) => !(one && name === "uploads"));
  return rows.map(([name, { free, whole }]) => {
    const part = whole ? free / whole : 1;
    const state = part < DISK_FULL ? "bad" : part < DISK_LOW ? "warn" : "good";
    return [state, one && name === "data" ? "Disk" : PLACES[name] ?? name, `${size(free)} free, ${share(part)}`];
  });
}

function programs(now) {
  const again = Object.entries(now.restarts ?? {}).filter(([, count]) => count >= MANY_RESTARTS);
  if (!again.length) return ["good", "Programs", "no repeated restarts"];
  const words = again.map(([name, count]) => `${name} restarted ${plural(count, "time")} in 5 minutes`);
  return ["bad", "Programs", `${words.join(", ")}; see its log`];
}

function watchdog(now) {
  const { age_s: age, restarts = 0 } = now.facts;
  if (age === undefined) return ["warn", "Watchdog", "no report yet"];
  const words = `last check ${seconds(age)} ago${restarts ? `, Triton restarted ${plural(restarts, "time")}` : ""}`;
  return [age > WATCHDOG_S ? "bad" : "good", "Watchdog", words];
}

function web(now) {
  return [now.facts.web ? "good" : "bad", "Web", plural(now.facts.web ?? 0, "worker")];
}
