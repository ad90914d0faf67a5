"""Asyncio client of one Clipstack service."""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any
from urllib.parse import quote

from .errors import ServiceFailed, ServiceUnavailable, ServiceUnreachable
from .follow import JobWatcher, follow, whole_job
from .http.response import Response, error_of
from .http.retry import RetryPolicy
from .http.transport import Transport, headers_with
from .jobs import Job, read_job
from .models import Health, Model, Result, read_model, read_result
from .reduction.bandwidth import Rate
from .reduction.uploader import Reduction, Uploader
from .upload import Source, Upload, Watcher

DEFAULT_URL = "http://127.0.0.1:8080"
CANCEL_POLL_S = 0.1


class AsyncClient:
    """Asyncio client of the service at `url`; close it after use.

    Every method raises RequestRefused, ServiceFailed, ServiceUnavailable or ServiceUnreachable.

    Args:
        url: Address of the service.
        timeout: Longest silence in seconds before a request fails.
        patience: Seconds that one call may spend waiting for a busy service, in all. The client retries after 429 and
            503, no sooner than the service asks, and at most three times if no connection can be made. It repeats a
            request whose answer was lost only if that is harmless.
        rate: Upload rate in bytes per second for `reduce="auto"`; by default it is measured as files are sent.
        headers: Headers of every request, for example for a proxy.
        key: The service's key; by default the environment variable CLIPSTACK_KEY.
        verify: For https: a file of certificates to trust instead of the system's, for example a self-signed
            certificate, or False to trust any certificate, for tests only.

    Raises:
        ValueError: The URL is not http(s), or the key is malformed.
        OSError: The file of certificates cannot be read.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        timeout: float = 120.0,
        patience: float = 20.0,
        rate: float | None = None,
        headers: Mapping[str, str] | None = None,
        key: str | None = None,
        verify: bool | str | os.PathLike[str] = True,
    ) -> None:
        self._transport = Transport(url, timeout, headers_with(key, headers), verify)
        self._patience_s = patience
        self._sender = Uploader(self.models, Rate(rate))

    @property
    def url(self) -> str:
        """Return the address of the service."""
        return self._transport.url

    async def classify(
        self,
        source: Source,
        *,
        model: str | None = None,
        top_k: int = 5,
        clips: int | None = None,
        sampling: str | None = None,
        thumbnails: bool = False,
        reduce: Reduction = "none",
        progress: Watcher | None = None,
    ) -> Result:
        """Classify a path, bytes, or a file opened in binary mode.

        Args:
            source: The file; a pipe is streamed, and sent once.
            model: Name of the model; the service's default if None.
            top_k: Number of labels to return.
            clips: Number of clips; the service's default if None.
            sampling: Placement of the clips: `exact`, or the faster `keyframe`; the service's default if None.
            thumbnails: Whether to return JPEG files of the frames.
            reduce: What to send of a video: the whole file (`none`), a small copy (`shrink`), the frames that the model
                needs (`frames`), or the fastest of these (`auto`). All but `none` need the extra `shrink`.
            progress: Receives a `Progress` as the upload proceeds.

        Raises:
            OSError: The file cannot be read.
            ReductionUnavailable: The extra `shrink` is not installed.
        """
        flag = "true" if thumbnails else None
        params = _given(model=model, top_k=top_k, clips=clips, sampling=sampling, thumbnails=flag)

        async def send(upload: Upload) -> Response:
            return await self._call("POST", "/v1/classify", params, upload)

        response, description = await self._sender.send(source, reduce, model, clips or 1, progress, send)
        with self._expecting(response):
            return read_result(description.described(response.content), response.cache)

    async def models(self) -> tuple[Model, ...]:
        """Return the models that the service offers."""
        response = await self._call("GET", "/v1/models", {}, safe=True)
        with self._expecting(response):
            return tuple(read_model(entry) for entry in response.content["models"])

    async def health(self) -> Health:
        """Ask the service once whether it is ready."""
        response = await self._transport.send("GET", "/readyz", {})
        if response.status == 503:
            return Health(False, str(error_of(response, self.url)))
        if response.status != 200:
            raise error_of(response, self.url)
        with self._expecting(response):
            return Health(True, str(response.content["status"]))

    async def submit(
        self,
        source: Source,
        *,
        model: str | None = None,
        hop_s: float | None = None,
        window_s: float | None = None,
        margin: float | None = None,
        top_k: int | None = None,
        key: str | None = None,
        reduce: Reduction = "none",
        progress: Watcher | None = None,
    ) -> Job:
        """Upload a video for a timeline and return its job, which has only started.

        Args:
            source: The file; see `classify`.
            model: Name of the model; the service's default if None.
            hop_s: Seconds from one window to the next; the service's default if None.
            window_s: Seconds from a window's first frame to its last; the service's default if None.
            margin: Lead, 0 to 1, that another label needs to take over; the service's default if None.
            top_k: Number of labels of each window; the service's default if None.
            key: Idempotency key, at most 200 printable ASCII characters: the same key returns the first job again.
            reduce: See `classify`; `frames` is not possible, because a timeline uses all frames.
            progress: Receives a `Progress` as the upload proceeds.

        Raises:
            OSError: The file cannot be read.
        """
        params = _given(model=model, hop_s=hop_s, window_s=window_s, margin=margin, top_k=top_k)
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}

        async def send(upload: Upload) -> Response:
            return await self._call("POST", "/v1/jobs", params, upload, headers, safe=True)

        response, description = await self._sender.send(source, reduce, model, 0, progress, send)
        return replace(self._job_of(response), sent=description.sent)

    async def job(self, id: str, *, windows: bool = False) -> Job:
        """Return the record of a job, optionally with every window, which may take several requests."""
        response = await self._call("GET", _path(id), _given(windows="true" if windows else None), safe=True)
        if windows:
            with self._expecting(response):
                await self._add_windows(id, response.content.get("timeline"))
        return self._job_of(response)

    async def _add_windows(self, id: str, timeline: dict[str, Any] | None) -> None:
        """Append the windows of all further pages to `timeline`."""
        while timeline is not None and timeline.get("next_offset") is not None:
            params = _given(windows="true", offset=int(timeline["next_offset"]))
            page = (await self._call("GET", _path(id), params, safe=True)).content["timeline"]
            timeline["windows"] += page["windows"]
            timeline["next_offset"] = page["next_offset"] if page["windows"] else None

    async def jobs(self, limit: int = 50) -> tuple[Job, ...]:
        """Return the service's jobs, newest first, without their timelines."""
        response = await self._call("GET", "/v1/jobs", {"limit": limit}, safe=True)
        with self._expecting(response):
            return tuple(read_job(record) for record in response.content["jobs"])

    async def follow(self, id: str) -> AsyncIterator[Job]:
        """Yield the record of a job after each change; the last record is of a job that has ended."""
        async with aclosing(follow(self._transport, self, _path(id), self._patience_s)) as records:
            async for job in records:
                yield job

    async def timeline(
        self,
        source: Source,
        *,
        model: str | None = None,
        hop_s: float | None = None,
        window_s: float | None = None,
        margin: float | None = None,
        top_k: int | None = None,
        reduce: Reduction = "none",
        progress: Watcher | None = None,
        watch: JobWatcher | None = None,
    ) -> Job:
        """Submit a video, wait for its job and return it with its timeline.

        `watch` receives each record of the job; see `submit` for the other arguments. Cancelling this call cancels the
        job.

        Raises:
            JobFailed: The job failed or was cancelled.
        """
        job = await self.submit(
            source, model=model, hop_s=hop_s, window_s=window_s, margin=margin, top_k=top_k,
            reduce=reduce, progress=progress,
        )  # fmt: skip
        return replace(await whole_job(self, job, watch), sent=job.sent)

    async def export(self, id: str, format: str) -> bytes:
        """Return the timeline of a job as a file: `json`, `csv`, `vtt`, `svg` or `png`."""
        response = await self._call("GET", f"{_path(id)}/timeline", {"format": format}, safe=True)
        if response.content.get("next_offset") is None:
            return response.body
        timeline = dict(response.content)
        with self._expecting(response):
            await self._add_windows(id, timeline)
        return json.dumps(timeline).encode()

    async def cancel(self, id: str) -> Job:
        """Stop a job and return its record once it has stopped; a job that has ended stays unchanged."""
        job = await self.job(id)
        if not job.ended:
            response = await self._call("DELETE", _path(id), {})
            if response.content.get("state") == "removed":  # the job ended in the meantime
                return replace(job, state="cancelled")
        while not job.ended:
            job = await self.job(id)
            await asyncio.sleep(0 if job.ended else CANCEL_POLL_S)
        return job

    async def remove(self, id: str) -> None:
        """Remove a job and its files; a running job is stopped first."""
        while (await self._call("DELETE", _path(id), {})).content.get("state") != "removed":
            await asyncio.sleep(CANCEL_POLL_S)

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int | float],
        upload: Upload | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        safe: bool = False,
    ) -> Response:
        deadline = RetryPolicy(self._patience_s)
        while True:
            try:
                response = await self._transport.send(method, path, params, upload, headers)
                if 200 <= response.status < 300:
                    return response
                raise error_of(response, self.url)
            except (ServiceUnreachable, ServiceUnavailable) as error:
                repeatable = upload is None or upload.repeatable
                pause_s = deadline.next_pause_s(error, safe=safe) if repeatable else None
                if pause_s is None:
                    raise
            if upload is not None:
                upload.tell("waiting")
            await asyncio.sleep(pause_s)

    def _job_of(self, answer: Response) -> Job:
        with self._expecting(answer):
            return read_job(answer.content)

    @contextmanager
    def _expecting(self, answer: Response) -> Iterator[None]:
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ServiceFailed(
                f"{self.url} does not answer like Clipstack: {error!r}",
                code="unexpected_answer",
                status=answer.status,
                request_id=answer.request_id,
            ) from error


def _given(**params: Any) -> dict[str, str | int | float]:
    return {name: value for name, value in params.items() if value is not None}


def _path(id: str) -> str:
    return f"/v1/jobs/{quote(id, safe='')}"
