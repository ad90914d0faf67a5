"""Upload of a file or its reduction: choose, make, post, and describe the original file in the answer."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias

from ..errors import ReductionUnavailable
from ..http.response import Response
from ..loop_thread import in_thread
from ..models import Model, Sent
from ..upload import Progress, Source, Upload, Watcher, file_name, open_upload
from .bandwidth import Rate
from .strategy import choose

if TYPE_CHECKING:
    from .prepare import ReducedFile
    from .probe import Facts

Reduction: TypeAlias = Literal["none", "shrink", "frames", "auto"]
Post: TypeAlias = Callable[[Upload], Awaitable[Response]]

MODELS_S = 60.0  # longest age of the list of models
RECONSIDER_S = 0.5  # seconds of sending a whole file before the choice is made by the measured rate


@dataclass(frozen=True)
class SentDescription:
    """How to read an answer; `sent` is None if the file was sent unchanged."""

    sent: Sent | None = None
    described: Callable[[Any], Mapping[str, Any]] = field(default=lambda answer: answer)


class _Stop(Exception):
    """Raised in a running upload, or while a smaller file is made, to stop it."""


class Uploader:
    """Uploads of one client; `models` lists the service's models, `rate` learns from every upload."""

    def __init__(self, models: Callable[[], Awaitable[tuple[Model, ...]]], rate: Rate) -> None:
        self._models, self._rate = models, rate
        self._listed: tuple[Model, ...] = ()
        self._listed_at = -MODELS_S

    async def send(
        self, source: Source, reduction: Reduction, model: str | None, clips: int, watcher: Watcher | None, post: Post
    ) -> tuple[Response, SentDescription]:
        """Post `source` as `reduction` says; a file that cannot be reduced is sent unchanged.

        Exceptions of `post` propagate.

        Args:
            source: The file.
            reduction: What to send.
            model: Name of the model; the service's default if None.
            clips: Number of clips; 0 if all frames are used.
            watcher: Receives the progress.
            post: Sends one upload.

        Raises:
            ReductionUnavailable: The extra `shrink` is not installed.
            ValueError: `frames` without clips.
        """
        if reduction == "frames" and not clips:
            raise ValueError("a timeline looks at all frames of a video: it cannot do with some")
        if reduction == "none" or not isinstance(source, str | os.PathLike | bytes):
            return await self._whole(source, watcher, post)
        making = _making()
        with _opened(source) as (file, length):
            facts, target_model = await in_thread(making.facts_of, file, length), await self._model(model)
            if facts is None or target_model is None:
                return await self._whole(source, watcher, post)
            choices = clips if facts.sampled else 0
            chosen: str = reduction
            if reduction == "auto":
                try:
                    if self._rate.bytes_s is None:
                        return await self._whole(source, self._reconsidered(facts, choices, watcher), post)
                    chosen = choose(facts, choices, self._rate.bytes_s)
                except _Stop as stop:
                    chosen = str(stop)
            if chosen == "none" or (chosen == "frames" and not choices):
                return await self._whole(source, watcher, post)
            reduced = await _made(partial(making.make, file, facts, chosen, target_model, clips), facts, watcher)
        if reduced is None:
            return await self._whole(source, watcher, post)
        with reduced.file:
            response = await self._learning(Upload(reduced.file, file_name(source), watcher), post)
        return response, SentDescription(reduced.sent, reduced.described)

    async def _whole(self, source: Source, watcher: Watcher | None, post: Post) -> tuple[Response, SentDescription]:
        with open_upload(source, watcher) as upload:
            return await self._learning(upload, post), SentDescription()

    async def _learning(self, upload: Upload, post: Post) -> Response:
        response = await post(upload)
        self._rate.learn(upload.sent, upload.sending_s)
        return response

    def _reconsidered(self, facts: Facts, clips: int, watcher: Watcher | None) -> Watcher:
        """Return a watcher that stops the upload of a whole file once a reduction is clearly faster."""
        began: list[float] = []

        def watch(progress: Progress) -> None:
            if watcher is not None:
                watcher(progress)
            if progress.stage != "sending" or not progress.sent:
                began[:] = [time.monotonic()]
                return
            seconds = time.monotonic() - began[0]
            if seconds < RECONSIDER_S or self._rate.bytes_s is not None:
                return
            self._rate.learn(progress.sent, seconds)
            chosen = choose(facts, clips, progress.sent / seconds, left=facts.bytes - progress.sent)
            if chosen != "none":
                raise _Stop(chosen)

        return watch

    async def _model(self, name: str | None) -> Model | None:
        """Return the model to ask, or None if the list does not have it."""
        if time.monotonic() - self._listed_at > MODELS_S:
            self._listed, self._listed_at = await self._models(), time.monotonic()
        matches = [
            m for m in self._listed if (m.default if name is None else name in (m.name, f"{m.name}@{m.version}"))
        ]
        return matches[0] if matches else None


async def _made(
    make: Callable[[Callable[[float], None]], ReducedFile | None], facts: Facts, watcher: Watcher | None
) -> ReducedFile | None:
    """Run `make` in a thread, report its progress to the watcher, and stop it when the caller is cancelled."""
    stop = Event()

    def check(done_s: float) -> None:
        if stop.is_set():
            raise _Stop
        if watcher is not None:
            total_ms = None if facts.duration_s is None else round(facts.duration_s * 1000)
            watcher(Progress("preparing", round(done_s * 1000), total_ms))

    try:
        return await in_thread(make, check)
    finally:
        stop.set()


def _making() -> Any:
    try:
        from . import prepare as making
    except ImportError as error:
        raise ReductionUnavailable from error
    return making


@contextmanager
def _opened(source: str | os.PathLike[str] | bytes) -> Iterator[tuple[BinaryIO, int]]:
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        yield file, file.seek(0, io.SEEK_END)
