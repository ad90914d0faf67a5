"""Records of feedback: a clip is one file of one owner, with an entry for each answer about it.

Unknown fields are ignored on reading, and missing ones get their defaults, as in the records of jobs.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypedDict

from app.errors import InvalidParameter
from app.media.formats import Kind
from app.nodes.ids import node_of, on_node

FeedbackState = Literal["unsure", "confirmed", "corrected"]
STATES: tuple[FeedbackState, ...] = ("unsure", "confirmed", "corrected")
MAX_LABEL = 100  # characters, as in training
MAX_LABELS = 20  # of one answer
MAX_ENTRIES = 1000  # of one clip
MAX_CLIP_BYTES = 8 << 20  # of clip.json
_DIGITS = 3  # of a time in seconds


class Entry(TypedDict):
    """An answer that a person confirmed or corrected, or an unsure answer that nobody has reviewed.

    `labels` are the right labels, empty while `state` is "unsure". `predicted` and `score` are the model's labels and
    the best score. The times are seconds, None for the whole file. `job` is the id of the job, None for an answer of
    `/v1/classify`.
    """

    id: str
    state: FeedbackState
    labels: list[str]
    predicted: list[str]
    score: float | None
    model: str
    model_version: str | None
    start_s: float | None
    end_s: float | None
    job: str | None
    created: str
    updated: str


@dataclass(slots=True)
class ClipFacts:
    """Metadata of a file that is kept.

    `duration_s` and `fps` are None of pictures and if unknown; `sha256` is "" if it has not been computed.
    """

    owner: str
    name: str
    kind: Kind
    duration_s: float | None = None
    fps: float | None = None
    sha256: str = ""


@dataclass(slots=True, kw_only=True)
class Clip(ClipFacts):
    """A kept file of one owner, with its entries."""

    id: str
    bytes: int
    created: str
    entries: list[Entry] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to keep, and what a person says of it: no `labels` for an unsure answer."""

    model: str
    model_version: str | None = None
    labels: tuple[str, ...] = ()
    predicted: tuple[str, ...] = ()
    score: float | None = None
    start_s: float | None = None
    end_s: float | None = None
    job: str | None = None

    def entry(self, clip_id: str, time: str) -> Entry:
        """Return the record of this answer about a clip, made at `time`."""
        start_s, end_s = (None if value is None else round(value, _DIGITS) for value in (self.start_s, self.end_s))
        return Entry(
            id=on_node(node_of(clip_id), short_digest("entry", clip_id, self.model, start_s, end_s)),
            state=state_of(self.labels, self.predicted),
            labels=list(self.labels),
            predicted=list(self.predicted),
            score=self.score,
            model=self.model,
            model_version=self.model_version,
            start_s=start_s,
            end_s=end_s,
            job=self.job,
            created=time,
            updated=time,
        )


def clip_id(owner: str, sha256: str) -> str:
    """Return the id of an owner's clip: the same content is the same clip, other owners have their own."""
    return short_digest("clip", owner, sha256)


def short_digest(*parts: object) -> str:
    """Return 24 hex digits of the SHA-256 of the parts."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:24]


def checked_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the right labels of an answer, in Unicode's composed form; raises InvalidParameter."""
    composed = [unicodedata.normalize("NFC", label).strip() for label in labels]
    for label in composed:
        if not label or not label.isprintable() or len(label) > MAX_LABEL:
            raise InvalidParameter(
                f"labels: {label[:40]!r} is no label: a label has 1 to {MAX_LABEL} printable characters"
            )
    if not 1 <= len(composed) <= MAX_LABELS:
        raise InvalidParameter(f"labels: there are {len(composed)}, and an answer has 1 to {MAX_LABELS} right labels")
    return tuple(dict.fromkeys(composed))


def replaced(before: Entry, entry: Entry) -> Entry:
    """Return the entry in the place of an earlier one, from which it takes what it does not say itself."""
    result = entry.copy()
    result["created"] = before["created"]
    result["predicted"] = entry["predicted"] or before["predicted"]
    result["score"] = before["score"] if entry["score"] is None else entry["score"]
    result["model_version"] = entry["model_version"] or before["model_version"]
    result["job"] = entry["job"] or before["job"]
    result["state"] = state_of(result["labels"], result["predicted"])
    return result


def state_of(labels: Iterable[str], predicted: Iterable[str]) -> FeedbackState:
    """Return what a person's labels make of the labels that a model predicted."""
    right = set(labels)
    if not right:
        return "unsure"
    return "confirmed" if right == set(predicted) else "corrected"
