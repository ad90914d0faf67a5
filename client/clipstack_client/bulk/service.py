"""One service that files are sent to, and what an error of it means for the file and for the run."""

from __future__ import annotations

import asyncio
import os
import random
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ..async_client import DEFAULT_URL, AsyncClient
from ..errors import (
    ClipstackError,
    ConnectFailed,
    DownloadFailed,
    JobFailed,
    KeyRefused,
    RequestRefused,
    ServiceFailed,
    ServiceUnavailable,
    ServiceUnreachable,
)
from ..jobs import Job
from ..loop_thread import run_in_thread
from ..models import Result
from ..sending.media_files import PICTURES
from .request import BulkRequest, Limits
from .source import Entry, opened
from .stores.interface import StoreFailed

# The parameters are at fault, so that every other file would be refused too
PARAMETER_CODES = frozenset({"invalid_parameter", "model_not_found"})
BUSY_STATUSES = frozenset({429, 502, 503})
FIRST_PAUSE_S, MAX_PAUSE_S = 1.0, 15.0
PICTURE_SUFFIXES = frozenset(f".{suffix}" for suffix in PICTURES.split())


class Blame(Enum):
    """Cause of an error."""

    FILE = "file"  # a retry fails too
    ATTEMPT = "attempt"  # a retry may succeed
    SERVICE = "service"  # the service is busy or away, whatever the file
    RUN = "run"  # every other file would fail too


def blame(error: ClipstackError | OSError) -> Blame:
    """Return the cause of an error of one file."""
    if isinstance(error, KeyRefused) or (isinstance(error, RequestRefused) and error.code in PARAMETER_CODES):
        return Blame.RUN
    if isinstance(error, ConnectFailed) or (isinstance(error, ServiceUnavailable) and error.status in BUSY_STATUSES):
        return Blame.SERVICE
    if isinstance(error, JobFailed):
        return Blame.FILE if error.at_fault == "file" else Blame.ATTEMPT
    if isinstance(error, ServiceFailed | ServiceUnreachable | StoreFailed | DownloadFailed):
        return Blame.ATTEMPT
    return Blame.FILE


class ServiceLost(ClipstackError):
    """No service has answered for too long; the results keep what is finished."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="service_lost")


@dataclass(frozen=True)
class Connection:
    """Address of a service, its key, and the certificates to trust; see `AsyncClient`."""

    url: str
    key: str | None = None
    ca_file: Path | None = None

    @classmethod
    def from_environment(cls) -> Connection:
        """Return the service of this node: CLIPSTACK_URL, CLIPSTACK_KEY or CLIPSTACK_KEY_FILE, CLIPSTACK_CA_FILE."""
        key_file, ca_file = (os.environ.get(f"CLIPSTACK_{name}_FILE") for name in ("KEY", "CA"))
        url = os.environ.get("CLIPSTACK_URL") or DEFAULT_URL
        return cls(url, Path(key_file).read_text() if key_file else None, Path(ca_file) if ca_file else None)


class Service:
    """One service; at most `limits.concurrency` files are sent to it at the same time. Raise as `AsyncClient` does."""

    def __init__(self, connection: Connection, limits: Limits) -> None:
        self.url = connection.url
        self._limits = limits
        self._client = AsyncClient(
            connection.url,
            timeout=limits.timeout_s,
            patience=limits.patience_s,
            key=connection.key,
            verify=connection.ca_file or True,
            resumable_bytes=None,  # the file is at hand, and a run that was killed begins with it again
        )
        self.slots = asyncio.Semaphore(limits.concurrency)
        self._answered = time.monotonic()
        self._failures, self._resume_at = 0, 0.0

    async def send(self, entry: Entry, request: BulkRequest) -> Result | Job:
        """Send one file once and return its answer; raise ClipstackError or OSError."""
        with ExitStack() as resources:
            source = await run_in_thread(resources.enter_context, opened(entry))
            selection = {"min_score": request.min_score, "labels": request.labels, "exclude": request.exclude}
            if request.timeline and Path(entry.file).suffix.lower() not in PICTURE_SUFFIXES:
                options = {"model": request.model, "hop_s": request.hop_s, "window_s": request.window_s}
                answer: Result | Job = await self._client.timeline(source, **options, **selection)  # type: ignore[arg-type]
            else:
                answer = await self._client.classify(
                    source,
                    model=request.model,
                    top_k=request.top_k,
                    clips=request.clips,
                    sampling=request.sampling,
                    embedding=request.embedding,
                    **selection,  # type: ignore[arg-type]
                )
        if isinstance(answer, Job):
            with suppress(ClipstackError):  # the row has all of it
                await self._client.remove(answer.id)
        return answer

    def answered(self) -> None:
        """Record that the service gave an answer, whatever it was."""
        self._answered, self._failures = time.monotonic(), 0

    def refused(self, error: ClipstackError) -> None:
        """Have the service rest after an error of its own, as long as it asks for, and longer each time.

        Raise ServiceLost if it has not answered for too long, or asks for more time than that.
        """
        now = time.monotonic()
        if self.is_ready:  # not for the other files that failed in the same moment
            self._failures += 1
            self._resume_at = now + min(FIRST_PAUSE_S * 2 ** (self._failures - 1), MAX_PAUSE_S)
        if isinstance(error, ServiceUnavailable) and error.retry_after_s is not None:
            self._resume_at = max(self._resume_at, now + error.retry_after_s)
        if self._resume_at - self._answered > self._limits.max_outage_s:
            silent_s = now - self._answered
            raise ServiceLost(f"{self.url} has answered nothing for {silent_s:.0f} s: {error.message}")

    @property
    def is_ready(self) -> bool:
        """Return whether the service may be asked now."""
        return time.monotonic() >= self._resume_at

    async def ready(self) -> None:
        """Wait until the service may be asked again."""
        while not self.is_ready:
            await asyncio.sleep((self._resume_at - time.monotonic()) * random.uniform(1.0, 1.25))

    async def check(self, model: str | None) -> None:
        """Check the service's key and model; raise KeyRefused, RequestRefused, or ClipstackError without an answer."""
        names = [entry.name for entry in await self._client.models()]
        if model is not None and model.partition("@")[0] not in names:
            message = f"{self.url} has no model {model!r}, only {', '.join(names)}"
            raise RequestRefused(message, code="model_not_found", status=404)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()
