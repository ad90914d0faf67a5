"""The guard: a hook before every request. A view without a mark needs a key, so no view is public by mistake.

401 unauthorized          no key or an unknown one
403 csrf_failed           a change with the session's cookie and without the page's CSRF token
429 too_many_requests     the key's rate or its number of concurrent requests is exceeded
"""

import hmac
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, TypeVar
from urllib.parse import quote

from flask import Blueprint, Response, current_app, g, redirect, request
from flask.typing import ResponseReturnValue

from app.admission.queue import Lane
from app.auth.authenticator import Authenticator
from app.auth.keys import Key
from app.errors import CsrfFailed, Forbidden, Unauthorized
from app.parts import part

SAFE = ("GET", "HEAD", "OPTIONS")
MAX_READS = 32  # concurrent requests of one key without a file; each takes a few milliseconds
PAGE = "pages"  # the blueprint for people: without a session it redirects to the login form
CSRF_HEADER, CSRF_FIELD = "X-CSRF-Token", "csrf"

blueprint = Blueprint("gate", __name__)
View = TypeVar("View", bound=Callable[..., Any])


def public(view: View) -> View:
    """Mark a view that needs no key."""
    view.public = True  # type: ignore[attr-defined]
    return view


def takes_upload(view: View) -> View:
    """Mark a view that does costly work; it counts towards the key's rate and concurrency limits."""
    view.takes_upload = True  # type: ignore[attr-defined]
    return view


def streams_events(view: View) -> View:
    """Mark a view that streams for a long time; EventStreamLimiter counts it instead."""
    view.streams_events = True  # type: ignore[attr-defined]
    return view


def owner() -> str:
    """Return the id of the request's key, empty where no keys are required."""
    key: Key | None = g.get("key")
    return key.id if key else ""


def visible_owner() -> str | None:
    """Return the owner whose records the request may see; None for all, where no keys are required."""
    return owner() if part(Authenticator).required else None


def allowed_lanes() -> frozenset[Lane] | None:
    """Return the lanes that the request's key may use, None for all."""
    key: Key | None = g.get("key")
    return frozenset(lane for lane in Lane if key.may_use(lane.name.lower())) if key and key.lanes else None


def require_lane(lane: str) -> None:
    """Raise Forbidden if the request's key may not use `lane`."""
    key: Key | None = g.get("key")
    if key and not key.may_use(lane):
        raise Forbidden(f"this API key does not allow {lane} (allowed: {', '.join(key.lanes or ())})")


def count_upload() -> None:
    """Count a further upload of this request against the key's rate; raises TooManyRequests."""
    key: Key | None = g.get("key")
    if key:
        part(Authenticator).count(key)


def hold_upload() -> AbstractContextManager[None]:
    """Hold a place for a further upload of this request's key in the block; raises TooManyRequests on entry."""
    key: Key | None = g.get("key")
    return part(Authenticator).slot(key) if key else nullcontext()


def check_upload_csrf(fields: Mapping[str, str]) -> None:
    """Check the CSRF token of an upload form, whose fields cannot be read before it is parsed; raises CsrfFailed."""
    if g.pop("csrf_due", False):
        _check_csrf(fields.get(CSRF_FIELD, ""))


@blueprint.before_app_request
def _authenticate() -> ResponseReturnValue | None:
    """Authenticate the request and take its place in the key's quota; redirect people to the login form."""
    g.key = g.session = None
    authenticator, view = part(Authenticator), current_app.view_functions.get(request.endpoint or "")
    if not authenticator.required or request.endpoint == "static" or hasattr(view, "public"):
        return None
    try:
        g.key, g.session = authenticator.authenticate(request)
    except Unauthorized:
        if request.blueprint == PAGE:
            return redirect("/login" if request.path == "/" else f"/login?next={quote(request.path)}", 303)
        raise
    if g.session and request.method not in SAFE:
        if CSRF_HEADER not in request.headers and request.endpoint == "pages.answer":
            g.csrf_due = True
        else:
            _check_csrf(request.headers.get(CSRF_HEADER) or _form_token())
    g.quota = ExitStack()
    if request.method not in SAFE and hasattr(view, "takes_upload"):
        g.rate_state = authenticator.acquire(g.key, g.quota)
    elif not hasattr(view, "streams_events"):
        g.quota.enter_context(authenticator.quotas.slot(g.key.id, "read", MAX_READS))
    return None


def _form_token() -> str:
    """Return the CSRF token of a small form; other bodies are never read for it."""
    is_form = request.mimetype == "application/x-www-form-urlencoded"
    return request.form.get(CSRF_FIELD, "") if is_form else ""


def _check_csrf(token: str) -> None:
    """Raise CsrfFailed unless the token is the session's."""
    if not hmac.compare_digest(token.encode(), g.session.csrf.encode()):
        raise CsrfFailed("this page is out of date: reload it and try again")


@blueprint.teardown_app_request
def _release_quota(error: BaseException | None) -> None:
    """Release what the request holds of its key's quota."""
    quota: ExitStack | None = g.pop("quota", None)
    if quota is not None:
        quota.close()


def hold_quota_until_sent(stream: Iterator[str]) -> Iterator[str]:
    """Return `stream`, which keeps the request counted in its key's quota until it ends or is closed."""
    return held_until_sent(stream, g.pop("quota", None) or ExitStack())


def held_until_sent(stream: Iterator[str], held: ExitStack) -> Iterator[str]:
    """Return `stream`, which closes `held` when it ends or is closed."""

    def stream_and_release() -> Iterator[str]:
        with held:
            yield ""
            yield from stream

    result = stream_and_release()
    next(result)  # a generator that never started (HEAD) would never leave its `with`
    return result


@blueprint.after_app_request
def _add_headers(response: Response) -> Response:
    if rate_state := g.get("rate_state"):
        response.headers.update(rate_state.headers)
    if part(Authenticator).required:  # a browser must not show one key's cached responses to another key's owner
        response.vary.update(("Authorization", "X-API-Key", "Cookie"))
    return response
