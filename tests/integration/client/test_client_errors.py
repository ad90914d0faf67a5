"""Failures of a request: which errors the client raises, and when it sends the request again."""

from __future__ import annotations

import io
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

import pytest

import clipstack_client as package
from clipstack_client import (
    Client,
    KeyRefused,
    RequestRefused,
    ServiceFailed,
    ServiceUnavailable,
    ServiceUnreachable,
    TimedOut,
)
from clipstack_client.http.response import retry_after_s
from tests.support.client_service import MP4, RecordedService, Reply, refusal


def test_text_file_object_is_a_type_error(client: Client) -> None:
    with pytest.raises(TypeError, match="binary"):
        client.classify(io.StringIO("text"))  # type: ignore[arg-type]


def test_missing_file_is_an_os_error(client: Client, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        client.classify(tmp_path / "missing.mp4")


def test_file_that_shrinks_while_it_is_sent_is_os_error(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "shrinking.mp4"
    path.write_bytes(MP4)
    with pytest.raises(OSError, match="shorter"):
        client.classify(path, progress=lambda progress: os.truncate(path, 10))


def test_retry_after_beyond_patience_is_not_waited_for(client: Client, service: RecordedService) -> None:
    service.replies = [refusal(503, "not_ready", ("Retry-After", "30"))]
    with pytest.raises(ServiceUnavailable) as unavailable:
        client.models()
    assert unavailable.value.retry_after_s == 30
    assert (unavailable.value.code, unavailable.value.request_id) == ("not_ready", "7c0ffee7")
    assert len(service.received) == 1


@pytest.mark.parametrize("status", [400, 404, 413, 415, 422, 500, 502, 504])
def test_other_errors_are_not_retried(client: Client, service: RecordedService, status: int) -> None:
    service.replies = [refusal(status, "some_code", message="in plain words")]
    with pytest.raises(package.ClipstackError, match="in plain words") as failed:
        client.classify(MP4)
    assert (failed.value.status, failed.value.code) == (status, "some_code")
    assert isinstance(failed.value, RequestRefused if status < 500 else ServiceFailed)
    assert len(service.received) == 1


def test_pipe_is_not_sent_twice(client: Client, service: RecordedService) -> None:
    service.replies = [refusal(503, "overloaded", ("Retry-After", "0"))]
    read_end, write_end = os.pipe()
    os.write(write_end, MP4)
    os.close(write_end)
    with open(read_end, "rb") as pipe, pytest.raises(ServiceUnavailable):
        client.classify(pipe)
    assert service.received[0].headers["transfer-encoding"] == "chunked"
    assert len(service.received) == 1


def test_silence_times_out(client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Client(url, timeout=0.2) as client, pytest.raises(TimedOut) as timed_out:
            client.classify(MP4)
    assert timed_out.value.code == "timed_out"


def test_broken_connection_is_not_retried(client: Client, service: RecordedService) -> None:
    service.replies = [Reply(body=None)]
    with pytest.raises(ServiceUnreachable) as broken:
        client.classify(MP4)
    assert broken.value.code == "connection_broken"
    assert len(service.received) == 1


def test_refused_upload_ends_early(tmp_path: Path) -> None:
    path = tmp_path / "huge.mp4"
    with open(path, "wb") as file:
        file.truncate(1 << 30)
    sent: list[int] = []
    with early_refusal() as url, Client(url, timeout=5.0) as client, pytest.raises(RequestRefused) as refused:
        client.classify(path, progress=lambda progress: sent.append(progress.sent))
    assert (refused.value.status, refused.value.code) == (413, "too_large")
    assert sent[-1] < 1 << 28


@contextmanager
def early_refusal() -> Iterator[str]:
    """Serve one request: read its head, refuse it, and go on reading, as nginx does."""
    answer = b'{"error":{"code":"too_large","message":"too large","request_id":"1"}}'
    head = b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(answer)

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(head + answer)
            while connection.recv(65536):
                pass

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"<html>hello</html>"),
        Reply(200, {"models": [{"name": "half"}]}),
        Reply(200, ["a", "list"]),
        Reply(200, b""),
        Reply(404, b"<html>not here</html>"),
        Reply(500, {"error": "not our shape"}),
        Reply(200, b"no gzip", (("Content-Encoding", "gzip"),)),
    ],
    ids=["html", "fields missing", "list", "empty", "404 html", "other error", "garbled"],
)
def test_unexpected_answer_is_named(client: Client, service: RecordedService, reply: Reply) -> None:
    service.replies = [reply]
    with pytest.raises(ServiceFailed) as failed:
        client.models()
    assert failed.value.code == "unexpected_answer"


def test_redirect_names_the_other_address(client: Client, service: RecordedService) -> None:
    service.replies = [Reply(301, b"", (("Location", "https://example.org/"),))]
    with pytest.raises(ServiceFailed, match=r"https://example\.org/") as failed:
        client.classify(MP4)
    assert failed.value.code == "redirected"


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (refusal(503, "unavailable", message="the service is starting"), "the service is starting"),
        (refusal(503, "not_ready", message="these models do not answer: a, b"), "these models do not answer: a, b"),
    ],
    ids=["nginx", "faults"],
)
def test_service_that_is_not_ready_says_why(
    client: Client, service: RecordedService, reply: Reply, message: str
) -> None:
    service.replies = [reply]
    health = client.health()
    assert (health.ready, health.message) == (False, message)


def test_unexpected_health_answer_raises(client: Client, service: RecordedService) -> None:
    service.replies = [Reply(200, b"<html>hello</html>")]
    with pytest.raises(ServiceFailed):
        client.health()


def test_retry_after_is_read_as_seconds_and_as_date() -> None:
    soon = formatdate(time.time() + 60, usegmt=True)
    assert retry_after_s("7") == 7
    assert 50 < (retry_after_s(soon) or 0) <= 60
    assert retry_after_s("Thu, 01 Jan 1970 00:00:00 GMT") == 0
    assert retry_after_s("soon") is None
    assert retry_after_s(None) is None


def test_refused_key_is_not_retried(service):
    body = {"error": {"code": "unauthorized", "message": "this key is not known here", "request_id": "r"}}
    service.replies = [Reply(401, body)] * 2
    with Client(service.url, key="clipstack_x") as client, pytest.raises(KeyRefused, match="not known") as refused:
        client.classify(MP4)
    assert (refused.value.code, len(service.received)) == ("unauthorized", 1)


def test_rate_limited_request_is_retried_after_retry_after(service):
    body = {"error": {"code": "too_many_requests", "message": "this key may send 2 files a second", "request_id": "r"}}
    service.replies = [Reply(429, body, (("Retry-After", "1"),))]
    began = time.monotonic()
    with Client(service.url, key="clipstack_x") as client:
        client.classify(MP4)
    assert time.monotonic() - began >= 1
