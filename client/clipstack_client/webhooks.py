"""Webhooks: the events of jobs, and the methods of the asyncio client that list, repeat and try them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from .http.requester import Requester, without_none
from .http.response import Response
from .http.transport import Request
from .parsing import parse

TEST_POLL_S = 0.2


@dataclass(frozen=True)
class Webhook:
    """The service's record of one event.

    `state` is `pending`, `delivered` or `dead`. Times are ISO 8601 in UTC. `status` is the HTTP status of the last
    attempt. `answer` is the complete record.
    """

    id: str
    type: str
    job: str | None
    url: str
    state: str
    created: str
    attempts: int
    next_attempt: str | None
    status: int | None
    error: str | None
    answer: Mapping[str, Any] = field(repr=False, compare=False)


class AsyncWebhooks:
    """Webhook methods of `AsyncClient`."""

    _requester: Requester

    async def webhooks(self, limit: int = 50, *, state: str | None = None) -> tuple[Webhook, ...]:
        """Return the newest events; with `state` only those that are `pending`, `delivered` or `dead`."""
        params = without_none(limit=limit, state=state)
        response = await self._requester.send(Request("GET", "/v1/webhooks", params, safe=True))
        with self._requester.parsing(response):
            return tuple(parse(Webhook, record) for record in response.content["webhooks"])

    async def webhook(self, id: str) -> Webhook:
        """Return one event."""
        return self._parse_webhook(await self._requester.send(Request("GET", _path(id), safe=True)))

    async def retry_webhook(self, id: str) -> Webhook:
        """Send an event again, with all its attempts, and return its record."""
        return self._parse_webhook(await self._requester.send(Request("POST", f"{_path(id)}/retry", safe=True)))

    async def test_webhook(self, url: str) -> Webhook:
        """Have the service send a test event to `url` once, and return its record after the attempt."""
        response = await self._requester.send(Request("POST", "/v1/webhooks/test", {"callback_url": url}))
        event = self._parse_webhook(response)
        while event.state == "pending":
            await asyncio.sleep(TEST_POLL_S)
            event = await self.webhook(event.id)
        return event

    async def webhook_secret(self) -> str:
        """Return the secret with which receivers of this key's jobs check signatures."""
        response = await self._requester.send(Request("GET", "/v1/webhooks/secret", safe=True))
        with self._requester.parsing(response):
            return str(response.content["secret"])

    def _parse_webhook(self, response: Response) -> Webhook:
        with self._requester.parsing(response):
            return parse(Webhook, response.content)


def _path(id: str) -> str:
    return f"/v1/webhooks/{quote(id, safe='')}"
