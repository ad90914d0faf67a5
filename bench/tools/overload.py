"""Measure admitted requests during an overload of ten times the capacity.

python -m bench.tools.overload [--factor 10] [--seconds 60]      (the stack of CLIPSTACK_RUN_DIR must run, on this machine)

Measures the capacity C by closed loops of more and more clients, then sends `factor` x C as an open loop, then one
request after the other until they take as long as before; last, pictures while long videos want all there is. The load
is made on the machine that is measured and costs it some of its goodput. Writes bench/results/overload.json.
"""

import argparse
import asyncio
import io
import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from bench.environment import describe_machine
from bench.load.client import Outcome, Target, closed_loop, open_loop, quantile, send
from bench.processes import pss_mib
from deploy.demo import film, landscape
from deploy.stack.stack import Stack

RESULTS = Path(__file__).parents[1] / "results" / "overload.json"
CLIENTS = (2, 4, 8, 12)
NORMAL, NORMAL_RUN = 2.0, 5  # "Normal" means this many consecutive answers within this multiple of the median before
GIVE_UP_S = 60.0
DEADLINE_MS = 30_000
WARM_S = 3.0


async def capacity(target: Target, seconds: float, clients: Sequence[int] = CLIENTS) -> dict[str, Any]:
    """Return the largest rate of answers over all numbers of clients, and the latencies of each."""
    await closed_loop(target, max(clients), min(WARM_S, seconds))
    rows: list[dict[str, Any]] = []
    for count in clients:
        good = [outcome for outcome in await closed_loop(target, count, seconds) if outcome.status == 200]
        began = min((outcome.sent_s for outcome in good), default=0.0)
        spent_s = max((outcome.ended_s for outcome in good), default=1.0) - began
        times = [outcome.seconds for outcome in good]
        rows.append({"clients": count, "per_s": round(len(good) / spent_s, 2)} | _latency(times))
    return {"per_s": max(row["per_s"] for row in rows), "rows": rows}


async def overload(target: Target, rate: float, seconds: float) -> dict[str, Any]:
    """Send `rate` requests per second and return the outcomes; goodput counts answers during the sending."""
    began = time.monotonic()
    outcomes = await open_loop(target, rate, seconds)
    good = [outcome for outcome in outcomes if outcome.status == 200]
    refused = [outcome for outcome in outcomes if outcome.status in (429, 503)]
    in_time = [outcome for outcome in good if outcome.ended_s <= began + seconds]
    retry_after_s = [outcome.retry_after_s for outcome in refused if outcome.retry_after_s is not None]
    return {
        "sent": len(outcomes),
        "sent_per_s": round(len(outcomes) / (max(outcome.sent_s for outcome in outcomes) - began), 1),
        "goodput_per_s": round(len(in_time) / seconds, 2),
        "statuses": {str(status): count for status, count in sorted(_counts(outcomes).items())},
        "codes": dict(Counter(outcome.code for outcome in outcomes if outcome.status != 200)),
        "admitted": _latency([outcome.seconds for outcome in good]),
        "refused": _latency([outcome.seconds for outcome in refused]),
        "refused_without_retry_after": len(refused) - len(retry_after_s),
        "retry_after_s": sorted(set(retry_after_s)),
    }


def _counts(outcomes: Sequence[Outcome]) -> Counter[int]:
    return Counter(outcome.status for outcome in outcomes)


def _latency(times: Sequence[float]) -> dict[str, float | None]:
    """Return the quantiles in milliseconds."""
    quantiles = {"p50_ms": quantile(times, 0.5), "p99_ms": quantile(times, 0.99), "most_ms": max(times, default=None)}
    return {name: None if value is None else round(value * 1e3, 1) for name, value in quantiles.items()}


async def unloaded(target: Target, count: int = 10) -> float:
    """Return the median seconds of a lone request."""
    return quantile([(await send(target)).seconds for _ in range(count)], 0.5) or 0.0


async def time_to_normal(target: Target, before_s: float) -> float | None:
    """Return the seconds until NORMAL_RUN consecutive answers are about as fast as before, or None."""
    began, run, first = time.monotonic(), 0, 0.0
    while time.monotonic() < began + GIVE_UP_S:
        outcome = await send(target)
        first = first if run else outcome.sent_s
        run = run + 1 if outcome.status == 200 and outcome.seconds <= NORMAL * before_s else 0
        if run == NORMAL_RUN:
            return round(first - began, 2)
    return None


async def among_long(url: str, seconds: float) -> dict[str, Any]:
    """Return the latency of pictures alone, and while eight clients send only long videos."""
    fresh = {"Cache-Control": "no-cache"}
    pictures = Target(f"{url}/v1/classify?model=frame_quality", picture(), fresh)
    videos = Target(f"{url}/v1/classify?clips=4", large_clip(), fresh)
    alone = [outcome.seconds for outcome in await closed_loop(pictures, 1, seconds / 2)]
    load = asyncio.create_task(closed_loop(videos, 8, seconds))
    await asyncio.sleep(min(2.0, seconds / 4))  # until the long videos hold all slots they may have
    among = await closed_loop(pictures, 1, seconds / 2)
    long = await load
    return {
        "picture_alone": _latency(alone),
        "picture_among_long": _latency([outcome.seconds for outcome in among if outcome.status == 200]),
        "long": _latency([outcome.seconds for outcome in long if outcome.status == 200]),
        "statuses": {str(status): count for status, count in sorted(_counts([*among, *long]).items())},
    }


def memory_mib(stack: Stack) -> dict[str, float]:
    """Return the proportional set size in MiB of every program of the stack."""
    totals: Counter[str] = Counter()
    for pid, name in stack.processes().items():
        totals[name] += pss_mib(pid)  # type: ignore[assignment]
    return {name: round(used, 1) for name, used in (*sorted(totals.items()), ("all", totals.total()))}


async def measured(stack: Stack, body: bytes, factor: float, seconds: float, clients: Sequence[int]) -> dict[str, Any]:
    """Run all measurements and return the results."""
    # bypass the result cache
    headers = {"Cache-Control": "no-cache", "X-Deadline-Ms": str(DEADLINE_MS)}
    target = Target(f"{stack.url}/v1/classify", body, headers)
    peak = await capacity(target, min(8.0, seconds), clients)
    alone_s = await unloaded(target)
    before = memory_mib(stack)
    overload_result = await overload(target, factor * peak["per_s"], seconds)
    normal_s = await time_to_normal(target, alone_s)
    return {
        "machine": describe_machine(),
        "body_bytes": len(body),
        "factor": factor,
        "seconds": seconds,
        "deadline_ms": DEADLINE_MS,
        "capacity": peak,
        "alone_ms": round(alone_s * 1e3, 1),
        "overload": overload_result,
        "goodput_of_capacity": round(overload_result["goodput_per_s"] / peak["per_s"], 3),
        "normal_after_s": normal_s,
        "memory_before_mib": before,
        "memory_after_mib": memory_mib(stack),
    }


def demo_clip() -> bytes:
    """Return the demo's film: three seconds of 640x360."""
    with tempfile.TemporaryDirectory() as folder:
        film(Path(folder) / "clip.mp4")
        return (Path(folder) / "clip.mp4").read_bytes()


def picture() -> bytes:
    """Return a JPEG of 640x360 similar to a photograph."""
    file = io.BytesIO()
    Image.fromarray(landscape(640, 360)).save(file, "JPEG")
    return file.getvalue()


def large_clip() -> bytes:
    """Return two seconds of 3840x2160."""
    file, view = io.BytesIO(), np.repeat(np.repeat(landscape(480, 270), 8, axis=0), 8, axis=1)
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=30, width=3840, height=2160, pix_fmt="yuv420p")
        stream.options = {"preset": "ultrafast"}
        for number in range(60):
            moved = np.ascontiguousarray(np.roll(view, 16 * number, axis=1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--factor", type=float, default=10.0, help="times the capacity")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long")
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS, help="of the closed loops")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS, help="where the results go")
    arguments = parser.parse_args()
    stack = Stack()
    result = asyncio.run(measured(stack, demo_clip(), arguments.factor, arguments.seconds, arguments.clients))
    result["lanes"] = asyncio.run(among_long(stack.url, min(20.0, arguments.seconds)))
    arguments.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
