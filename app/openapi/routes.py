"""Every route of the API: its parameters, its responses and the errors that it raises."""

from dataclasses import dataclass, field
from typing import Any

from app import errors
from app.admission.deadline import HEADER, MAX_MS
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
NGINX_ERRORS: dict[int, tuple[str, ...]] = {
    400: ("bad_request",), 401: ("unauthorized",), 403: ("forbidden", "cross_site"), 404: ("not_found",),
    405: ("method_not_allowed",), 408: ("request_timeout",), 411: ("length_required",), 412: ("precondition_failed",),
    413: ("too_large",), 414: ("uri_too_long",), 416: ("range_not_satisfiable",), 421: ("unknown_host",),
    429: ("too_many_requests",), 431: ("headers_too_large",), 501: ("not_implemented",),
    503: ("not_ready", "overloaded"), 505: ("http_version",),
}  # fmt: skip

COMMON_ERRORS: Errors = (
    ClipstackError, errors.BadRequest, errors.NotFound, errors.MethodNotAllowed,
    errors.Unauthorized, errors.CsrfFailed, errors.TooManyRequests, errors.KeyStoreUnavailable,
)  # fmt: skip
UPLOAD_ERRORS: Errors = (
    errors.InvalidMultipart, errors.MissingFile, errors.EmptyFile, errors.TooManyFiles, errors.TooLarge,
    errors.RequestTimeout, errors.StorageFull, errors.InvalidParameter, errors.ModelNotFound, errors.NotReady,
    errors.Unavailable, errors.Overloaded, errors.UnsupportedMedia, errors.WrongMediaKind,
)  # fmt: skip
PROBE_ERRORS: Errors = (errors.Undecodable, errors.NoVideoStream, errors.LimitExceeded, errors.DecodeTimeout)
CLASSIFY_ERRORS: Errors = (
    *PROBE_ERRORS, errors.InferenceTimeout,
    errors.InferenceFailed, errors.DeadlineExceeded, errors.ClientDisconnected,
)  # fmt: skip


@dataclass(frozen=True)
class Parameter:
    """A request parameter; `where` is query, header or path."""

    name: str
    schema: Schema
    help: str
    location: str = "query"


@dataclass(frozen=True)
class Route:
    """One method of one path; `answers` maps status to content type to schema."""

    path: str
    method: str
    help: str
    responses: dict[int, dict[str, Schema]]
    errors: Errors = ()
    parameters: tuple[Parameter, ...] = ()
    fields: tuple[Parameter, ...] | None = None  # upload routes only: sent in the query or in the form
    headers: dict[str, Schema] = field(default_factory=dict)


def json_of(schema: str) -> dict[str, Schema]:
    """Return the content of a JSON response with the named schema."""
    return {JSON: ref(schema)}


def _integer(maximum: int, default: int) -> Schema:
    return {"type": "integer", "minimum": 1, "maximum": maximum, "default": default}


def _seconds(minimum: float, maximum: float) -> Schema:
    return {"type": "number", "minimum": minimum, "maximum": maximum}


_JOB_ID = Parameter("identity", {"type": "string", "pattern": "^[0-9a-f]{24}$"}, "Id of the job.", "path")
_DEADLINE = Parameter(
    HEADER, {"type": "integer", "minimum": 1, "maximum": MAX_MS},
    "Deadline in milliseconds after the request; then 504.", "header",
)  # fmt: skip
_KEY = Parameter(
    "Idempotency-Key", {"type": "string", "maxLength": jobs.MAX_KEY, "pattern": "^[ -~]*$"},
    "A second request with the same key and file returns the first one's job; with another file it is 409.", "header",
)  # fmt: skip
_CACHE = {"X-Clipstack-Cache": one_of("hit", "miss", "off")}


def routes(settings: Settings) -> list[Route]:
    """Return all routes, with the limits in `settings`."""
    defaults = f"`{settings.model}` for videos; for pictures too if it takes them, else `{settings.picture_model}`"
    model = Parameter("model", TEXT, f"Name of a model in /v1/models, or `name@version`. Default: {defaults}.")
    top_k = Parameter("top_k", _integer(MAX_TOP_K, classify.DEFAULT_TOP_K), "Number of best labels to return.")
    clips = Parameter("clips", _integer(settings.max_clips, 1), "Clips of a video; their scores are averaged.")
    sampling = Parameter(
        "sampling", one_of(*SAMPLINGS) | {"default": settings.sampling},
        "Start of clips: evenly spaced, or at the nearest key frame, which is faster to decode.",
    )  # fmt: skip
    thumbnails = Parameter("thumbnails", FLAG, "Whether the response contains the first clip as the model sees it.")
    timeline_params = (
        model,
        Parameter("window_s", _seconds(jobs.MIN_WINDOW_S, jobs.MAX_WINDOW_S), "Length of a window, seconds."),
        Parameter("hop_s", _seconds(jobs.MIN_HOP_S, jobs.MAX_HOP_S), "Seconds from one window to the next."),
        Parameter("margin", _seconds(0, 1) | {"default": MARGIN}, "Lead that another label needs to begin a segment."),
        top_k,
    )
    limit = Parameter("limit", _integer(jobs.MAX_LISTED, 50), "Number of jobs, newest first.")
    windows = Parameter("windows", FLAG, "Whether the timeline contains a page of its windows.")
    page = (
        Parameter("offset", {"type": "integer", "minimum": 0, "maximum": jobs.MAX_OFFSET, "default": 0},
                  "Number of the page's first window: 0, then `next_offset` of the page before."),
        Parameter("limit", _integer(MAX_PAGE, MAX_PAGE),
                  f"Number of windows; fewer if the page would have more than {MAX_PREDICTIONS} predictions."),
    )  # fmt: skip
    export_format = Parameter(
        "format", one_of("json", "csv", "vtt", "svg", "png") | {"default": "json"}, "Format of the export."
    )
    picture_number = Parameter("place", {"type": "integer", "minimum": 0, "maximum": 999}, "Its number.", "path")
    not_found, path = (errors.JobNotFound,), "/v1/jobs/{identity}"
    exports = {JSON: ref("Timeline"), "text/csv": TEXT, "text/vtt": TEXT, "image/svg+xml": TEXT, "image/png": _binary()}
    source_types = {kind: _binary() for kind in ("video/*", "image/gif")}
    return [
        Route("/v1/classify", "post", "Classify a video or a picture.", {200: json_of("Classification")},
              UPLOAD_ERRORS + CLASSIFY_ERRORS, (_DEADLINE,), (model, top_k, clips, sampling, thumbnails), _CACHE),
        Route("/v1/jobs", "post", "Create a job that makes the timeline of a video.",
              {202: json_of("Job"), 200: json_of("Job")},
              UPLOAD_ERRORS + PROBE_ERRORS + (errors.IdempotencyConflict,), (_KEY,), timeline_params),
        Route("/v1/jobs", "get", "List the newest jobs, without their timelines.", {200: json_of("Jobs")},
              (errors.InvalidParameter, errors.Overloaded), (limit,)),
        Route(path, "get", "Show the progress and the result of a job.", {200: json_of("Job")},
              (*not_found, errors.InvalidParameter), (_JOB_ID, windows, *page)),
        Route(path, "delete", "Cancel a running or waiting job, or remove a finished one.",
              {200: {JSON: {"anyOf": [ref("Job"), ref("Removed")]}}, 202: json_of("Job")}, not_found, (_JOB_ID,)),
        Route(f"{path}/events", "get", "Follow a job by server-sent events.",
              {200: {"text/event-stream": {}}}, (*not_found, errors.Overloaded), (_JOB_ID,)),
        Route(f"{path}/timeline", "get", "Export the timeline as far as it is computed.", {200: exports},
              (*not_found, errors.TimelineNotReady, errors.InvalidParameter), (_JOB_ID, export_format, *page)),
        Route(f"{path}/thumbnails/{{place}}.jpg", "get", "Return the middle frame of a window.",
              {200: {"image/jpeg": _binary()}}, not_found, (_JOB_ID, picture_number)),
        Route(f"{path}/source", "get", "Return the video; supports range requests.",
              {200: source_types, 206: source_types, 416: {"text/html": TEXT}}, not_found, (_JOB_ID,)),
        Route("/v1/models", "get", "List the models that are ready.", {200: json_of("Models")}, (errors.NotReady,)),
        Route("/v1/openapi.json", "get", "Return this document.", {200: {JSON: {"type": "object"}}}),
        Route("/healthz", "get", "Check whether the web server runs.", {200: json_of("Alive")}),
        Route("/readyz", "get", "Check whether the models are ready.", {200: json_of("Ready")}, (errors.NotReady,)),
    ]  # fmt: skip


def _binary() -> Schema:
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
