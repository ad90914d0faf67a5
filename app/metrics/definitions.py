"""Every metric that the service exports: name, kind, labels and meaning. No other metric is exported.

python -m app.metrics.definitions       prints the table of docs/monitoring.md
"""

from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]
# Each process reports its own events, the worker that answers /metrics reads the rest, the watchdog writes a file.
Source = Literal["process", "scrape", "watchdog"]

# Steps of 2 to 2.5 keep a quantile's error below half. Under 1 ms there are no steps: only receive and answer are that
# short. A usual response takes 20 to 60 ms. Decoding, inference and the queue time out after 20 s, the default deadline
# is 30 s, and only large JSON uploads take longer.
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0)


class Family(NamedTuple):
    """A metric name on /metrics, with all its series."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    source: Source = "process"


_TABLES: dict[Source, tuple[tuple[str, Kind, str, str], ...]] = {
  "process": (
    ("requests_total", "counter", "method route status code",
     "Requests answered by web, by route pattern and error code; `ok` without an error."),
    ("request_seconds", "histogram", "route outcome",
     "Time from the complete request to web's response; `outcome` is ok, refused (4xx) or failed (5xx)."),
    ("stage_seconds", "histogram", "stage", "Time of each stage of a classification, also of those that fail."),
    ("answers_total", "counter", "model cache",
     "Classifications answered, by model and cache result: hit, miss or off."),
    ("processes", "gauge", "program", "Processes that answer requests (`web`) or run jobs (`jobs`)."),
    ("memory_bytes", "gauge", "program", "Resident memory of those processes, without their decoders."),
    ("at_work", "gauge", "lane", "Requests in progress, by lane: picture, short, long."),
    ("waiting", "gauge", "lane", "Requests that wait in the queue, by lane."),
    ("work_limit", "gauge", "", "Current limit of requests in progress; it adapts to the load (docs/overload.md)."),
    ("backlog_seconds", "gauge", "",
     "Time that the queue needs at the current speed, of the worker with the longest queue."),
    ("refusals_total", "counter", "reason",
     "Requests refused by admission: door (no free thread), full (queue), slow (queue too long), "
     "deadline (would miss it), waited (queue timeout)."),
    ("slots", "gauge", "program state",
     "Slots of shared memory: free, used, or quarantined (its request is over, and Triton may still read it)."),
    ("region_registrations_total", "counter", "program transport",
     "Registrations of shared-memory regions with Triton: one per process, and one more after a restart of Triton."),
    ("clips_total", "counter", "program transport", "Clips sent to Triton, by transport."),
    ("transport_refusals_total", "counter", "program transport", "Refusals of a transport by Triton."),
    ("transport_in_use", "gauge", "program transport", "Processes whose last clip used this transport."),
    ("decoders", "gauge", "program state", "Decoder processes, busy or free."),
    ("decoder_waiting", "gauge", "program", "Files that wait for a decoder process."),
    ("decoder_ends_total", "counter", "program reason",
     "Decoder processes that ended while they worked: by signal, exit status, timeout (killed: too slow), "
     "cancelled (killed: the client is gone), idle (died without work), lost (the pool lost its task)."),
    ("videos_decoded_total", "counter", "program device", "Videos and pictures decoded, by cpu or cuda."),
    ("redis_failures_total", "counter", "",
     "Operations on `CLIPSTACK_REDIS_URL` that failed; keys' limits and idempotency keys then hold per node."),
    ("videos_not_on_gpu_total", "counter", "program",
     "Videos that should have been decoded on the GPU, and were decoded on the CPU."),
  ),
  "scrape": (
    ("info", "gauge", "version model", "Always 1: the version of Clipstack and the default model."),
    ("triton_answers", "gauge", "", "1 if Triton answered the worker that serves this scrape."),
    ("model_ready", "gauge", "model version", "1 if requests to this version of a model are answered."),
    ("model_precision", "gauge", "model version precision",
     "Always 1: the precision that this version of a model calculates in, for example bf16."),
    ("jobs", "gauge", "state", "Jobs on the disk: queued, running, done, failed, cancelled."),
    ("jobs_oldest_waiting_seconds", "gauge", "", "Age of the oldest waiting job; 0 without one."),
    ("jobs_longest_still_seconds", "gauge", "",
     "Longest time since a running job saved its progress; 0 without one."),
    ("webhook_events", "gauge", "state", "Events of jobs for their receivers: pending, delivered, dead (kept ones)."),
    ("webhook_oldest_pending_seconds", "gauge", "", "Age of the oldest event that no receiver took; 0 without one."),
    ("damaged_records", "gauge", "kind",
     "Damaged records that were set aside, by kind: job, state (the job started again), session, result, index, "
     "queue, webhooks, feedback; and damaged API keys."),
    ("disk_free_bytes", "gauge", "folder", "Free space on the disks of data, uploads and shared memory."),
    ("disk_bytes", "gauge", "folder", "Size of those disks."),
    ("watchdog_age_seconds", "gauge", "", "Time since the watchdog last wrote its metrics; it does so every 2 s."),
  ),
  "watchdog": (
    ("canaries_total", "counter", "model outcome", "Canaries by model and outcome."),
    ("model_restarts_total", "counter", "cause", "Restarts of Triton, by cause: dead, hung, away."),
    ("program_starts_total", "counter", "program", "Starts of programs that Supervisor had stopped restarting."),
    ("model_loads_total", "counter", "model", "Attempts to load a model that Triton could not load."),
    ("program_restarts", "gauge", "program", "Restarts of a program within 5 minutes."),
    ("model_answers", "gauge", "model", "1 if the last canary was answered."),
  ),
}  # fmt: skip

PREFIX = "clipstack_"
FAMILIES: dict[str, Family] = {
    PREFIX + name: Family(PREFIX + name, kind, tuple(labels.split()), help_text, source)
    for source, rows in _TABLES.items()
    for name, kind, labels, help_text in rows
}


def markdown() -> str:
    """Return the table of the documentation."""
    rows = ["| metric | kind | meaning |", "|---|---|---|"]
    for family in FAMILIES.values():
        labels = "{" + ",".join(family.labels) + "}" if family.labels else ""
        rows.append(f"| `{family.name}{labels}` | {family.kind} | {family.help} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(markdown())
