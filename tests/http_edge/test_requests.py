"""Rows 1 to 34: requests that no client would send, as bytes. nginx ends them; the app hears of few."""

from __future__ import annotations

import socket

import pytest

from deploy.stack.stack import Stack
from tests.http_edge.conftest import MAX_UPLOAD_MB
from tests.http_edge.connections import Stalled
from tests.http_edge.response_checks import QUICK_S, Judge, until_logged
from tests.http_edge.rows import INPUTS, Input
from tests.nightly.faults.rows import Row

TABLE = Input
GET = b"GET /v1/models HTTP/1.1\r\n"
POST = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\n"
HOST, END = b"Host: x\r\n", b"\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
BEYOND = (MAX_UPLOAD_MB << 20) + (1 << 20)

# By row: what is sent. All of these nginx refuses itself, and closes the connection where it does not know where
# the next request would begin.
BROKEN: dict[int, bytes] = {
    1: GET + END,
    2: GET + HOST + b"Host: y\r\n" + END,
    3: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40 + b"\r\n",
    4: POST + b"Content-Length: 3\r\n" + CHUNKED + END + b"0\r\n\r\n",
    5: POST + b"Content-Length: 3\r\nContent-Length: 4\r\n" + END + b"abcd",
    6: POST + b"Content-Length: -1\r\n" + END,
    7: POST + b"Content-Length: +4\r\n" + END + b"abcd",
    8: POST + b"Content-Length: 99999999999999999999999\r\n" + END,
    9: POST + CHUNKED + END + b"zz\r\n",
    10: GET + HOST + b"X-A: a\0b\r\n" + END,
    11: GET + HOST + b"X-A: a\r\n b\r\n" + END,
    12: GET + HOST + b"X-A : a\r\n" + END,
    13: b"GET /../etc/passwd HTTP/1.1\r\n" + HOST + END,
    14: b"GET /%2e%2e/etc/passwd HTTP/1.1\r\n" + HOST + END,
    15: b"GET /%00 HTTP/1.1\r\n" + HOST + END,
    16: b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n" + END,
    18: POST + b"Transfer-Encoding: xchunked\r\n" + END + b"0\r\n\r\n",
    19: POST + b"Transfer-Encoding: chunked, identity\r\n" + END + b"0\r\n\r\n",
    20: b"GET /v1/models HTTP/9.9\r\n" + HOST + END,
    21: GET + HOST + b"X-A: " + b"a" * 9216 + b"\r\n" + END,
    23: b"GET /" + b"a" * 9216 + b" HTTP/1.1\r\n" + HOST + END,
    24: b"TRACE /v1/models HTTP/1.1\r\n" + HOST + END,
    27: POST + b"Content-Length: %d\r\n" % BEYOND + END,
    29: POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n" % BEYOND + END,
}


@pytest.mark.parametrize("number", BROKEN, ids=str)
def test_request(number: int, answered: Judge) -> None:
    answered(BROKEN[number], INPUTS[number][1], within_s=QUICK_S, closed=number not in (24,), app=(0,))


def test_17_http_09(answered: Judge, edge: Stack, row: Row) -> None:
    for sent in (b"GET /v1/models\r\n", b"GET /static/page.css\r\n"):
        reply = answered(sent, "0 bad_request", within_s=QUICK_S, closed=True, app=(0,), what=sent.decode().strip())
        line = until_logged(edge, reply.error["request_id"])
        row.holds("in the log with status 400, HTTP/0.9 has none", '"status":400' in line)


def _many_headers(path: bytes, count: int) -> bytes:
    verb = b"POST" if path == b"/v1/classify" else b"GET"
    more = b"".join(b"X-%d: 1\r\n" % each for each in range(count - 2))
    return verb + b" " + path + b" HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n" + more + END


def test_22_headers(answered: Judge) -> None:
    for path in (b"/v1/models", b"/v1/classify", b"/"):
        answered(_many_headers(path, 150), "431 headers_too_large", within_s=QUICK_S, what=path.decode())
    answered(_many_headers(b"/v1/models", 100), "200", what="100 of them")


def test_25_put(answered: Judge) -> None:
    for path in (b"/v1/classify", b"/v1/models", b"/", b"/static/page.css"):
        sent = b"PUT " + path + b" HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n" + END
        answered(sent, "405 method_not_allowed", within_s=QUICK_S, what=path.decode())


def test_26_unknown(answered: Judge) -> None:
    for path in (b"/nothing", b"/static/nothing.css", b"/v1/jobs/%22%3E%3Cscript%3E", b"/_e", b"/_jobs/a/source"):
        sent = b"GET " + path + b" HTTP/1.1\r\n" + HOST + END
        expected = "404 job_not_found" if b"jobs/%22" in path else "404 not_found"
        answered(sent, expected, within_s=QUICK_S, what=path.decode())


def test_28_chunked(answered: Judge) -> None:
    chunk = b"%x\r\n" % (1 << 20) + bytes(1 << 20) + b"\r\n"
    sent = POST + CHUNKED + END + chunk * (MAX_UPLOAD_MB + 1) + b"0\r\n\r\n"
    answered(sent, "413 too_large", closed=True, app=(0,))


def _form(*parts: bytes) -> bytes:
    body = b"".join(b"--XX\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + b"--XX--\r\n"
    head = POST + b"Content-Type: multipart/form-data; boundary=XX\r\nContent-Length: %d\r\n" % len(body)
    return head + END + body


FILE = b'name="file"; filename="clip.mp4"\r\n\r\nhello'
LARGE: dict[int, bytes] = {
    30: _form(*[b'name="a%d"\r\n\r\nx' % each for each in range(1000)], FILE),
    31: _form(b'name="a"\r\n\r\n' + b"x" * 200_000, FILE),
    32: _form(b'name="file"; filename="clip.mp4"\r\nX-A: ' + b"x" * 100_000 + b"\r\n\r\nhello"),
}


@pytest.mark.parametrize("number", LARGE, ids=str)
def test_form(number: int, answered: Judge) -> None:
    answered(LARGE[number], "413 too_large", within_s=QUICK_S)


def _closed(row: Row, stalled: Stalled, connections: list[socket.socket], limit_s: float) -> None:
    ended = stalled.ended(connections, limit_s + 5)
    row.holds(f"closed: {len(ended)} of {len(connections)}", len(ended) == len(connections))
    told = sum(bool(received) for _, received in ended)
    row.holds(f"told anything: {told}", not told)
    row.within("the last after", max(seconds for seconds, _ in ended), limit_s + 5)


def test_33_stalled_headers(row: Row, stalled: Stalled) -> None:
    _closed(row, stalled, stalled.heads, 10)


def test_34_stalled_bodies(row: Row, stalled: Stalled) -> None:
    _closed(row, stalled, stalled.bodies, 30)
