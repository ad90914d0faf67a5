"""HTTP view of the search for similar moments in kept jobs."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from flask import Blueprint, Response, g, jsonify, request

from app.auth import guard
from app.errors import InvalidParameter, JobNotFound, MissingFile
from app.files import DamagedFile
from app.jobs.recorder import MAX_PICTURES
from app.jobs.search import Moment, MomentSearch, Query, job_head
from app.jobs.service import NO_SUCH_JOB, JobService
from app.jobs.storage.journal import read_windows
from app.jobs.storage.records import DamagedRecord
from app.media.formats import HEAD_BYTES, recognise
from app.parts import part
from app.pipeline.classify import ClassifyRequest
from app.pipeline.context import RequestContext
from app.pipeline.worker import Pipeline
from app.settings import Settings
from app.uploads.parser import Upload, receive
from app.web.classify import OPENERS, request_context
from app.web.jobs import MAX_OFFSET, find_job
from app.web.known_params import upload_params
from app.web.params import whole_number
from app.web.sources import remote

MAX_MOMENTS, DEFAULT_MOMENTS = 100, 10
DIGITS = 4

blueprint = Blueprint("search", __name__)


@blueprint.post("/v1/search")
@guard.takes_upload
def search() -> Response:
    """Search for the moments that are most similar to an upload, or to a window of a job."""
    limits, context, admission = part(Settings), request_context(), part(Pipeline).admission
    g.stages = context.timings  # app/metrics/middleware.py records the stage timings
    if "job" in request.args:
        return jsonify(_similar_to_window(request.args))
    folder, max_bytes = limits.run_dir / "uploads", limits.max_upload_mb << 20
    with admission.admit(context.owner), receive(request, folder, max_bytes, OPENERS, file_optional=True) as upload:
        context.timings.end("receive")
        params = upload_params(upload.fields)
        remote.download(upload, context)
        if upload.source.length == 0:
            return jsonify(_similar_to_window(params))
        return jsonify(_similar_to_file(upload, params, context))


def _similar_to_file(upload: Upload, params: Mapping[str, str], context: RequestContext) -> dict[str, Any]:
    limit = _limit(params)
    if "job" in params or "window" in params:
        raise InvalidParameter("a search is for a file or for a job's window: leave one of them out")
    file_format = recognise(upload.source.read(HEAD_BYTES))
    classification = ClassifyRequest(
        upload.source,
        file_format,
        params.get("model") or part(Pipeline).default_model(file_format.kind),
        clips=whole_number(params, "clips", 1, part(Settings).max_clips),
        sampling=part(Settings).sampling,
        embedding=True,
    )
    result = part(Pipeline).classify(classification, context)
    assert result.embedding is not None
    query = Query(result.embedding, result.model.embedding_space, limit)
    return _answer(query, result.model.labels)


def _similar_to_window(params: Mapping[str, str]) -> dict[str, Any]:
    if not params.get("job"):
        raise MissingFile("send a file, or name a kept job and the number of its window: job=…&window=0")
    if "model" in params or "clips" in params:
        raise InvalidParameter("model and clips are for files: a job's window has the model of its job")
    if not params.get("window"):
        raise InvalidParameter("window is missing: the number of the job's window, from 0")
    window, limit = whole_number(params, "window", 0, MAX_OFFSET, minimum=0), _limit(params)
    job = find_job(params["job"])
    try:
        head = job_head(job)
        chunk = next(read_windows(job.journal, window, 1, 1), None)
    except FileNotFoundError:
        raise InvalidParameter(f"window={window}: this job has no windows yet; try again when it runs") from None
    except DamagedFile as error:
        raise DamagedRecord(error) from error
    if not head.embedding_size:
        raise InvalidParameter("this job keeps no embeddings: submit the video again with embedding=true")
    if chunk is None:
        raise InvalidParameter(f"window={window}: the job has no window of this number")
    timeline = part(JobService).read(job)[1].timeline
    query = Query(chunk.embeddings[0].astype("float32"), head.space, limit, apart_from=(job.id, window))
    return _answer(query, timeline["labels"] if timeline else [])


def _limit(params: Mapping[str, str]) -> int:
    return whole_number(params, "limit", DEFAULT_MOMENTS, MAX_MOMENTS)


def _answer(query: Query, labels: Sequence[str]) -> dict[str, Any]:
    result = part(MomentSearch).search(query, guard.visible_owner())
    name, _, version = query.space.partition(" ")[0].partition("@")
    matches = []
    for moment in result.moments:
        with suppress(JobNotFound):  # removed meanwhile
            matches.append(_moment_json(moment, labels))
    return {
        "request_id": g.request_id,
        "model": name,
        "model_version": version,
        "matches": matches,
        "searched": {"jobs": result.jobs, "windows": result.windows},
    }


def _moment_json(moment: Moment, labels: Sequence[str]) -> dict[str, Any]:
    """Return a moment as the API shows it; raise JobNotFound if its job was removed."""
    job = find_job(moment.job.id)  # checks the owner again
    try:
        spec = job.spec()
    except FileNotFoundError:
        raise JobNotFound(NO_SUCH_JOB) from None
    picture = moment.window // math.ceil(moment.windows / MAX_PICTURES)
    return {
        "job": job.id,
        "name": spec.name,
        "window": moment.window,
        "start_s": round(moment.start_s, 3),
        "end_s": round(moment.end_s, 3),
        "similarity": round(max(-1.0, min(1.0, moment.similarity)), DIGITS),
        "label": labels[moment.label] if moment.label < len(labels) else None,
        "score": round(moment.score, DIGITS),
        "thumbnail": f"/v1/jobs/{job.id}/thumbnails/{picture}.jpg",
    }
