"""One measurement in its own process, which can run in a network namespace; prints one JSON line.

python -m bench.upload.measuring '{"url": ..., "path": ..., "reduction": ..., "times": ..., "budget_s": ...}'
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from clipstack_client.async_client import AsyncClient
from clipstack_client.models import Result
from clipstack_client.reduction import prepare as _loaded_before_the_clock_starts  # noqa: F401 -- many files pay for it once
from clipstack_client.reduction.uploader import Reduction

ALL_LABELS = 1000
WORK = {"Cache-Control": "no-cache"}  # a cached answer would not measure anything


async def measured(
    url: str,
    host: str,
    path: str,
    reduction: Reduction,
    times: int,
    budget_s: float,
    model: str | None = None,
    rate: float | None = None,
) -> dict[str, Any]:
    """Classify `path` repeatedly and return the seconds of each time, and the answer.

    Each time uses a new client: without a `rate`, `auto` must measure the upload rate again.

    Args:
        url: Near end of a link to the service.
        host: The service's own host name and port, for the header `Host`.
        path: The file.
        reduction: What to send of the file.
        times: Number of times.
        budget_s: No further time starts after this many seconds.
        model: Name of the model; the service's default if None.
        rate: Upload rate in bytes per second, if known.
    """
    seconds: list[float] = []
    result: Result | None = None
    while result is None or (len(seconds) < times and sum(seconds) < budget_s):
        async with AsyncClient(url, timeout=300.0, rate=rate, headers={**WORK, "Host": host}) as client:
            count = min(ALL_LABELS, max(len(offered.labels) for offered in await client.models()))
            started = time.perf_counter()
            result = await client.classify(path, model=model, top_k=count, reduce=reduction)
            seconds.append(round(time.perf_counter() - started, 4))
        if result.cache == "hit":
            raise SystemExit("the service answered from its store, though it was asked not to")
    return {
        "model": result.model,
        "sent": result.sent.reduction if result.sent else "none",
        "bytes": result.sent.bytes if result.sent else result.media.bytes,
        "prepare_s": result.sent.prepare_s if result.sent else 0.0,
        "seconds": seconds,
        "scores": {prediction.label: prediction.score for prediction in result.predictions},
        "media": {
            name: getattr(result.media, name)
            for name in ("codec", "container", "width", "height", "fps", "duration_s", "frames", "bytes")
        },
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measured(**json.loads(sys.argv[1])))))
