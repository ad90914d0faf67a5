"""Records of a job's files (job.json, state.json), validated on reading.

Unknown fields are ignored, so that jobs of a newer version survive a downgrade. Missing fields get their defaults, so
that jobs of an older version survive an upgrade.
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict, TypeVar, get_args, get_type_hints

from app.errors import JobNotFound
from app.files import DamagedFile
from app.inference.decision import ScoreKind, Selection
from app.type_matching import matches

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

State = Literal["queued", "running", "done", "failed", "cancelled"]
STATES: tuple[State, ...] = get_args(State)
FINISHED = ("done", "failed", "cancelled")
_TIMES = ("created", "started", "finished")
Record = TypeVar("Record", bound="DataclassInstance")


class DamagedRecord(JobNotFound):
    """Error for a job whose files cannot be used; clients get the same answer as for a missing job."""

    def __init__(self, reason: object) -> None:
        super().__init__("the record of this job is damaged: send the video again")
        self.reason = reason

    def __str__(self) -> str:
        return str(self.reason)


class Segment(TypedDict):
    """Stretch of a video with one label."""

    start_s: float
    end_s: float
    label: str
    score: float


class JobEvent(TypedDict):
    """Event of a job that its webhooks report."""

    type: str
    time: str
    percent: float


class Timeline(TypedDict):
    """Part of state.json from which responses are built."""

    scores: NotRequired[ScoreKind]  # records of older versions lack these two
    thresholds: NotRequired[list[float] | None]

    duration_s: float
    complete_to_s: float
    window_s: float
    hop_s: float
    margin: float
    labels: list[str]
    segments: list[Segment]
    cuts_s: list[float]
    pictures_s: list[float]


@dataclass(frozen=True, slots=True)
class JobSpec:
    """Parameters of a job; None for `window_s` and `hop_s` selects the model's values."""

    id: str
    created: str
    name: str
    bytes: int
    model: str
    window_s: float | None
    hop_s: float | None
    margin: float
    top_k: int
    owner: str = ""  # id of the API key
    sha256: str = ""  # of the file; "" unless it was needed before the job was created
    min_score: float | None = None
    labels: list[str] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)
    url: str = ""  # address that the worker downloads the video from; "" for an upload
    callback_url: str = ""  # receiver of webhooks; "" for none
    traceparent: str = ""  # span of the request; "" without traces
    results: str = ""  # folder of an object store that the finished record is written to; "" for none
    upload: str = ""  # id of the resumable upload that the file came from
    embedding: bool = False  # whether each window's embedding is kept

    @property
    def selection(self) -> Selection:
        """Return the threshold and the labels that the job asks about."""
        return Selection(self.min_score, tuple(self.labels), tuple(self.exclude))

    @property
    def results_url(self) -> str:
        """Return the address of the object that the finished record is written to; "" for none."""
        return f"{self.results}/{self.id}.json" if self.results else ""

    def has_same_parameters(self, other: "JobSpec") -> bool:
        """Return whether `other` has the same parameters, file name and file size."""
        ignored = {"id": "", "created": "", "sha256": "", "traceparent": "", "upload": ""}
        return {**asdict(self), **ignored} == {**asdict(other), **ignored}


@dataclass(slots=True)
class JobState:
    """Progress and result of a job; times are RFC 3339 in UTC."""

    state: State = "queued"
    started: str | None = None
    finished: str | None = None
    model_version: str | None = None
    percent: float = 0.0
    windows_done: int = 0
    windows: int | None = None
    eta_s: float | None = None
    tries: int = 0
    deaths: int = 0  # kills of the worker alone, while running, at the same window
    falls: int = 0  # kills of the worker together with its supervisor, at the same window
    keeper: str = ""  # identity of that supervisor during the last attempt
    fetched_bytes: int | None = None  # size of a downloaded video
    cache: Literal["hit", "miss"] | None = None
    error: dict[str, str] | None = None
    timing_s: dict[str, float] = field(default_factory=dict)
    media: dict[str, Any] | None = None
    near_duplicates: list[str] = field(default_factory=list)  # ids of jobs of the same owner with nearly the same video
    timeline: dict[str, Any] | None = None
    events: list[JobEvent] = field(default_factory=list)  # only of jobs with a callback URL


def parse(kind: type[Record], content: bytes) -> Record:
    """Return the record in a file's content.

    Raises:
        DamagedFile: It is not JSON, a field is missing or has the wrong type, or a time is invalid.
    """
    try:
        values = json.loads(content, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"not JSON: {str(error)[:200]}") from error
    if not isinstance(values, dict):
        raise DamagedFile(f"a JSON {type(values).__name__}, not an object")
    types_of = _types(kind)
    required = {item.name for item in fields(kind) if item.default is item.default_factory is MISSING}
    if missing := required - values.keys():
        raise DamagedFile(f"without {', '.join(sorted(missing))}")
    accepted = {name: value for name, value in values.items() if name in types_of}
    for name, value in accepted.items():
        if not matches(value, types_of[name]) or (name in _TIMES and value is not None and not _is_time(value)):
            raise DamagedFile(f"{name} is {str(value)[:100]!r}")
    return kind(**accepted)


@cache
def _types(kind: type) -> Mapping[str, Any]:
    hints = get_type_hints(kind)
    return {**hints, "timeline": Timeline | None} if kind is JobState else hints


def _is_time(value: str) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")
