"""The gate: one hook before every request. A view that says nothing needs a key, so that none is open by mistake.

401 unauthorized          no key, or none that is known
403 csrf_failed           a change asked for with the session's cookie, and without the token of its page
429 too_many_requests     more than the key's rate, or more at a time than it may have
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, TypeVar

from flask import Blueprint, Response, current_app, g, redirect, request
from flask.typing import ResponseReturnValue

from app.admission.queue import Lane
from app.auth.authenticator import Authenticator
from app.auth.keys import Key
from app.errors import CsrfFailed, Forbidden, Unauthorized

SAFE = ("GET", "HEAD", "OPTIONS")
MOST_READS = 32  # requests of one key that send no file, at the same time; each takes a few milliseconds
PAGES = ("pages", "reference")  # for people: those without a session are shown where they get one
CSRF_HEADER, CSRF_FIELD = "X-CSRF-Token", "csrf"

blueprint = Blueprint("gate", __name__)
View = TypeVar("View", bound=Callable[..., Any])


def open_to_all(view: View) -> View:
    """Marks a view that needs no key."""
    view.open_to_all = True  # type: ignore[attr-defined]
    return view


def takes_file(view: View) -> View:
    """Marks a view that does costly work: it counts towards the key's rate and its requests at a time."""
    view.takes_file = True  # type: ignore[attr-defined]
    return view


def follows(view: View) -> View:
    """Marks a view that answers for a long time: who holds its place is counted there."""
    view.follows = True  # type: ignore[attr-defined]
    return view


def access() -> Authenticator:
    """This worker's."""
    found: Authenticator = current_app.extensions["clipstack.access"]
    return found


def owner() -> str:
    """Id of the key that this request came with, empty where no keys are asked for."""
    key: Key | None = g.get("key")
    return key.id if key else ""


def allowed_lanes() -> frozenset[Lane] | None:
    """The lanes that this request's key may use, None for all."""
    key: Key | None = g.get("key")
    return frozenset(lane for lane in Lane if key.may_use(lane.name.lower())) if key and key.lanes else None


def allow(lane: str) -> None:
    """Raises Forbidden when this request's key may not use that lane."""
    key: Key | None = g.get("key")
    if key and not key.may_use(lane):
        raise Forbidden(f"this key is not for {lane}: it is for {', '.join(key.lanes or ())}")


def settle_csrf(fields: Mapping[str, str]) -> None:
    """For the view of a form with a file, whose fields nobody could read before; raises CsrfFailed."""
    if g.pop("csrf_due", False):
        _check_csrf(fields.get(CSRF_FIELD, ""))


@blueprint.before_app_request
def _let_in() -> ResponseReturnValue | None:
    g.key = g.session = None
    known, view = access(), current_app.view_functions.get(request.endpoint or "")
    if not known.required or request.endpoint == "static" or hasattr(view, "open_to_all"):
        return None
    try:
        g.key, g.session = known.who(request)
    except Unauthorized:
        if request.blueprint in PAGES:
            return redirect("/login", 303)
        raise
    if g.session and request.method not in SAFE:
        if CSRF_HEADER not in request.headers and request.endpoint == "pages.answer":
            g.csrf_due = True
        else:
            _check_csrf(request.headers.get(CSRF_HEADER) or request.form.get(CSRF_FIELD, ""))
    g.held = ExitStack()
    if request.method not in SAFE and hasattr(view, "takes_file"):
        known.take(g.key, g.held)
    elif not hasattr(view, "follows"):
        g.held.enter_context(known.quotas.seat(g.key.id, "read", MOST_READS))
    return None


def _check_csrf(told: str) -> None:
    if not hmac.compare_digest(told.encode(), g.session.csrf.encode()):
        raise CsrfFailed("this page is out of date: reload it and try again")


@blueprint.teardown_app_request
def _give_back(error: BaseException | None) -> None:
    held: ExitStack | None = g.pop("held", None)
    if held is not None:
        held.close()


def held_until_sent(stream: Iterator[str]) -> Iterator[str]:
    """Return the stream of an answer; until its end the request counts as one of those that its key may have."""
    held: ExitStack = g.pop("held", None) or ExitStack()

    def counted() -> Iterator[str]:
        with held:
            yield ""
            yield from stream

    counted_stream = counted()
    next(counted_stream)  # a generator that was never started, as for HEAD, would never leave its `with`
    return counted_stream


@blueprint.after_app_request
def _for_this_key_alone(response: Response) -> Response:
    if access().required:  # a browser must not show to one key's owner what it kept for another's
        response.vary.update(("Authorization", "X-API-Key", "Cookie"))
    return response
