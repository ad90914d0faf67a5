"""Send a file or its reduction: choose, reduce, post, and describe the original file in the answer."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias

from ..errors import ReductionUnavailable
from ..http.response import Response
from ..http.upload import Progress, Source, Upload, Watcher, file_name, open_upload
from ..loop_thread import run_in_thread
from ..models import Model, Sent
from ..sending.remote import download, is_url, open_remote, temporary_folder
from .strategy import choose

if TYPE_CHECKING:
    from .prepare import ReducedFile
    from .probe import Facts

Reduction: TypeAlias = Literal["none", "shrink", "frames", "auto"]
Post: TypeAlias = Callable[[Upload], Awaitable[Response]]

MIN_SAMPLE_S = 0.3  # of sending: the first bytes only fill buffers
MIN_SAMPLE_BYTES = 1 << 20  # a faster upload of this size is measured too
MODELS_S = 60.0  # longest age of the list of models
RECONSIDER_S = 0.5  # seconds of sending a whole file before the choice is made by the measured rate


@dataclass(frozen=True)
class UploadRequest:
    """A file to send, and what to send of it.

    `model` is None for the service's default. `clips` is 0 if all frames are used. `watcher` receives the progress.
    """

    source: Source
    reduction: Reduction
    model: str | None
    clips: int
    watcher: Watcher | None


@dataclass(frozen=True)
class SentDescription:
    """How to read an answer; `sent` is None if the file was sent unchanged."""

    sent: Sent | None = None
    describe: Callable[[Any], Mapping[str, Any]] = field(default=lambda answer: answer)


class _Stopped(Exception):
    """Raised while a smaller file is made, because the caller was cancelled."""


class _Switched(Exception):
    """Raised in the upload of a whole file, because `reduction` is faster."""

    def __init__(self, reduction: str) -> None:
        super().__init__(reduction)
        self.reduction = reduction


class Rate:
    """Upload rate in bytes per second, None while unknown."""

    def __init__(self, bytes_s: float | None = None) -> None:
        self.bytes_s = bytes_s
        self._fixed = bytes_s is not None

    def record(self, sent: int, seconds: float) -> None:
        """Include one upload, or its beginning; the newest measurement counts half."""
        if self._fixed or seconds <= 0 or (seconds < MIN_SAMPLE_S and sent < MIN_SAMPLE_BYTES):
            return
        measured = sent / seconds
        self.bytes_s = measured if self.bytes_s is None else (self.bytes_s + measured) / 2


class Uploader:
    """Uploads of one client; `models` lists the service's models, `rate` measures every upload."""

    def __init__(self, models: Callable[[], Awaitable[tuple[Model, ...]]], rate: Rate) -> None:
        self._list_models, self._rate = models, rate
        self._models: tuple[Model, ...] = ()
        self._listed_at = -MODELS_S

    async def send(self, request: UploadRequest, post: Post) -> tuple[Response, SentDescription]:
        """Send a file by `post`, whose exceptions propagate; a file that cannot be reduced is sent unchanged.

        Raise ReductionUnavailable without the extra `shrink`, ValueError for `frames` without clips.
        """
        if request.reduction == "frames" and not request.clips:
            raise ValueError("a timeline uses all frames of a video: reduce='frames' is not possible")
        if request.reduction == "none" or not isinstance(request.source, str | os.PathLike | bytes):
            return await self._send_whole(request, post)
        if is_url(request.source):  # a reduction reads the file at any place
            with temporary_folder() as folder:
                path = await run_in_thread(download, str(request.source), Path(folder))
                return await self.send(replace(request, source=path), post)
        prepare = _import_prepare()
        with _open(request.source) as (file, length):
            facts = await run_in_thread(prepare.probe, file, length)
            model = await self._find_model(request.model)
            if facts is None or model is None:
                return await self._send_whole(request, post)
            clips = request.clips if facts.sampled else 0
            choice: str = request.reduction
            if choice == "auto" and self._rate.bytes_s is None:
                try:
                    return await self._send_whole(replace(request, watcher=self._switch(request, facts, clips)), post)
                except _Switched as switched:
                    choice = switched.reduction
            elif choice == "auto":
                choice = choose(facts, clips, self._rate.bytes_s or 0.0)
            if choice == "none" or (choice == "frames" and not clips):
                return await self._send_whole(request, post)
            reduce = partial(prepare.reduce, file, facts, choice, prepare.Target(model, request.clips))
            reduced = await _run_reduction(reduce, facts, request.watcher)
        if reduced is None:
            return await self._send_whole(request, post)
        with reduced.file:
            response = await self._send(Upload(reduced.file, file_name(request.source), request.watcher), post)
        return response, SentDescription(reduced.sent, reduced.describe)

    async def _send_whole(self, request: UploadRequest, post: Post) -> tuple[Response, SentDescription]:
        if is_url(request.source):
            with await run_in_thread(open_remote, str(request.source)) as file:
                upload = Upload(file, file_name(file), request.watcher)
                return await self._send(upload, post), SentDescription()
        with open_upload(request.source, request.watcher) as upload:
            return await self._send(upload, post), SentDescription()

    async def _send(self, upload: Upload, post: Post) -> Response:
        response = await post(upload)
        self._rate.record(upload.sent, upload.sending_s)
        return response

    def _switch(self, request: UploadRequest, facts: Facts, clips: int) -> Watcher:
        """Return a watcher that stops the upload of a whole file once a reduction is clearly faster."""
        started_at = time.monotonic()

        def watch(progress: Progress) -> None:
            nonlocal started_at
            if request.watcher is not None:
                request.watcher(progress)
            if progress.stage != "sending" or not progress.sent:
                started_at = time.monotonic()
                return
            seconds = time.monotonic() - started_at
            if seconds < RECONSIDER_S or self._rate.bytes_s is not None:
                return
            self._rate.record(progress.sent, seconds)
            choice = choose(facts, clips, progress.sent / seconds, bytes_left=facts.bytes - progress.sent)
            if choice != "none":
                raise _Switched(choice)

        return watch

    async def _find_model(self, name: str | None) -> Model | None:
        """Return the model to ask, or None if the service does not list it."""
        if time.monotonic() - self._listed_at > MODELS_S:
            self._models, self._listed_at = await self._list_models(), time.monotonic()
        for model in self._models:
            if model.default if name is None else name in (model.name, f"{model.name}@{model.version}"):
                return model
        return None


async def _run_reduction(
    reduce: Callable[[Callable[[float], None]], ReducedFile | None], facts: Facts, watcher: Watcher | None
) -> ReducedFile | None:
    """Run `reduce` in a thread, report its progress to the watcher, and stop it when the caller is cancelled."""
    stop = Event()

    def check(done_s: float) -> None:
        if stop.is_set():
            raise _Stopped
        if watcher is not None:
            total_ms = None if facts.duration_s is None else round(facts.duration_s * 1000)
            watcher(Progress("preparing", round(done_s * 1000), total_ms))

    try:
        return await run_in_thread(reduce, check)
    finally:
        stop.set()


def _import_prepare() -> Any:
    try:
        from . import prepare
    except ImportError as error:
        raise ReductionUnavailable from error
    return prepare


@contextmanager
def _open(source: str | os.PathLike[str] | bytes) -> Iterator[tuple[BinaryIO, int]]:
    with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
        yield file, file.seek(0, io.SEEK_END)
