"""Requests for mutants: raw bodies, forms or JSON, with parameters by their number; a few go to jobs."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.nightly.fuzz.mutants import Mutant
from tests.nightly.fuzz.response_checks import Reply
from triton_repo.zoo.names import BUILT_IN

JOBS_SHARE, JSON_SHARE, FORM_SHARE = 0.04, 0.05, 0.3
BUSY_TRIES = 40


@dataclass(frozen=True)
class Order:
    """One request, without the host; `path` is the route."""

    path: str
    query: dict[str, str]
    content: bytes
    headers: dict[str, str] = field(default_factory=dict)


def order(seed: int, mutant: Mutant) -> Order:
    """Return the request of a mutant; the same for the same seed and number."""
    rng = random.Random(f"{seed}:{mutant.number}:order")
    query: dict[str, Any] = {"model": rng.choice(BUILT_IN)}
    path = "/v1/classify"
    if rng.random() < JOBS_SHARE:
        path = "/v1/jobs"
        query |= {"hop_s": rng.choice(("0.1", "0.5", "2"))}
    else:
        query |= {"clips": str(rng.choice((1, 1, 1, 2, 8))), "top_k": str(rng.choice((1, 5, 1000)))}
        query |= {"thumbnails": "true"} if rng.random() < 0.1 else {}
    kind = rng.random()
    if kind < JSON_SHARE:
        body = {"file": base64.b64encode(mutant.content).decode(), "name": "mutant"}
        return Order(path, query, json.dumps(body).encode(), {"Content-Type": "application/json"})
    if kind < JSON_SHARE + FORM_SHARE:
        boundary = f"----mutant{mutant.number}"
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="mutant"\r\n\r\n'
        body = head.encode() + mutant.content + f"\r\n--{boundary}--\r\n".encode()
        return Order(path, query, body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})
    return Order(path, query, mutant.content, {"X-File-Name": "mutant"})


async def send(http: httpx.AsyncClient, wanted: Order) -> tuple[Reply, int]:
    """Send the request, with retries of 503 "overloaded"; return the answer and the number of retries."""
    for busy in range(BUSY_TRIES):
        reply = await _once(http, wanted)
        if reply.status != 503 or b'"overloaded"' not in reply.body or not _retry_after(reply).isdigit():
            return reply, busy
        await asyncio.sleep(int(_retry_after(reply)))
    return reply, BUSY_TRIES


def _retry_after(reply: Reply) -> str:
    return reply.headers.get("retry-after", "")


async def _once(http: httpx.AsyncClient, wanted: Order) -> Reply:
    began = time.monotonic()
    try:
        answer = await http.post(wanted.path, params=wanted.query, content=wanted.content, headers=wanted.headers)
    except httpx.HTTPError as error:
        return Reply(0, {}, f"{type(error).__name__}: {error}".encode(), time.monotonic() - began)
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Reply(answer.status_code, headers, answer.content, time.monotonic() - began)
