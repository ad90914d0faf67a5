"""Texts of the OpenAPI document in Markdown: introduction, tags, details of operations, meanings of error codes."""

from app import errors
from app.fetch import errors as fetch_errors
from app.openapi.webhook_routes import DETAILS as WEBHOOK_DETAILS
from app.settings import Settings
from app.uploads import errors as upload_errors
from app.uploads.parser import MAX_JSON_BYTES

TAGS = {
    "Classify": "One request, one answer: for pictures and short videos.",
    "Jobs": "Timelines of long videos: submit a video, follow its job, read its segments.",
    "Search": "Find similar moments in the videos of kept jobs.",
    "Feedback": "Confirm and correct answers; off unless `CLIPSTACK_FEEDBACK` is on.",
    "Webhooks": "Events of jobs, sent to a receiver of yours.",
    "Uploads": "Large files over connections that break: create an upload, send its bytes, continue where it stopped.",
    "Models": "What can be recognised.",
    "Service": "Health and this document. These need no key.",
}

_UPLOAD = (
    "The file comes as the raw body (fastest), as the field `file` of a form, or in JSON: in base64 as `file`, by "
    "its URL as `url` if `CLIPSTACK_FETCH` allows the host, or as the id of a resumable `upload`. Parameters stand in "
    "the query, or beside the file in a form or in JSON; the query wins. Unknown ones are refused."
)

DETAILS = {
    "classify": "Classifies a video or a picture. Returns the best labels, the properties of the file, the frames that "
    f"the model saw and the time of each stage.\n\n{_UPLOAD}\n\nA form with the field `file` several times, up to "
    "64 pictures, is answered with a list: each picture has its own answer or error.",
    "submit_job": "Creates a job that makes the timeline of a video. Returns 202 at once, with the id of the job. The "
    f"job computes labels for each window and joins them to segments.\n\n{_UPLOAD}",
    "list_jobs": "Lists the newest jobs, without their timelines. With keys, these are the key's own jobs.",
    "get_job": "Returns the progress and the result of a job. Poll it every second or so, or follow the job by its "
    "events. With `windows=true` the timeline contains one page of windows; `next_offset` is the next page's `offset`.",
    "delete_job": "Cancels a job that waits or runs, or removes a finished one. 202: the running job stops soon; ask "
    "again to remove it. 200: the job was cancelled or removed.",
    "follow_job": "Sends server-sent events: `progress` on each change, then one `end`. The data is the job as JSON. "
    "The stream ends after a while; reconnect until `end`.",
    "get_timeline": "Returns the timeline as far as it is computed. JSON has one page of windows; CSV and WebVTT have "
    "the segments; SVG and PNG are pictures.",
    "get_thumbnail": "Returns the middle frame of a window as JPEG.",
    "get_source": "Returns the video of the job. Supports range requests.",
    "give_feedback": "Confirms or corrects an answer, and keeps its file. Name a job, and a part of its video, in the "
    "query; or send the file that `/v1/classify` answered. Feedback about the same part of the same file and the same "
    "model replaces the one before.",
    "list_feedback": "Lists confirmed, corrected and unsure answers, the last change first. With keys, these are the "
    "key's own. `next_cursor` is `cursor` of the next page.",
    "delete_feedback": "Removes an entry. The last entry about a file takes the file with it.",
    "get_feedback_source": "Returns the file that an entry is about. Supports range requests.",
    **WEBHOOK_DETAILS,
    "get_tus_capabilities": "Returns the supported version, extensions and limits of tus in headers.",
    "create_upload": "Creates a resumable upload ([tus 1.0](https://tus.io/protocols/resumable-upload)) of a known "
    'length. Send its bytes by PATCH to the address in `Location`, then use it: `{"upload": "<id>"}` is the JSON body '
    "of /v1/jobs or /v1/classify. A body of the type `application/offset+octet-stream` is the beginning of the upload.",
    "get_upload_offset": "Returns in `Upload-Offset` how many bytes have arrived. Continue there.",
    "append_to_upload": "Appends the body. If the connection breaks, what arrived is kept: ask for the offset and "
    "continue. With `Upload-Checksum` the body counts only as a whole.",
    "delete_upload": "Removes an upload. An upload is also removed when it is used, or some time after its last byte.",
    "search": "Returns the moments of kept jobs that are most similar to a picture, a video or a window of a job. With "
    "keys, these are the key's own jobs. Only jobs count that were submitted with `embedding=true`, are done, and have "
    f"the same model and version.\n\n{_UPLOAD} For a job's window, send `job` and `window` in its place, in the query "
    "or in JSON.",
    "list_models": "Lists the models that answer now, with their labels.",
    "get_openapi": "Returns this document.",
    "check_alive": "Returns 200 while the web server runs.",
    "check_ready": "Returns 200 when all models and web workers are ready, else 503 with what is missing.",
}

_INTRODUCTION = """\
Send a video or a picture and get what is in it as JSON. This page describes the service that you are reading it from,
with its own limits.

## Send a file

- **Raw body**, the fastest, up to {upload_mb} MiB: `curl -X POST -T clip.mp4 "…/v1/classify?top_k=3"`
- **Form**, up to {upload_mb} MiB: `curl -F top_k=3 -F file=@clip.mp4 …/v1/classify`
- **JSON** with base64, up to {json_mb} MiB: `{{"file": "AAAAIGZ0eXBpc29t…", "name": "clip.mp4", "top_k": 3}}`
- **URL** of a host that this service downloads from: `{{"url": "https://media.example.com/clip.mp4", "top_k": 3}}`

## Keys

{keys}

## Errors

Every error is JSON of one form:

```json
{{"error": {{"code": "undecodable", "message": "…", "request_id": "…"}}}}
```

Programs decide by `code`; `message` is for people and may change. A 4xx response is about the request: do not repeat it
unchanged. After 429 and 503 retry when the seconds in `Retry-After` have passed. `request_id` is also in the header
`X-Request-Id` and in the logs. Each operation below lists the codes that it can answer.
"""

_KINDS = (*vars(errors).values(), *vars(fetch_errors).values(), *vars(upload_errors).values())
# Explanations of the codes for API users: the docstrings of the errors, and of the codes that only nginx answers
MEANINGS = {kind.code: kind.__doc__ for kind in _KINDS if "code" in getattr(kind, "__dict__", ())} | {
    "internal": "The service failed; the request id finds the details in the log.",
    "cross_site": "A page of another site made this request in a browser.",
    "unknown_host": "`Host` is not a name of this service; `CLIPSTACK_ALLOWED_HOSTS` adds names.",
    "precondition_failed": "A condition of the request, such as `If-Match`, does not hold.",
    "range_not_satisfiable": "`Range` starts after the end of the file; `Content-Range` gives its length.",
    "length_required": "The request has a body and no length.",
    "uri_too_long": "The URL is too long.",
    "headers_too_large": "The headers are too large or too many.",
    "not_implemented": "The transfer encoding is not supported.",
    "http_version": "The HTTP version is not supported.",
}


def introduction(settings: Settings) -> str:
    """Return the introduction, with the limits in `settings`."""
    json_mb = min(settings.max_upload_mb, MAX_JSON_BYTES >> 20)
    required = "This service requires a key. " if settings.asks_for_keys else "This service requires no key. "
    keys = required + "Send a key as `Authorization: Bearer KEY` or as `X-API-Key: KEY`."
    return _INTRODUCTION.format(upload_mb=settings.max_upload_mb, json_mb=json_mb, keys=keys)
