"""Resumable downloads of published weights, verified against recorded checksums.

    <folder>/X3D_M.pyth         complete, with the right checksum
    <folder>/X3D_M.pyth.part    incomplete; the next attempt resumes it
    <folder>/X3D_M.pyth.etag    version of the incomplete file; a changed version restarts the download
    weights.lock                "<sha256>  X3D_M.pyth", in the format of sha256sum

Proxies come from HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
"""

import fcntl
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from app.files import write_file
from triton_repo.zoo import ModelError

CACHE = Path(__file__).parents[3] / ".runtime" / "weights"
MAX_FAILURES = 5  # failed attempts without progress; progress resets the count
RETRY_DELAY_S = 1.0  # before the second attempt, doubled for each further one
TIMEOUT_S = 30.0  # longest silence of the server

Progress = Callable[[int, int | None], None]  # bytes so far, and the total if the server gives it


class _Incomplete(Exception):
    """The connection ended before the file was complete."""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Lock:
    """Lock file with the checksums of downloaded files by file name."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def checksums(self) -> dict[str, str]:
        """Return the recorded checksums by file name."""
        if not self.path.exists():
            return {}
        pairs = (line.split(maxsplit=1) for line in self.path.read_text(encoding="utf-8").splitlines() if line.strip())
        return {name: digest for digest, name in pairs}

    def check(self, name: str, path: Path) -> None:
        """Verify the checksum of a file, or record it if the file is new.

        torchvision's file names contain the beginning of the checksum, so its files are verified the first time too.

        Raises:
            ModelError: The checksum is wrong.
        """
        digest, recorded = sha256_of(path), self.checksums()
        in_name = re.search(r"-([0-9a-f]{8,64})\.\w+$", name)
        expected = recorded.get(name) or (in_name[1] if in_name else "")
        if not digest.startswith(expected):
            source = f"{self.path} says" if name in recorded else "its name says"
            raise ModelError(
                f"the checksum of {name} is wrong: {source} {expected}, the file has {digest}. The file is damaged or "
                "was replaced, and was not used. If its publisher replaced it, remove its line from "
                f"{self.path.name}."
            )
        if name not in recorded:
            lines = [f"{value}  {key}\n" for key, value in sorted({**recorded, name: digest}.items())]
            write_file(self.path, "".join(lines).encode())


def fetch(url: str, folder: Path, lock: Lock, progress: Progress, retry_delay_s: float = RETRY_DELAY_S) -> Path:
    """Download the file at `url` into `folder`, unless it is there, and return its path.

    Raises:
        ModelError: The address is invalid, the download failed, or the checksum is wrong.
    """
    name = Path(urlsplit(url).path).name
    if not url.startswith(("https://", "http://")) or not re.fullmatch(r"[\w.-]+", name):
        raise ModelError(
            f"{url!r} is not the address of a file: it must begin with https:// or http:// and end in a file name."
        )
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / name
    if final.exists():
        lock.check(final.name, final)
        return final
    part = final.with_name(f"{final.name}.part")
    with _locked(part), httpx.Client(timeout=TIMEOUT_S, follow_redirects=True) as client:
        _download_with_retries(client, url, part, progress, retry_delay_s)
        try:
            lock.check(final.name, part)
        except ModelError:
            part.unlink()
            raise
        finally:
            _etag_path(part).unlink(missing_ok=True)
        part.replace(final)
    return final


def _download_with_retries(
    client: httpx.Client, url: str, part: Path, progress: Progress, retry_delay_s: float
) -> None:
    """Download until the file is complete; give up after MAX_FAILURES attempts without progress."""
    failed, best_size = 0, part.stat().st_size
    while True:
        try:
            return _download_rest(client, url, part, progress)
        except (httpx.TransportError, _Incomplete) as error:
            failed = 1 if part.stat().st_size > best_size else failed + 1
            best_size = max(best_size, part.stat().st_size)
            if failed >= MAX_FAILURES:
                raise ModelError(
                    f"{url} could not be downloaded: {error or type(error).__name__}. {_kept(best_size)} "
                    "Without a network, download the file elsewhere and give it as --from-file."
                ) from error
        time.sleep(retry_delay_s * 2 ** (failed - 1))


def _kept(size: int) -> str:
    return f"{size} bytes are kept, and the next attempt resumes there." if size else "Nothing was downloaded."


def _download_rest(client: httpx.Client, url: str, part: Path, progress: Progress) -> None:
    """Request the missing part on one connection and append it; restart if the file has changed."""
    received, etag_file = part.stat().st_size, _etag_path(part)
    # Disable compression: a compressed body cannot be resumed by byte ranges
    headers = {"Accept-Encoding": "identity"}
    if received and etag_file.exists():
        headers |= {"Range": f"bytes={received}-", "If-Range": etag_file.read_text()}
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == 416 and response.headers.get("content-range") == f"bytes */{received}":
            progress(received, received)
            return
        if response.status_code == 416:
            part.write_bytes(b"")
            raise _Incomplete("the server's file is shorter than the received part")
        if response.status_code >= 500 or response.status_code == 429:
            raise _Incomplete(f"the server answered {response.status_code} {response.reason_phrase}")
        if response.status_code not in (200, 206):
            raise ModelError(
                f"{url} could not be downloaded: the server answered {response.status_code} "
                f"{response.reason_phrase}. Download the file elsewhere and give it as --from-file."
            )
        received = _range_start(response) if response.status_code == 206 else 0
        if received != part.stat().st_size:
            os.truncate(part, 0)
            if received:
                raise _Incomplete("the server sent another range than requested")
        validator = response.headers.get("etag", "")
        if not received:
            # A weak ETag does not identify the exact bytes
            etag_file.write_text("" if validator.startswith("W/") else validator)
            if not etag_file.read_text():
                etag_file.unlink()
        total = received + int(response.headers["content-length"]) if "content-length" in response.headers else None
        with part.open("ab") as file:
            # without a chunk size, so that a broken connection loses no buffered bytes
            for chunk in response.iter_raw():
                file.write(chunk)
                received += len(chunk)
                progress(received, total)
    if total is not None and received < total:
        raise _Incomplete("the connection ended early")


def _range_start(response: httpx.Response) -> int:
    match = re.match(r"bytes (\d+)-", response.headers.get("content-range", ""))
    return int(match[1]) if match else -1


def _etag_path(part: Path) -> Path:
    return part.with_suffix(".etag")


@contextmanager
def _locked(part: Path) -> Iterator[None]:
    """Lock the incomplete file for this process; delete it on exit if it is empty."""
    with part.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ModelError(f"another process is downloading {part.stem}: try again later.") from None
        try:
            yield
        finally:
            if part.exists() and not part.stat().st_size:
                part.unlink()
