"""What a soak asks of a stack: videos, pictures and bad files in turns, and jobs one after the other."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import httpx

from bench.load.client import Outcome, Target, open_loop, quantile
from bench.soak.files import bad_files
from bench.tools.overload import demo_clip, picture
from deploy.stack.stack import Stack

SLOW_S = 3.0  # a bad file that takes longer would be a load of another kind
GOOD_IN_TEN, PICTURES = 9, (2, 5, 8)
JOB_EVERY_S, JOB_S = 10.0, 120.0


def mix(stack: Stack) -> tuple[list[Target], dict[str, str]]:
    """What is sent in turns, and what the bad ones are answered: those that a decoder is not long held up by."""
    url, fresh = f"{stack.url}/v1/classify", {"Cache-Control": "no-cache"}
    video = Target(url, demo_clip(), fresh)
    still = Target(f"{url}?model=frame_quality", picture(), fresh)
    told, bad = {}, []
    for name, content in bad_files().items():
        began = time.monotonic()
        answer = httpx.post(still.url, content=content, timeout=60)
        if time.monotonic() - began < SLOW_S and 400 <= answer.status_code < 500:
            told[name] = f"{answer.status_code} {answer.json()['error']['code']}"
            bad.append(Target(still.url, content))
    targets = []
    for each in bad:
        targets += [still if number in PICTURES else video for number in range(GOOD_IN_TEN)] + [each]
    return targets, told


async def jobs(stack: Stack, seconds: float) -> Counter[str]:
    """How jobs ended that were handed in one after the other for so long; each is removed when it has."""
    ends, ended, content = time.monotonic() + seconds, Counter[str](), demo_clip()
    async with httpx.AsyncClient(base_url=stack.url, timeout=60) as http:
        while time.monotonic() < ends:
            begin = time.monotonic()
            fresh = {"X-File-Name": "soak.mp4", "Cache-Control": "no-cache"}
            answer = await http.post("/v1/jobs", content=content, params={"hop_s": 0.25}, headers=fresh)
            if answer.status_code == 202:
                address = f"/v1/jobs/{answer.json()['id']}"
                ended[await _ended(http, address)] += 1
                await http.delete(address)
            else:
                ended[str(answer.status_code)] += 1
            await asyncio.sleep(max(0.0, begin + JOB_EVERY_S - time.monotonic()))
    return ended


async def _ended(http: httpx.AsyncClient, address: str) -> str:
    began = time.monotonic()
    while time.monotonic() < began + JOB_S:
        state = str((await http.get(address)).json()["state"])
        if state in ("done", "failed", "cancelled"):
            return state
        await asyncio.sleep(0.5)
    return "never"


async def worked(stack: Stack, targets: Sequence[Target], rate: float, seconds: float) -> dict[str, Any]:
    """What became of all that was sent."""
    outcomes, ended = await asyncio.gather(open_loop(targets, rate, seconds), jobs(stack, seconds))
    good = [outcome for number, outcome in enumerate(outcomes) if number % 10 < GOOD_IN_TEN]
    bad = [outcome for number, outcome in enumerate(outcomes) if number % 10 >= GOOD_IN_TEN]
    times = [outcome.seconds * 1e3 for outcome in good if outcome.status == 200]
    return {
        "sent": len(outcomes),
        "good": _statuses(good),
        "bad": _statuses(bad),
        "p50_ms": round(quantile(times, 0.5) or 0.0, 1),
        "p99_ms": round(quantile(times, 0.99) or 0.0, 1),
        "jobs": dict(ended),
    }


def _statuses(outcomes: Sequence[Outcome]) -> dict[str, int]:
    return dict(Counter(f"{outcome.status} {outcome.code}".strip() for outcome in outcomes))
