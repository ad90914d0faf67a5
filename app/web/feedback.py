"""HTTP views for feedback: confirm or correct an answer, list, remove, and fetch the files."""

import re
from typing import Any

from flask import Blueprint, Response, jsonify, request

from app.admission.queue import lane_of
from app.auth import guard
from app.errors import BadRequest, FeedbackOff, InvalidParameter, NotFound
from app.feedback.index import Filter
from app.feedback.records import STATES, Answer, Clip, ClipFacts, Entry, checked_labels
from app.feedback.store import FeedbackStore
from app.feedback.unsure import facts_of_job
from app.jobs.service import JobService
from app.jobs.storage.records import JobState
from app.media.formats import HEAD_BYTES, recognise
from app.media.types import Source
from app.nodes.ids import id_pattern
from app.parts import part
from app.pipeline.worker import Pipeline
from app.settings import Settings
from app.uploads.parser import receive
from app.web import classify, jobs, nodes
from app.web.known_params import upload_params
from app.web.params import choice, cursor, label_list, number, whole_number
from app.web.sources import remote

MAX_PAGE = 500
MAX_SECONDS = 1e6
MAX_MODEL = 200  # characters of a model's name
SAME_S = 0.0015  # times are rounded to milliseconds
_CURSOR = re.compile(rf"(\d{{4}}-\d{{2}}-\d{{2}}T[\d:.]{{12}}Z)~({id_pattern(24)})")

blueprint = Blueprint("feedback", __name__)


def store() -> FeedbackStore:
    """Return the store of feedback; raise FeedbackOff while feedback is off."""
    if part(Settings).feedback != "on":
        raise FeedbackOff("this service keeps no feedback: its operator can set CLIPSTACK_FEEDBACK=on")
    return part(FeedbackStore)


@blueprint.post("/v1/feedback")
@guard.takes_upload
def give() -> Response:
    """Confirm or correct an answer: that of a job, or that about the file in the request."""
    kept = store()
    if "job" in request.args:
        if request.headers.get("X-Upload-Length", "0") not in ("", "0") or (request.content_length or 0) > 0:
            raise BadRequest("the request names a job and has a body: send the job's id or a file, not both")
        clip, entry = _of_job(kept)
    else:
        clip, entry = _of_file(kept)
    return jsonify(entry_json(clip, entry))


def _of_job(kept: FeedbackStore) -> tuple[Clip, Entry]:
    params = upload_params({})
    job = jobs.find_job(params["job"])
    spec, state = part(JobService).read(job)
    span, labels = _span(params), checked_labels(label_list(params, "labels"))
    if span and state.media and state.media.get("duration_s") and span[0] >= state.media["duration_s"]:
        raise InvalidParameter(f"start_s={span[0]:g}: the video has {state.media['duration_s']:g} s")
    predicted, score = predicted_in(state, span)
    start_s, end_s = span or (None, None)
    name = spec.model.partition("@")[0]
    answer = Answer(name, state.model_version, labels, predicted, score, start_s, end_s, job.id)
    try:
        length = job.source.stat().st_size
        clip, entries = kept.put(Source(str(job.source), 0, length), facts_of_job(spec, state), [answer])
    except FileNotFoundError:
        raise NotFound("the video of this job is not there any more") from None
    return clip, entries[0]


def _of_file(kept: FeedbackStore) -> tuple[Clip, Entry]:
    limits = part(Settings)
    max_bytes = limits.max_upload_mb << 20
    with receive(request, limits.run_dir / "uploads", max_bytes, classify.OPENERS) as upload:
        if upload.url:
            remote.download(upload, classify.request_context())
        params = upload_params(upload.fields)
        span, labels = _span(params), checked_labels(label_list(params, "labels"))
        kind = recognise(upload.source.read(HEAD_BYTES)).kind
        guard.require_lane(lane_of(kind, upload.source.length).name.lower())
        if span and kind == "image":
            raise InvalidParameter("start_s and end_s are parts of a video, and this file is a picture")
        model = params.get("model") or part(Pipeline).default_model(kind)
        if len(model) > MAX_MODEL or not model.isprintable():
            raise InvalidParameter(f"model={model[:40]!r}: /v1/models lists the names of all models")
        media = part(Pipeline).check_video(upload.source) if kind == "video" else None
        duration_s, fps = (media.duration_s, media.fps) if media else (None, None)
        facts = ClipFacts(guard.owner(), upload.name, kind, duration_s, fps)
        start_s, end_s = span or (None, None)
        # A version in the request's `model` is the answer's version, not another model
        name, _, version = model.partition("@")
        predicted = label_list(params, "predicted")
        answer = Answer(name, version or None, labels, predicted, None, start_s, end_s)
        clip, entries = kept.put(upload.source, facts, [answer])
        return clip, entries[0]


def _span(params: dict[str, str]) -> tuple[float, float] | None:
    """Return the part of a video that the answer is about, None for all of it; raises InvalidParameter."""
    start_s = number(params, "start_s", None, 0, MAX_SECONDS)
    end_s = number(params, "end_s", None, 0, MAX_SECONDS)
    if start_s is None and end_s is None:
        return None
    if start_s is None or end_s is None or end_s - start_s < SAME_S:
        raise InvalidParameter("start_s and end_s belong together, in seconds, the start first")
    return start_s, end_s


def predicted_in(state: JobState, span: tuple[float, float] | None) -> tuple[tuple[str, ...], float | None]:
    """Return the labels and the best score of the segments that cover at least half of a part of a job's video."""
    timeline = state.timeline
    if timeline is None:
        return (), None
    start_s, end_s = span or (0.0, timeline["duration_s"])
    covered = dict[str, float]()
    scores = dict[str, float]()
    for segment in timeline["segments"]:
        shared_s = min(end_s, segment["end_s"]) - max(start_s, segment["start_s"])
        if shared_s > 0:
            label = segment["label"]
            covered[label] = covered.get(label, 0.0) + shared_s
            scores[label] = max(scores.get(label, 0.0), segment["score"])
    labels = tuple(label for label, shared_s in covered.items() if 2 * shared_s >= end_s - start_s)
    return labels, max((scores[label] for label in labels), default=None)


@blueprint.get("/v1/feedback")
def page() -> Response:
    """List feedback, the last change first."""
    kept = store()
    args = request.args
    limit = whole_number(args, "limit", 50, MAX_PAGE)
    state = choice(args, "state", "", ("", *STATES)) or None
    match = cursor(args, _CURSOR)
    after = (match[1], match[2]) if match else None
    wanted = Filter(guard.visible_owner(), state, args.get("model") or None, args.get("job") or None, after)
    entries, last = kept.page(wanted, limit)
    following = last and f"{last.updated}~{last.id}"
    own = nodes.Page("feedback", [entry_json(clip, entry) for clip, entry in entries], following, limit)
    response = jsonify(nodes.with_other_nodes(own, lambda entry: (entry["updated"], entry["id"])))
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.delete("/v1/feedback/<entry>")
def remove(entry: str) -> Response:
    """Remove an entry, and its file with the last entry about it."""
    store().remove(entry, guard.visible_owner())
    return jsonify(id=entry, state="removed")


@blueprint.get("/v1/feedback/<entry>/source")
def source(entry: str) -> Response:
    """Have nginx send the file that an entry is about."""
    kept = store()
    clip, _ = kept.find(entry, guard.visible_owner())
    missing = "the file of this feedback is not there any more"
    response = jobs.send_by_nginx(kept.folders.source(clip.id), f"/_feedback/{clip.id}/source", missing)
    response.headers["Cache-Control"] = "private, no-store"
    return response


def entry_json(clip: Clip, entry: Entry) -> dict[str, Any]:
    """Return an entry with the properties of its file."""
    file = {"name": clip.name, "bytes": clip.bytes, "kind": clip.kind, "sha256": clip.sha256}
    file |= {"duration_s": clip.duration_s, "fps": clip.fps}
    return {**entry, "file": file, "links": {"source": f"/v1/feedback/{entry['id']}/source"}}
