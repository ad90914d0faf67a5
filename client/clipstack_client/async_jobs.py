"""Methods of the asyncio client for jobs: submit, follow, export, cancel and remove timelines."""

import asyncio
import io
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from .errors import RequestRefused
from .follow import JobWatcher, follow, wait_for_job
from .http.requester import Requester, get, label_list, without_none
from .http.response import Response
from .http.transport import Request, Transport
from .http.upload import Source, Upload, Watcher, file_name
from .jobs import Job
from .parsing import parse_job
from .reduction.uploader import Reduction, Uploader, UploadRequest
from .sending.resumable import NotOffered, ResumableSender

CANCEL_POLL_S = 0.1
MAX_PAGE = 500  # jobs in one answer of the service
FILE_AT_FAULT = (415, 422)


class AsyncJobs:
    """Job methods of `AsyncClient`."""

    def __init__(
        self, transport: Transport, patience_s: float, uploader: Uploader, resumable_bytes: int | None
    ) -> None:
        self._transport = transport
        self._resumable = ResumableSender(transport, patience_s, resumable_bytes)
        self._patience_s = patience_s
        self._requester = Requester(transport, patience_s)
        self._uploader = uploader

    async def submit(
        self,
        source: Source,
        *,
        model: str | None = None,
        hop_s: float | None = None,
        window_s: float | None = None,
        margin: float | None = None,
        top_k: int | None = None,
        min_score: float | None = None,
        labels: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] | None = None,
        callback_url: str | None = None,
        results: str | None = None,
        embedding: bool = False,
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
            min_score: Score from which on a label has segments; see `classify`.
            labels: Only these labels; see `classify`.
            exclude: But not these labels.
            callback_url: Receiver of webhooks about the job; the service must allow its host.
            results: Folder of an object store that the service writes the finished record to, such as
                `s3://bucket/results`; the service must allow it.
            embedding: Whether the job keeps an embedding of each window, so that `search` finds it.
            key: Idempotency key, at most 200 printable ASCII characters: the same key returns the first job again.
            reduce: See `classify`; `frames` is not possible, because a timeline uses all frames.
            progress: Receives a `Progress` as the upload proceeds.

        Raises:
            OSError: The file cannot be read.
            DownloadFailed: The file at the address cannot be downloaded.
        """
        params = without_none(
            model=model,
            hop_s=hop_s,
            window_s=window_s,
            margin=margin,
            top_k=top_k,
            min_score=min_score,
            labels=label_list(labels),
            exclude=label_list(exclude),
            callback_url=callback_url,
            results=results,
            embedding="true" if embedding else None,
        )
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}

        async def post(upload: Upload) -> Response:
            if self._resumable.suits(upload):
                with suppress(NotOffered):
                    return await self._submit_resumable(upload, source, Request("POST", "/v1/jobs", params, headers))
            return await self._requester.send(Request("POST", "/v1/jobs", params, headers, safe=True), upload)

        request = UploadRequest(source, reduce, model, 0, progress)
        response, description = await self._uploader.send(request, post)
        return replace(self._parse_job(response), sent=description.sent)

    async def _submit_resumable(self, upload: Upload, source: Source, request: Request) -> Response:
        """Send the file in chunks, then submit the job of the complete upload."""
        id = await self._resumable.send(upload, file_name(source), source)
        upload.report("classifying")
        body = Upload(io.BytesIO(json.dumps({"upload": id}).encode()), None)
        headers = {**request.headers, "Content-Type": "application/json"}
        try:
            response = await self._requester.send(replace(request, headers=headers, safe=True), body)
        except RequestRefused as error:
            if error.status in FILE_AT_FAULT:  # after another refusal the caller may try again without sending it again
                await self._resumable.remove(id)
            raise
        self._resumable.forget(upload, source)
        return response

    async def job(self, id: str, *, windows: bool = False) -> Job:
        """Return the record of a job, optionally with every window, which may take several requests."""
        response = await self._requester.send(get(_path(id), windows="true" if windows else None))
        if windows:
            with self._requester.parsing(response):
                await self._add_windows(id, response.content.get("timeline"))
        return self._parse_job(response)

    async def jobs(self, limit: int = 50, state: str | None = None) -> tuple[Job, ...]:
        """Return the service's jobs, newest first, without their timelines; several requests if `limit` is above 500.

        `state` selects those that are `queued`, `running`, `done`, `failed` or `cancelled`.
        """
        found: list[Job] = []
        cursor: str | None = None
        while len(found) < limit:
            page = min(limit - len(found), MAX_PAGE)
            response = await self._requester.send(get("/v1/jobs", limit=page, state=state, cursor=cursor))
            with self._requester.parsing(response):
                found += [parse_job(record) for record in response.content["jobs"]]
                cursor = response.content.get("next_cursor")
            if cursor is None:
                break
        return tuple(found)

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
        min_score: float | None = None,
        labels: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] | None = None,
        callback_url: str | None = None,
        results: str | None = None,
        embedding: bool = False,
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
            source,
            model=model,
            hop_s=hop_s,
            window_s=window_s,
            margin=margin,
            top_k=top_k,
            min_score=min_score,
            labels=labels,
            exclude=exclude,
            callback_url=callback_url,
            results=results,
            embedding=embedding,
            reduce=reduce,
            progress=progress,
        )
        return replace(await wait_for_job(self, job, watch), sent=job.sent)

    async def export(self, id: str, format: str) -> bytes:
        """Return the timeline of a job as a file: `json`, `csv`, `vtt`, `svg` or `png`."""
        response = await self._requester.send(get(f"{_path(id)}/timeline", format=format))
        if response.content.get("next_offset") is None:
            return response.body
        timeline = dict(response.content)
        with self._requester.parsing(response):
            await self._add_windows(id, timeline)
        return json.dumps(timeline).encode()

    async def cancel(self, id: str) -> Job:
        """Stop a job and return its record once it has stopped; a job that has ended stays unchanged."""
        job = await self.job(id)
        if not job.ended:
            response = await self._requester.send(Request("DELETE", _path(id)))
            if response.content.get("state") == "removed":  # the job ended in the meantime
                return replace(job, state="cancelled")
        while not job.ended:
            job = await self.job(id)
            await asyncio.sleep(0 if job.ended else CANCEL_POLL_S)
        return job

    async def remove(self, id: str) -> None:
        """Remove a job and its files; a running job is stopped first."""
        while (await self._requester.send(Request("DELETE", _path(id)))).content.get("state") != "removed":
            await asyncio.sleep(CANCEL_POLL_S)

    async def _add_windows(self, id: str, timeline: dict[str, Any] | None) -> None:
        """Append the windows of all further pages to `timeline`."""
        while timeline is not None and timeline.get("next_offset") is not None:
            request = get(_path(id), windows="true", offset=int(timeline["next_offset"]))
            page = (await self._requester.send(request)).content["timeline"]
            timeline["windows"] += page["windows"]
            timeline["next_offset"] = page["next_offset"] if page["windows"] else None

    def _parse_job(self, response: Response) -> Job:
        with self._requester.parsing(response):
            return parse_job(response.content)


def _path(id: str) -> str:
    return f"/v1/jobs/{quote(id, safe='')}"
