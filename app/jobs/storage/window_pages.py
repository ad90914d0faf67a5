"""Pages of a timeline's windows as JSON, streamed from the journal.

A timeline has up to CLIPSTACK_MAX_WINDOWS windows of about 400 bytes of JSON each. A page has at most MAX_PAGE windows
and MAX_PREDICTIONS predictions, or as many labels that can pass. Only one chunk of it is in memory at a time.
"""

import json
import logging
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from app.files import DamagedFile
from app.inference.decision import DecisionRule, Selection, decision_json, decision_rule
from app.jobs.storage.journal import WindowScores, read_windows
from app.jobs.storage.records import DamagedRecord

MAX_PAGE = 20_000
MAX_PREDICTIONS = 100_000  # of one page: about 8 MB, below nginx's proxy_max_temp_file_size
DIGITS = 4  # of a score
CHUNK_PREDICTIONS = 1000  # of one chunk: blocks other requests for about 5 ms
_chunk_lock = threading.Lock()  # several threads computing at once would starve the others of the interpreter lock

log = logging.getLogger(__name__)


class Page(NamedTuple):
    """Request for windows `offset` to `offset + limit` of a timeline, with their `top_k` best selected labels."""

    offset: int
    limit: int
    top_k: int
    selection: Selection = Selection()


def stream_with_windows(record: dict[str, Any], timeline: dict[str, Any], journal: Path, page: Page) -> Iterator[str]:
    """Return, in chunks, the JSON of `record` with the page's windows added to its part `timeline`.

    Raises FileNotFoundError if the job was removed, DamagedRecord if its journal cannot be used.
    """
    stream = _stream(record, timeline, journal, page)
    try:
        next(stream)  # opens the journal
    except DamagedFile as error:
        log.error("a journal is damaged: %s", error)
        raise DamagedRecord(error) from error
    return stream


def _stream(record: dict[str, Any], timeline: dict[str, Any], journal: Path, page: Page) -> Iterator[str]:
    rule = decision_rule(
        timeline["labels"], timeline.get("scores", "softmax"), timeline.get("thresholds"), page.selection
    )
    count = max(1, min(page.top_k, len(rule.indices)))
    largest = max(count, rule.max_passing)  # number of labels of a window
    limit = max(1, min(page.limit, MAX_PREDICTIONS // largest))
    chunks = read_windows(journal, page.offset, limit, max(1, CHUNK_PREDICTIONS // largest))
    first = next(chunks, None)
    has_more = next(read_windows(journal, page.offset + limit, 1, 1), None) is not None
    if first is not None and first.scores.shape[1] != len(timeline["labels"]):
        raise DamagedFile(f"{journal} has {first.scores.shape[1]} classes")
    yield ""
    marker = secrets.token_hex(16)  # cannot occur in a name or label
    timeline["next_offset"], timeline["windows"] = page.offset + limit if has_more else None, marker
    prefix, _, suffix = json.dumps(record, separators=(",", ":")).partition(f'"{marker}"')
    yield prefix + "["
    if first is not None:
        yield _windows_json(first, timeline, count, rule)
        for chunk in chunks:
            yield "," + _windows_json(chunk, timeline, count, rule)
    yield "]" + suffix + "\n"


def _windows_json(chunk: WindowScores, timeline: dict[str, Any], count: int, rule: DecisionRule) -> str:
    """Return the JSON objects of the windows without the enclosing brackets."""
    with _chunk_lock:
        return json.dumps(_windows(chunk, timeline, count, rule), separators=(",", ":"))[1:-1]


def _windows(chunk: WindowScores, timeline: dict[str, Any], count: int, rule: DecisionRule) -> list[dict[str, Any]]:
    labels, hop_s, span_s = timeline["labels"], timeline["hop_s"], timeline["window_s"]
    best = rule.indices[np.argsort(-chunk.scores[:, rule.indices], axis=1, kind="stable")[:, :count]]
    scores = np.take_along_axis(chunk.scores, best, axis=1).astype(np.float64).round(DIGITS).tolist()
    decisions = rule.decide_all(chunk.scores, DIGITS)
    return [
        {
            "start_s": round(index * hop_s, 3),
            "end_s": round(index * hop_s + span_s, 3),
            "padded": padded,
            "predictions": [{"label": labels[label], "score": score} for label, score in zip(row, values, strict=True)],
            "decision": decision_json(decision),
        }
        for index, (row, values, padded, decision) in enumerate(
            zip(best.tolist(), scores, chunk.padded.tolist(), decisions, strict=True), chunk.first
        )
    ]
