"""Every route of the API: its parameters, its responses and the errors that it raises."""

from dataclasses import dataclass, field
from typing import Any

from app import errors
from app.admission.deadline import HEADER, MOST_MS
from app.errors import ClipstackError
from app.jobs.storage.window_pages import MAX_PAGE, MAX_PREDICTIONS
from app.openapi.schemas import FLAG, TEXT, Schema, nullable, one_of, record, ref
from app.settings import SAMPLINGS, Settings
from app.timeline.segments import MARGIN
from app.web import classify
from app.web import jobs as jobs
from app.web.params import MAX_TOP_K

JSON = "application/json"
Errors = tuple[type[ClipstackError], ...]

# Errors that nginx itself answers on any path (nginx/conf.d/errors.conf)
EDGE: dict[int, tuple[str, ...]] = {
    400: ("bad_request",), 401: ("unauthorized",), 403: ("forbidden", "cross_site"), 404: ("not_found",),
    405: ("method_not_allowed",), 408: ("request_timeout",), 411: ("length_required",), 412: ("precondition_failed",),
    413: ("too_large",), 414: ("uri_too_long",), 416: ("range_not_satisfiable",), 421: ("unknown_host",),
    429: ("too_many_requests",), 431: ("headers_too_large",), 501: ("not_implemented",),
    503: ("not_ready", "overloaded"), 505: ("http_version",),
}  # fmt: skip

ANYWHERE: Errors = (
    ClipstackError, errors.BadRequest, errors.NotFound, errors.MethodNotAllowed,
    errors.Unauthorized, errors.CsrfFailed, errors.TooManyRequests, errors.KeyStoreUnavailable,
)  # fmt: skip
RECEIVING: Errors = (
    errors.InvalidMultipart, errors.MissingFile, errors.EmptyFile, errors.TooManyFiles, errors.TooLarge,
    errors.RequestTimeout, errors.StorageFull, errors.InvalidParameter, errors.ModelNotFound, errors.NotReady,
    errors.Unavailable, errors.Overloaded, errors.UnsupportedMedia, errors.WrongMediaKind,
)  # fmt: skip
PROBING: Errors = (errors.Undecodable, errors.NoVideoStream, errors.LimitExceeded, errors.DecodeTimeout)
LOOKING: Errors = (
    *PROBING, errors.InferenceTimeout,
    errors.InferenceFailed, errors.DeadlineExceeded, errors.ClientDisconnected,
)  # fmt: skip


@dataclass(frozen=True)
class Parameter:
    """A request parameter; `where` is query, header or path."""

    name: str
    schema: Schema
    help: str
    where: str = "query"


@dataclass(frozen=True)
class Route:
    """One method of one path; `answers` maps status to content type to schema."""

    path: str
    method: str
    help: str
    answers: dict[int, dict[str, Schema]]
    errors: Errors = ()
    parameters: tuple[Parameter, ...] = ()
    fields: tuple[Parameter, ...] | None = None  # upload routes only: sent in the query or in the form
    headers: dict[str, Schema] = field(default_factory=dict)


def json_of(schema: str) -> dict[str, Schema]:
    """Return the content of a JSON response with the named schema."""
    return {JSON: ref(schema)}


def _whole(most: int, default: int) -> Schema:
    """Return the schema of an integer from 1 to `most`."""
    return {"type": "integer", "minimum": 1, "maximum": most, "default": default}


def _seconds(least: float, most: float) -> Schema:
    """Return the schema of a number of seconds."""
    return {"type": "number", "minimum": least, "maximum": most}


_JOB_ID = Parameter("identity", {"type": "string", "pattern": "^[0-9a-f]{24}$"}, "The job's id.", "path")
_DEADLINE = Parameter(
    HEADER, {"type": "integer", "minimum": 1, "maximum": MOST_MS},
    "After so many milliseconds an answer is of no more use: 504.", "header",
)  # fmt: skip
_KEY = Parameter(
    "Idempotency-Key", {"type": "string", "maxLength": jobs.MAX_KEY, "pattern": "^[ -~]*$"},
    "The same key with the same file is the same job, not another one; with anything else it is 409.", "header",
)  # fmt: skip
_CACHE = {"X-Clipstack-Cache": one_of("hit", "miss", "off")}


def routes(settings: Settings) -> list[Route]:
    """Return all routes, with the limits in `settings`."""
    model = Parameter("model", TEXT, f"A name that /v1/models lists, or `name@version`. Default: `{settings.model}`.")
    top_k = Parameter("top_k", _whole(MAX_TOP_K, classify.DEFAULT_TOP_K), "How many of the best labels.")
    clips = Parameter("clips", _whole(settings.max_clips, 1), "How many clips of a video, whose scores are averaged.")
    sampling = Parameter(
        "sampling", one_of(*SAMPLINGS) | {"default": settings.sampling},
        "Where clips begin: evenly spread, or each at the key frame nearest to that, which is quicker to decode.",
    )  # fmt: skip
    thumbnails = Parameter("thumbnails", FLAG, "Whether the answer shows the first clip as the model saw it.")
    timeline_params = (
        model,
        Parameter("window_s", _seconds(jobs.MIN_WINDOW_S, jobs.MAX_WINDOW_S), "Seconds of one window."),
        Parameter("hop_s", _seconds(jobs.MIN_HOP_S, jobs.MAX_HOP_S), "Seconds from one window to the next."),
        Parameter("margin", _seconds(0, 1) | {"default": MARGIN}, "How clearly another label must lead to begin one."),
        top_k,
    )
    limit = Parameter("limit", _whole(jobs.MAX_LISTED, 50), "How many, the newest first.")
    windows = Parameter("windows", FLAG, "Whether the timeline has its windows too, a page of them at a time.")
    page = (
        Parameter("offset", {"type": "integer", "minimum": 0, "maximum": jobs.MAX_OFFSET, "default": 0},
                  "The number of the page's first window: 0, then what `next_offset` says."),
        Parameter("limit", _whole(MAX_PAGE, MAX_PAGE),
                  f"How many windows; fewer come where they have more than {MAX_PREDICTIONS} predictions in all."),
    )  # fmt: skip
    export_format = Parameter(
        "format", one_of("json", "csv", "vtt", "svg", "png") | {"default": "json"}, "What it is sent as."
    )
    picture_number = Parameter("place", {"type": "integer", "minimum": 0, "maximum": 999}, "Which picture.", "path")
    job_lost, job_path = (errors.JobNotFound,), "/v1/jobs/{identity}"
    exports = {JSON: ref("Timeline"), "text/csv": TEXT, "text/vtt": TEXT, "image/svg+xml": TEXT, "image/png": _binary()}
    source_types = {kind: _binary() for kind in ("video/*", "image/gif")}
    return [
        Route("/v1/classify", "post", "Says what is in a video or a picture.", {200: json_of("Classification")},
              RECEIVING + LOOKING, (_DEADLINE,), (model, top_k, clips, sampling, thumbnails), _CACHE),
        Route("/v1/jobs", "post", "Takes a long video; its timeline is made meanwhile.",
              {202: json_of("Job"), 200: json_of("Job")}, RECEIVING + PROBING + (errors.IdempotencyConflict,), (_KEY,),
              timeline_params),
        Route("/v1/jobs", "get", "The newest jobs, without their timelines.", {200: json_of("Jobs")},
              (errors.InvalidParameter, errors.Overloaded), (limit,)),
        Route(job_path, "get", "How far a job is, and what was found.", {200: json_of("Job")},
              (*job_lost, errors.InvalidParameter), (_JOB_ID, windows, *page)),
        Route(job_path, "delete", "Ends a job that is at work or waits; removes one that has ended.",
              {200: {JSON: {"anyOf": [ref("Job"), ref("Removed")]}}, 202: json_of("Job")}, job_lost, (_JOB_ID,)),
        Route(f"{job_path}/events", "get", "A job as it goes along, as server-sent events.",
              {200: {"text/event-stream": {}}}, (*job_lost, errors.Overloaded), (_JOB_ID,)),
        Route(f"{job_path}/timeline", "get", "What was found so far, as a file.", {200: exports},
              (*job_lost, errors.TimelineNotReady, errors.InvalidParameter), (_JOB_ID, export_format, *page)),
        Route(f"{job_path}/thumbnails/{{place}}.jpg", "get", "The middle frame of a window.",
              {200: {"image/jpeg": _binary()}}, job_lost, (_JOB_ID, picture_number)),
        Route(f"{job_path}/source", "get", "The video itself; knows ranges.",
              {200: source_types, 206: source_types, 416: {"text/html": TEXT}}, job_lost, (_JOB_ID,)),
        Route("/v1/models", "get", "The models that answer now.", {200: json_of("Models")}, (errors.NotReady,)),
        Route("/v1/openapi.json", "get", "This description.", {200: {JSON: {"type": "object"}}}),
        Route("/healthz", "get", "Whether the web server lives.", {200: json_of("Alive")}),
        Route("/readyz", "get", "Whether models and workers answer.", {200: json_of("Ready")}, (errors.NotReady,)),
    ]  # fmt: skip


def _binary() -> Schema:
    """Return the schema of a binary body."""
    return {"type": "string", "contentMediaType": "application/octet-stream"}


def body(fields: tuple[Parameter, ...]) -> dict[str, Any]:
    """Return the request body of an upload.

    A file is sent as raw bytes, in a multipart form or as base64 in JSON. The form and the JSON may carry `fields` too.
    """
    schemas = {parameter.name: parameter.schema for parameter in fields}
    optional = (*schemas, "name")
    encoded = {"type": "string", "contentEncoding": "base64"}
    return {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": _binary()},
            "multipart/form-data": {"schema": record({"file": _binary(), **schemas}, tuple(schemas))},
            JSON: {"schema": record({"file": encoded, "name": nullable(TEXT), **schemas}, optional)},
        },
    }
