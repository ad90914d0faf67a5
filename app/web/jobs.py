"""HTTP views for jobs: create, list, show, follow, export, cancel and remove."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from flask import Blueprint, Response, g, jsonify, request

from app import tracing
from app.auth import guard
from app.errors import InvalidParameter, JobNotFound, NotFound, TimelineNotReady, WrongMediaKind
from app.files import DamagedFile, open_file, read_file
from app.jobs.service import NO_SUCH_JOB, JobService
from app.jobs.storage.records import STATES, JobSpec, State
from app.jobs.storage.store import Job
from app.jobs.storage.window_pages import MAX_PAGE, Page, stream_with_windows
from app.jobs.transfers import NO_TIMELINE
from app.media.formats import HEAD_BYTES, mime_type, recognise
from app.parts import part
from app.pipeline.worker import Pipeline
from app.settings import Settings
from app.timeline import export, plot
from app.timeline.segments import MARGIN
from app.uploads.errors import UploadNotFound
from app.uploads.parser import receive
from app.web import classify, nodes
from app.web.job_events import EventStreamLimiter, events
from app.web.job_serializers import record_json
from app.web.known_params import upload_params
from app.web.params import MAX_TOP_K, choice, cursor, flag, number, selection, whole_number
from app.web.sources.remote import RemoteFiles
from app.web.webhooks import callback_url

MIN_HOP_S, MAX_HOP_S = 0.01, 3600.0
MIN_WINDOW_S, MAX_WINDOW_S = 0.01, 600.0
MAX_LISTED = 500
MAX_KEY = 200
MAX_OFFSET = (1 << 32) - 1  # the journal stores window numbers in 32 bits
_PICTURE = re.compile(r"[0-9]{1,3}")
_CURSOR = re.compile(r"(?=.{1,100}\Z)([ -}]*)~([ -~]*)")  # `created` and `id` of a job

blueprint = Blueprint("jobs", __name__)


def find_job(identity: str) -> Job:
    """Return a job that this request may see: only its owner's where keys are required, else any.

    Raises JobNotFound also for a job of another key, which must not learn that it exists.
    """
    nodes.require_here(identity)
    job = part(JobService).find(identity)
    spec = part(JobService).read(job)[0]
    if guard.visible_owner() not in (None, spec.owner):
        raise JobNotFound(NO_SUCH_JOB)
    return job


@blueprint.post("/v1/jobs")
@guard.takes_upload
def accept() -> tuple[Response, int]:
    """Create a job from an upload: 202 for a new job, 200 for the job that this idempotency key already made."""
    guard.require_lane("jobs")
    key = _key(request.headers.get("Idempotency-Key", ""))
    try:
        job, new = _accept(key)
    except UploadNotFound:
        # The answer to an earlier request may have been lost, after the upload had become the job's
        made = part(JobService).made_of(g.get("upload", ""), guard.owner(), key)
        if made is None:
            raise
        job, new = made, False
    response = _record(job)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return response, 202 if new else 200


def _accept(key: str | None) -> tuple[Job, bool]:
    """Make a job of the request's upload; return it and whether it is new."""
    settings = part(Settings)
    folder, max_bytes = settings.run_dir / "uploads", settings.max_upload_mb << 20
    with receive(request, folder, max_bytes, classify.OPENERS) as upload:
        params = upload_params(upload.fields)
        chosen = selection(params)
        model = params.get("model") or settings.model
        spec = JobSpec(
            id="",
            created="",
            owner=guard.owner(),
            name=upload.name,
            bytes=upload.source.length,
            model=model,
            window_s=number(params, "window_s", None, MIN_WINDOW_S, MAX_WINDOW_S),
            hop_s=number(params, "hop_s", None, MIN_HOP_S, MAX_HOP_S),
            margin=MARGIN if (margin := number(params, "margin", None, 0.0, 1.0)) is None else margin,
            top_k=whole_number(params, "top_k", classify.DEFAULT_TOP_K, MAX_TOP_K),
            min_score=chosen.min_score,
            labels=list(chosen.labels),
            exclude=list(chosen.exclude),
            callback_url=callback_url(params),
            traceparent=tracing.traceparent(),
            results=part(RemoteFiles).check_results(params.get("results", "")),
            upload=g.get("upload", ""),
            embedding=flag(params, "embedding"),
        )
        if upload.url:
            name = part(RemoteFiles).check(upload.url)
            spec = replace(spec, name=upload.name or name, url=upload.url)
        elif recognise(upload.source.read(HEAD_BYTES)).kind == "image":
            raise WrongMediaKind(NO_TIMELINE)
        if (known := part(Pipeline).known_model(model)) is not None:
            known.decision_rule(chosen)
            if spec.embedding:
                known.require_embedding()
        if not upload.url:
            part(Pipeline).check_video(upload.source)
        with nodes.claimed(spec.owner, key):
            return part(JobService).accept(spec, None if upload.url else upload.source, key)


def _key(text: str) -> str | None:
    """Return the idempotency key, None when there is none; raises InvalidParameter."""
    if len(text) > MAX_KEY or not (text.isascii() and text.isprintable()):
        raise InvalidParameter(f"Idempotency-Key must be at most {MAX_KEY} printable ASCII characters")
    return text or None


@blueprint.get("/v1/jobs")
def newest() -> Response:
    """List the newest jobs without their timelines, a page at a time."""
    limit = whole_number(request.args, "limit", 50, MAX_LISTED)
    wanted = choice(request.args, "state", "all", ("all", *STATES))
    owner = guard.visible_owner()
    state = None if wanted == "all" else cast(State, wanted)
    match = cursor(request.args, _CURSOR)
    jobs = part(JobService).newest(limit, owner, state, (match[1], match[2]) if match else None)
    last = jobs[-1][0] if len(jobs) == limit else None
    following = f"{last.created}~{last.id}" if last else None
    page = nodes.Page("jobs", [record_json(spec, state, brief=True) for spec, state in jobs], following, limit)
    return jsonify(nodes.with_other_nodes(page, lambda job: (job["created"], job["id"])))


@blueprint.get("/v1/jobs/<identity>")
def show(identity: str) -> Response:
    """Show one job."""
    return _record(find_job(identity), windows=flag(request.args, "windows"))


def _record(job: Job, *, windows: bool = False) -> Response:
    """Return the response with the job's record; `windows` adds a page of the timeline's windows."""
    spec, state = part(JobService).read(job)
    position = part(JobService).queue_position(job.id) if state.state == "queued" else None
    record = record_json(spec, state, position)
    if windows and record["timeline"] is not None:
        response = _with_windows(job, spec, record, record["timeline"])
    else:
        response = jsonify(record)
    response.headers["Cache-Control"] = "no-store"
    if state.cache:
        response.headers["X-Clipstack-Cache"] = state.cache
    return response


def _with_windows(job: Job, spec: JobSpec, record: dict[str, Any], timeline: dict[str, Any]) -> Response:
    """Return `record` as JSON, with the page of windows that the request asks for inside `timeline`."""
    offset = whole_number(request.args, "offset", 0, MAX_OFFSET, minimum=0)
    limit = whole_number(request.args, "limit", MAX_PAGE, MAX_PAGE)
    page = Page(offset, limit, spec.top_k, spec.selection)
    try:
        stream = stream_with_windows(record, timeline, job.journal, page)
    except FileNotFoundError:
        raise JobNotFound(NO_SUCH_JOB) from None
    return Response(guard.hold_quota_until_sent(stream), mimetype="application/json")


@blueprint.delete("/v1/jobs/<identity>")
def end(identity: str) -> tuple[Response, int]:
    """Cancel a job that waits or runs; remove one that has ended."""
    job = find_job(identity)
    state = part(JobService).cancel_or_remove(job)
    if state == "removed":
        return jsonify(id=identity, state=state), 200
    return _record(job), 202 if state == "running" else 200


@blueprint.get("/v1/jobs/<identity>/events")
@guard.streams_events
def follow(identity: str) -> Response:
    """Stream a job's progress as server-sent events."""
    stream = part(EventStreamLimiter).hold(events(part(JobService), find_job(identity)), guard.owner())
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Response(stream, mimetype="text/event-stream", headers=headers)


@blueprint.get("/v1/jobs/<identity>/timeline")
def timeline(identity: str) -> Response:
    """Return the timeline as JSON, CSV, WebVTT, SVG or PNG."""
    file_format = request.args.get("format", "json")
    job = find_job(identity)
    spec, state = part(JobService).read(job)
    result = record_json(spec, state)["timeline"]
    if result is None:
        raise TimelineNotReady("no window of this video has been computed yet; please try again in a moment")
    match file_format:
        case "json":
            response = _with_windows(job, spec, result, result)
        case "csv":
            response = Response(export.to_csv(result), content_type="text/csv; charset=utf-8")
        case "vtt":
            response = Response(export.to_vtt(result), content_type="text/vtt; charset=utf-8")
        case "svg":
            response = Response(plot.to_svg(result, spec.name), content_type="image/svg+xml")
        case "png":
            response = Response(plot.to_png(result, spec.name), content_type="image/png")
        case _:
            raise InvalidParameter(f"format={file_format[:40]!r}: must be json, csv, vtt, svg or png")
    response.headers["Cache-Control"] = "no-store"
    response.headers.set("Content-Disposition", "inline", filename=f"timeline-{job.id}.{file_format}")
    return response


@blueprint.get("/v1/jobs/<identity>/thumbnails/<place>.jpg")
def thumbnail(identity: str, place: str) -> Response:
    """Return the middle frame of a window as JPEG."""
    if not _PICTURE.fullmatch(place):  # not `<int:place>`: a number of 260 digits is too long a file name
        raise NotFound("there is no thumbnail with this number")
    try:
        picture = read_file(find_job(identity).pictures / f"{int(place)}.jpg")
    except (FileNotFoundError, DamagedFile):
        raise NotFound("there is no thumbnail with this number") from None
    response = Response(picture, mimetype="image/jpeg")
    response.headers["Cache-Control"] = "private, max-age=3600"
    return response


@blueprint.get("/v1/jobs/<identity>/source")
def source(identity: str) -> Response:
    """Have nginx send the job's source file: it handles range requests and occupies no thread of this process."""
    job = find_job(identity)
    response = send_by_nginx(job.source, f"/_jobs/{job.id}/source", "there is no such job; it may have been removed")
    response.headers["Cache-Control"] = "private, max-age=3600"
    return response


def send_by_nginx(path: Path, location: str, missing: str) -> Response:
    """Return the response for which nginx sends the video or picture at `path`; raises NotFound with `missing`."""
    try:
        with open_file(path) as file:
            kind = mime_type(file.read(HEAD_BYTES))
    except (FileNotFoundError, DamagedFile):
        raise NotFound(missing) from None
    return Response(content_type=kind, headers={"X-Accel-Redirect": location})
