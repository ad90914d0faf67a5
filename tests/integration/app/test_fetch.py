"""The fetcher process on its socket, against a server that misbehaves."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.errors import ClipstackError, StorageFull
from app.fetch import messages
from app.fetch.client import FetchClient, Stopped
from app.fetch.errors import (
    AddressNotAllowed,
    FetcherUnavailable,
    FetchTimeout,
    HostNotAllowed,
    InvalidUrl,
    SourceEncoded,
    SourceStatus,
    SourceTooLarge,
    SourceUnreachable,
    TooManyRedirects,
)
from app.fetch.messages import Limits
from tests.conftest import CHECKOUT
from tests.support import certificates
from tests.support.hostile_server import CONTENT, HostileServer, hostile_server
from tests.support.stacks import until

LIMITS = Limits(max_bytes=1 << 20, seconds=30.0)
DISK_FULL = 1 << 60


class Fetcher:
    """A running fetcher with its client and a folder."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder, self.process = folder, process
        self.client = FetchClient(folder / "fetch.sock")

    def get(self, url: str, limits: Limits = LIMITS) -> bytes:
        with (self.folder / "file").open("wb") as file:
            length = self.client.download(url, file, limits)
        content = (self.folder / "file").read_bytes()
        assert len(content) == length
        return content

    def fails(self, url: str, limits: Limits = LIMITS) -> type[ClipstackError]:
        with pytest.raises(ClipstackError) as error:
            self.get(url, limits)
        assert len(error.value.message) > 20
        return type(error.value)


@contextmanager
def running_fetcher(rules: str, exit_code: int = 0, **environment: str) -> Iterator[Fetcher]:
    folder = Path(tempfile.mkdtemp(prefix="fetch-"))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(folder / "fetch.sock"))
    listener.listen()
    process = subprocess.Popen(
        [sys.executable, "-m", "app.fetch", str(listener.fileno())],
        pass_fds=[listener.fileno()],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"], "CLIPSTACK_FETCH": rules, "CLIPSTACK_LOG_FORMAT": "text", **environment},
    )
    listener.close()
    try:
        yield Fetcher(folder, process)
    finally:
        process.terminate()
        status = process.wait(10)
        shutil.rmtree(folder)
    assert status == exit_code


@pytest.fixture(scope="module")
def server() -> Iterator[HostileServer]:
    with hostile_server() as server:
        yield server


@pytest.fixture(scope="module")
def fetcher(server: HostileServer) -> Iterator[Fetcher]:
    rules = f"http://127.0.0.1:{server.port}!private,http://localhost:{server.port},http://nowhere.invalid"
    with running_fetcher(rules, HTTP_PROXY="http://127.0.0.1:1", ALL_PROXY="http://127.0.0.1:1") as fetcher:
        yield fetcher


@pytest.fixture(scope="module")
def site(server: HostileServer) -> str:
    return f"http://127.0.0.1:{server.port}"


def test_file_is_downloaded_whole(fetcher: Fetcher, site: str, server: HostileServer) -> None:
    assert fetcher.get(f"{site}/clip.mp4?a=b") == CONTENT
    request = server.requests[-1]
    assert request.startswith("GET /clip.mp4?a=b HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{server.port}\r\n" in request and "Accept-Encoding: identity\r\n" in request


def test_redirects_are_followed_without_cookies(fetcher: Fetcher, site: str, server: HostileServer) -> None:
    assert fetcher.get(f"{site}/redirect?to=/redirect?to=/clip.mp4") == CONTENT
    assert "GET /clip.mp4 " in server.requests[-1]
    assert not [line for line in server.requests[-1].lower().splitlines() if line.startswith(("cookie", "referer"))]


FAILURES = {
    "/redirect?to=/again": TooManyRedirects,
    "/redirect?to=file:///etc/passwd": InvalidUrl,
    "/redirect?to=http://127.0.0.1:1/": HostNotAllowed,
    "/redirect?to=http://[::1]/": HostNotAllowed,
    "/redirect?to=http://2130706433/": InvalidUrl,
    "/redirect?to=": SourceStatus,
    "/status/302": SourceStatus,
    "/endless": SourceTooLarge,
    "/endless-until-close": SourceTooLarge,
    "/huge": SourceTooLarge,
    "/endless-headers": SourceUnreachable,
    "/gzip": SourceEncoded,
    "/transfer-gzip": SourceUnreachable,
    "/short": SourceUnreachable,
    "/two-lengths": SourceUnreachable,
    "/garbage": SourceUnreachable,
    "/switch": SourceUnreachable,
    "/partial": SourceStatus,
    "/status/204": SourceStatus,
    "/status/304": SourceStatus,
    "/status/401": SourceStatus,
    "/status/404": SourceStatus,
    "/status/500": SourceStatus,
}


@pytest.mark.parametrize(("path", "error"), FAILURES.items())
def test_each_misbehaviour_has_its_error(fetcher: Fetcher, site: str, path: str, error: type[ClipstackError]) -> None:
    started = time.monotonic()
    assert fetcher.fails(site + path) is error
    assert time.monotonic() - started < 15


def test_host_names_without_a_public_address_are_refused(fetcher: Fetcher, server: HostileServer) -> None:
    before = len(server.requests)
    assert fetcher.fails(f"http://localhost:{server.port}/") is AddressNotAllowed
    assert fetcher.fails(f"http://127.0.0.1:{server.port}/redirect?to=http://localhost:{server.port}/") is (
        AddressNotAllowed
    )
    assert fetcher.fails("http://nowhere.invalid/") in (SourceUnreachable, FetchTimeout)
    assert len(server.requests) == before + 1


def failures(fetcher: Fetcher, urls: list[str], limits: Limits) -> list[tuple[type[ClipstackError], float]]:
    """Download all at the same time; return the error of each and the seconds until it came."""

    def failure(url: str) -> tuple[type[ClipstackError], float]:
        started = time.monotonic()
        with tempfile.TemporaryFile(dir=fetcher.folder) as file, pytest.raises(ClipstackError) as error:
            fetcher.client.download(url, file, limits)
        return type(error.value), time.monotonic() - started

    with ThreadPoolExecutor(len(urls)) as pool:
        return list(pool.map(failure, urls))


def test_the_total_time_is_bounded(fetcher: Fetcher, site: str) -> None:
    paths = ("/slow", "/slow-headers", "/silent", "/endless-continue")
    for error, seconds in failures(fetcher, [site + path for path in paths], Limits(1 << 20, seconds=1.5)):
        assert error is FetchTimeout and seconds < 4


def test_rate_of_50_bytes_s_and_late_headers_time_out_after_ten_seconds(fetcher: Fetcher, site: str) -> None:
    for error, seconds in failures(fetcher, [f"{site}/slow", f"{site}/slow-headers"], LIMITS):
        assert error is FetchTimeout and 9 < seconds < 16


def test_nothing_is_written_to_a_nearly_full_disk(fetcher: Fetcher, site: str) -> None:
    assert fetcher.fails(f"{site}/clip.mp4", Limits(1 << 20, 10.0, min_free_bytes=DISK_FULL)) is StorageFull
    assert (fetcher.folder / "file").stat().st_size == 0


def test_cancelled_download_ends_at_the_server_too(fetcher: Fetcher, site: str, server: HostileServer) -> None:
    stop = threading.Event()
    server.left.clear()
    threading.Timer(0.5, stop.set).start()
    with (fetcher.folder / "file").open("wb") as file, pytest.raises(Stopped):
        fetcher.client.download(f"{site}/silent", file, LIMITS, stop.is_set)
    until(lambda: server.left == ["/silent"], 5)


def test_two_slow_downloads_run_beside_each_other(fetcher: Fetcher, site: str) -> None:
    slow = threading.Thread(target=lambda: fetcher.client.download(f"{site}/silent", blocked, Limits(9, 3.0)))
    with (fetcher.folder / "blocked").open("wb") as blocked:
        errors: list[object] = []
        threading.excepthook, hook = lambda args: errors.append(args.exc_value), threading.excepthook
        try:
            slow.start()
            assert fetcher.get(f"{site}/clip.mp4") == CONTENT
            slow.join(10)
        finally:
            threading.excepthook = hook
    assert [type(error) for error in errors] == [FetchTimeout]


@pytest.mark.parametrize(
    "message", [b"", b"\xff", b"[]", b"{}", b'{"url": 1, "max_bytes": 1, "seconds": 1, "min_free_bytes": 0}']
)
def test_damaged_request_is_not_answered(fetcher: Fetcher, site: str, message: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(5)
        connection.connect(str(fetcher.folder / "fetch.sock"))
        connection.send(message)
        assert connection.recv(messages.MAX_MESSAGE) == b""
    assert fetcher.get(f"{site}/clip.mp4") == CONTENT


def test_killed_fetcher_is_unavailable(server: HostileServer, site: str) -> None:
    rules = f"http://127.0.0.1:{server.port}!private"
    folder = Path(tempfile.mkdtemp(prefix="fetch-"))
    try:
        with (folder / "file").open("wb") as file, pytest.raises(FetcherUnavailable):
            FetchClient(folder / "fetch.sock").download(f"{site}/clip.mp4", file, LIMITS)
    finally:
        shutil.rmtree(folder)
    with running_fetcher(rules, exit_code=-signal.SIGKILL) as fetcher:
        threading.Timer(1.0, fetcher.process.send_signal, (signal.SIGKILL,)).start()
        assert fetcher.fails(f"{site}/silent") is FetcherUnavailable


def test_tls_is_checked_against_the_name_and_keeps_it(tmp_path: Path) -> None:
    pair = certificates.made(tmp_path / "good", names="DNS:localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    names: list[str | None] = []
    context.sni_callback = lambda _, name, __: names.append(name)
    with hostile_server(context=context) as server:
        rules = f"localhost:{server.port}!private,127.0.0.1:{server.port}!private"
        with running_fetcher(rules, SSL_CERT_FILE=str(pair.cert)) as fetcher:
            assert fetcher.get(f"https://localhost:{server.port}/clip.mp4") == CONTENT
            assert names == ["localhost"] and f"Host: localhost:{server.port}\r\n" in server.requests[-1]
            assert fetcher.fails(f"https://127.0.0.1:{server.port}/") is SourceUnreachable
        with running_fetcher(rules) as fetcher:
            assert fetcher.fails(f"https://localhost:{server.port}/") is SourceUnreachable
        assert len(server.requests) == 1
