"""Request smuggling: internal headers, second requests, paths to other files."""

from __future__ import annotations

import re
import time

import pytest

from app.web.headers import KNOWN, OF_NGINX, variable
from deploy.stack.stack import Stack
from tests.http_edge.connections import everything, exchange, statuses
from tests.http_edge.request_tap import Tap
from tests.http_edge.requests import post
from tests.support.stacks import until

SECRET = "spoofed7f3a"
INTERNAL = [
    *sorted(OF_NGINX), "X-Forwarded-Host", "Forwarded", "Proxy", "Script-Name", "Path-Info", "Remote-User", "X-Real-Ip",
    "X-Internal-User", "X-Original-Url", "X-Accel-Redirect", "X-Sendfile",
]  # fmt: skip
LOGGED_S = 1.5  # each of nginx's workers writes its lines within a second (nginx/conf.d/log.conf)
SPELLINGS = (str, str.lower, lambda name: name.replace("-", "_").upper(), lambda name: name.replace("-", "_", 1))
HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


def web_log(stack: Stack) -> str:
    return (stack.run_dir / "logs" / "web.log").read_text(errors="replace")


def test_internal_headers(edge: Stack, tap: Tap) -> None:
    forged = [f"{spell(name)}: {SECRET}" for name in INTERNAL for spell in SPELLINGS]
    for path, body in (("/v1/models", b""), ("/v1/classify", b"a text"), ("/", b"a text"), ("/v1/jobs", b"a text")):
        before = len(tap)
        sent = post(path, body, *forged[:90]) if body else f"GET {path} HTTP/1.1\r\nHost: x\r\n".encode()
        sent = sent if body else sent + "\r\n".join([*forged[:90], "", ""]).encode()
        reply = exchange(edge.url, sent)
        mine = [item for item in tap.requests[before:] if SECRET.encode() in item or path.encode() in item][:1]
        assert len(mine) == 1, f"{path}: {reply.answer.status}, seen once"
        assert not (believed(mine[0]) & KNOWN), "nginx's own headers have no value of the client"
        request_id = reply.answer.headers["x-request-id"]
        until(lambda request_id=request_id: f"request {request_id}" in web_log(edge), 5)
        line = next(line for line in web_log(edge).splitlines() if f"request {request_id}" in line)
        seen = set(re.findall(r"HTTP_\w+", line))
        assert bool(seen) and seen <= KNOWN, "the app sees only known headers"
    assert len(forged) == len(INTERNAL) * len(SPELLINGS), f"{len(INTERNAL)} names in {len(SPELLINGS)} spellings"
    assert SECRET not in web_log(edge), "no value of theirs in web's log"


def believed(request: bytes) -> set[str]:
    """Return the names of a WSGI environment that have the client's value."""
    lines = request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    return {variable(line.partition(":")[0]) for line in lines if SECRET in line}


class Watch:
    """Send a case and count the answers and the requests that it became."""

    def __init__(self, stack: Stack, tap: Tap) -> None:
        self.stack, self.tap = stack, tap
        self.cases = 0

    def __call__(self, what: str, sent: bytes, most: int = 1, app: int = 1) -> list[int]:
        """Check for at most `most` answers, and `app` requests at the app."""
        self.cases += 1
        before = len(self.tap)
        answers = statuses(everything(self.stack.url, sent, 0.5))
        reached = len(self.tap) - before
        if len(answers) > most or reached > app:
            pytest.fail(f"{what!r}: answers {answers}, requests at the app {reached}")
        return answers

    def end(self) -> None:
        second = [request for request in self.tap.requests if request.startswith(b"GET /smuggled")]
        assert self.cases > 0, f"{self.cases} cases"
        assert not second, f"second requests that reached the app: {len(second)}"
        time.sleep(LOGGED_S)
        log = (self.stack.run_dir / "logs" / "nginx-access.log").read_text(errors="replace")
        assert '"path":"/smuggled"' not in log, "none in nginx's log"
        assert "'/smuggled'" not in web_log(self.stack), "none in web's log"


@pytest.fixture
def watch(edge: Stack, tap: Tap) -> Watch:
    return Watch(edge, tap)


DISGUISES = (
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding:\tchunked",
    b" Transfer-Encoding: chunked",
    b"X-A: b\r\n Transfer-Encoding: chunked",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: \x0bchunked",
    b"transfer_encoding: chunked",
    b"X-A: b\nTransfer-Encoding: chunked",
    b'Transfer-Encoding: "chunked"',
)


def test_disguises(watch: Watch) -> None:
    body = b"0\r\n\r\n" + HIDDEN
    for path in (b"/v1/classify", b"/v1/models"):
        for disguise in DISGUISES:
            length = b"Content-Length: %d\r\n" % len(body)
            for lines in (length + disguise + b"\r\n", disguise + b"\r\n" + length):
                # Only the spelling that is another header may reach the app
                app = 1 if b"_" in disguise else 0
                answers = watch(
                    disguise.decode("latin-1"),
                    b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n" + body,
                    app=app,
                )
                if not app and (not answers or answers[0] not in (400, 501)):
                    pytest.fail(f"{disguise!r}: {answers}")
            # TE.CL: the length covers only the head of the first chunk
            chunk = b"%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n"
            lines = disguise + b"\r\nContent-Length: 4\r\n\r\n"
            if b"_" not in disguise:
                watch(disguise.decode("latin-1"), b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n" + lines + chunk, app=0)
    watch.end()


HEADERS = (
    b"X-A: a\0b",
    b"X-\0A: a",
    b"X-A : a",
    b"X A: a",
    b"X-A: a\r\n b",
    b"X-A: a\r\n\tb",
    b": a",
    b"X-A: a\rGET /smuggled HTTP/1.1",
    b"\x01: a",
    b"Content-Length: +5",
    b"Content-Length: 0x5",
    b"Content-Length: 5,5",
    b"Content-Length: 5 5",
    b"Content-Length: -0",
    b"Content-Length: 5\r\nContent-Length: 5",
    b"Content-Length: 5\r\nContent-Length: 6",
    b"Content-Length: \x0b5",
    b"Content-Length: ",
    b"Content-Length: five",
)


def test_headers_and_lengths(watch: Watch) -> None:
    for header in HEADERS:
        sent = b"POST /v1/models HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\nhello" + HIDDEN
        if header.startswith(b"X-A: a\rG"):
            sent = sent.replace(b"\r\n\r\nhello" + HIDDEN, b"\r\nConnection: close\r\n\r\n")
        answers = watch(header.decode("latin-1"), sent, app=1 if header.startswith(b"X-A: a\rG") else 0)
        if header[:8] != b"X-A: a\rG" and answers != [400]:
            pytest.fail(f"{header!r}: {answers}")
    watch.end()


def chunked(body: bytes, path: bytes = b"/v1/models") -> bytes:
    return b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body


def test_chunks(watch: Watch, tap: Tap) -> None:
    size = b"%x" % len(HIDDEN)
    end = b"\r\n0\r\n\r\n"
    sound = {  # one request: the hidden one is its body
        "extension": size + b";a=b\r\n" + HIDDEN + end,
        "extension that looks like an end": size + b';a="0"\r\n' + HIDDEN + end,
        # nginx takes the text after a space for an extension, and gunicorn reads another size
        "more behind the size": size + b" 5\r\n" + HIDDEN + end,
        "zeros before the size": b"000" + size + b"\r\n" + HIDDEN + end,
        "trailers": size + b"\r\n" + HIDDEN + b"\r\n0\r\nX-Upload-Path: /etc/passwd\r\nContent-Length: 9\r\n\r\n",
    }
    broken = {  # its end is unknown: closed
        "0x": b"0x5\r\nhello\r\n0\r\n\r\n",
        "minus": b"-5\r\nhello\r\n0\r\n\r\n",
        "overflow": b"ffffffffffffffff5\r\nhello\r\n0\r\n\r\n",
        "no size": b"\r\nhello\r\n0\r\n\r\n",
        "more than its size": b"5\r\nhelloXX\r\n0\r\n\r\n",
        "no line after its data": b"5\r\nhello0\r\n\r\n",
    }
    for path in (b"/v1/models", b"/v1/classify"):
        for what, body in sound.items():
            watch(what, chunked(body, path))
        for what, body in broken.items():
            answers = watch(what, chunked(body + HIDDEN, path), app=0)
            if answers != [400]:
                pytest.fail(f"{what}: {answers}")
    # After a whole request: garbage is answered 400 and is no request
    answers = watch("garbage behind", chunked(b"0\r\n\r\n") + b"\x00\x01garbage " + HIDDEN, most=2)
    assert answers[1:] in ([], [400]), f"garbage behind a whole request: {answers}"
    believed = [
        request for request in tap.requests if b"/etc/passwd" in request and b"Upload-Path: /etc" in _head(request)
    ]
    assert not believed, "no trailer is a header"
    watch.end()


def _head(request: bytes) -> bytes:
    return request.partition(b"\r\n\r\n")[0]


def test_pipelined(edge: Stack, tap: Tap) -> None:
    before = len(tap)
    sent = (
        b"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer one\r\n\r\n"
        + post("/v1/classify", b"text with GET /v1/jobs HTTP/1.1\r\n\r\n")
        + b"GET /v1/jobs/none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    result = statuses(everything(edge.url, sent, 5))
    assert result == [200, 415, 404], f"answers {result}"
    mine = tap.requests[before:]
    assert len(mine) == 3, f"requests at the app: {len(mine)}"
    ids = {line for item in mine for line in _head(item).split(b"\r\n") if line.lower().startswith(b"x-request-id")}
    assert len(ids) == 3, "each with its own id"
    authorized = [item for item in mine if b"Bearer one" in _head(item)]
    assert len(authorized) == 1 and authorized[0].startswith(b"GET /v1/models"), "the token is only in the first one"


WAYS_OUT = (
    "/static/../app/errors.py",
    "/static/..%2f..%2fapp/errors.py",
    "/static/%2e%2e/errors.py",
    "/static../errors.py",
    "/static/..%5cerrors.py",
    "/static//etc/passwd",
    "/static/v-abc/../../errors.py",
    "/static/v-0/..%2ferrors.py",
    "/static/v-0/../errors.py",
    "/static/page.css/../../errors.py",
    "/static/.%00./errors.py",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/_jobs/../uploads/",
    "/_jobs/a/source",
    "/%5fjobs/a/source",
    "//_jobs/a/source",
    "/./_jobs/a/source",
    "/_e/bad_request",
    "/v1/jobs/..%2f..%2fetc/source",
    "/v1/jobs/%2e%2e/source",
    "/v1/jobs/..;/source",
    "/v1/jobs/a%2f..%2fb/thumbnails/0.jpg",
)


def test_ways_out(edge: Stack) -> None:
    counts: dict[int, int] = {}
    for path in WAYS_OUT:
        reply = exchange(edge.url, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        counts[reply.answer.status] = counts.get(reply.answer.status, 0) + 1
        if reply.answer.status not in (400, 403, 404) or not reply.error:
            pytest.fail(f"{path}: {reply.answer.status}")
        if re.search(rb"CLIPSTACK_|root:|import ", reply.answer.body):
            pytest.fail(f"{path}: a file")
    assert sum(counts.values()) == len(WAYS_OUT), f"{len(WAYS_OUT)} addresses: {counts}"
