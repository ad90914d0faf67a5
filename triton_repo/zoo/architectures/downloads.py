"""Downloads of published weights: resumed where they broke off, and held against the checksum of the first time.

    <folder>/X3D_M.pyth         whole, its checksum right
    <folder>/X3D_M.pyth.part    begun; the next try goes on from there
    <folder>/X3D_M.pyth.etag    which version of the file that was: another one is begun anew
    weights.lock                "<sha256>  X3D_M.pyth", as sha256sum writes it

Proxies come from HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
"""

from __future__ import annotations

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

from triton_repo.zoo.errors import ModelError

TRIES = 5  # that bring nothing new; one that does starts the count again
PAUSE_S = 1.0  # before the second try, and twice as long before each further one
TIMEOUT_S = 30.0  # longest silence

Progress = Callable[[int, int | None], None]  # bytes so far, and in all where the server says so


class _Incomplete(Exception):
    """The connection ended early."""


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Lock:
    """The checksums of files that were downloaded before, by file name."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def known(self) -> dict[str, str]:
        if not self.path.exists():
            return {}
        pairs = (line.split(maxsplit=1) for line in self.path.read_text(encoding="utf-8").splitlines() if line.strip())
        return {name: digest for digest, name in pairs}

    def check(self, name: str, path: Path) -> None:
        """Remembers the checksum of a file never seen before; ModelError when it is not what it was.

        torchvision's file names end in the checksum's beginning, so that theirs are checked the first time too.
        """
        digest, known = sha256_of(path), self.known()
        told = re.search(r"-([0-9a-f]{8,64})\.\w+$", name)
        wanted = known.get(name) or (told[1] if told else "")
        if not digest.startswith(wanted):
            source = f"{self.path} says" if name in known else "its name says"
            raise ModelError(
                f"the checksum of {name} is wrong: {source} {wanted}, the file has {digest}. It was damaged on its "
                "way or is another file, and was not used. Where the publisher did replace it, remove its line "
                f"from {self.path.name}."
            )
        if name not in known:
            lines = [f"{value}  {key}\n" for key, value in sorted({**known, name: digest}.items())]
            temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
            temporary.write_text("".join(lines), encoding="utf-8")
            temporary.replace(self.path)


def fetch(url: str, folder: Path, lock: Lock, progress: Progress, pause_s: float = PAUSE_S) -> Path:
    """The file at `url`, downloaded into `folder` unless it is there; ModelError when that cannot be."""
    name = Path(urlsplit(url).path).name
    if not url.startswith(("https://", "http://")) or not re.fullmatch(r"[\w.-]+", name):
        raise ModelError(f"{url!r} is no address of a file that begins with https:// or http://.")
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / name
    if final.exists():
        lock.check(final.name, final)
        return final
    part = final.with_name(f"{final.name}.part")
    with _owned(part), httpx.Client(timeout=TIMEOUT_S, follow_redirects=True) as client:
        _patiently(client, url, part, progress, pause_s)
        try:
            lock.check(final.name, part)
        except ModelError:
            part.unlink()
            raise
        finally:
            _etag(part).unlink(missing_ok=True)
        part.replace(final)
    return final


def _patiently(client: httpx.Client, url: str, part: Path, progress: Progress, pause_s: float) -> None:
    """Downloads until all is there; gives up after TRIES connections that brought nothing."""
    failed, most = 0, part.stat().st_size
    while True:
        try:
            return _go_on(client, url, part, progress)
        except (httpx.TransportError, _Incomplete) as error:
            failed = 1 if part.stat().st_size > most else failed + 1
            most = max(most, part.stat().st_size)
            if failed >= TRIES:
                raise ModelError(
                    f"{url} could not be downloaded: {error or type(error).__name__}. {part.stat().st_size} bytes "
                    "are kept, and the next try goes on from there. Without a network, download the file elsewhere "
                    "and name it with --from-file."
                ) from error
        time.sleep(pause_s * 2 ** (failed - 1))


def _go_on(client: httpx.Client, url: str, part: Path, progress: Progress) -> None:
    """One connection: asks for what is missing, and appends it; begins anew when the file is another by now."""
    have, tag = part.stat().st_size, _etag(part)
    # As it is stored: a compressed body could not be resumed by bytes
    headers = {"Accept-Encoding": "identity"}
    if have and tag.exists():
        headers |= {"Range": f"bytes={have}-", "If-Range": tag.read_text()}
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == 416 and response.headers.get("content-range") == f"bytes */{have}":
            return progress(have, have)
        if response.status_code == 416:
            part.write_bytes(b"")
            raise _Incomplete("the server has less of the file than is here")
        if response.status_code >= 500 or response.status_code == 429:
            raise _Incomplete(f"the server answered {response.status_code} {response.reason_phrase}")
        if response.status_code not in (200, 206):
            raise ModelError(
                f"{url} could not be downloaded: the server answered {response.status_code} "
                f"{response.reason_phrase}. Download the file elsewhere and name it with --from-file."
            )
        have = _start(response) if response.status_code == 206 else 0
        if have != part.stat().st_size:
            os.truncate(part, 0)
            if have:
                raise _Incomplete("the server sent another part than was asked for")
        validator = response.headers.get("etag", "")
        if not have:
            # A weak one cannot tell whether bytes are the same
            tag.write_text("" if validator.startswith("W/") else validator)
            if not tag.read_text():
                tag.unlink()
        total = have + int(response.headers["content-length"]) if "content-length" in response.headers else None
        with part.open("ab") as file:
            for chunk in response.iter_raw():  # in larger chunks, the last would be lost with the connection
                file.write(chunk)
                have += len(chunk)
                progress(have, total)
    if total is not None and have < total:
        raise _Incomplete("the connection ended early")


def _start(response: httpx.Response) -> int:
    found = re.match(r"bytes (\d+)-", response.headers.get("content-range", ""))
    return int(found[1]) if found else -1


def _etag(part: Path) -> Path:
    return part.with_suffix(".etag")


@contextmanager
def _owned(part: Path) -> Iterator[None]:
    """The unfinished file is this process's alone."""
    with part.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ModelError(f"{part.stem} is being downloaded by another process just now.") from None
        try:
            yield
        finally:
            # Nothing came: nothing is left
            if part.exists() and not part.stat().st_size:
                part.unlink()


__all__ = ["Lock", "Progress", "fetch", "sha256_of"]
