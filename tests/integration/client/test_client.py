"""The Python client against recorded answers, and against a service that misbehaves."""

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
from tests.support.client_contract import ClientContract
from tests.support.client_jobs import BROKEN
from tests.support.client_service import MP4, RecordedService, Reply, recorded_service, refusal


@pytest.fixture
def service() -> Iterator[RecordedService]:
    with recorded_service() as service:
        yield service


@pytest.fixture
def client(service: RecordedService) -> Iterator[Client]:
    with Client(service.url, timeout=5.0, patience=1.0) as client:
        yield client


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that nobody listens on, kept by a socket that is only bound."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


class TestRecordedService(ClientContract):
    @pytest.fixture
    def url(self, service: RecordedService) -> str:
        return service.url

    @pytest.fixture
    def video(self, tmp_path: Path) -> Path:
        path = tmp_path / "clip.mp4"
        path.write_bytes(MP4)
        return path

    @pytest.fixture
    def damaged(self, tmp_path: Path) -> Path:
        path = tmp_path / "damaged.mp4"
        path.write_bytes(MP4 + BROKEN)
        return path


def test_public_names_are_sorted_and_exist() -> None:
    assert package.__all__ == sorted(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)


def test_body_goes_raw_with_its_length(client: Client, service: RecordedService) -> None:
    client.classify(MP4, model="camera_motion", top_k=3, clips=2)
    (request,) = service.received
    assert request.body == MP4
    assert request.headers["content-length"] == str(len(MP4))
    assert request.headers["content-type"] == "application/octet-stream"
    assert request.query == {"model": "camera_motion", "top_k": "3", "clips": "2"}


def test_file_is_sent_from_where_it_stands_and_stays_open(client: Client, service: RecordedService) -> None:
    file = io.BytesIO(b"skipped" + MP4)
    file.seek(7)
    client.classify(file)
    assert service.received[0].body == MP4
    assert not file.closed


def test_headers_of_ones_own_go_with_every_request(service: RecordedService) -> None:
    with Client(service.url, headers={"Authorization": "Basic bWU6bXk=", "Cache-Control": "no-cache"}) as client:
        client.timeline(MP4)
        client.models()
    assert {request.headers["authorization"] for request in service.received} == {"Basic bWU6bXk="}
    assert {request.headers["connection"] for request in service.received} == {"close"}
    assert len(service.received) >= 3


def test_name_of_arbitrary_bytes_is_percent_encoded(client: Client, service: RecordedService, tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9 1.mp4")
    with open(path, "wb") as file:
        file.write(MP4)
    client.classify(os.fsdecode(path))
    assert service.received[0].headers["x-file-name"] == "caf%E9%201.mp4"


def test_text_file_object_is_mistake_of_caller(client: Client) -> None:
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


def test_more_than_our_patience_is_not_waited_for(client: Client, service: RecordedService) -> None:
    service.replies = [refusal(503, "not_ready", ("Retry-After", "30"))]
    with pytest.raises(ServiceUnavailable) as unavailable:
        client.models()
    assert unavailable.value.retry_after_s == 30
    assert (unavailable.value.code, unavailable.value.request_id) == ("not_ready", "7c0ffee7")
    assert len(service.received) == 1


@pytest.mark.parametrize("status", [400, 404, 413, 415, 422, 500, 502, 504])
def test_other_errors_are_not_tried_again(client: Client, service: RecordedService, status: int) -> None:
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


def test_connection_that_breaks_is_not_tried_again(client: Client, service: RecordedService) -> None:
    service.replies = [Reply(body=None)]
    with pytest.raises(ServiceUnreachable) as broken:
        client.classify(MP4)
    assert broken.value.code == "connection_broken"
    assert len(service.received) == 1


def test_upload_ends_when_it_is_refused(tmp_path: Path) -> None:
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
    """A service that reads the head of one request, refuses it, and goes on reading, as nginx does."""
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
def test_answer_of_something_else_is_told(client: Client, service: RecordedService, reply: Reply) -> None:
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


def test_health_of_something_else_is_no_health(client: Client, service: RecordedService) -> None:
    service.replies = [Reply(200, b"<html>hello</html>")]
    with pytest.raises(ServiceFailed):
        client.health()


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://127.0.0.1", "http://", "http://[::1", "/v1"])
def test_wrong_url_is_a_value_error(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        Client(url)


def test_url_may_have_path_and_slash_at_end(service: RecordedService) -> None:
    with Client(service.url + "/clipstack/") as client, pytest.raises(RequestRefused):
        client.models()
    assert service.received[0].path == "/clipstack/v1/models"


def test_retry_after_is_read_as_seconds_and_as_date() -> None:
    soon = formatdate(time.time() + 60, usegmt=True)
    assert retry_after_s("7") == 7
    assert 50 < (retry_after_s(soon) or 0) <= 60
    assert retry_after_s("Thu, 01 Jan 1970 00:00:00 GMT") == 0
    assert retry_after_s("soon") is None
    assert retry_after_s(None) is None


# ---- keys


def test_key_is_sent_with_every_request(service, monkeypatch):
    monkeypatch.setenv("CLIPSTACK_KEY", "clipstack_of_the_environment\n")
    for key, sent in (("clipstack_argument", "clipstack_argument"), (None, "clipstack_of_the_environment"), ("", None)):
        with Client(service.url, key=key) as client:
            client.models()
        assert service.received[-1].headers.get("authorization") == (sent and f"Bearer {sent}")
    with Client(service.url, headers={"authorization": "Basic abc"}) as client:
        client.models()
    assert service.received[-1].headers.get("authorization") == "Basic abc"


def test_malformed_key_is_refused_and_not_shown(service):
    with pytest.raises(ValueError, match="malformed") as refused:
        Client(service.url, key="two words\nand lines")
    assert "words" not in str(refused.value)


def test_refused_key_is_not_retried(service):
    body = {"error": {"code": "unauthorized", "message": "this key is not known here", "request_id": "r"}}
    service.replies = [Reply(401, body)] * 2
    with Client(service.url, key="clipstack_x") as client, pytest.raises(KeyRefused, match="not known") as refused:
        client.classify(MP4)
    assert (refused.value.code, len(service.received)) == ("unauthorized", 1)


def test_too_many_requests_are_retried_after_the_given_time(service):
    body = {"error": {"code": "too_many_requests", "message": "this key may send 2 files a second", "request_id": "r"}}
    service.replies = [Reply(429, body, (("Retry-After", "1"),))]
    began = time.monotonic()
    with Client(service.url, key="clipstack_x") as client:
        client.classify(MP4)
    assert time.monotonic() - began >= 1
