"""Webhooks: the events of jobs, and the methods of the asyncio client that list, repeat and try them."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from .http.requester import Requester, get
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
        request = get("/v1/webhooks", limit=limit, state=state)
        return await self._requester.read(request, lambda page: tuple(map(_webhook, page["webhooks"])))

    async def webhook(self, id: str) -> Webhook:
        """Return one event."""
        return await self._requester.read(get(_path(id)), _webhook)

    async def retry_webhook(self, id: str) -> Webhook:
        """Send an event again, with all its attempts, and return its record."""
        return await self._requester.read(Request("POST", f"{_path(id)}/retry", safe=True), _webhook)

    async def test_webhook(self, url: str) -> Webhook:
        """Have the service send a test event to `url` once, and return its record after the attempt."""
        event = await self._requester.read(Request("POST", "/v1/webhooks/test", {"callback_url": url}), _webhook)
        while event.state == "pending":
            await asyncio.sleep(TEST_POLL_S)
            event = await self.webhook(event.id)
        return event

    async def webhook_secret(self) -> str:
        """Return the secret with which receivers of this key's jobs check signatures."""
        return await self._requester.read(get("/v1/webhooks/secret"), lambda answer: str(answer["secret"]))


def _webhook(record: Mapping[str, Any]) -> Webhook:
    return parse(Webhook, record)


def _path(id: str) -> str:
    return f"/v1/webhooks/{quote(id, safe='')}"
