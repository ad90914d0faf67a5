"""Every metric that the service exports: name, kind, labels and meaning. No other metric is exported.

python -m app.metrics.definitions       prints the table of docs/monitoring.md
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]
# Each process reports its own events, the worker that answers /metrics reads the rest, the watchdog writes a file.
Source = Literal["process", "asked", "watchdog"]

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


_TABLE: tuple[tuple[str, Kind, str, str], ...] = (
    ("requests_total", "counter", "method route status code",
     "Requests that web answered, by the route's pattern and the error's code, `ok` where there is none."),
    ("request_seconds", "histogram", "route outcome",
     "Time from nginx having the whole request to web's answer; `outcome` is ok, refused (4xx) or failed (5xx)."),
    ("stage_seconds", "histogram", "stage", "Time of each stage of a classification, also of those that fail in it."),
    ("answers_total", "counter", "model cache",
     "Classifications answered, by model and whether they were known already: hit, miss or off."),
    ("processes", "gauge", "program", "Processes that answer requests (`web`) or do jobs (`jobs`)."),
    ("memory_bytes", "gauge", "program", "Resident memory of those processes, without their decoders."),
    ("at_work", "gauge", "lane", "Requests at work, by lane: picture, short, long."),
    ("waiting", "gauge", "lane", "Requests that wait for their turn, by lane."),
    ("work_limit", "gauge", "", "Requests that may be at work now; it finds itself (docs/overload.md)."),
    ("backlog_seconds", "gauge", "", "How long those take that wait now, of the worker with most to do."),
    ("refusals_total", "counter", "reason",
     "Requests refused by admission: door (no thread), full (queue), slow (too long a queue), "
     "deadline (not in the time asked for), waited (its turn did not come)."),
    ("slots", "gauge", "program state",
     "Slots of shared memory: free, used, or quarantined (its request is over, and Triton may still read it)."),
    ("region_registrations_total", "counter", "program transport",
     "Regions of shared memory made known to Triton: once a process, and again when Triton forgot them."),
    ("clips_total", "counter", "program transport", "Clips that reached Triton, by the way they went."),
    ("transport_refusals_total", "counter", "program transport", "How often a way to Triton was refused."),
    ("transport_in_use", "gauge", "program transport", "Processes whose last clip went that way."),
    ("decoders", "gauge", "program state", "Decoder processes, busy or free."),
    ("decoder_waiting", "gauge", "program", "Files that wait for a decoder process."),
    ("decoder_ends_total", "counter", "program reason",
     "Decoder processes that ended at work: by a signal's name, an exit status, timeout (killed: it took too long), "
     "cancelled (killed: nobody waits any more), idle (died without work), lost (the pool forgot its task)."),
    ("videos_decoded_total", "counter", "program device", "Videos and pictures decoded, by cpu or cuda."),
    ("videos_not_on_gpu_total", "counter", "program", "Videos that were to be decoded on the GPU, and were not."),
)  # fmt: skip

_SCRAPED: tuple[tuple[str, Kind, str, str], ...] = (
    ("info", "gauge", "version model", "Always 1: the version of Clipstack and the default model."),
    ("triton_answers", "gauge", "", "1 when Triton answered the worker that was asked, a moment ago."),
    ("model_ready", "gauge", "model version", "1 when requests to this version of a model are answered."),
    ("model_precision", "gauge", "model version precision",
     "Always 1: the precision that this version of a model calculates in, for example bf16."),
    ("jobs", "gauge", "state", "Jobs on the disk: queued, running, done, failed, cancelled."),
    ("jobs_oldest_waiting_seconds", "gauge", "", "Age of the oldest job that waits; 0 when none does."),
    ("jobs_longest_still_seconds", "gauge", "",
     "Longest time since a job that is running told how far it is; 0 when none runs."),
    ("damaged_records", "gauge", "kind",
     "Damaged records that were set aside, by kind: job, state (the job began again), session, result, index, queue; "
     "and keys that let nobody in because they are damaged."),
    ("disk_free_bytes", "gauge", "folder", "Room on the disk of data, of uploads, and of shared memory."),
    ("disk_bytes", "gauge", "folder", "Size of that disk."),
    ("watchdog_age_seconds", "gauge", "", "Time since the watchdog last told anything; it does every 2 s."),
)  # fmt: skip

_WATCHDOG: tuple[tuple[str, Kind, str, str], ...] = (
    ("canaries_total", "counter", "model outcome", "Canaries by model and outcome."),
    ("model_restarts_total", "counter", "cause", "Restarts of Triton, by what was wrong: dead, hung, away."),
    ("program_starts_total", "counter", "program", "Starts of programs that Supervisor had given up."),
    ("model_loads_total", "counter", "model", "Attempts to load a model that Triton could not load."),
    ("program_restarts", "gauge", "program", "Restarts of a program within 5 minutes."),
    ("model_answers", "gauge", "model", "1 when the last canary was answered."),
)

PREFIX = "clipstack_"
_SOURCES: tuple[tuple[tuple[tuple[str, Kind, str, str], ...], Source], ...] = (
    (_TABLE, "process"),
    (_SCRAPED, "asked"),
    (_WATCHDOG, "watchdog"),
)
FAMILIES: dict[str, Family] = {
    PREFIX + name: Family(PREFIX + name, kind, tuple(labels.split()), help_text, source)
    for rows, source in _SOURCES
    for name, kind, labels, help_text in rows
}


def series_names() -> set[str]:
    """Return the names of all series on /metrics; a histogram has three."""
    names = set()
    for family in FAMILIES.values():
        suffixes = ("_bucket", "_count", "_sum") if family.kind == "histogram" else ("",)
        names |= {family.name + suffix for suffix in suffixes}
    return names


def markdown() -> str:
    """Return the table of the documentation."""
    rows = ["| metric | kind | meaning |", "|---|---|---|"]
    for family in FAMILIES.values():
        labels = "{" + ",".join(family.labels) + "}" if family.labels else ""
        rows.append(f"| `{family.name}{labels}` | {family.kind} | {family.help} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(markdown())
