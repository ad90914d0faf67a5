"""Asyncio client of one Clipstack service."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from .async_jobs import AsyncJobs
from .errors import ClipstackError, RequestRefused
from .feedback import AsyncFeedback
from .http.address import authorized
from .http.requester import get, label_list, without_none
from .http.response import Response, error_from
from .http.transport import Request, Transport
from .http.upload import Source, Upload, Watcher
from .models import Health, Model, Result, SearchResult
from .parsing import parse_model, parse_result, parse_search
from .reduction.uploader import Rate, Reduction, Uploader, UploadRequest
from .sending.picture_form import parse_results, picture_forms
from .sending.resumable import THRESHOLD_BYTES
from .webhooks import AsyncWebhooks

DEFAULT_URL = "http://127.0.0.1:8080"


class AsyncClient(AsyncJobs, AsyncFeedback, AsyncWebhooks):
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
        resumable_bytes: Files of jobs from this size on are sent in chunks: they continue after a broken connection and
            after a restart of the program, and give up when nothing arrives for three times the patience. None: never.

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
        resumable_bytes: int | None = THRESHOLD_BYTES,
    ) -> None:
        transport = Transport(url, timeout, authorized(key, headers), verify)
        super().__init__(transport, patience, Uploader(self.models, Rate(rate)), resumable_bytes)

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
        min_score: float | None = None,
        labels: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] | None = None,
        embedding: bool = False,
        reduce: Reduction = "none",
        progress: Watcher | None = None,
    ) -> Result:
        """Classify a path, an https:// address, bytes, or a file opened in binary mode.

        Args:
            source: The file; a pipe is streamed, and sent once. A file at an https:// address is downloaded by this
                client and sent on as it comes.
            model: Name of the model; the service's default if None.
            top_k: Number of labels to return.
            clips: Number of clips; the service's default if None.
            sampling: Placement of the clips: `exact`, `auto` or `keyframe`, the fastest; the service's default if None.
            thumbnails: Whether to return JPEG files of the frames.
            min_score: Score, 0 to 1, from which on a label is in `decision`; the model's thresholds if None.
            labels: Only these labels: their names, or one text with commas; all if None.
            exclude: But not these labels.
            embedding: Whether to return the model's vector of the file.
            reduce: What to send of a video: the whole file (`none`), a small copy (`shrink`), the frames that the model
                needs (`frames`), or the fastest of these (`auto`). All but `none` need the extra `shrink`.
            progress: Receives a `Progress` as the upload proceeds.

        Raises:
            OSError: The file cannot be read.
            DownloadFailed: The file at the address cannot be downloaded.
            ReductionUnavailable: The extra `shrink` is not installed.
        """
        params = without_none(
            model=model,
            top_k=top_k,
            clips=clips,
            sampling=sampling,
            thumbnails="true" if thumbnails else None,
            embedding="true" if embedding else None,
            min_score=min_score,
            labels=label_list(labels),
            exclude=label_list(exclude),
        )

        async def post(upload: Upload) -> Response:
            return await self._requester.send(Request("POST", "/v1/classify", params), upload)

        request = UploadRequest(source, reduce, model, clips or 1, progress)
        response, description = await self._uploader.send(request, post)
        with self._requester.parsing(response):
            return parse_result(description.describe(response.content), response.cache)

    async def classify_many(
        self,
        sources: Sequence[Source],
        *,
        model: str | None = None,
        top_k: int = 5,
        min_score: float | None = None,
        labels: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] | None = None,
    ) -> tuple[Result | ClipstackError, ...]:
        """Classify many pictures with few requests, and return each one's result or error, in their order.

        See `classify` for the arguments. A request that fails as a whole raises its error.

        Raises:
            OSError: A file cannot be read.
        """
        params = without_none(
            model=model,
            top_k=top_k,
            min_score=min_score,
            labels=label_list(labels),
            exclude=label_list(exclude),
        )
        results: list[Result | ClipstackError] = []
        for form in picture_forms(sources):
            request = Request("POST", "/v1/classify", params, {"Content-Type": form.content_type})
            try:
                response = await self._requester.send(request, form.upload())
            except RequestRefused as error:
                if len(form.names) > 1:
                    raise
                results.append(error)  # of a form with one picture
                continue
            with self._requester.parsing(response):
                results += parse_results(dict(response.content), form.names)
        return tuple(results)

    async def search(
        self,
        source: Source | None = None,
        *,
        job: str | None = None,
        window: int | None = None,
        model: str | None = None,
        clips: int | None = None,
        limit: int = 10,
        progress: Watcher | None = None,
    ) -> SearchResult:
        """Return the moments of kept jobs that are most similar to a file, or to a window of a job.

        Only jobs are searched that were submitted with `embedding=True`, are done, and have the same model.

        Args:
            source: A picture or a video; see `classify`.
            job: In place of a source: id of a job.
            window: Number of the job's window, from 0.
            model: Name of the model for the source; the service's default if None.
            clips: Number of clips of the source; the service's default if None.
            limit: Largest number of moments.
            progress: Receives a `Progress` as the upload proceeds.

        Raises:
            ValueError: Not exactly one of `source` and `job` is given.
            OSError: The file cannot be read.
        """
        if (source is None) == (job is None):
            raise ValueError("search needs either a source, or a job and its window")
        params = without_none(model=model, clips=clips, limit=limit, job=job, window=window)
        request = Request("POST", "/v1/search", params, safe=True)
        if source is None:
            response = await self._requester.send(request)
        else:

            async def post(upload: Upload) -> Response:
                return await self._requester.send(request, upload)

            response, _ = await self._uploader.send(UploadRequest(source, "none", model, clips or 1, progress), post)
        with self._requester.parsing(response):
            return parse_search(response.content)

    async def models(self) -> tuple[Model, ...]:
        """Return the models that the service offers."""
        return await self._requester.read(get("/v1/models"), lambda answer: tuple(map(parse_model, answer["models"])))

    async def health(self) -> Health:
        """Ask the service once whether it is ready."""
        response = await self._transport.send(Request("GET", "/readyz"))
        if response.status == 503:
            return Health(False, str(error_from(response, self.url)))
        if response.status != 200:
            raise error_from(response, self.url)
        with self._requester.parsing(response):
            return Health(True, str(response.content["status"]))

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()
