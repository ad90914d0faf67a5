"""Requests with retries; every answer other than 2xx is raised as an error."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from ..errors import ServiceFailed, ServiceUnavailable, ServiceUnreachable
from .response import Response, error_from
from .retry import RetryPolicy
from .transport import Request, Transport
from .upload import Upload

T = TypeVar("T")


class Requester:
    """Sender of requests that spends at most `patience_s` seconds per request on waiting for a busy service."""

    def __init__(self, transport: Transport, patience_s: float) -> None:
        self._transport = transport
        self._patience_s = patience_s

    async def send(self, request: Request, upload: Upload | None = None) -> Response:
        """Send a request until its response is 2xx; raise ClipstackError if it is refused, fails or is unanswered."""
        policy = RetryPolicy(self._patience_s)
        while True:
            try:
                response = await self._transport.send(request, upload)
                if 200 <= response.status < 300:
                    return response
                raise error_from(response, self._transport.url)
            except (ServiceUnreachable, ServiceUnavailable) as error:
                repeatable = upload is None or upload.repeatable
                pause_s = policy.next_pause_s(error, safe=request.safe) if repeatable else None
                if pause_s is None:
                    raise
            if upload is not None:
                upload.report("waiting")
            await asyncio.sleep(pause_s)

    async def read(self, request: Request, parse: Callable[[Mapping[str, Any]], T], upload: Upload | None = None) -> T:
        """Send a request as `send` does, and return what `parse` makes of the JSON of its response."""
        response = await self.send(request, upload)
        with self.parsing(response):
            return parse(response.content)

    @contextmanager
    def parsing(self, response: Response) -> Iterator[None]:
        """Raise ServiceFailed if the block finds that the response is not Clipstack's."""
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ServiceFailed(
                f"{self._transport.url} does not answer like Clipstack: {error!r}",
                code="unexpected_answer",
                status=response.status,
                request_id=response.request_id,
            ) from error


def get(path: str, **params: Any) -> Request:
    """Return a GET request with the parameters that are not None."""
    return Request("GET", path, without_none(**params), safe=True)


def label_list(labels: str | Sequence[str] | None) -> str | None:
    """Return the parameter for a list of labels: a text as it is, others as JSON, since labels may contain commas."""
    return labels if labels is None or isinstance(labels, str) else json.dumps(list(labels))


def without_none(**params: Any) -> Mapping[str, str | int | float]:
    """Return the parameters that are not None."""
    return {name: value for name, value in params.items() if value is not None}
