"""Rows of results: one for each file, with its predictions, media facts, segments, or error."""

from typing import Any

from ..errors import ClipstackError
from ..jobs import Job
from ..models import Media, Result
from .journal import Row
from .source import Entry

MEDIA = (
    *("kind", "container", "codec", "width", "height", "rotation", "duration_s", "fps", "frames", "bytes"),
    *("truncated", "mirrored"),
)


def answer_row(entry: Entry, answer: Result | Job, attempts: int, seconds: float) -> Row:
    """Return the row of an answered file; `attempts` includes the successful one, `seconds` is the time of all."""
    row = _row(entry, attempts, seconds)
    row |= {"model": answer.model, "model_version": answer.model_version, "media": _media(answer.media)}
    if isinstance(answer, Job):
        segments = answer.timeline.segments if answer.timeline is not None else ()
        return row | {"segments": [dict(vars(segment)) for segment in segments]}
    return row | {
        "predictions": [dict(vars(prediction)) for prediction in answer.predictions],
        "decision": list(answer.decision),
        "embedding": list(answer.embedding) or None,
        "request_id": answer.request_id,
    }


def error_row(entry: Entry, error: ClipstackError | OSError, attempts: int, seconds: float) -> Row:
    """Return the row of a file without an answer; see `answer_row`."""
    row = _row(entry, attempts, seconds)
    if isinstance(error, ClipstackError):
        fields = {"error_code": error.code, "error_status": error.status, "request_id": error.request_id}
        return row | fields | {"error_message": error.message}
    code = "missing_file" if isinstance(error, FileNotFoundError) else "unreadable_file"
    return row | {"error_code": code, "error_message": str(error)}


def _row(entry: Entry, attempts: int, seconds: float) -> Row:
    return {**dict.fromkeys(COLUMNS), **entry._asdict(), "attempts": attempts, "seconds": round(seconds, 4)}


def _media(media: Media | None) -> dict[str, Any] | None:
    return None if media is None else {name: getattr(media, name) for name in MEDIA}


COLUMNS = (
    *("file", "size", "version", "model", "model_version", "predictions", "decision", "media", "segments", "embedding"),
    *("error_code", "error_message", "error_status", "request_id", "attempts", "seconds"),
)
