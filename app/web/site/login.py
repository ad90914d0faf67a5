"""Login to and logout from the web page with an API key."""

import hmac
import re
import secrets
from collections.abc import Mapping

from flask import Blueprint, Response, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response as BaseResponse

from app.auth.authenticator import Authenticator
from app.auth.guard import public
from app.auth.sessions import LIFETIME_S
from app.errors import ClipstackError
from app.parts import part
from app.web.site import formatting
from app.web.site.pages import static_url

LOGIN_COOKIE = "clipstack_login"
LOGIN_S = 600
_LOCAL_PATH = re.compile(r"/(?:[a-z][a-z0-9/._-]{0,100})?")  # `//name` would be another host

blueprint = Blueprint("login", __name__)


@blueprint.get("/login")
@public
def form() -> ResponseReturnValue:
    """Show the login form; redirect to / when no login is needed."""
    authenticator = part(Authenticator)
    if not authenticator.required or authenticator.session(request.cookies):
        return redirect(_next(request.args), 303)
    return _form()


@blueprint.post("/login")
@public
def login() -> ResponseReturnValue:
    """Start a session for the key in the form.

    The form carries its own CSRF token: without it another site could log a person in with somebody else's key.
    """
    authenticator = part(Authenticator)
    form_token, cookie_token = request.form.get("csrf", ""), request.cookies.get(LOGIN_COOKIE, "")
    if not cookie_token or not hmac.compare_digest(form_token.encode(), cookie_token.encode()):
        return _form("This form was open for too long, or your browser takes no cookies. Please try again.", 403)
    try:
        key = authenticator.keys.find(request.form.get("key", "").strip())
    except ClipstackError as error:
        return _form(formatting.sentence(error.message), error.status)
    if key is None:
        return _form("This key is not known here. Was all of it copied, or has it been revoked?", 401)
    authenticator.sessions.remove(request.cookies.get(authenticator.cookie, ""))
    response = redirect(_next(request.form), 303)
    _set(response, authenticator.cookie, authenticator.sessions.create(key), int(LIFETIME_S))
    response.delete_cookie(LOGIN_COOKIE)
    return response


@blueprint.post("/logout")
def logout() -> ResponseReturnValue:
    """End the session and redirect to the login form."""
    authenticator = part(Authenticator)
    authenticator.sessions.remove(request.cookies.get(authenticator.cookie, ""))
    response = redirect("/login", 303)
    response.delete_cookie(authenticator.cookie, secure=authenticator.secure, httponly=True, samesite="Strict")
    return response


def _next(params: Mapping[str, str]) -> str:
    """Return the page to show after the login: a path of this service, `/` for anything else."""
    path = params.get("next", "/")
    return path if _LOCAL_PATH.fullmatch(path) else "/"


def _form(message: str = "", status: int = 200) -> Response:
    """Return the login form with a new CSRF token, and the error `message` where there is one."""
    token = secrets.token_urlsafe(24)
    page = render_template("login.html", message=message, token=token, next=_next(request.values), static=static_url)
    response = make_response(page, status)
    response.headers["Cache-Control"] = "no-store"
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    _set(response, LOGIN_COOKIE, token, LOGIN_S)
    return response


def _set(response: BaseResponse, name: str, value: str, age_s: int) -> None:
    """Set a cookie that scripts cannot read and that requests from other sites do not carry."""
    secure = part(Authenticator).secure
    response.set_cookie(name, value, max_age=age_s, path="/", httponly=True, samesite="Strict", secure=secure)
