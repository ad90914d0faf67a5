import io
import shutil
import socket
import threading

import httpx
import pytest

from tests.support.raw_http import send
from tests.support.stacks import until

HEAD = b"POST /v1/classify HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"


def uploads(stack) -> list[str]:
    return [path.name for path in (stack.run_dir / "uploads").iterdir()]


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> bytes:
    """A real video, made by the demo."""
    from deploy.demo import film

    path = tmp_path_factory.mktemp("film") / "clip.mp4"
    film(path)
    content = path.read_bytes()
    shutil.rmtree(path.parent)
    return content


def test_body_reaches_the_app_as_a_file(stack, clip):
    answer = httpx.post(f"{stack.url}/v1/classify", content=clip, timeout=60)

    assert answer.status_code == 200, answer.text
    assert answer.json()["media"]["bytes"] == len(clip)
    until(lambda: not uploads(stack), 5)


def test_a_form_reaches_the_app_as_well(stack, clip):
    answer = httpx.post(f"{stack.url}/v1/classify", files={"file": ("a clip.mp4", io.BytesIO(clip))}, timeout=60)

    assert answer.status_code == 200, answer.text
    assert answer.json()["media"]["bytes"] == len(clip)


def test_a_chunked_body_reaches_the_app(stack, clip):
    def pieces():
        for start in range(0, len(clip), 10_000):
            yield clip[start : start + 10_000]

    answer = httpx.post(f"{stack.url}/v1/classify", content=pieces(), timeout=60)

    assert answer.status_code == 200, answer.text
    assert answer.json()["media"]["bytes"] == len(clip)


@pytest.mark.parametrize("header", [b"X-Upload-Path", b"X_Upload_Path", b"x-upload-path"])
@pytest.mark.parametrize("path", [b"/v1/classify", b"/"])
def test_path_header_from_the_client_is_ignored(stack, header, path):
    body = b"this is text, and /etc/passwd would be another one"
    answer = send(
        stack.url,
        b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAccept: application/json\r\n" % path,
        b"%s: /dev/zero\r\nContent-Length: %d\r\n\r\n%s" % (header, len(body), body),
    )

    assert answer.status in (400, 415)  # of what was sent; /dev/zero could not even be read to its end


def test_upload_path_from_a_client_is_ignored(stack):
    answer = send(stack.url, HEAD, b"X-Upload-Path: /etc/passwd\r\nContent-Length: 0\r\n\r\n")

    assert (answer.status, answer.error["code"]) == (400, "empty_file")


def test_aborted_upload_leaves_no_file(stack):
    address = httpx.URL(stack.url)
    with socket.create_connection((address.host, address.port), timeout=10) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000000\r\n\r\n" + bytes(500_000))
        until(lambda: uploads(stack), 10)

    until(lambda: not uploads(stack), 5)


def test_slow_uploads_hold_no_thread_of_the_app(stack):
    count = stack.settings.web_workers * stack.settings.web_threads + 4
    stalled, go_on = threading.Barrier(count + 1), threading.Event()

    def slowly():
        def body():
            yield b"a"
            stalled.wait(60)
            go_on.wait(60)
            yield b"b"

        statuses.append(httpx.post(f"{stack.url}/v1/classify", content=body(), timeout=60).status_code)

    statuses: list[int] = []
    threads = [threading.Thread(target=slowly) for _ in range(count)]
    for thread in threads:
        thread.start()
    stalled.wait(60)
    meanwhile = httpx.get(f"{stack.url}/healthz", timeout=10).status_code
    go_on.set()
    for thread in threads:
        thread.join(60)

    assert meanwhile == 200
    assert len(statuses) == count and set(statuses) <= {415, 503}
