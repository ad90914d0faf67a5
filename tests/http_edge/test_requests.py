"""Malformed HTTP: nginx refuses it, and almost none of it reaches the app."""

from __future__ import annotations

import socket

import pytest

from deploy.stack.stack import Stack
from tests.http_edge.conftest import MAX_UPLOAD_MB
from tests.http_edge.connections import Stalled
from tests.http_edge.expected import EXPECTED
from tests.http_edge.response_checks import QUICK_S, ResponseCheck, until_logged

GET = b"GET /v1/models HTTP/1.1\r\n"
POST = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\n"
HOST, END = b"Host: x\r\n", b"\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
BEYOND = (MAX_UPLOAD_MB << 20) + (1 << 20)

# nginx refuses all of these itself, and closes the connection where it does not know where
# the next request would begin.
BROKEN: dict[str, bytes] = {
    "no Host": GET + END,
    "two Hosts": GET + HOST + b"Host: y\r\n" + END,
    "TLS where HTTP is spoken": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40 + b"\r\n",
    "Content-Length and Transfer-Encoding": POST + b"Content-Length: 3\r\n" + CHUNKED + END + b"0\r\n\r\n",
    "two Content-Lengths": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n" + END + b"abcd",
    "Content-Length: -1": POST + b"Content-Length: -1\r\n" + END,
    "Content-Length: +4": POST + b"Content-Length: +4\r\n" + END + b"abcd",
    "Content-Length of 23 digits": POST + b"Content-Length: 99999999999999999999999\r\n" + END,
    "a chunk whose size is no number": POST + CHUNKED + END + b"zz\r\n",
    "a zero byte in a header": GET + HOST + b"X-A: a\0b\r\n" + END,
    "a header folded over two lines": GET + HOST + b"X-A: a\r\n b\r\n" + END,
    "a space before a header's colon": GET + HOST + b"X-A : a\r\n" + END,
    "/../ in the address": b"GET /../etc/passwd HTTP/1.1\r\n" + HOST + END,
    "/%2e%2e/ in the address": b"GET /%2e%2e/etc/passwd HTTP/1.1\r\n" + HOST + END,
    "%00 in the address": b"GET /%00 HTTP/1.1\r\n" + HOST + END,
    "CONNECT": b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n" + END,
    "Transfer-Encoding: xchunked": POST + b"Transfer-Encoding: xchunked\r\n" + END + b"0\r\n\r\n",
    "Transfer-Encoding: chunked, identity": POST + b"Transfer-Encoding: chunked, identity\r\n" + END + b"0\r\n\r\n",
    "HTTP/9.9": b"GET /v1/models HTTP/9.9\r\n" + HOST + END,
    "a header of 9 KB": GET + HOST + b"X-A: " + b"a" * 9216 + b"\r\n" + END,
    "an address of 9 KB": b"GET /" + b"a" * 9216 + b" HTTP/1.1\r\n" + HOST + END,
    "TRACE": b"TRACE /v1/models HTTP/1.1\r\n" + HOST + END,
    "a Content-Length beyond the limit": POST + b"Content-Length: %d\r\n" % BEYOND + END,
    "the same with Expect: 100-continue": POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n" % BEYOND + END,
}


@pytest.mark.parametrize("name", BROKEN)
def test_request(name: str, check_response: ResponseCheck) -> None:
    check_response(BROKEN[name], EXPECTED[name], within_s=QUICK_S, closed=name != "TRACE", app=(0,))


def test_http_09(check_response: ResponseCheck, edge: Stack) -> None:
    for sent in (b"GET /v1/models\r\n", b"GET /static/page.css\r\n"):
        reply = check_response(
            sent, "0 bad_request", within_s=QUICK_S, closed=True, app=(0,), what=sent.decode().strip()
        )
        line = until_logged(edge, reply.error["request_id"])
        assert '"status":400' in line, "in the log with status 400, HTTP/0.9 has none"


def _many_headers(path: bytes, count: int) -> bytes:
    verb = b"POST" if path == b"/v1/classify" else b"GET"
    more = b"".join(b"X-%d: 1\r\n" % item for item in range(count - 2))
    return verb + b" " + path + b" HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n" + more + END


def test_headers(check_response: ResponseCheck) -> None:
    for path in (b"/v1/models", b"/v1/classify", b"/"):
        check_response(_many_headers(path, 150), "431 headers_too_large", within_s=QUICK_S, what=path.decode())
    check_response(_many_headers(b"/v1/models", 100), "200", what="100 of them")


def test_put(check_response: ResponseCheck) -> None:
    for path in (b"/v1/classify", b"/v1/models", b"/", b"/static/page.css"):
        sent = b"PUT " + path + b" HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n" + END
        check_response(sent, "405 method_not_allowed", within_s=QUICK_S, what=path.decode())


def test_unknown(check_response: ResponseCheck) -> None:
    for path in (b"/nothing", b"/static/nothing.css", b"/v1/jobs/%22%3E%3Cscript%3E", b"/_e", b"/_jobs/a/source"):
        sent = b"GET " + path + b" HTTP/1.1\r\n" + HOST + END
        expected = "404 job_not_found" if b"jobs/%22" in path else "404 not_found"
        check_response(sent, expected, within_s=QUICK_S, what=path.decode())


def test_chunked(check_response: ResponseCheck) -> None:
    chunk = b"%x\r\n" % (1 << 20) + bytes(1 << 20) + b"\r\n"
    sent = POST + CHUNKED + END + chunk * (MAX_UPLOAD_MB + 1) + b"0\r\n\r\n"
    check_response(sent, "413 too_large", closed=True, app=(0,))


def _form(*parts: bytes) -> bytes:
    body = b"".join(b"--XX\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + b"--XX--\r\n"
    head = POST + b"Content-Type: multipart/form-data; boundary=XX\r\nContent-Length: %d\r\n" % len(body)
    return head + END + body


FILE = b'name="file"; filename="clip.mp4"\r\n\r\nhello'
LARGE: dict[str, bytes] = {
    "a form of 1,000 parts": _form(*[b'name="a%d"\r\n\r\nx' % each for each in range(1000)], FILE),
    "a field of 200 KB": _form(b'name="a"\r\n\r\n' + b"x" * 200_000, FILE),
    "a part's head of 100 KB": _form(b'name="file"; filename="clip.mp4"\r\nX-A: ' + b"x" * 100_000 + b"\r\n\r\nhello"),
}


@pytest.mark.parametrize("name", LARGE)
def test_form(name: str, check_response: ResponseCheck) -> None:
    check_response(LARGE[name], "413 too_large", within_s=QUICK_S)


def _closed(stalled: Stalled, connections: list[socket.socket], limit_s: float) -> None:
    ended = stalled.ended(connections, limit_s + 5)
    assert len(ended) == len(connections), f"closed: {len(ended)} of {len(connections)}"
    result = sum(bool(received) for _, received in ended)
    assert not result, f"answered: {result}"
    assert (max(seconds for seconds, _ in ended)) <= limit_s + 5, "the last after"


def test_stalled_headers(stalled: Stalled) -> None:
    _closed(stalled, stalled.heads, 10)


def test_stalled_bodies(stalled: Stalled) -> None:
    _closed(stalled, stalled.bodies, 30)
