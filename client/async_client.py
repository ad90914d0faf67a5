"""A connection to one Clipstack service: classify files, have whole videos looked at, list its models."""

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

from client.answers import Health, Model, Result, read_model, read_result
from client.errors import ServiceFailed, ServiceUnavailable, ServiceUnreachable
from client.following import JobWatcher, follow, whole_job
from client.jobs import Job, read_job
from client.patience import RetryPolicy
from client.reduction.rate import Rate
from client.reduction.sending import Reduction, Uploader
from client.reply import Response, error_of
from client.transport import Transport, headers_with
from client.upload import Source, Upload, Watcher

DEFAULT_URL = "http://127.0.0.1:8080"
CANCEL_POLL_S = 0.1


class AsyncClient:
    """A client of the service at `url`, for asyncio; to be closed after use.

    `timeout` is the longest silence, in seconds, before a request is given up. `patience` is how many seconds
    a call may spend waiting for a busy service, in all: it tries again after 429 and 503, no sooner than the
    service asks, and (three times at most) when no connection can be made. An answer that was lost is asked for
    again only where asking twice does no harm. `rate` is the upload rate in bytes a second, for
    `reduce="auto"`; left out, it is measured as files are sent. `headers` go with every request: what a
    proxy before the service wants to see, say. `key` is the service's own key, where it asks for one; left out, it is
    CLIPSTACK_KEY of the environment. `verify` is, for https, a file of certificates to trust instead of the system's
    (a self-signed certificate itself, say), or False to trust anybody, which is for trying things out alone.

    Every method raises RequestRefused, ServiceFailed, ServiceUnavailable or ServiceUnreachable. Raises ValueError
    for what is no http(s) URL or no key, OSError for a file of certificates that cannot be read.
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
        """Upload a path, bytes, or a file opened in binary mode, and return what is in it.

        `model` None means the service's default, `clips` None its usual number of clips, `sampling` None its usual way
        of placing them: `exact`, or `keyframe`, which is quicker. `reduce` says what is sent of a video: all of it,
        `shrink` (encoded again, small), `frames` (what the model will look at) or `auto` (the quickest); it takes the
        extra `shrink`, else ReductionUnavailable is raised. `progress` is called
        with a `Progress` as the upload goes. A pipe is sent as it comes, and once.

        Raises OSError, too, for a file that cannot be read.
        """
        flag = "true" if thumbnails else None
        params = _given(model=model, top_k=top_k, clips=clips, sampling=sampling, thumbnails=flag)

        async def send(upload: Upload) -> Response:
            return await self._call("POST", "/v1/classify", params, upload)

        answer, told = await self._sender.send(source, reduce, model, clips or 1, progress, send)
        with self._expecting(answer):
            return read_result(told.described(answer.content), answer.cache)

    async def models(self) -> tuple[Model, ...]:
        """The models that the service offers."""
        answer = await self._call("GET", "/v1/models", {}, safe=True)
        with self._expecting(answer):
            return tuple(read_model(entry) for entry in answer.content["models"])

    async def health(self) -> Health:
        """Whether the service is ready, asked once."""
        answer = await self._transport.send("GET", "/readyz", {})
        if answer.status == 503:
            return Health(False, str(error_of(answer, self.url)))
        if answer.status != 200:
            raise error_of(answer, self.url)
        with self._expecting(answer):
            return Health(True, str(answer.content["status"]))

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
        """Upload a video to be looked at from start to end, and return its job, which has only begun.

        `hop_s` is the time from one window to the next, `window_s` that from a window's first frame to its
        last, `margin` (0 to 1) how far another label must be ahead; None means the service's choice. The same
        `key` (200 printable ASCII characters at most) a second time gives the first job. `reduce` as for
        `classify`, but for `frames`: a timeline looks at all of them. Raises OSError, too.
        """
        params = _given(model=model, hop_s=hop_s, window_s=window_s, margin=margin, top_k=top_k)
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}

        async def send(upload: Upload) -> Response:
            return await self._call("POST", "/v1/jobs", params, upload, headers, safe=True)

        answer, told = await self._sender.send(source, reduce, model, 0, progress, send)
        return replace(self._job_of(answer), sent=told.sent)

    async def job(self, id: str, *, windows: bool = False) -> Job:
        """The record of a job, with every single window if wanted, which may take several requests."""
        answer = await self._call("GET", _path(id), _given(windows="true" if windows else None), safe=True)
        if windows:
            with self._expecting(answer):
                await self._add_windows(id, answer.content.get("timeline"))
        return self._job_of(answer)

    async def _add_windows(self, id: str, timeline: dict[str, Any] | None) -> None:
        """Add to `timeline` the windows of all pages after its own."""
        while timeline is not None and timeline.get("next_offset") is not None:
            params = _given(windows="true", offset=int(timeline["next_offset"]))
            page = (await self._call("GET", _path(id), params, safe=True)).content["timeline"]
            timeline["windows"] += page["windows"]
            timeline["next_offset"] = page["next_offset"] if page["windows"] else None

    async def jobs(self, limit: int = 50) -> tuple[Job, ...]:
        """The jobs that the service has, newest first, without their timelines."""
        answer = await self._call("GET", "/v1/jobs", {"limit": limit}, safe=True)
        with self._expecting(answer):
            return tuple(read_job(record) for record in answer.content["jobs"])

    async def follow(self, id: str) -> AsyncIterator[Job]:
        """The record of a job whenever it has changed; the last one is of a job that has ended."""
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
        """`submit`, then follow to the end; returns the job with its timeline. `watch` is called with each record.

        Raises JobFailed, too, for a job that failed or was cancelled. When this is cancelled, so is the job.
        """
        job = await self.submit(
            source, model=model, hop_s=hop_s, window_s=window_s, margin=margin, top_k=top_k,
            reduce=reduce, progress=progress,
        )  # fmt: skip
        return replace(await whole_job(self, job, watch), sent=job.sent)

    async def export(self, id: str, format: str) -> bytes:
        """The timeline of a job as a file: `json`, `csv`, `vtt`, `svg` or `png`."""
        answer = await self._call("GET", f"{_path(id)}/timeline", {"format": format}, safe=True)
        if answer.content.get("next_offset") is None:
            return answer.body
        timeline = dict(answer.content)
        with self._expecting(answer):
            await self._add_windows(id, timeline)
        return json.dumps(timeline).encode()

    async def cancel(self, id: str) -> Job:
        """Stop a job, and return its record once it has stopped; a job that has ended is left as it is."""
        job = await self.job(id)
        if not job.ended:
            answer = await self._call("DELETE", _path(id), {})
            if answer.content.get("state") == "removed":  # it ended just then
                return replace(job, state="cancelled")
        while not job.ended:
            job = await self.job(id)
            await asyncio.sleep(0 if job.ended else CANCEL_POLL_S)
        return job

    async def remove(self, id: str) -> None:
        """Remove a job and its files; one that still runs is stopped first."""
        while (await self._call("DELETE", _path(id), {})).content.get("state") != "removed":
            await asyncio.sleep(CANCEL_POLL_S)

    async def close(self) -> None:
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
                answer = await self._transport.send(method, path, params, upload, headers)
                if 200 <= answer.status < 300:
                    return answer
                raise error_of(answer, self.url)
            except (ServiceUnreachable, ServiceUnavailable) as error:
                again = upload is None or upload.repeatable
                pause_s = deadline.next_pause_s(error, safe=safe) if again else None
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
