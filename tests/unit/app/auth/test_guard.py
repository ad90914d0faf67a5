"""The guard, without a server: every route, each way to send a key, and sessions with their forms."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient

from app import create_app
from app.auth import guard, store
from app.auth.key_check import check_key
from app.auth.keys import Key
from app.errors import Overloaded
from app.settings import Settings
from app.web.job_events import EventStreamLimiter
from tests.support.open_routes import OPEN, requests_of


def made(tmp_path: Path, **settings: str) -> Flask:
    token = {"keys": "required", "run_dir": str(tmp_path), **settings}
    settings_of = Settings.from_environment({f"CLIPSTACK_{name.upper()}": value for name, value in token.items()})
    (tmp_path / "uploads").mkdir()
    (settings_of.data_dir / "jobs").mkdir(parents=True)
    return create_app(settings_of)


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return made(tmp_path)


@pytest.fixture
def client(app: Flask) -> Iterator[FlaskClient]:
    with app.test_client() as client:
        yield client


def key(app: Flask, name: str = "alice", **limits: object) -> str:
    wanted = Key("", name, "", "", **limits)  # type: ignore[arg-type]
    return store.create(app.extensions["Settings"].keys_file, wanted)[1]


PASSED_HEADERS = (204, {"X-Key-Check": "passed"})


def checked(app: Flask, headers: dict[str, str]) -> tuple[int, Mapping[str, str]]:
    """Return the key check's answer to nginx for an upload with these headers."""
    return check_key(app.extensions["Authenticator"], app.test_request_context(headers=headers).request)


def test_every_protected_route_needs_a_key(app: Flask, client: FlaskClient) -> None:
    for method, path, endpoint in requests_of(app):
        answer = client.open(path, method=method, buffered=True)
        if endpoint in OPEN:
            assert answer.status_code not in (401, 403) or endpoint == "login.login", path
        elif endpoint.startswith(("pages.", "reference.")) and not path.startswith("/v1/"):
            login = "/login" if path == "/" else f"/login?next={path}"
            assert (answer.status_code, answer.headers["Location"]) == (303, login), path
        else:
            assert (answer.status_code, answer.headers.get("WWW-Authenticate")) == (401, "Bearer"), (method, path)
            assert method == "HEAD" or answer.json["error"]["code"] == "unauthorized"


@pytest.mark.parametrize("path", ["/nothing", "/v1", "/v1/jobs/x/y/z", "/v1/classify?key=1"])
def test_unknown_paths_need_a_key_too(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer {}"},
        {"Authorization": "bearer {}"},
        {"X-API-Key": "{}"},
        {"Authorization": "Basic abc", "X-API-Key": "{}"},
    ],
    ids=str,
)
def test_ways_to_send_a_key(app: Flask, client: FlaskClient, headers: dict[str, str]) -> None:
    text = key(app)
    # Past the guard the request fails, because no worker runs
    shown = {name: value.format(text) for name, value in headers.items()}
    assert client.get("/v1/models", headers=shown).status_code == 503


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "{}"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer {}x"},
        {"Authorization": "Bearer x", "X-API-Key": "{}"},
        {"Authorization": "Basic {}"},
        {"Cookie": "clipstack={}"},
        {"X-Api-Key": "{0},{0}"},
    ],
    ids=str,
)
def test_invalid_keys(app: Flask, client: FlaskClient, headers: dict[str, str]) -> None:
    text = key(app)
    answer = client.get("/v1/models", headers={name: value.format(text) for name, value in headers.items()})
    assert answer.status_code == 401
    assert text not in answer.text


def test_without_keys_all_is_open(tmp_path: Path) -> None:
    client = made(tmp_path, keys="auto").test_client()
    assert (client.get("/v1/models").status_code, client.get("/v1/jobs").status_code) == (503, 200)
    assert client.get("/login").headers["Location"] == "/"


def test_rate_limit_of_key_is_429_with_retry_after(app: Flask, client: FlaskClient) -> None:
    shown = {"X-API-Key": key(app, rate=0.2, burst=2)}
    answers = [client.post("/v1/classify", headers=shown) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [400, 400, 429]
    assert answers[2].json["error"]["code"] == "too_many_requests"
    assert answers[2].headers["Retry-After"] in ("4", "5")
    assert client.get("/v1/jobs", headers=shown).status_code == 200, "only files count"
    assert client.post("/v1/classify", headers={"X-API-Key": key(app, "bob")}).status_code == 400
    assert answers[2].headers["RateLimit-Policy"] == '"files";q=2;w=10'
    status, headers = checked(app, shown | {"X-Asked-Method": "POST"})
    assert (status, headers["X-Come-Back"]) == (403, "5")
    assert headers["X-Refusal"] == "this key may send 0.2 files per second: retry in 5 s"
    assert checked(app, shown) == PASSED_HEADERS


def test_a_damaged_file_of_keys_is_503(app: Flask, client: FlaskClient) -> None:
    shown = {"X-API-Key": key(app)}
    app.extensions["Settings"].keys_file.write_text("{")
    assert client.get("/v1/models", headers=shown).json["error"]["code"] == "unavailable"
    assert client.get("/healthz", headers=shown).status_code == 200
    assert checked(app, shown | {"X-Asked-Method": "POST"}) == (503, {})


def test_a_key_may_be_kept_from_jobs(app: Flask, client: FlaskClient) -> None:
    answer = client.post("/v1/jobs", headers={"X-API-Key": key(app, lanes=("picture", "short"))}, data=b"x")
    assert (answer.status_code, answer.json["error"]["code"]) == (403, "forbidden")


# ---- sessions


def token_of(page: str) -> str:
    match = re.search(r'name="csrf" value="([^"]+)"', page)
    assert match
    return match[1]


def log_in(client: FlaskClient, text: str) -> None:
    form = {"csrf": token_of(client.get("/login").text), "key": text}
    answer = client.post("/login", data=form)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/"), answer.text


@pytest.mark.parametrize("tls", [False, True])
def test_session_cookie_is_protected(tmp_path: Path, tls: bool) -> None:
    app = made(tmp_path, **({"tls_cert": "/c", "tls_key": "/k"} if tls else {}))
    text = key(app)
    with app.test_client() as client:
        form = {"csrf": token_of(client.get("/login", base_url="https://localhost").text), "key": f" {text}\n"}
        answer = client.post("/login", data=form, base_url="https://localhost")
        cookie = next(item for item in answer.headers.getlist("Set-Cookie") if "clipstack_login" not in item)
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Max-Age=43200" in cookie
        assert ("Secure" in cookie, cookie.startswith("__Host-clipstack=")) == (tls, tls)
        assert text.rpartition("_")[2] not in cookie and text.rpartition("_")[2] not in answer.text
        page = client.get("/", base_url="https://localhost")
        assert page.status_code == 200 and "csrf-token" in page.text


def test_session_needs_the_page_token_for_changes(app: Flask, client: FlaskClient) -> None:
    log_in(client, key(app))
    token = token_of(client.get("/").text)
    job = "/v1/jobs/" + "0" * 24
    for headers in ({}, {"X-CSRF-Token": "x"}, {"X-CSRF-Token": token[:-1]}):
        answer = client.delete(job, headers=headers)
        assert (answer.status_code, answer.json["error"]["code"]) == (403, "csrf_failed")
        assert client.post("/v1/classify", headers=headers).status_code == 403
    assert client.delete(job, headers={"X-CSRF-Token": token}).status_code == 404
    assert client.get("/v1/jobs").status_code == 200


def test_form_without_script_carries_token_too(app: Flask, client: FlaskClient) -> None:
    log_in(client, key(app))
    token = token_of(client.get("/").text)

    def sent(**fields: str) -> tuple[int, bool]:
        content = "".join(
            f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
        )
        file = '--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\nxxxx\r\n--b--\r\n'
        answer = client.post("/", data=content + file, content_type="multipart/form-data; boundary=b")
        return answer.status_code, 'data-code="csrf_failed"' in answer.text

    assert sent() == (403, True)
    assert sent(csrf="x") == (403, True)
    assert sent(csrf=token)[1] is False


def test_a_session_ends_with_a_log_out(app: Flask, client: FlaskClient) -> None:
    log_in(client, key(app))
    token = token_of(client.get("/").text)
    cookie = client.get_cookie("clipstack")
    assert cookie is not None
    assert client.post("/logout").status_code == 403, "logout needs the token"
    assert client.post("/logout", data={"csrf": token}).headers["Location"] == "/login"
    assert client.get_cookie("clipstack") is None
    client.set_cookie("clipstack", cookie.value)
    assert client.get("/v1/jobs").status_code == 401, "the cookie is invalid after logout"


@pytest.mark.parametrize("how", [store.revoke, store.rotate])
def test_a_session_ends_with_its_key(app: Flask, client: FlaskClient, how: object) -> None:
    log_in(client, key(app))
    assert client.get("/v1/jobs").status_code == 200
    how(app.extensions["Settings"].keys_file, "alice")  # type: ignore[operator]
    assert client.get("/v1/jobs").status_code == 401


def test_key_in_request_counts_before_cookie(app: Flask, client: FlaskClient) -> None:
    log_in(client, key(app))
    assert client.get("/v1/jobs", headers={"X-API-Key": "clipstack_x"}).status_code == 401
    bob = key(app, "bob")
    answer = client.delete("/v1/jobs/" + "0" * 24, headers={"X-API-Key": bob})
    assert answer.status_code == 404, "a request with a key needs no token of a page"


def test_login_from_another_site_is_refused(app: Flask, client: FlaskClient) -> None:
    text, token = key(app), token_of(client.get("/login").text)
    assert client.post("/login", data={"key": text, "csrf": "x"}).status_code == 403
    assert client.post("/login", data={"key": text}).status_code == 403
    client.delete_cookie("clipstack_login")
    assert client.post("/login", data={"key": text, "csrf": token}).status_code == 403
    assert client.get_cookie("clipstack") is None


def test_wrong_key_is_reported_and_not_shown(app: Flask, client: FlaskClient) -> None:
    form = {"csrf": token_of(client.get("/login").text), "key": "clipstack_<b>wrong"}
    answer = client.post("/login", data=form)
    assert answer.status_code == 401 and "not known" in answer.text and "wrong" not in answer.text


def test_key_may_use_half_of_the_event_streams() -> None:
    watchers = EventStreamLimiter(4)
    greedy = [watchers.hold(iter(["news"]), "greedy") for _ in range(2)]
    with pytest.raises(Overloaded):
        watchers.hold(iter([]), "greedy")
    modest = [watchers.hold(iter([]), "modest") for _ in range(2)]
    with pytest.raises(Overloaded):
        watchers.hold(iter([]), "third")
    for stream in (*greedy, *modest):
        list(stream)
    assert list(watchers.hold(iter(["news"]), "greedy")) == ["news"]


def test_unread_stream_frees_its_place() -> None:
    limiter = EventStreamLimiter(2)
    for _ in range(5):
        unread = limiter.hold(iter(["news"]), "one")
        unread.close()  # type: ignore[attr-defined]
        limiter.hold(iter(["news"]), "one")  # nothing keeps a reference
    assert list(limiter.hold(iter(["news"]), "one")) == ["news"]


def test_streamed_response_counts_for_its_key(app: Flask, client: FlaskClient) -> None:
    @app.get("/stream")
    def stream() -> Response:
        return Response(guard.hold_quota_until_sent(iter(["more", "and more"])))

    headers = {"X-API-Key": key(app)}
    for _ in range(2 * guard.MAX_READS):
        client.head("/stream", headers=headers).close()
    unread = [client.get("/stream", headers=headers) for _ in range(guard.MAX_READS)]
    assert {answer.status_code for answer in unread} == {200}
    assert client.get("/stream", headers=headers).status_code == 429
    assert unread.pop().text == "moreand more"
    for answer in unread:
        answer.close()
    assert client.get("/stream", headers=headers, buffered=True).status_code == 200
