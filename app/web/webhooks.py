"""HTTP views for webhooks: list the events of a key's jobs, send one again, try a receiver, show the secret."""

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, jsonify, request

from app.auth import guard
from app.auth.authenticator import Authenticator
from app.errors import Forbidden, InvalidParameter, NotReady, TooManyRequests, WebhookNotFound
from app.jobs.service import JobService
from app.jobs.storage.store import now, rfc3339
from app.jobs.webhooks import signing
from app.jobs.webhooks.events import new_test_message
from app.jobs.webhooks.hosts import AllowedHosts, RefusedUrl
from app.jobs.webhooks.outbox import Delivery, Outbox
from app.nodes.ids import id_pattern
from app.parts import part
from app.settings import Settings
from app.web import nodes
from app.web.params import choice, cursor, whole_number

MAX_LISTED = 500
MAX_TESTS = 5  # test events of one key that wait at the same time
MESSAGE = "string(minlength=36)"  # an id in an address, so that `test` and `secret` are none
STATES = ("pending", "delivered", "dead")
ANY = "any"
_CURSOR = re.compile(rf"([0-9]{{1,12}}\.[0-9]{{1,9}})~(msg_{id_pattern(32)})")

blueprint = Blueprint("webhooks", __name__)


def callback_url(params: Mapping[str, str]) -> str:
    """Return the parameter `callback_url`, empty when it is absent; raises InvalidParameter."""
    url = params.get("callback_url", "")
    if url:
        try:
            AllowedHosts(part(Settings).webhooks).check(url)
        except RefusedUrl as error:
            raise InvalidParameter(f"callback_url: {error}") from None
    return url


def _outbox() -> Outbox:
    return part(JobService).folder.outbox


def _find(identity: str) -> Delivery:
    event = _outbox().find(identity, guard.visible_owner())
    if event is None:
        raise WebhookNotFound("there is no such webhook; it may have been removed")
    return event


@blueprint.get("/v1/webhooks")
def newest() -> Response:
    """List the newest events, or those in one state: the dead ones are the dead-letter list."""
    limit = whole_number(request.args, "limit", 50, MAX_LISTED)
    state = choice(request.args, "state", ANY, (*STATES, ANY))
    match = cursor(request.args, _CURSOR)
    before = (float(match[1]), match[2]) if match else None
    events = _outbox().newest(limit, guard.visible_owner(), None if state == ANY else state, before)
    last = events[-1] if len(events) == limit else None
    following = last and f"{last.occurred!r}~{last.id}"
    page = nodes.Page("webhooks", [_record(event) for event in events], following, limit)
    return jsonify(nodes.with_other_nodes(page, lambda event: (_seconds(event["created"]), event["id"])))


@blueprint.get(f"/v1/webhooks/<{MESSAGE}:identity>")
def show(identity: str) -> Response:
    """Show one event."""
    return jsonify(_record(_find(identity)))


@blueprint.post(f"/v1/webhooks/<{MESSAGE}:identity>/retry")
def retry(identity: str) -> tuple[Response, int]:
    """Send one event again, whatever became of it."""
    _outbox().retry(_find(identity).id)
    return jsonify(_record(_find(identity))), 202


@blueprint.post("/v1/webhooks/test")
def test() -> tuple[Response, int]:
    """Send a test event to a receiver, once."""
    url, owner, outbox = callback_url(request.args), guard.owner(), _outbox()
    if not url:
        raise InvalidParameter("callback_url is missing: name the receiver to try")
    if outbox.pending_tests(owner) >= MAX_TESTS:
        raise TooManyRequests(f"{MAX_TESTS} test events wait already: wait for their attempts", 5)
    message = new_test_message(owner, url, now(), part(Settings).node)
    outbox.add([message])
    return jsonify(_record(_find(message.id))), 202


@blueprint.get("/v1/webhooks/secret")
def secret() -> Response:
    """Show the secret of the request's key, with which its receivers check signatures."""
    if not part(Authenticator).required:
        raise Forbidden("without API keys every client could read it: the operator finds it in the data folder")
    try:
        keys = signing.read(part(Settings).webhook_secret_path)
    except signing.InvalidSecret:
        raise NotReady("webhooks have no secret on this service: its operator sets CLIPSTACK_WEBHOOKS") from None
    response = jsonify(secret=signing.of_owner(keys[0], guard.owner()))
    response.headers["Cache-Control"] = "no-store"
    return response


def _record(event: Delivery) -> dict[str, Any]:
    is_pending = event.state == "pending"
    return {
        "id": event.id,
        "type": event.type,
        "job": event.job or None,
        "url": event.url,
        "state": event.state,
        "created": _time(event.occurred),
        "attempts": event.attempts,
        "next_attempt": _time(max(event.due, time.time())) if is_pending else None,
        "ended": None if is_pending else _time(event.changed),
        "status": event.status,
        "error": event.error,
    }


def _time(seconds: float) -> str:
    return rfc3339(datetime.fromtimestamp(seconds, UTC))


def _seconds(time: str) -> float:
    """Return the inverse of `_time`, exact because events have whole milliseconds."""
    return datetime.fromisoformat(time).timestamp()
