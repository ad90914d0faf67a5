"""Work of a soak: videos, pictures and bad files in turns, and jobs one after the other."""

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

SLOW_S = 3.0  # slower bad files would be a different kind of load
GOOD_IN_TEN, PICTURES = 9, (2, 5, 8)
JOB_EVERY_S, JOB_S = 10.0, 120.0


def mix(stack: Stack) -> tuple[list[Target], dict[str, str]]:
    """Return the targets to send in turns, and the answers to the bad files that decoders handle quickly."""
    url, fresh = f"{stack.url}/v1/classify", {"Cache-Control": "no-cache"}
    video = Target(url, demo_clip(), fresh)
    still = Target(f"{url}?model=frame_quality", picture(), fresh)
    answers_by_name, bad = {}, []
    for name, content in bad_files().items():
        began = time.monotonic()
        response = httpx.post(still.url, content=content, timeout=60)
        if time.monotonic() - began < SLOW_S and 400 <= response.status_code < 500:
            answers_by_name[name] = f"{response.status_code} {response.json()['error']['code']}"
            bad.append(Target(still.url, content))
    targets = []
    for bad_target in bad:
        targets += [still if number in PICTURES else video for number in range(GOOD_IN_TEN)] + [bad_target]
    return targets, answers_by_name


async def jobs(stack: Stack, seconds: float) -> Counter[str]:
    """Submit jobs one after the other for `seconds`, remove each at its end, and count their final states."""
    ends, ended, content = time.monotonic() + seconds, Counter[str](), demo_clip()
    async with httpx.AsyncClient(base_url=stack.url, timeout=60) as http:
        while time.monotonic() < ends:
            begin = time.monotonic()
            fresh = {"X-File-Name": "soak.mp4", "Cache-Control": "no-cache"}
            response = await http.post("/v1/jobs", content=content, params={"hop_s": 0.25}, headers=fresh)
            if response.status_code == 202:
                address = f"/v1/jobs/{response.json()['id']}"
                ended[await _ended(http, address)] += 1
                await http.delete(address)
            else:
                ended[str(response.status_code)] += 1
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


async def run_work(stack: Stack, targets: Sequence[Target], rate: float, seconds: float) -> dict[str, Any]:
    """Send all work and return its outcomes."""
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
