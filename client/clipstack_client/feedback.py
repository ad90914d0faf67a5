"""Feedback, and the methods of the asyncio client that confirm, correct, list, remove and fetch it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from urllib.parse import quote

from .http.requester import Requester, get, label_list, without_none
from .http.response import error_from
from .http.transport import Request, Transport
from .http.upload import Source, open_upload
from .parsing import parse

PAGE = 500


@dataclass(frozen=True)
class Feedback:
    """An answer that a person confirmed or corrected, or an unsure answer.

    `state` is `unsure`, `confirmed` or `corrected`; `labels` are the right ones, empty while it is unsure. `start_s`
    and `end_s` are None for the whole file. `kind` is `video` or `image`. `answer` is the complete record.
    """

    id: str
    state: str
    labels: tuple[str, ...]
    predicted: tuple[str, ...]
    score: float | None
    model: str
    start_s: float | None
    end_s: float | None
    job: str | None
    updated: str
    file_name: str
    bytes: int
    kind: str
    sha256: str
    duration_s: float | None
    fps: float | None
    answer: Mapping[str, Any] = field(repr=False, compare=False)


def parse_feedback(data: Mapping[str, Any]) -> Feedback:
    """Parse one entry of `/v1/feedback`; see `parse` for the errors."""
    file = data["file"]
    return parse(Feedback, {**data, **file}, file_name=str(file["name"]), answer=data)


class AsyncFeedback:
    """Feedback methods of `AsyncClient`."""

    _transport: Transport
    _requester: Requester

    async def give_feedback(
        self,
        source: Source | None = None,
        *,
        labels: str | Sequence[str],
        job: str | None = None,
        model: str | None = None,
        start_s: float | None = None,
        end_s: float | None = None,
        predicted: str | Sequence[str] | None = None,
    ) -> Feedback:
        """Confirm or correct the answer of a job, or about a file; the same part again replaces what was said before.

        Args:
            source: The file, as for `classify`; None with a job.
            labels: Right labels: their names, or one text with commas.
            job: Id of the job.
            model: Name of the model that answered about the file; the service's default if None.
            start_s: Start of the part of the video in seconds; None for the whole file.
            end_s: Its end.
            predicted: Labels that the service answered for the file.

        Raises:
            ValueError: Both a file and a job are given, or neither.
            OSError: The file cannot be read.
        """
        if (source is None) == (job is None):
            raise ValueError("give either a file or the id of a job")
        params = without_none(
            job=job,
            labels=label_list(labels),
            model=model,
            start_s=start_s,
            end_s=end_s,
            predicted=label_list(predicted),
        )
        request = Request("POST", "/v1/feedback", params, safe=True)
        with nullcontext() if source is None else open_upload(source) as upload:
            return await self._requester.read(request, parse_feedback, upload)

    async def feedback(
        self, *, state: str | None = None, model: str | None = None, job: str | None = None
    ) -> AsyncIterator[Feedback]:
        """Yield the entries, the last change first; `state` is `unsure`, `confirmed` or `corrected`."""
        cursor: str | None = None
        while True:
            request = get("/v1/feedback", state=state, model=model, job=job, cursor=cursor, limit=PAGE)
            response = await self._requester.send(request)
            with self._requester.parsing(response):
                page = [parse_feedback(entry) for entry in response.content["feedback"]]
                cursor = response.content["next_cursor"]
            for entry in page:
                yield entry
            if cursor is None:
                return

    async def remove_feedback(self, id: str) -> None:
        """Remove an entry, and its file with the last entry about it."""
        await self._requester.send(Request("DELETE", f"/v1/feedback/{quote(id, safe='')}", safe=True))

    async def download_feedback(self, id: str, target: BinaryIO) -> None:
        """Write the file that an entry is about to a binary file."""
        response = await self._transport.download(f"/v1/feedback/{quote(id, safe='')}/source", target)
        if not 200 <= response.status < 300:
            raise error_from(response, self._transport.url)
