"""Transfers of jobs by the fetcher: the download of the video, and the upload of the finished record."""

import json
import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from app.errors import EmptyFile, WrongMediaKind
from app.fetch import client
from app.fetch.errors import FetcherUnavailable
from app.fetch.messages import Limits
from app.files import fsync_path
from app.jobs.recorder import JobRecorder
from app.jobs.storage.records import JobSpec, JobState
from app.jobs.storage.store import Job, now
from app.media.formats import HEAD_BYTES, recognise
from app.media.types import Source
from app.settings import Settings
from app.timeline.run import Cancelled

RETRY_S = 2.0
NO_TIMELINE = "a picture has no timeline: send it to /v1/classify"

log = logging.getLogger(__name__)


class Transfers:
    """Downloads and uploads of jobs; while the fetcher does not run, a job waits. `to_json` makes a job's record."""

    def __init__(self, settings: Settings, to_json: Callable[[JobSpec, JobState], dict[str, Any]]) -> None:
        max_bytes, min_free = settings.max_upload_mb << 20, settings.min_free_mb << 20
        self._limits = Limits(max_bytes, settings.fetch_job_timeout_s, min_free)
        self._client = client.FetchClient(settings.run_dir / client.SOCKET)
        self._patience_s = settings.job_patience_s
        self._to_json = to_json

    def ensure_source(self, job: Job, spec: JobSpec, recorder: JobRecorder, is_cancelled: Callable[[], bool]) -> int:
        """Return the bytes of the job's video, after downloading it unless an earlier attempt has.

        Raises Cancelled, or a ClipstackError if the download failed or the file is a picture or empty.
        """
        if not job.source.exists():
            part = job.path / "source.part"
            try:
                self._retry(partial(self._download, spec.url, part, is_cancelled), is_cancelled)
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

    def write_results(self, spec: JobSpec, state: JobState, is_cancelled: Callable[[], bool]) -> None:
        """Write the record of a job whose windows are all done to its place in an object store; raises as above."""
        done = replace(state, state="done", finished=now(), percent=100.0, eta_s=None, error=None)
        content = json.dumps(self._to_json(spec, done)).encode()
        with tempfile.TemporaryFile() as file:
            file.write(content)
            file.flush()
            write = partial(self._client.write, spec.results_url, file, self._limits, is_cancelled)
            self._retry(write, is_cancelled)

    def _download(self, url: str, part: Path, is_cancelled: Callable[[], bool]) -> None:
        with part.open("wb") as file:  # empties what an earlier attempt left
            self._client.download(url, file, self._limits, is_cancelled)

    def _retry(self, transfer: Callable[[], object], is_cancelled: Callable[[], bool]) -> None:
        """Call `transfer` until the fetcher is available, for as long as jobs wait for Triton."""
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                transfer()
                return
            except client.Stopped:
                raise Cancelled from None
            except FetcherUnavailable as error:
                if time.monotonic() > deadline:
                    raise
                log.info("the transfer is tried again: %s", error)
            until = time.monotonic() + RETRY_S
            while time.monotonic() < until:
                if is_cancelled():
                    raise Cancelled
                time.sleep(client.POLL_S)
