"""Text formatting for people: labels, sizes, times, and help for each error."""

import json
import shlex
from typing import Any, NamedTuple

_ABBREVIATIONS = {"cw": "clockwise", "ccw": "counter-clockwise"}
_FORMATS = {"h264": "H.264", "hevc": "H.265", "mpeg4": "MPEG-4", "matroska": "Matroska", "webm": "WebM", "webp": "WebP"}


class ErrorHelp(NamedTuple):
    """The title and the advice that the page shows for an error."""

    title: str
    advice: str


# Title and advice by error code
_PROBLEMS = {
    "missing_file": ("No file was chosen", "Choose a video or a picture first."),
    "empty_file": ("This file is empty", "It has no bytes in it. Was it still being copied or downloaded?"),
    "too_many_files": ("Too many files at a time", "Send the files one after the other."),
    "invalid_multipart": ("The upload broke off", "The file did not arrive whole. Please send it again."),
    "too_large": ("This file is too large", "Cut the video, or export it in a smaller size."),
    "unsupported_media": (
        "This is not a video or picture",
        "Send MP4, MOV, MKV, WebM, AVI or MPEG; or a JPEG, PNG, WebP or HEIC picture.",
    ),
    "undecodable": ("This file is damaged", "If it plays for you, export it again and send the new one."),
    "no_video_stream": ("There is no picture in this file", "It seems to contain only sound."),
    "limit_exceeded": ("This is more than we take", "Try a shorter video, or one with a smaller picture."),
    "decode_timeout": (
        "Decoding took too long",
        "The file may be damaged, or very heavy. Try a shorter or smaller version.",
    ),
    "wrong_media_kind": (
        "This model expects another kind of file",
        "Choose another model, or send another kind of file.",
    ),
    "invalid_parameter": ("One of the choices is not valid", "Reload the page and try again."),
    "model_not_found": ("This model is gone", "Reload the page to see the models that are served now."),
    "overloaded": ("Busy at the moment", "Many people are sending videos. Please try again in a few seconds."),
    "deadline_exceeded": ("It took too long", "The service is busy. Please try again in a moment."),
    "client_gone": ("The connection was lost", "Check the network, then send the file again."),
    "node_away": (
        "Not reachable now",
        "The part of the service with this job does not answer. It continues when it is back.",
    ),
    "not_ready": ("Not quite ready", "The models are starting. Please try again in a few seconds."),
    "inference_timeout": ("The model took too long", "The service is busy. Please try again in a moment."),
    "storage_full": ("No room for the upload", "The server's disk is full. Please try again later."),
    "unavailable": ("Not available right now", "The service is starting or busy. Please try again in a moment."),
    "inference_failed": (
        "The model failed on this file",
        "The fault is the service's, not your file's. Please try again.",
    ),
    "upload_not_found": ("The upload is gone", "It was not continued in time. Please send the file again."),
    "upload_unfinished": (
        "An upload is not complete",
        "Choose or drop the same file again: it continues where it stopped.",
    ),
    "upload_locked": ("The upload is in use", "Another tab may be sending it. Try again in a moment."),
    "upload_incomplete": ("The upload broke off", "The file did not arrive whole. Please send it again."),
    "offset_conflict": ("The upload got out of step", "Try again: it continues where it was."),
    "checksum_mismatch": ("The upload was damaged on its way", "Try again: it continues where it was."),
    "tus_version_unknown": ("This page is out of date", "Reload the page, then send the file again."),
    "job_not_found": ("This video is no longer here", "It was deleted, or it has expired."),
    "feedback_off": ("Corrections are off", "This service keeps none. Reload the page."),
    "feedback_not_found": ("This correction is no longer here", "It was removed."),
    "feedback_full": ("No more corrections fit", "The model can be trained with those that are kept."),
    "webhook_not_found": ("This event is no longer here", "It was sent long ago, or it has expired."),
    "not_ready_yet": ("Nothing to show yet", "The first seconds are still being analysed. Try again in a moment."),
    "idempotency_conflict": (
        "This upload got mixed up with another",
        "Take the file off the list and send it once more.",
    ),
    "unauthorized": ("You are logged out", "Log in again with your key, then send the file once more."),
    "csrf_failed": ("This page is out of date", "Reload it and try again."),
    "too_many_requests": ("This is more than your key may send", "The upload continues as soon as there is room."),
    "bad_request": ("The request was not understood", "Reload the page and try again."),
    "not_found": ("There is nothing here", "Reload the page; what you asked for may have been deleted."),
    "method_not_allowed": ("This cannot be done here", "Reload the page and try again."),
    # Errors from nginx
    "forbidden": ("You have no access", "Ask the operator of this service for access."),
    "cross_site": ("Another site asked for this", "Open this page by the service's own address and try again."),
    "unknown_host": ("This address is not known here", "Open the page by the address that you were given."),
    "precondition_failed": ("The page has changed", "Reload the page and try again."),
    "range_not_satisfiable": ("The video ends before this point", "Reload the page and try again."),
    "request_timeout": ("The upload took too long", "The network is slow or broke off. Please send it again."),
    "length_required": ("The upload broke off", "The file did not arrive whole. Please send it again."),
    "uri_too_long": ("The file's name is too long", "Give it a shorter one and send it again."),
    "headers_too_large": ("The file's name is too long", "Give it a shorter one and send it again."),
    "not_implemented": ("A proxy or the browser is in the way", "Try another browser or another network."),
    "http_version": ("A proxy or the browser is in the way", "Try another browser or another network."),
    # Errors from the page's scripts
    "no_connection": ("The connection was lost", "Check the network, then send the file again."),
    "not_a_file": ("There is no file in it", "Drop videos or pictures, or a folder with some."),
}
# The browser gets the same table for errors without a template (nginx's errors, lost connections).
PROBLEMS = {code: ErrorHelp(*texts) for code, texts in _PROBLEMS.items()}
UNEXPECTED = ErrorHelp("Something went wrong", "The fault is the service's, not your file's. Please try again.")


def problem(code: str) -> ErrorHelp:
    """Return the help for an error code."""
    return PROBLEMS.get(code, UNEXPECTED)


def label(name: str) -> str:
    """Return a label for display: `roll_cw` -> `Roll clockwise`."""
    words = [_ABBREVIATIONS.get(word, word) for word in name.replace("_", " ").split()]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def about_model(model: dict[str, Any]) -> str:
    """Return what a model of /v1/models answers, some of its labels, and what a model for pictures makes of a video."""
    about = f"{model['description']} For example: {', '.join(map(label, model['examples']))}.".strip()
    return f"{about} A video gets a timeline of single frames." if model["kind"] == "image" else about


def default_models(models: list[dict[str, Any]]) -> str:
    """Return which models files are sent to when nobody names one: `Camera motion for videos, Objects for pictures`."""
    kinds = {"video": "videos", "image": "pictures"}
    return ", ".join(
        f"{label(model['title'])} for {files}"
        for kind, files in kinds.items()
        for model in models
        if kind in model["default_for"]
    )


def format_name(name: str) -> str:
    """Return a codec's or container's display name: `h264` -> `H.264`, `mov` -> `MOV`; long names unchanged."""
    return _FORMATS.get(name, name.upper() if len(name) <= 4 else name)


def sentence(text: str) -> str:
    """Return an API message as a sentence, with a capital and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if not text or text[-1] in ".!?" else ".")


def percent(score: float) -> str:
    """Return a score from 0 to 1 in percent; never rounded up to 100 or down to 0."""
    if 0.999 <= score < 1:
        return "> 99.9 %" if score >= 0.9995 else "99.9 %"
    if 0 < score < 0.0005:
        return "< 0.1 %"
    return f"{score * 100:.1f} %"


def size(count: int) -> str:
    """Return a number of bytes in decimal units, as file managers show it."""
    if count < 1000:
        return f"{count} bytes"
    unit, scale = next(((u, s) for u, s in (("kB", 1e3), ("MB", 1e6)) if count < 999.5 * s), ("GB", 1e9))
    value = count / scale
    return f"{value:.0f} {unit}" if value >= 99.95 else f"{value:.1f} {unit}"


def limit(mebibytes: int) -> str:
    """Return the upload limit, rounded down so that a file of the displayed size is always accepted."""
    return f"{mebibytes} MiB" if mebibytes < 1024 else f"{mebibytes * 10 // 1024 / 10:g} GiB"


def duration(seconds: float) -> str:
    """Return a duration: `9.97 s` below a minute, then `3:07` and `1:02:45`."""
    if seconds < 59.995:
        return f"{seconds:.2f} s"
    rounded = round(seconds)
    hours, minutes = divmod(rounded // 60, 60)
    return f"{hours}:{minutes:02}:{rounded % 60:02}" if hours else f"{minutes}:{rounded % 60:02}"


def milliseconds(value: float) -> str:
    """Return a duration in milliseconds with about three significant figures."""
    if value >= 10_000:
        return f"{value / 1000:.1f} s"
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms"


def shell(name: str) -> str:
    """Return a file name that is safe to paste into a shell, even a malicious one."""
    return shlex.quote(name if not name.startswith("-") else f"./{name}")


def plain_json(answer: dict[str, Any]) -> str:
    """Return the API's response as indented JSON, without the long thumbnails."""
    return json.dumps({key: value for key, value in answer.items() if key != "thumbnails"}, indent=2)
