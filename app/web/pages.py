"""The page at /: a form to send a file with, and the answer to it; the same HTML with and without JavaScript."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from flask import Blueprint, current_app, g, make_response, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.auth import guard
from app.errors import ClipstackError
from app.settings import Settings
from app.web import classify, formatting

blueprint = Blueprint("pages", __name__)

# What a person is told about each part of `timing_ms`, in the order of the way of the data.
STAGES = {
    "receive": "Receive",
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
    return render_template("index.html", **_form_values())


@blueprint.post("/")
@guard.takes_file
def answer() -> ResponseReturnValue:
    try:
        result = classify.classify_request(guard.settle_csrf)
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


def stages(timing_ms: dict[str, float]) -> list[dict[str, Any]]:
    """The measured stages as a stacked bar: `name`, `words`, `ms`, and `x` and `width` in percent of their sum.

    What the total has more than the stages is shown too: the bar hides no waiting.
    """
    measured = [(name, max(0.0, timing_ms[name])) for name in STAGES if name in timing_ms]
    rest = timing_ms.get("total", 0.0) - sum(ms for _, ms in measured)
    if rest >= SMALLEST_REST_MS:
        measured.append(("other", rest))
    whole = sum(ms for _, ms in measured) or 1.0
    rows: list[dict[str, Any]] = []
    x = 0.0
    for name, ms in measured:
        width = 100 * ms / whole
        rows.append({"name": name, "words": STAGES[name], "ms": ms, "x": round(x, 3), "width": round(width, 3)})
        x += width
    return rows


def spans(clips: list[dict[str, Any]], duration_s: float | None) -> list[dict[str, float]]:
    """Where in the video each clip lies: `x` and `width` in percent of its duration; empty for pictures."""
    if not duration_s:
        return []
    rows = []
    for clip in clips:
        start = min(max(clip["start_s"] / duration_s, 0.0), 1.0)
        end = min(max(clip["end_s"] / duration_s, start), 1.0)
        # A clip of a long video is thinner than a pixel, and must be seen all the same.
        width = max(end - start, 0.006)
        rows.append({"x": round(100 * min(start, 1 - width), 3), "width": round(100 * width, 3)})
    return rows


def facts(media: dict[str, Any]) -> list[tuple[str, str]]:
    """What the file is, as pairs of a name and a value; facts that are not known are left out."""
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
    """What every page's form needs, with the choices that stand in it; without models the page says so and works."""
    try:
        models = classify.models_list()
    except ClipstackError:
        models = []
    settings: Settings = current_app.config["CLIPSTACK"]
    return {
        "models": models,
        "chosen": {"model": model or request.args.get("model", ""), "clips": clips or request.args.get("clips", "")},
        "clip_choices": [count for count in CLIP_CHOICES if count <= settings.max_clips],
        "max_upload_mb": settings.max_upload_mb,
        "job_days": settings.job_days,
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
    """Names of the page's scripts, all of which are wanted at once; /status has its own."""
    found = (path.name for path in Path(current_app.static_folder or "").glob("*.js"))
    return sorted(name for name in found if not name.startswith("status"))


def static_url(name: str) -> str:
    """The address of a static file under a digest of them all: modules name each other by relative addresses, and
    browsers may keep them, yet nobody gets the modules of two versions."""
    return url_for("static", filename=f"v-{_digest(Path(current_app.static_folder or ''))}/{name}")


@cache
def _digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        whole.update(path.name.encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()[:10]
