"""The web page at /: the upload form and its result, with the same HTML with and without JavaScript."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from flask import Blueprint, current_app, g, make_response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from app.auth import guard
from app.auth.authenticator import Authenticator
from app.errors import ClipstackError, NotFound
from app.parts import part
from app.settings import Settings
from app.web import classify, error_handlers
from app.web.site import formatting

blueprint = Blueprint("pages", __name__)

# Displayed name of each part of `timing_ms`, in processing order.
STAGES = {
    "receive": "Receive",
    "fetch": "Download",
    "known": "Look up",
    "queue": "Wait",
    "probe": "Inspect",
    "decode": "Decode",
    "infer": "Infer",
    "answer": "Answer",
    "other": "In between",
}
SMALLEST_REST_MS = 0.5
CLIP_CHOICES = (1, 3, 8)


@blueprint.get("/")
def form() -> ResponseReturnValue:
    """Show the upload form."""
    return render_template("index.html", **_form_values())


@blueprint.post("/")
@guard.takes_upload
def answer() -> ResponseReturnValue:
    """Classify the form's file and show the result."""
    try:
        result = classify.classify_request(guard.check_upload_csrf)
    except ClipstackError as error:
        return _problem_page(error)
    page = render_template(
        "result.html",
        result=result,
        stages=stages(result["timing_ms"]),
        spans=spans(result["clips"], result["media"]["duration_s"]),
        facts=facts(result["media"]),
        **_form_values(result["model"], str(len(result["clips"]))),
    )
    response = make_response(page)
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.get("/models")
def models() -> ResponseReturnValue:
    """Show what each model answers."""
    return render_template("models.html", **_form_values())


@blueprint.app_errorhandler(404)
def unknown_page(error: HTTPException) -> ResponseReturnValue:
    """Return a page for a browser, and JSON for everybody else and for addresses of the API."""
    preferred = request.accept_mimetypes.best_match(("application/json", "text/html"))
    wants_page = preferred == "text/html" and not request.path.startswith("/v1/")
    may_see_page = g.get("session") or not part(Authenticator).required
    if not (wants_page and may_see_page):
        return error_handlers.answer_http_error(error)
    return _problem_page(NotFound("there is no page at this address"))


def stages(timing_ms: dict[str, float]) -> list[dict[str, Any]]:
    """Return the segments of a stacked bar of the measured stages, and of the time in between as `other`.

    Each has `name`, `words`, `ms`, and `x` and `width` in percent of the sum.
    """
    measured = [(name, max(0.0, timing_ms[name])) for name in STAGES if name in timing_ms]
    rest = timing_ms.get("total", 0.0) - sum(ms for _, ms in measured)
    if rest >= SMALLEST_REST_MS:
        measured.append(("other", rest))
    total = sum(ms for _, ms in measured) or 1.0
    rows: list[dict[str, Any]] = []
    x = 0.0
    for name, ms in measured:
        width = 100 * ms / total
        rows.append({"name": name, "words": STAGES[name], "ms": ms, "x": round(x, 3), "width": round(width, 3)})
        x += width
    return rows


def spans(clips: list[dict[str, Any]], duration_s: float | None) -> list[dict[str, float]]:
    """Return each clip's position in the video: `x` and `width` in percent of its duration; empty for pictures."""
    if not duration_s:
        return []
    rows = []
    for clip in clips:
        start = min(max(clip["start_s"] / duration_s, 0.0), 1.0)
        end = min(max(clip["end_s"] / duration_s, start), 1.0)
        # Minimum width: a clip of a long video would be thinner than a pixel.
        width = max(end - start, 0.006)
        rows.append({"x": round(100 * min(start, 1 - width), 3), "width": round(100 * width, 3)})
    return rows


def facts(media: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the file's known properties as (name, value) pairs."""
    rows: list[tuple[str, str | None]] = [
        ("File", media.get("name")),
        ("Size", formatting.size(media["bytes"]) if media.get("bytes") else None),
        ("Length", formatting.duration(media["duration_s"]) if media.get("duration_s") else None),
        ("Picture", f"{media['width']} × {media['height']}" if media.get("width") else None),
        ("Turned", f"{media['rotation']}°, set upright" if media.get("rotation") else None),
        ("Mirrored", "left to right, set right" if media.get("mirrored") else None),
        ("Frames", f"{media['frames']:,}" if media.get("frames") and media["kind"] == "video" else None),
        ("Frame rate", f"{media['fps']:.4g} per second" if media.get("fps") else None),
        ("Codec", formatting.format_name(media.get("codec") or "")),
        ("Container", formatting.format_name(media.get("container") or "")),
    ]
    return [(name, value) for name, value in rows if value]


@blueprint.errorhandler(ClipstackError)
def _problem_page(error: ClipstackError) -> ResponseReturnValue:
    g.error_code = error.code
    page = render_template("problem.html", problem=formatting.problem(error.code), error=error, **_form_values())
    response = make_response(page, error.status)
    response.headers["Cache-Control"] = "no-store"
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def _form_values(model: str = "", clips: str = "") -> dict[str, Any]:
    """Return the template values of every page's form; without models the list is empty and the page still renders.

    Preselected are `model`, unless it is the default for some files, and the number of `clips`, or those in the query.
    """
    try:
        models = classify.models_list()
    except ClipstackError:
        models = []
    settings = part(Settings)
    is_default = any(entry["name"] == model and entry["default_for"] for entry in models)
    return {
        "models": models,
        "chosen": {
            "model": "" if is_default else model or request.args.get("model", ""),
            "clips": clips or request.args.get("clips", ""),
        },
        "clip_choices": [count for count in CLIP_CHOICES if count <= settings.max_clips],
        "max_upload_mb": settings.max_upload_mb,
        "job_days": settings.job_days,
        "feedback": settings.feedback == "on",
        "request_id": g.request_id,
        "csrf": g.session.csrf if g.session else "",
        "key": g.key,
        "problems": formatting.PROBLEMS | {"": formatting.UNEXPECTED},
        "words": formatting,
        "static": static_url,
        "modules": modules(),
    }


@cache
def modules() -> list[str]:
    """Return the file names of the page's scripts, which it preloads; /docs and /status have their own."""
    names = (path.name for path in Path(current_app.static_folder or "").glob("*.js"))
    return sorted(name for name in names if not name.startswith(("docs", "login", "status", "tus")))


def static_url(name: str) -> str:
    """Return the URL of a static file, with a digest of all static files in its path.

    Modules import each other by relative URL and browsers cache them. The digest keeps two versions from mixing.
    """
    return url_for("static", filename=f"v-{_digest(Path(current_app.static_folder or ''))}/{name}")


@cache
def _digest(folder: Path) -> str:
    """Return ten hex digits of the SHA-256 of all files in `folder`."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:10]
