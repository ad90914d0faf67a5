"""Download of a job's video, before its first window."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from app.errors import EmptyFile, WrongMediaKind
from app.fetch import client
from app.fetch.errors import FetcherUnavailable
from app.fetch.messages import Limits
from app.files import fsync_path
from app.jobs.recorder import JobRecorder
from app.jobs.storage.records import JobSpec
from app.jobs.storage.store import Job
from app.media.formats import HEAD_BYTES, recognise
from app.media.types import Source
from app.settings import Settings
from app.timeline.run import Cancelled

RETRY_S = 2.0
NO_TIMELINE = "a picture has no timeline: send it to /v1/classify"

log = logging.getLogger(__name__)


class SourceDownload:
    """Downloads the videos of jobs by the fetcher; while that does not run, a job waits as for Triton."""

    def __init__(self, settings: Settings) -> None:
        max_bytes, min_free = settings.max_upload_mb << 20, settings.min_free_mb << 20
        self._limits = Limits(max_bytes, settings.fetch_job_timeout_s, min_free)
        self._client = client.FetchClient(settings.run_dir / client.SOCKET)
        self._patience_s = settings.job_patience_s

    def ensure(self, job: Job, spec: JobSpec, recorder: JobRecorder, is_cancelled: Callable[[], bool]) -> int:
        """Return the bytes of the job's video, after downloading it unless an earlier attempt has.

        Raises:
            Cancelled: `is_cancelled()` returned true.
            ClipstackError: The download failed, or the file is a picture or empty.
        """
        if not job.source.exists():
            part = job.path / "source.part"
            try:
                self._download(spec.url, part, is_cancelled)
                fsync_path(part)
                part.rename(job.source)
                fsync_path(job.path)
            finally:
                part.unlink(missing_ok=True)
        length = job.source.stat().st_size
        recorder.record_download(length)
        if length == 0:
            raise EmptyFile("the file at the URL is empty")
        if recognise(Source(str(job.source), 0, length).read(HEAD_BYTES)).kind == "image":
            raise WrongMediaKind(NO_TIMELINE)
        return length

    def _download(self, url: str, part: Path, is_cancelled: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                with part.open("wb") as file:  # empties what an earlier attempt left
                    self._client.download(url, file, self._limits, is_cancelled)
                return
            except client.Stopped:
                raise Cancelled from None
            except FetcherUnavailable as error:
                if time.monotonic() > deadline:
                    raise
                log.info("the download is tried again: %s", error)
            until = time.monotonic() + RETRY_S
            while time.monotonic() < until:
                if is_cancelled():
                    raise Cancelled
                time.sleep(client.POLL_S)
