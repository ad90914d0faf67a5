"""Downloads of weights: broken connections, resumed ones, checksums and proxies, from a server on loopback."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.checkpoints import FileServer, file_server, official_resnet
from triton_repo.zoo import ModelError
from triton_repo.zoo.architectures.downloads import Lock, fetch
from triton_repo.zoo.cli.main import main

CONTENT = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server(CONTENT) as server:
        yield server


@pytest.fixture
def get(server: FileServer, tmp_path: Path) -> Callable[..., Path]:
    """Download X3D_M.pyth from the server into `cache`, with the checksums in weights.lock."""

    def get(name: str = "X3D_M.pyth", base: str = server.url) -> Path:
        return fetch(f"{base}/zoo/{name}", tmp_path / "cache", Lock(tmp_path / "weights.lock"), lambda *_: None, 0)

    return get


def cached(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").iterdir())


def test_file_arrives_and_its_checksum_is_kept(get: Callable[..., Path], server: FileServer, tmp_path: Path) -> None:
    assert get().read_bytes() == CONTENT
    assert (tmp_path / "weights.lock").read_text() == f"{DIGEST}  X3D_M.pyth\n"
    assert cached(tmp_path) == ["X3D_M.pyth"]
    get()
    assert len(server.requests) == 1, "a cached file is not downloaded again"


def test_progress_shows_done_and_total(server: FileServer, tmp_path: Path) -> None:
    reports: list[tuple[int, int | None]] = []
    server.break_after = [300_000]
    lock = Lock(tmp_path / "weights.lock")
    fetch(f"{server.url}/w.pth", tmp_path / "cache", lock, lambda *now: reports.append(now), 0)
    assert reports[-1] == (len(CONTENT), len(CONTENT))
    assert [have for have, _ in reports] == sorted(have for have, _ in reports)


def test_broken_download_resumes(get: Callable[..., Path], server: FileServer) -> None:
    server.break_after = [300_000, 0, 400_000]
    assert get().read_bytes() == CONTENT

    ranges = [wanted for _, wanted in server.requests]
    assert ranges == [None, "bytes=300000-", "bytes=300000-", "bytes=700000-"]


def test_next_run_resumes_the_download(get: Callable[..., Path], server: FileServer, tmp_path: Path) -> None:
    server.break_after = [300_000] + [0] * 4
    with pytest.raises(ModelError, match="300000 bytes are kept, and the next attempt resumes there"):
        get()
    assert cached(tmp_path) == ["X3D_M.pyth.etag", "X3D_M.pyth.part"]
    assert get().read_bytes() == CONTENT
    assert server.requests[-1][1] == "bytes=300000-"
    assert cached(tmp_path) == ["X3D_M.pyth"]


def test_changed_file_is_downloaded_from_the_start(get: Callable[..., Path], server: FileServer) -> None:
    server.break_after = [300_000] + [0] * 4
    with pytest.raises(ModelError):
        get()
    server.content = CONTENT[::-1]
    assert get().read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("surplus", [b"", b"more"], ids=["whole", "too long"])
def test_complete_or_oversized_partial_file(surplus: bytes, get: Callable[..., Path], server: FileServer) -> None:
    whole = get()
    whole.rename(whole.with_name("X3D_M.pyth.part")).write_bytes(CONTENT + surplus)
    whole.with_name("X3D_M.pyth.etag").write_text(f'"{DIGEST[:8]}"')
    assert get().read_bytes() == CONTENT
    assert len(server.requests) == (3 if surplus else 2)


def test_server_without_ranges(get: Callable[..., Path], server: FileServer) -> None:
    server.ranges, server.break_after = False, [300_000]
    assert get().read_bytes() == CONTENT


def test_file_with_another_checksum_is_refused(get: Callable[..., Path], server: FileServer, tmp_path: Path) -> None:
    get().unlink()
    server.content = CONTENT[::-1]
    with pytest.raises(ModelError, match=f"weights.lock says {DIGEST}, the file has"):
        get()
    assert cached(tmp_path) == []
    assert DIGEST in (tmp_path / "weights.lock").read_text()


def test_cached_file_that_was_changed_is_not_used(get: Callable[..., Path]) -> None:
    get().write_bytes(b"changed")
    with pytest.raises(ModelError, match="checksum of X3D_M.pyth is wrong"):
        get()


def test_checksum_in_the_name_counts_the_first_time(get: Callable[..., Path], tmp_path: Path) -> None:
    assert get(f"resnet18-{DIGEST[:8]}.pth").exists()
    with pytest.raises(ModelError, match="its name says 01234567"):
        get("resnet50-01234567.pth")
    assert cached(tmp_path) == [f"resnet18-{DIGEST[:8]}.pth"]


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (403, 1), (503, 5)])
def test_error_responses(status: int, tries: int, get: Callable[..., Path], server: FileServer, tmp_path: Path) -> None:
    server.status = status
    with pytest.raises(ModelError, match=rf"the server answered {status} .*--from-file"):
        get()
    assert len(server.requests) == tries
    assert cached(tmp_path) == []


def test_proxy_of_the_environment_is_used(
    get: Callable[..., Path], server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    assert get(base="http://weights.invalid").read_bytes() == CONTENT
    assert server.requests == [("http://weights.invalid/zoo/X3D_M.pyth", None)]


def test_published_model_is_downloaded_and_added(tmp_path: Path) -> None:
    content = official_resnet(tmp_path / "resnet18.pth").read_bytes()
    name = f"resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    where = ("--cache", tmp_path / "cache", "--lock", tmp_path / "weights.lock", "--models", tmp_path / "models")
    with file_server(content) as server:
        server.break_after = [1 << 20]
        words = ("add", "resnet18", "--url", f"{server.url}/{name}", "--size", "32", *where)
        result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    assert result.stdout == "resnet18, version 1: picture, 32 × 32, 1000 labels\n"
    assert name in (tmp_path / "weights.lock").read_text()
