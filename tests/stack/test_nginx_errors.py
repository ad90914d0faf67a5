import httpx
import pytest

from tests.stack.raw import send

END = b"Connection: close\r\n\r\n"
GET = b"GET /healthz HTTP/1.1\r\n"
POST = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\n"

BROKEN = {
    "no host": (GET + END, 400, "bad_request"),
    "two hosts": (GET + b"Host: x\r\nHost: y\r\n" + END, 400, "bad_request"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40 + b"\r\n", 400, "bad_request"),
    "garbage": (b"what is this\r\n\r\n", 400, "bad_request"),
    "two lengths": (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n" + END + b"abcd", 400, "bad_request"),
    "length and chunked": (
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n" + END + b"0\r\n\r\n", 400, "bad_request"
    ),
    "negative length": (POST + b"Content-Length: -1\r\n" + END, 400, "bad_request"),
    "length overflow": (POST + b"Content-Length: 99999999999999999999999\r\n" + END, 400, "bad_request"),
    "bad chunk": (POST + b"Transfer-Encoding: chunked\r\n" + END + b"zz\r\n", 400, "bad_request"),
    "zero byte in a header": (GET + b"Host: x\r\nX-A: a\0b\r\n" + END, 400, "bad_request"),
    "dot dot": (b"GET /../etc/passwd HTTP/1.1\r\nHost: x\r\n" + END, 400, "bad_request"),
    "encoded dot dot": (b"GET /%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n" + END, 400, "bad_request"),
    "encoded zero byte": (b"GET /%00 HTTP/1.1\r\nHost: x\r\n" + END, 400, "bad_request"),
    "unknown transfer encoding": (POST + b"Transfer-Encoding: xchunked\r\n" + END, 501, "not_implemented"),
    "HTTP/9.9": (b"GET / HTTP/9.9\r\nHost: x\r\n" + END, 505, "http_version"),
    "long header": (GET + b"Host: x\r\nX-A: " + b"a" * 9000 + b"\r\n" + END, 431, "headers_too_large"),
    "long address": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n" + END, 414, "uri_too_long"),
    "TRACE": (b"TRACE / HTTP/1.1\r\nHost: x\r\n" + END, 405, "method_not_allowed"),
    "declared too large": (POST + b"Content-Length: 2147483648\r\n" + END, 413, "too_large"),
    "expected too large": (
        POST + b"Expect: 100-continue\r\nContent-Length: 2147483648\r\n" + END, 413, "too_large"
    ),
    "no such static file": (b"GET /static/nothing.css HTTP/1.1\r\nHost: x\r\n" + END, 404, "not_found"),
    "a folder": (b"GET /static/ HTTP/1.1\r\nHost: x\r\n" + END, 403, "forbidden"),
    "POST to a static file": (
        b"POST /static/page.css HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n" + END, 405, "method_not_allowed"
    ),
    "the errors' own address": (b"GET /_e HTTP/1.1\r\nHost: x\r\n" + END, 404, "not_found"),
    "unknown path": (b"GET /nothing HTTP/1.1\r\nHost: x\r\n" + END, 404, "not_found"),
    "PUT": (b"PUT /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n" + END, 405, "method_not_allowed"),
}  # fmt: skip


@pytest.mark.parametrize(("request_", "status", "code"), BROKEN.values(), ids=BROKEN.keys())
def test_a_request_that_cannot_be_served_is_answered_in_json(stack, request_, status, code):
    answer = send(stack.url, request_)

    assert (answer.status, answer.error["code"]) == (status, code)
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.error["message"] and answer.error["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["server"] == "nginx"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_http_09_is_refused(stack):
    answer = send(stack.url, b"GET /\r\n")

    assert answer.error["code"] == "bad_request"


def test_a_chunked_body_over_the_limit_is_refused(small_stack):
    def body():
        for _ in range(3):
            yield bytes(1 << 20)

    answer = httpx.post(f"{small_stack.url}/v1/classify", content=body(), timeout=30)

    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "too_large" and "1 MiB" in answer.json()["error"]["message"]


def test_while_web_is_down_the_answer_is_503_and_says_when_to_come_back(small_stack):
    small_stack.supervisorctl("stop", "web")
    try:
        answer = httpx.get(f"{small_stack.url}/v1/models", timeout=10)
    finally:
        small_stack.supervisorctl("start", "web")
        small_stack.wait()

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
    assert answer.headers["retry-after"] == "2"


def test_an_upload_that_cannot_be_stored_is_503_storage_full(small_stack):
    uploads, away = small_stack.run_dir / "uploads", small_stack.run_dir / "uploads-away"
    uploads.rename(away)
    try:
        answer = httpx.post(f"{small_stack.url}/v1/classify", content=b"a video", timeout=10)
    finally:
        away.rename(uploads)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_full")
    assert answer.headers["retry-after"] == "10"
