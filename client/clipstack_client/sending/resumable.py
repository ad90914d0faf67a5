"""Resumable uploads (tus 1.0): a large file goes in chunks and continues after a broken connection or a restart.

The address of an upload that was interrupted is kept in the user's cache folder, by the file's path, size and time of
change, so that the next run of a program continues it.
"""

import asyncio
import base64
import hashlib
import io
import os
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from ..errors import ClipstackError, RequestRefused, ServiceFailed, ServiceUnavailable, ServiceUnreachable
from ..http.response import Response, error_from
from ..http.transport import Request, Transport
from ..http.upload import Progress, Source, Upload
from ..loop_thread import run_in_thread

THRESHOLD_BYTES = 32 << 20
# A broken connection loses at most this much
CHUNK_BYTES = 2 << 20
# Longest time without progress, as a multiple of the patience for a busy service
STALL_FACTOR = 3.0
FIRST_PAUSE_S, MAX_PAUSE_S = 0.25, 5.0
KEPT_S = 7 * 86400.0
MAX_ADDRESS_BYTES = 500
# Chunks follow each other on one connection; a new one for each would be slow over long distances
_TUS = {"Tus-Resumable": "1.0.0", "Connection": "keep-alive"}
_CHUNK_TYPE = "application/offset+octet-stream"
_PREFIX = "/v1/uploads/"
# Refusals after which the client asks for the offset and continues
_CONTINUED = frozenset({"offset_conflict", "upload_locked", "checksum_mismatch", "request_timeout"})


class NotOffered(Exception):
    """The service is of a version without resumable uploads."""


class ResumableSender:
    """Sender of large files; gives up when nothing arrives for STALL_FACTOR times `patience_s` seconds."""

    def __init__(self, transport: Transport, patience_s: float, threshold_bytes: int | None) -> None:
        self._transport, self._stall_s = transport, STALL_FACTOR * patience_s
        self._threshold_bytes = threshold_bytes

    def suits(self, upload: Upload) -> bool:
        """Return whether the file is large enough, and can be read again from any position."""
        return self._threshold_bytes is not None and upload.total is not None and upload.total >= self._threshold_bytes

    async def send(self, upload: Upload, name: str | None, source: Source) -> str:
        """Send the whole file and return the id of its upload.

        Raise NotOffered by an older service, ClipstackError if it refuses the file, or nothing arrived for too long.
        """
        note = _Note(self._transport.url, source, upload)
        path = note.read()
        for is_last_try in (False, True):
            try:
                path = path or await self._create(upload, name)
                note.write(path)
                await self._send_rest(path, upload)
                return path.removeprefix(_PREFIX)
            except RequestRefused as error:
                note.remove()
                # It has expired, or another program used it
                if is_last_try or error.code != "upload_not_found":
                    raise
                path = None
        raise AssertionError("unreachable")

    def forget(self, upload: Upload, source: Source) -> None:
        """Forget the address of the file's upload, once it is used."""
        _Note(self._transport.url, source, upload).remove()

    async def remove(self, id: str) -> None:
        """Remove a complete upload from the service, if it can be reached."""
        with suppress(ClipstackError):
            await self._ask(Request("DELETE", _PREFIX + id, headers=_TUS))

    async def _create(self, upload: Upload, name: str | None) -> str:
        headers = {"Upload-Length": str(upload.total)}
        if name:
            headers["Upload-Metadata"] = f"filename {base64.b64encode(os.fsencode(name)).decode()}"

        async def create() -> Response:
            return await self._ask(Request("POST", "/v1/uploads", headers=_TUS | headers))

        try:
            response = await self._until_done(upload, create)
        except RequestRefused as error:
            if error.status in (404, 405):
                raise NotOffered from error
            raise
        path = response.location or ""
        if not path.startswith(_PREFIX):
            raise ServiceFailed(f"{self._transport.url} does not answer like Clipstack", code="unexpected_answer")
        return path

    async def _send_rest(self, path: str, upload: Upload) -> None:
        total, offset, progressed_at = upload.total or 0, -1, time.monotonic()
        failures = 0
        while offset < total:
            try:
                if offset < 0:
                    offset = await self._offset(path)
                if offset < total:
                    offset = await self._append(path, offset, upload)
                failures, progressed_at = 0, time.monotonic()
            except ClipstackError as error:
                failures += 1
                await self._pause(error, failures, progressed_at, upload)
                offset = -1

    async def _until_done(self, upload: Upload, ask: Callable[[], Awaitable[Response]]) -> Response:
        began, failures = time.monotonic(), 0
        while True:
            try:
                return await ask()
            except ClipstackError as error:
                failures += 1
                await self._pause(error, failures, began, upload)

    async def _pause(self, error: ClipstackError, failures: int, progressed_at: float, upload: Upload) -> None:
        """Wait before the next try; raise `error` if there is none."""
        may_pass = isinstance(error, ServiceUnreachable | ServiceUnavailable) or error.code in _CONTINUED
        pause_s = min(FIRST_PAUSE_S * 2 ** (failures - 1), MAX_PAUSE_S) * random.uniform(1.0, 1.25)
        if isinstance(error, ServiceUnavailable):
            pause_s = max(pause_s, error.retry_after_s or 0.0)
        if not may_pass or time.monotonic() + pause_s > progressed_at + self._stall_s:
            raise error
        upload.report("waiting")
        await asyncio.sleep(pause_s)

    async def _offset(self, path: str) -> int:
        return self._offset_of(await self._ask(Request("HEAD", path, headers=_TUS)))

    async def _append(self, path: str, offset: int, upload: Upload) -> int:
        """Send one chunk and return the new offset."""
        content, digest = await run_in_thread(_read_chunk, upload, offset)
        headers = {
            "Content-Type": _CHUNK_TYPE,
            "Upload-Offset": str(offset),
            "Upload-Checksum": f"sha256 {base64.b64encode(digest).decode()}",
        }

        def watch(progress: Progress) -> None:
            if progress.stage == "sending":
                upload.sent = offset + progress.sent
                upload.report("sending")

        chunk = Upload(io.BytesIO(content), None, watch)
        began = time.perf_counter()
        response = await self._ask(Request("PATCH", path, headers=_TUS | headers), chunk)
        upload.sending_s += time.perf_counter() - began
        return self._offset_of(response)

    async def _ask(self, request: Request, upload: Upload | None = None) -> Response:
        response = await self._transport.send(request, upload)
        if 200 <= response.status < 300:
            return response
        if request.method == "HEAD" and response.status == 404:  # without a body there is no code
            raise RequestRefused("there is no such upload any more", code="upload_not_found", status=404)
        raise error_from(response, self._transport.url)

    def _offset_of(self, response: Response) -> int:
        if response.upload_offset is None:
            raise ServiceFailed(f"{self._transport.url} does not answer like Clipstack", code="unexpected_answer")
        return response.upload_offset


def _read_chunk(upload: Upload, offset: int) -> tuple[bytes, bytes]:
    """Return the chunk at `offset` and its SHA-256; raise OSError if the file has become shorter."""
    content = upload.read_at(offset, CHUNK_BYTES)
    return content, hashlib.sha256(content).digest()


class _Note:
    """The file that keeps the address of an unfinished upload of a whole file; nothing is kept for other sources."""

    def __init__(self, url: str, source: Source, upload: Upload) -> None:
        self._path: Path | None = None
        if isinstance(source, str | os.PathLike):
            with suppress(OSError, RuntimeError):  # no such file, or no home folder
                status = Path(source).stat()
                if status.st_size != upload.total:  # a smaller copy, which is never made the same again
                    return
                identity = (url, str(Path(source).resolve()), status.st_size, status.st_mtime_ns)
                self._path = cache_folder() / hashlib.sha256(repr(identity).encode()).hexdigest()[:32]

    def read(self) -> str | None:
        """Return the address, None if there is none."""
        if self._path is None:
            return None
        with suppress(OSError, UnicodeDecodeError):
            text = self._path.read_text("ascii").strip()
            if text.startswith(_PREFIX) and len(text) <= MAX_ADDRESS_BYTES:
                return text
        return None

    def write(self, address: str) -> None:
        """Keep the address; without a writable folder the upload cannot be continued by another run."""
        if self._path is None:
            return
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _remove_old(self._path.parent)
            new = self._path.with_suffix(f".{os.getpid()}")
            new.write_text(address, "ascii")
            new.replace(self._path)

    def remove(self) -> None:
        """Forget the address."""
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Return the folder of addresses of unfinished uploads; raise RuntimeError without a home folder."""
    base = os.environ.get("LOCALAPPDATA") if os.name == "nt" else os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "clipstack-client" / "uploads"


def _remove_old(folder: Path) -> None:
    for path in folder.iterdir():
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > KEPT_S:
                path.unlink()
