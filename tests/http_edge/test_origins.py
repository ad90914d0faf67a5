"""Requests that a page of another site makes a browser send: foreign hosts and origins."""

from __future__ import annotations

from deploy.stack.stack import Stack
from tests.http_edge.conftest import MAX_UPLOAD_MB
from tests.http_edge.connections import exchange
from tests.http_edge.response_checks import QUICK_S, ResponseCheck
from tests.http_edge.test_defence import get

# The body is never sent; without "close" nginx would wait five seconds for it
LARGE = (f"Content-Length: {MAX_UPLOAD_MB << 19}", "Connection: close")

FOREIGN_HOSTS = (
    "attacker.example", "attacker.example:8080", "127.0.0.1.attacker.example", "localhost.attacker.example", "127.1",
    "127.0.0.1.", "2130706433", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]", "192.0.2.1", "xx", "x.y", "_",
)  # fmt: skip
OWN_HOSTS = ("127.0.0.1", "127.255.0.9:1", "localhost", "LOCALHOST:8080", "[::1]", "[::1]:8080", "x", "y.example:1")


def _of(host: str, method: str = "GET", path: str = "/v1/models", *headers: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode()


def test_hosts(check_response: ResponseCheck, edge: Stack) -> None:
    for host in FOREIGN_HOSTS:
        trailing = host == "127.0.0.1."  # the same name, by its full spelling
        check_response(_of(host), "200" if trailing else "421 unknown_host", within_s=QUICK_S, what="GET")
    for path in ("/", "/static/page.css", "/healthz", "/metrics", "/v1/jobs", "/login", "/nothing"):
        check_response(_of(FOREIGN_HOSTS[0], "GET", path), "421 unknown_host", app=(0,), what="any address")
    check_response(
        _of(FOREIGN_HOSTS[0], "POST", "/v1/classify", *LARGE), "421 unknown_host", app=(0,), what="an upload"
    )
    absolute = b"GET http://attacker.example/v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    check_response(absolute, "421 unknown_host", app=(0,), what="in the address")
    for host in OWN_HOSTS:
        check_response(_of(host), "200", what="own")
    check_response(b"GET /healthz HTTP/1.0\r\n\r\n", "200", what="HTTP/1.0 without a host", closed=True)


def test_pages_of_other_sites(check_response: ResponseCheck, edge: Stack) -> None:
    port = edge.settings.port
    own, host = f"http://127.0.0.1:{port}", f"127.0.0.1:{port}"
    foreign = [
        ["Origin: null"], ["Origin: http://attacker.example"], [f"Origin: http://attacker.example:{port}"],
        ["Origin: http://127.0.0.1"], [f"Origin: http://127.0.0.1:{port + 1}"], [f"Origin: ftp://127.0.0.1:{port}"],
        [f"Origin: {own}.attacker.example"], [f"Origin: {own} http://attacker.example"], [f"Origin: {own}/"],
        [f"Origin: http://x@127.0.0.1:{port}"], ["Origin: http://y.example"], ["Origin: https://y.example:844"],
        ["Sec-Fetch-Site: cross-site"], ["Sec-Fetch-Site: same-site"], ["Sec-Fetch-Site: what is this"],
        [f"Origin: {own}", "Sec-Fetch-Site: cross-site"], ["Origin: http://attacker.example", "Sec-Fetch-Site: none"],
    ]  # fmt: skip
    for headers in foreign:
        sent = _of(host, "POST", "/v1/classify", *LARGE, *headers)
        check_response(sent, "403 cross_site", within_s=QUICK_S, app=(0,), what="POST")
    for method, path in (
        ("DELETE", "/v1/jobs/0"),
        ("PUT", "/v1/jobs"),
        ("PATCH", "/"),
        ("POST", "/"),
        ("POST", "/login"),
    ):
        sent = _of(host, method, path, "Content-Length: 0", "Origin: http://attacker.example")
        check_response(sent, "403 cross_site", within_s=QUICK_S, app=(0,), what=f"{method} {path}")
    for origin in (own, f"HTTP://127.0.0.1:{port}", f"https://127.0.0.1:{port}", "https://y.example:8443"):
        for headers in ([], ["Sec-Fetch-Site: same-origin"], ["Sec-Fetch-Site: none"]):
            sent = _of(host, "DELETE", "/v1/jobs/0", "Content-Length: 0", f"Origin: {origin}", *headers)
            check_response(sent, "404 job_not_found", what="own pages")
    check_response(_of(host, "DELETE", "/v1/jobs/0", "Content-Length: 0"), "404 job_not_found", what="a program")
    foreign_get = get("/v1/models", "Origin: http://attacker.example", "Sec-Fetch-Site: cross-site")
    reply = exchange(edge.url, foreign_get)
    readable = [name for name in reply.answer.headers if name.startswith("access-control")]
    assert reply.answer.status == 200 and not readable, f"a page of another site cannot read an answer: {readable}"


PAGE = "http://page.example"


def cors(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("access-control-") or name == "vary"}


def test_pages_of_listed_origins_may_call_the_api(check_response: ResponseCheck, edge: Stack) -> None:
    for headers in ([], ["Sec-Fetch-Site: cross-site"], ["Sec-Fetch-Site: same-site"]):
        sent = _of("x", "DELETE", "/v1/jobs/0", "Content-Length: 0", f"Origin: {PAGE}", *headers)
        check_response(sent, "404 job_not_found", what="listed")
    for method, path in (("POST", "/"), ("POST", "/login"), ("PUT", "/static/page.css")):
        sent = _of("x", method, path, "Content-Length: 0", f"Origin: {PAGE}", "Sec-Fetch-Site: cross-site")
        check_response(sent, "403 cross_site", app=(0,), what="pages are for people")
    for origin in ("https://page.example", f"{PAGE}:81", f"{PAGE}.attacker.example", "http://sub.page.example", "null"):
        sent = _of("x", "DELETE", "/v1/jobs/0", "Content-Length: 0", f"Origin: {origin}")
        check_response(sent, "403 cross_site", app=(0,), what="not listed")


def test_listed_origins_can_read_answers_and_errors(edge: Stack) -> None:
    for sent, status in (
        (_of("x", "GET", "/v1/models", f"Origin: {PAGE}"), 200),
        (_of("x", "GET", "/healthz", f"Origin: {PAGE}"), 200),
        (_of("x", "GET", "/v1/nothing", f"Origin: {PAGE}"), 404),
        (_of("attacker.example", "GET", "/v1/models", f"Origin: {PAGE}"), 421),
        (_of("x", "TRACE", "/v1/models", f"Origin: {PAGE}"), 405),
        (_of("x", "POST", "/v1/classify", f"Origin: {PAGE}", f"Content-Length: {MAX_UPLOAD_MB << 21}"), 413),
    ):
        answer = exchange(edge.url, sent).answer
        allowed = cors(answer.headers)
        assert answer.status == status
        assert (allowed["access-control-allow-origin"], allowed["vary"]) == (PAGE, "Origin")
        assert "Retry-After" in allowed["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in allowed
    for path, origin in (("/v1/models", "http://other.example"), ("/", PAGE), ("/login", PAGE), ("/metrics", PAGE)):
        allowed = cors(exchange(edge.url, _of("x", "GET", path, f"Origin: {origin}")).answer.headers)
        assert "access-control-allow-origin" not in allowed, path


def test_preflights(edge: Stack) -> None:
    asks = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization")
    answer = exchange(edge.url, _of("x", "OPTIONS", "/v1/classify", f"Origin: {PAGE}", *asks)).answer
    allowed = cors(answer.headers)
    assert (answer.status, allowed["access-control-allow-origin"]) == (204, PAGE)
    assert (
        "POST" in allowed["access-control-allow-methods"] and "Authorization" in allowed["access-control-allow-headers"]
    )
    assert int(allowed["access-control-max-age"]) > 0
    for path, headers in (
        ("/v1/classify", ["Origin: http://other.example", *asks]),
        ("/login", [f"Origin: {PAGE}", *asks]),
        ("/v1/classify", list(asks)),
    ):
        allowed = cors(exchange(edge.url, _of("x", "OPTIONS", path, *headers)).answer.headers)
        assert "access-control-allow-origin" not in allowed and "access-control-allow-methods" not in allowed, path
