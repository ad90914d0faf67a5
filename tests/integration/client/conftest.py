"""A recorded service for the client, the command line against it, and files to send."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from clipstack_client import Client
from clipstack_client.cli import main
from tests.support.client_jobs import BROKEN
from tests.support.client_process import Run
from tests.support.client_service import MP4, RecordedService, recorded_service


@pytest.fixture
def service() -> Iterator[RecordedService]:
    with recorded_service() as service:
        yield service


@pytest.fixture
def client(service: RecordedService) -> Iterator[Client]:
    with Client(service.url, timeout=5.0, patience=1.0) as client:
        yield client


@pytest.fixture
def run(service: RecordedService) -> Run:
    """Run `clipstack ...` against the recorded service."""

    def run(*arguments: str | Path, **options: object) -> Result:
        environment = {"CLIPSTACK_URL": service.url}
        return CliRunner(env=environment).invoke(main, [str(argument) for argument in arguments], **options)

    return run


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(MP4)
    return path


@pytest.fixture
def note(tmp_path: Path) -> Path:
    path = tmp_path / "note.txt"
    path.write_text("no video")
    return path


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """A folder with two films, one of them in a subfolder, a damaged film, a text and a hidden file."""
    folder = tmp_path / "films"
    (folder / "more").mkdir(parents=True)
    for name, content in (("a.mp4", MP4), ("more/b.mkv", MP4), ("c.mp4", MP4 + BROKEN), ("notes.txt", b"no film")):
        (folder / name).write_bytes(content)
    (folder / ".hidden.mp4").write_bytes(MP4)
    return folder


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port without a listener, reserved by a bound socket."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def unused_url(unused_port: int) -> str:
    return f"http://127.0.0.1:{unused_port}"


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT interrupt child processes even where a shell started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
