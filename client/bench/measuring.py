"""One measurement, in a process of its own so that it can live in a network namespace; prints a line of JSON.

python -m client.bench.measuring URL FILE REDUCTION TIMES BUDGET_S
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any, cast

from client.answers import Result
from client.async_client import AsyncClient
from client.reduction.sending import Reduction

ALL_LABELS = 1000


async def measured(url: str, path: str, reduction: Reduction, times: int, budget_s: float) -> dict[str, Any]:
    """Classify `path` up to `times` times, fewer when that takes longer than `budget_s`; seconds of each, and answers.

    Each time with a new client: what `auto` learns of the rate, it must learn anew.
    """
    seconds: list[float] = []
    result: Result | None = None
    while result is None or (len(seconds) < times and sum(seconds) < budget_s):
        async with AsyncClient(url, timeout=300.0) as client:
            count = min(ALL_LABELS, max(len(model.labels) for model in await client.models() if model.default))
            started = time.perf_counter()
            result = await client.classify(path, top_k=count, reduce=reduction)
            seconds.append(round(time.perf_counter() - started, 4))
        if result.cache == "hit":
            raise SystemExit("the service answered from its store: measure with the store turned off")
    return {
        "reduction": reduction,
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
    url, path, reduction, times, budget_s = sys.argv[1:]
    told = measured(url, path, cast(Reduction, reduction), int(times), float(budget_s))
    print(json.dumps(asyncio.run(told)))
