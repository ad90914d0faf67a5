"""The HTTP API for classification, models and health."""

import json
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

from flask import Blueprint, Response, g, jsonify, request

from app import errors
from app.admission import deadline as deadlines
from app.admission.queue import lane_of
from app.auth import guard
from app.feedback.records import ClipFacts
from app.feedback.store import FeedbackStore
from app.feedback.unsure import keep_unsure_answer
from app.inference.model import Model
from app.logs import request_id
from app.media.formats import HEAD_BYTES, Kind, recognise
from app.parts import part
from app.pipeline.batch import Batch
from app.pipeline.cache import ResultCache, digest, key
from app.pipeline.classify import ClassifyRequest
from app.pipeline.context import RequestContext
from app.pipeline.readiness import WorkerRegistry
from app.pipeline.timings import StageTimings
from app.pipeline.worker import Pipeline
from app.settings import SAMPLINGS, Settings
from app.uploads.parser import Opener, Upload, receive
from app.web.known_params import upload_params
from app.web.params import MAX_TOP_K, choice, flag, selection, whole_number
from app.web.serializers import classification_json
from app.web.sources import remote
from app.web.sources import uploads as upload_views

DEFAULT_TOP_K = 5
MAX_FILES = 64  # pictures of one form
MAX_HASHED_BYTES = 64 << 20  # about 50 ms; hashing a larger file may take longer than classifying its clips
OPENERS: Mapping[str, Opener] = {"upload": upload_views.use}  # members of a JSON body in the place of `file`

blueprint = Blueprint("api", __name__)
log = logging.getLogger(__name__)


def request_context() -> RequestContext:
    """Return the context of the current request, which starts its deadline."""
    return RequestContext(
        deadlines.deadline_from_headers(request.headers, part(Settings).deadline_s),
        owner=guard.owner(),
        allowed_lanes=guard.allowed_lanes(),
        connection=request.environ.get("gunicorn.socket"),
    )


def classify_request(check: Callable[[Mapping[str, str]], None] | None = None, max_files: int = 1) -> dict[str, Any]:
    """Classify the current request's upload and return the JSON body of the response; raises ClipstackError.

    `check` is called with the form's fields first, and may raise to refuse them. A form may have `max_files` files;
    with more than one in it they must be pictures.
    """
    limits, context, admission = part(Settings), request_context(), part(Pipeline).admission
    g.stages = context.timings  # app/metrics/middleware.py records the stage timings
    folder, max_bytes = limits.run_dir / "uploads", limits.max_upload_mb << 20
    with admission.admit(context.owner), receive(request, folder, max_bytes, OPENERS, max_files) as upload:
        if check is not None:
            check(upload.fields)
        context.timings.end("receive")
        if upload.more:
            return _classify_many((upload, *upload.more), context)
        remote.download(upload, context)
        body = _classify_upload(upload, context)
        g.answered = [(body["model"], body["cache"])]
        return body


def _classify_many(uploads: Sequence[Upload], context: RequestContext) -> dict[str, Any]:
    """Classify the pictures of one form; return the response body with a result for each."""

    def classify_one(upload: Upload) -> dict[str, Any]:
        if upload is not uploads[0]:  # the first was counted with the request
            guard.count_upload()
        upload.check()
        return _classify_upload(upload, replace(context, timings=StageTimings(), connection=None), "image")

    def help_out(work: Callable[[], None]) -> None:
        admission = part(Pipeline).admission
        if admission.may_admit(context.owner):  # asked first, because a refusal is counted as one of a client
            with suppress(errors.ClipstackError), guard.hold_upload(), admission.admit(context.owner):
                work()

    _options(uploads[0].fields, part(Settings))  # a wrong parameter is an error of the whole request
    results = Batch(uploads, classify_one).run(help_out)
    answers = [result["answer"] for result in results if "answer" in result]
    g.answered = [(answer["model"], answer["cache"]) for answer in answers]
    return {"request_id": g.request_id, "results": results, "timing_ms": context.timings.milliseconds()}


def _classify_upload(upload: Upload, context: RequestContext, kind: Kind | None = None) -> dict[str, Any]:
    """Return the response body for one upload of the current request; `kind` is the only kind of file allowed."""
    classification = _parse(upload, _options(upload.fields, part(Settings)))
    if kind is not None and classification.format.kind != kind:
        raise errors.WrongMediaKind("several files in one form must be pictures: send each video in its own request")
    context.check_lane(lane_of(classification.format.kind, upload.source.length))
    body = _answer(upload, classification, context)
    _keep_if_unsure(upload, classification, context.owner, body)
    body["timing_ms"] = context.timings.milliseconds()
    return body


def _parse(upload: Upload, options: dict[str, Any]) -> ClassifyRequest:
    """Return what the request asks for; raises UnsupportedMedia for a file that is refused."""
    file_format = recognise(upload.source.read(HEAD_BYTES))
    model = options["model"] or part(Pipeline).default_model(file_format.kind)
    return ClassifyRequest(**options | {"source": upload.source, "format": file_format, "model": model})


def _options(fields: Mapping[str, str], limits: Settings) -> dict[str, Any]:
    """Return the parameters of the request, `model` empty without one; raises InvalidParameter."""
    params = upload_params(fields)
    return {
        "top_k": whole_number(params, "top_k", DEFAULT_TOP_K, MAX_TOP_K),
        "clips": whole_number(params, "clips", 1, limits.max_clips),
        "sampling": choice(params, "sampling", limits.sampling, SAMPLINGS),
        "keep_first_clip": flag(params, "thumbnails"),
        "selection": selection(params),
        "embedding": flag(params, "embedding"),
        "model": params.get("model", ""),
    }


def _answer(upload: Upload, classification: ClassifyRequest, context: RequestContext) -> dict[str, Any]:
    """Return the response body, from the result cache or a new classification: `cache` is hit, miss or off."""
    results = part(ResultCache)
    own = {"request_id": g.request_id}
    if not results.on or upload.source.length > MAX_HASHED_BYTES or request.cache_control.no_cache:
        return own | _classify(upload, classification, context)[1] | {"cache": "off"}
    with ExitStack() as cleanup:
        with context.timings.stage("known"):
            model = part(Pipeline).model(classification.model, context.deadline)
            cache_key = _cache_key(classification, model, context.owner)
            context.deadline.check("it was received")
            patience_s = min(part(Settings).queue_timeout_s, context.deadline.left_s)
            entry = cleanup.enter_context(results.entry(cache_key, patience_s))
        if entry.answer is not None:
            body: dict[str, Any] = json.loads(entry.answer)
            return own | body | {"media": body["media"] | {"name": upload.name}, "cache": "hit"}
        used_model, body = _classify(upload, classification, context)
        if used_model.digest == model.digest:  # else the model was replaced meanwhile
            entry.new_answer = json.dumps(body).encode()
        return own | body | {"cache": "miss"}


def _keep_if_unsure(upload: Upload, classification: ClassifyRequest, owner: str, body: Mapping[str, Any]) -> None:
    """Keep a new answer for a person if its best score is low and feedback is on."""
    limits, chosen = part(Settings), classification.selection
    is_new = body["cache"] != "hit" and not (chosen.labels or chosen.exclude)
    if limits.feedback == "on" and is_new and upload.source.length <= MAX_HASHED_BYTES:
        media = body["media"]
        facts = ClipFacts(owner, upload.name, classification.format.kind, media["duration_s"], media["fps"])
        keep_unsure_answer(part(FeedbackStore), limits.unsure_below, upload.source, facts, body)


def _cache_key(classification: ClassifyRequest, model: Model, owner: str) -> str:
    file_digest = digest(classification.source.path, classification.source.offset, classification.source.length)
    options = (classification.top_k, classification.clips, classification.sampling, classification.keep_first_clip)
    extras = (classification.selection, classification.embedding)
    model_key = ("classify", model.name, model.version, model.digest)
    return key(file_digest, owner, *model_key, *options, *extras)


def _classify(upload: Upload, classification: ClassifyRequest, context: RequestContext) -> tuple[Model, dict[str, Any]]:
    """Classify the upload; return the model that answered and the response body."""
    result = part(Pipeline).classify(classification, context)
    with context.timings.stage("answer"):
        return result.model, classification_json(result, upload)


def models_list() -> list[dict[str, Any]]:
    """Return the API's description of every model that answers; raises NotReady."""
    models = part(Pipeline).health().models
    defaults: dict[Kind, str] = {kind: part(Pipeline).default_model(kind) for kind in ("video", "image")}
    return [model.to_json([kind for kind, name in defaults.items() if name == model.name]) for model in models]


@blueprint.before_app_request
def _name_the_request() -> None:
    """Set the request id, from nginx's X-Request-Id where it is valid."""
    # nginx always sends one; 64 characters of another proxy's id are enough to find it in a log.
    header = request.headers.get("X-Request-Id", "")
    g.request_id = header[:64] if header.isascii() and header.isalnum() else secrets.token_hex(16)
    request_id.set(g.request_id)


@blueprint.post("/v1/classify")
@guard.takes_upload
def classify() -> Response:
    """Classify one upload, or the pictures of a form."""
    body = classify_request(max_files=MAX_FILES)
    response = jsonify(body)
    if "cache" in body:
        response.headers["X-Clipstack-Cache"] = body["cache"]
    return response


@blueprint.get("/v1/models")
def models() -> Response:
    """List the models that answer."""
    return jsonify(models=models_list())


@blueprint.get("/healthz")
@guard.public
def alive() -> Response:
    """Return 200 while the web server runs."""
    return jsonify(status="alive")


@blueprint.get("/readyz")
@guard.public
def ready() -> Response:
    """Return 200 when every servable model answers a probe and all workers are warm, else 503 with what is missing."""
    health = part(Pipeline).health()
    names = [model.name for model in health.models]
    silent, default = sorted(health.failing), part(Settings).model
    if default not in names and not any(name.startswith(f"{default}@") for name in silent):
        silent.append(default)
    registry = part(WorkerRegistry)
    missing = [f"these models do not answer: {', '.join(silent)}"] if silent else []
    missing += registry.missing()
    if missing:
        raise errors.NotReady("; ".join(missing))
    details = {
        "workers": [{"decoders": worker.decoders} for worker in registry.statuses()],
        "left_out": health.unusable,
        **part(Pipeline).load(),
    }
    return jsonify(status="ready", models=names, **details)
