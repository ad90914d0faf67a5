"""Every route of the API: its parameters, its responses and the errors that it raises."""

from typing import Any

from app import errors
from app.admission.deadline import HEADER, MAX_MS
from app.errors import ClipstackError
from app.feedback.records import MAX_LABELS
from app.feedback.records import STATES as FEEDBACK_STATES
from app.fetch import errors as fetching
from app.jobs.storage.records import STATES
from app.jobs.storage.window_pages import MAX_PAGE, MAX_PREDICTIONS
from app.nodes.ids import id_pattern
from app.openapi.classify_schemas import CACHE
from app.openapi.job_schemas import ENTRY_ID, JOB_ID
from app.openapi.route import JSON, Errors, Parameter, Route, integer, json_of
from app.openapi.schemas import TEXT, Schema, array, binary, nullable, one_of, prop, record, ref
from app.openapi.upload_routes import UPLOAD_ID, upload_routes
from app.openapi.webhook_routes import CALLBACK_URL, webhook_routes
from app.settings import SAMPLINGS, Settings
from app.timeline.segments import MARGIN
from app.uploads import errors as upload_errors
from app.web import classify, feedback, jobs, search
from app.web.params import MAX_LISTED_LABELS, MAX_TOP_K

COMMAS = {"style": "form", "explode": False}  # how a list is written in the query and in a form
# Errors that nginx itself answers on any path (nginx/conf.d/errors.conf)
NGINX_ERRORS: dict[int, tuple[str, ...]] = {
    400: ("bad_request",), 401: ("unauthorized",), 403: ("forbidden", "cross_site"), 404: ("not_found",),
    405: ("method_not_allowed",), 408: ("request_timeout",), 411: ("length_required",), 412: ("precondition_failed",),
    413: ("too_large",), 414: ("uri_too_long",), 416: ("range_not_satisfiable",), 421: ("unknown_host",),
    429: ("too_many_requests",), 431: ("headers_too_large",), 501: ("not_implemented",),
    503: ("not_ready", "node_away", "overloaded"), 505: ("http_version",),
}  # fmt: skip

COMMON_ERRORS: Errors = (
    ClipstackError, errors.BadRequest, errors.NotFound, errors.MethodNotAllowed,
    errors.InvalidParameter, errors.Unauthorized, errors.CsrfFailed, errors.TooManyRequests, errors.KeyStoreUnavailable,
)  # fmt: skip
UPLOAD_ERRORS: Errors = (
    errors.InvalidMultipart, errors.MissingFile, errors.EmptyFile, errors.TooManyFiles, errors.TooLarge,
    errors.RequestTimeout, errors.StorageFull, errors.ModelNotFound, errors.NotReady,
    errors.Unavailable, errors.Overloaded, errors.UnsupportedMedia, errors.WrongMediaKind,
    upload_errors.UploadNotFound, upload_errors.UploadLocked, upload_errors.UploadIncomplete,
)  # fmt: skip
PROBE_ERRORS: Errors = (errors.Undecodable, errors.NoVideoStream, errors.LimitExceeded, errors.DecodeTimeout)
URL_ERRORS: Errors = (
    fetching.FetchDisabled, fetching.InvalidUrl, fetching.HostNotAllowed, fetching.AddressNotAllowed,
)  # fmt: skip
DOWNLOAD_ERRORS: Errors = (
    *URL_ERRORS, fetching.SourceUnreachable, fetching.SourceStatus, fetching.SourceEncoded, fetching.TooManyRedirects,
    fetching.FetchTimeout, fetching.SourceTooLarge, fetching.FetcherUnavailable,
)  # fmt: skip
CLASSIFY_ERRORS: Errors = (
    *UPLOAD_ERRORS, *DOWNLOAD_ERRORS, *PROBE_ERRORS, errors.InferenceTimeout,
    errors.InferenceFailed, errors.DeadlineExceeded, errors.ClientDisconnected,
)  # fmt: skip
SUBMIT_ERRORS: Errors = (*UPLOAD_ERRORS, *URL_ERRORS, *PROBE_ERRORS, errors.IdempotencyConflict)

FEEDBACK_ERRORS: Errors = (
    *UPLOAD_ERRORS, *DOWNLOAD_ERRORS, *PROBE_ERRORS, errors.DeadlineExceeded, errors.ClientDisconnected,
    errors.FeedbackOff, errors.FeedbackFull, errors.JobNotFound,
)  # fmt: skip
ENTRY_ERRORS: Errors = (errors.FeedbackOff, errors.FeedbackNotFound, errors.Overloaded)


def _seconds(minimum: float, maximum: float) -> Schema:
    return {"type": "number", "minimum": minimum, "maximum": maximum}


_JOB_ID = Parameter("identity", {"type": "string", "pattern": f"^{id_pattern(24)}$"}, "Id of the job.", "path", JOB_ID)
_DEADLINE = Parameter(
    HEADER, {"type": "integer", "minimum": 1, "maximum": MAX_MS},
    "Deadline in milliseconds after the request; then 504.", "header", 10_000,
)  # fmt: skip
_FILE_NAME = Parameter("X-File-Name", TEXT, "Name of a raw body, percent-encoded.", "header", "clip.mp4")
_KEY = Parameter(
    "Idempotency-Key", {"type": "string", "maxLength": jobs.MAX_KEY, "pattern": "^[ -~]*$"},
    "A second request with the same key and file returns the first one's job; with another file it is 409.", "header",
    "film-17",
)  # fmt: skip
FLAG = {"type": "boolean", "default": False}
_CACHE = {"X-Clipstack-Cache": CACHE}


def routes(settings: Settings) -> list[Route]:
    """Return all routes, with the limits in `settings`."""
    defaults = f"`{settings.model}` for videos; for pictures too if it takes them, else `{settings.picture_model}`"
    model = Parameter(
        "model", TEXT, f"Name of a model in /v1/models, or `name@version`. Default: {defaults}.", example=settings.model
    )
    top_k = Parameter("top_k", integer(MAX_TOP_K, classify.DEFAULT_TOP_K), "Number of best labels to return.")
    clips = Parameter("clips", integer(settings.max_clips, 1), "Clips of a video; their scores are averaged.")
    sampling = Parameter(
        "sampling", one_of(*SAMPLINGS) | {"default": settings.sampling},
        "Start of clips: evenly spaced, at a near key frame (`auto`) or at the nearest one, which is faster to decode.",
    )  # fmt: skip
    labels = array(TEXT) | {"maxItems": MAX_LISTED_LABELS}
    selection = (
        Parameter("min_score", {"type": "number", "minimum": 0, "maximum": 1},
                  "Score from which on a label is in `decision`. Default: the model's thresholds.", example=0.5),
        Parameter("labels", labels, "Only these labels, with commas between them or as a JSON list. Default: all.",
                  example=["pan_left", "pan_right"]),
        Parameter("exclude", labels, "But not these labels.", example=["static"]),
    )  # fmt: skip
    thumbnails = Parameter("thumbnails", FLAG, "Whether the response contains the first clip as the model sees it.")
    embedding = Parameter("embedding", FLAG, "Whether the response contains the model's vector of the file.")
    timeline_params = (
        model,
        Parameter("window_s", _seconds(jobs.MIN_WINDOW_S, jobs.MAX_WINDOW_S), "Length of a window, s.", example=2),
        Parameter("hop_s", _seconds(jobs.MIN_HOP_S, jobs.MAX_HOP_S), "Time between two windows, s.", example=1),
        Parameter("margin", _seconds(0, 1) | {"default": MARGIN}, "Lead that another label needs to begin a segment."),
        top_k,
        Parameter("embedding", FLAG, "Whether to keep the embedding of each window, so that searches find it."),
        *selection,
        CALLBACK_URL,
        Parameter(
            "results",
            TEXT,
            "Folder of an object store that the finished record is written to, as `<id>.json`.",
            example="s3://bucket/results",
        ),
    )
    listed = (
        Parameter("limit", integer(jobs.MAX_LISTED, 50), "Number of jobs, newest first."),
        Parameter("state", one_of("all", *STATES) | {"default": "all"}, "Only jobs in this state."),
        Parameter(
            "cursor", TEXT, "`next_cursor` of the page before.", example="2026-05-04T10:00:00Z~3f9a1c0b7d2e4f5a6b8c9d0e"
        ),
    )
    windows = Parameter("windows", FLAG, "Whether the timeline contains a page of its windows.")
    page = (
        Parameter("offset", {"type": "integer", "minimum": 0, "maximum": jobs.MAX_OFFSET, "default": 0},
                  "Number of the page's first window: 0, then `next_offset` of the page before."),
        Parameter("limit", integer(MAX_PAGE, MAX_PAGE),
                  f"Number of windows; fewer if the page would have more than {MAX_PREDICTIONS} predictions."),
    )  # fmt: skip
    export_format = Parameter(
        "format", one_of("json", "csv", "vtt", "svg", "png") | {"default": "json"}, "Format of the export."
    )
    seconds = _seconds(0, feedback.MAX_SECONDS)
    right_labels = array(TEXT) | {"minItems": 1, "maxItems": MAX_LABELS}
    feedback_params = (
        Parameter("job", TEXT, "Job of the answer, in the query; the request then has no file.", example=JOB_ID),
        Parameter("labels", right_labels, "Right labels, with commas between them or as a JSON list.",
                  example=["pan_left"]),
        Parameter("start_s", seconds, "Start of the part that the answer is about, s; without it the whole file.",
                  example=0),
        Parameter("end_s", seconds, "Its end, s.", example=4.5),
        model,
        Parameter("predicted", array(TEXT), "Labels that the service answered for the file; a job knows its own.",
                  example=["static"]),
    )  # fmt: skip
    feedback_filter = (
        Parameter("limit", integer(feedback.MAX_PAGE, 50), "Number of entries."),
        Parameter("cursor", TEXT, "`next_cursor` of the page before.", example=f"2026-05-04T10:00:20.000Z~{ENTRY_ID}"),
        Parameter("state", one_of(*FEEDBACK_STATES), "Only entries in this state.", example="unsure"),
        Parameter("model", TEXT, "Only entries about this model.", example=settings.model),
        Parameter("job", TEXT, "Only entries about this job.", example=JOB_ID),
    )
    entry_id = Parameter("entry", _JOB_ID.schema, "Id of the entry.", "path", ENTRY_ID)
    job = Parameter("job", _JOB_ID.schema, "In place of a file: id of a kept job.", example=_JOB_ID.example)
    window = Parameter("window", {"type": "integer", "minimum": 0, "maximum": jobs.MAX_OFFSET},
                       "Number of the job's window, from 0.", example=12)  # fmt: skip
    moments = Parameter("limit", integer(search.MAX_MOMENTS, search.DEFAULT_MOMENTS), "Number of moments to return.")
    picture_number = Parameter("place", {"type": "integer", "minimum": 0, "maximum": 999}, "Its number.", "path")
    not_found, path = (errors.JobNotFound,), "/v1/jobs/{identity}"
    exports = {JSON: ref("Timeline"), "text/csv": TEXT, "text/vtt": TEXT, "image/svg+xml": TEXT, "image/png": binary()}
    kept_types = {kind: binary() for kind in ("video/*", "image/*")}
    source_types = {kind: binary() for kind in ("video/*", "image/gif")}
    return [
        Route("/v1/classify", "post", "classify", "Classify", "Classify a file",
              {200: {JSON: {"anyOf": [ref("Classification"), ref("Classifications")]}}},
              CLASSIFY_ERRORS, (_DEADLINE, _FILE_NAME),
              (model, top_k, clips, sampling, thumbnails, embedding, *selection), _CACHE, max_files=classify.MAX_FILES),
        Route("/v1/jobs", "post", "submit_job", "Jobs", "Submit a job",
              {202: json_of("Job"), 200: json_of("Job")},
              SUBMIT_ERRORS, (_KEY, _FILE_NAME), timeline_params),
        Route("/v1/jobs", "get", "list_jobs", "Jobs", "List jobs",
              {200: json_of("Jobs")}, (errors.Overloaded,), listed),
        Route(path, "get", "get_job", "Jobs", "Get a job", {200: json_of("Job")},
              not_found, (_JOB_ID, windows, *page)),
        Route(path, "delete", "delete_job", "Jobs", "Cancel or remove a job",
              {200: {JSON: {"anyOf": [ref("Job"), ref("Removed")]}}, 202: json_of("Job")}, not_found, (_JOB_ID,)),
        Route(f"{path}/events", "get", "follow_job", "Jobs", "Follow a job",
              {200: {"text/event-stream": {}}}, (*not_found, errors.Overloaded), (_JOB_ID,)),
        Route(f"{path}/timeline", "get", "get_timeline", "Jobs", "Export a timeline",
              {200: exports}, (*not_found, errors.TimelineNotReady), (_JOB_ID, export_format, *page)),
        Route(f"{path}/thumbnails/{{place}}.jpg", "get", "get_thumbnail", "Jobs",
              "Get a thumbnail", {200: {"image/jpeg": binary()}}, not_found,
              (_JOB_ID, picture_number)),
        Route(f"{path}/source", "get", "get_source", "Jobs", "Get the video",
              {200: source_types, 206: source_types, 416: {"text/html": TEXT}}, not_found, (_JOB_ID,)),
        Route("/v1/feedback", "post", "give_feedback", "Feedback", "Confirm or correct an answer",
              {200: json_of("Feedback")},
              FEEDBACK_ERRORS, (_DEADLINE, _FILE_NAME),
              feedback_params, needs_file=False),
        Route("/v1/feedback", "get", "list_feedback", "Feedback", "List feedback",
              {200: json_of("FeedbackPage")}, (errors.FeedbackOff, errors.Overloaded), feedback_filter),
        Route("/v1/feedback/{entry}", "delete", "delete_feedback", "Feedback", "Remove feedback",
              {200: json_of("FeedbackRemoved")}, ENTRY_ERRORS, (entry_id,)),
        Route("/v1/feedback/{entry}/source", "get", "get_feedback_source", "Feedback", "Get the file of an answer",
              {200: kept_types, 206: kept_types, 416: {"text/html": TEXT}}, ENTRY_ERRORS, (entry_id,)),
        *webhook_routes(),
        Route("/v1/search", "post", "search", "Search", "Search for similar moments",
              {200: json_of("Search")}, (*CLASSIFY_ERRORS, *not_found), (_DEADLINE, _FILE_NAME),
              (model, clips, job, window, moments), needs_file=False),
        Route("/v1/models", "get", "list_models", "Models", "List models",
              {200: json_of("Models")}, (errors.NotReady,)),
        *upload_routes(),
        Route("/v1/openapi.json", "get", "get_openapi", "Service", "Get this document",
              {200: {JSON: {"type": "object"}}}),
        Route("/healthz", "get", "check_alive", "Service", "Check liveness",
              {200: json_of("Alive")}),
        Route("/readyz", "get", "check_ready", "Service", "Check readiness",
              {200: json_of("Ready")}, (errors.NotReady,)),
    ]  # fmt: skip


def parameter_names(settings: Settings) -> dict[tuple[str, str], frozenset[str]]:
    """Return the names of the parameters in the query or form of each (Flask's rule, method).

    Public routes are left out: load balancers add parameters of their own to health checks.
    """
    return {
        (route.path.replace("{", "<").replace("}", ">"), route.method.upper()): frozenset(
            parameter.name for parameter in route.parameters + (route.fields or ()) if parameter.location == "query"
        )
        for route in routes(settings)
        if not route.public
    }


def body(route: Route) -> dict[str, Any]:
    """Return the request body of an upload route.

    A file is sent as raw bytes, in a multipart form or as base64 in JSON, or named in JSON by its URL or as a resumable
    upload. The form and the JSON may carry `fields` too.
    """
    schemas = {parameter.name: parameter.documented for parameter in route.fields or ()}
    repeated = f"; the field may be repeated for up to {route.max_files} pictures" if route.max_files > 1 else ""
    encoded = {"type": "string", "contentEncoding": "base64"}
    name = prop(nullable(TEXT), "Name of the file.", "clip.mp4")
    encoding = {name: COMMAS for name, schema in schemas.items() if schema.get("type") == "array"}
    form = record(*schemas, file=prop(binary(), f"The file{repeated}."), **schemas)
    sources = {
        "file": prop(encoded, "The file in base64.", "AAAAIGZ0eXBpc29t"),
        "url": prop(TEXT, "Or its URL, if the service downloads from that host.", "https://media.example.com/clip.mp4"),
        "s3": prop(TEXT, "Or its place in an object store.", "s3://bucket/clip.mp4"),
        "upload": prop(TEXT, "Or the id of a complete resumable upload.", UPLOAD_ID),
    }
    in_json = record(*sources, "name", *schemas, **sources, name=name, **schemas)
    return {
        "required": route.needs_file,
        "description": "The file: raw (fastest), in a form, or in JSON: in base64, or one of `url`, `s3` and `upload`. "
        "Parameters may stand in the query.",
        "content": {
            "multipart/form-data": {"schema": form | {"additionalProperties": False}, "encoding": encoding},
            "application/octet-stream": {"schema": binary()},
            JSON: {"schema": in_json | {"additionalProperties": False}},
        },
    }
