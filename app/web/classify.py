"""The HTTP API: parse, ask the pipeline, answer JSON."""

import json
import logging
import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from flask import Blueprint, Response, current_app, g, jsonify, request
from werkzeug.exceptions import HTTPException

from app import errors
from app.admission import deadline as deadlines
from app.admission.deadline import Deadline
from app.auth import guard
from app.inference.registry import Model
from app.pipeline.cache import ResultCache, digest, key
from app.pipeline.classify import ClassifyRequest
from app.pipeline.readiness import WorkerRegistry
from app.pipeline.timings import StageTimings
from app.pipeline.worker import Pipeline
from app.request_id import request_id
from app.settings import SAMPLINGS, Settings
from app.uploads.parser import Upload, receive
from app.web.params import MAX_TOP_K, choice, flag, whole_number
from app.web.serializers import answer_json

DEFAULT_TOP_K = 5
MOST_HASHED_BYTES = 64 << 20  # about 50 ms; to read all of a larger file may take longer than to look at its clips

blueprint = Blueprint("api", __name__)
log = logging.getLogger(__name__)


def pipeline() -> Pipeline:
    """This worker's pipeline."""
    found: Pipeline = current_app.extensions["clipstack"]
    return found


def settings() -> Settings:
    """The settings in force."""
    found: Settings = current_app.config["CLIPSTACK"]
    return found


def classify_request(check: Callable[[Mapping[str, str]], None] | None = None) -> dict[str, Any]:
    """Answers the current request's upload; raises ClipstackError. `check` may refuse the form's fields."""
    limits, stages = settings(), StageTimings()
    g.stages = stages  # what becomes of it is counted (app/metrics/middleware.py)
    deadline = deadlines.told(request.headers, limits.deadline_s)
    folder, most_bytes = limits.run_dir / "uploads", limits.max_upload_mb << 20
    with pipeline().door(guard.owner()), receive(request, folder, most_bytes) as upload:
        if check is not None:
            check(upload.fields)
        told = upload.fields | request.args.to_dict()
        question = ClassifyRequest(
            model=told.get("model") or limits.model,
            top_k=whole_number(told, "top_k", DEFAULT_TOP_K, MAX_TOP_K),
            clips=whole_number(told, "clips", 1, limits.max_clips),
            sampling=choice(told, "sampling", limits.sampling, SAMPLINGS),
            keep_first_clip=flag(told, "thumbnails"),
            owner=guard.owner(),
            allow=guard.allowed_lanes(),
        )
        stages.end("receive")
        told = _answered(upload, question, stages, deadline) | {"timing_ms": stages.milliseconds()}
        g.answered = (told["model"], told["cache"])
        return told


def _answered(upload: Upload, question: ClassifyRequest, stages: StageTimings, deadline: Deadline) -> dict[str, Any]:
    """From what is known about these bytes, else by looking at them; `cache` says which."""
    known: ResultCache = current_app.extensions["clipstack.results"]
    own = {"request_id": g.request_id}
    if not known.on or upload.source.length > MOST_HASHED_BYTES or request.cache_control.no_cache:
        return own | _looked_at(upload, question, stages, deadline)[1] | {"cache": "off"}
    with ExitStack() as held:
        with stages.stage("known"):
            model = pipeline().model(question.model, deadline)
            asked = (question.top_k, question.clips, question.sampling, question.keep_first_clip)
            found = digest(upload.source.path, upload.source.offset, upload.source.length)
            name = key(found, guard.owner(), "classify", model.name, model.version, model.mark, *asked)
            deadline.check("it was received")
            patience_s = min(settings().queue_timeout_s, deadline.left_s)
            entry = held.enter_context(known.question(name, patience_s))
        if entry.answer is not None:
            told: dict[str, Any] = json.loads(entry.answer)
            return own | told | {"media": told["media"] | {"name": upload.name}, "cache": "hit"}
        used, told = _looked_at(upload, question, stages, deadline)
        if used.mark == model.mark:  # else it was replaced meanwhile
            entry.keep(json.dumps(told).encode())
        return own | told | {"cache": "miss"}


def _looked_at(
    upload: Upload, question: ClassifyRequest, stages: StageTimings, deadline: Deadline
) -> tuple[Model, dict[str, Any]]:
    connection = request.environ.get("gunicorn.socket")
    answer = pipeline().classify(upload.source, question, stages, deadline, connection)
    with stages.stage("answer"):
        return answer.model, answer_json(answer, upload)


def models_list() -> list[dict[str, Any]]:
    """Every model that answers, as the API shows it; raises NotReady."""
    return [model.facts(default=model.name == settings().model) for model in pipeline().health().models]


@blueprint.before_app_request
def _name_the_request() -> None:
    # nginx always sends one; 64 characters of another front are enough to find it in a log.
    told = request.headers.get("X-Request-Id", "")
    g.request_id = told[:64] if told.isascii() and told.isalnum() else secrets.token_hex(16)
    request_id.set(g.request_id)


@blueprint.post("/v1/classify")
@guard.takes_file
def classify() -> Response:
    told = classify_request()
    response = jsonify(told)
    response.headers["X-Clipstack-Cache"] = told["cache"]
    return response


@blueprint.get("/v1/models")
def models() -> Response:
    return jsonify(models=models_list())


@blueprint.get("/healthz")
@guard.open_to_all
def alive() -> Response:
    return jsonify(status="alive")


@blueprint.get("/readyz")
@guard.open_to_all
def ready() -> Response:
    """200 when the default model and every other one that can be served here answer a canary, and all workers are warm.

    Else 503, with what is missing.
    """
    health = pipeline().health()
    names = [model.name for model in health.models]
    silent, default = sorted(health.failing), settings().model
    if default not in names and not any(name.startswith(f"{default}@") for name in silent):
        silent.append(default)
    crew: WorkerRegistry = current_app.extensions["clipstack.crew"]
    lacking = [f"these models do not answer: {', '.join(silent)}"] if silent else []
    lacking += crew.lacking()
    if lacking:
        raise errors.NotReady("; ".join(lacking))
    told = {
        "workers": [{"decoders": each.decoders} for each in crew.living()],
        "left_out": health.unusable,
        "transports": pipeline().transports(),
        "decoding": pipeline().decoding(),
        "admission": pipeline().admission(),
    }
    return jsonify(status="ready", models=names, **told)


@blueprint.app_errorhandler(errors.ClipstackError)
def answer_error(error: errors.ClipstackError) -> Response:
    g.error_code = error.code
    response = jsonify(error={"code": error.code, "message": error.message, "request_id": g.request_id})
    response.status_code = error.status
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, errors.Unauthorized):
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


@blueprint.app_errorhandler(HTTPException)
def answer_http_error(error: HTTPException) -> Response:
    """Flask's own errors in our form."""
    for kind in (errors.NotFound, errors.MethodNotAllowed, errors.TooLarge):
        if error.code == kind.status:
            response = answer_error(kind(error.description or kind.code))
            break
    else:
        response = answer_error(errors.BadRequest(error.description or "the request is not valid"))
    for name, value in error.get_headers():
        if name.lower() == "allow":
            response.headers[name] = value
    return response


@blueprint.app_errorhandler(Exception)
def answer_surprise(error: Exception) -> Response:
    """Anything that we did not foresee: the log gets the story, the client a number to ask for."""
    log.exception("request %s failed", g.get("request_id", "-"), exc_info=error)
    return answer_error(errors.ClipstackError("the service made a mistake; it has been logged"))
