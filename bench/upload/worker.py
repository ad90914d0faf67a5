"""One measurement in its own process, which can run in a network namespace; prints one JSON line.

python -m bench.upload.worker '{"url": ..., "host": ..., "path": ..., "reduction": ..., "times": ..., "budget_s": ...}'
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

from clipstack_client import AsyncClient, Result
from clipstack_client.reduction import prepare as _loaded_before_the_clock_starts  # noqa: F401
from clipstack_client.reduction.uploader import Reduction

MAX_LABELS = 1000
HEADERS = {"Cache-Control": "no-cache"}  # a cached answer would not measure anything
MEDIA = ("codec", "container", "width", "height", "fps", "duration_s", "frames", "bytes")


@dataclass(frozen=True)
class Measurement:
    """Settings of one upload measurement.

    `url` is the near end of a link to the service, `host` the service's own host name and port. No repetition starts
    after `budget_s`. `rate` is the upload rate in bytes per second, if known.
    """

    url: str
    host: str
    path: str
    reduction: Reduction
    times: int
    budget_s: float
    model: str | None = None
    rate: float | None = None


async def run(measurement: Measurement) -> dict[str, Any]:
    """Classify the file repeatedly and return the seconds of each time, and the answer.

    Each time uses a new client: without a `rate`, `auto` must measure the upload rate again.
    """
    seconds: list[float] = []
    result: Result | None = None
    headers = {**HEADERS, "Host": measurement.host}
    while result is None or (len(seconds) < measurement.times and sum(seconds) < measurement.budget_s):
        async with AsyncClient(measurement.url, timeout=300.0, rate=measurement.rate, headers=headers) as client:
            labels = min(MAX_LABELS, max(len(model.labels) for model in await client.models()))
            started = time.perf_counter()
            result = await client.classify(
                measurement.path, model=measurement.model, top_k=labels, reduce=measurement.reduction
            )
            seconds.append(round(time.perf_counter() - started, 4))
        if result.cache == "hit":
            raise SystemExit("the service answered from its cache in spite of Cache-Control: no-cache")
    return {
        "model": result.model,
        "sent": result.sent.reduction if result.sent else "none",
        "bytes": result.sent.bytes if result.sent else result.media.bytes,
        "prepare_s": result.sent.prepare_s if result.sent else 0.0,
        "seconds": seconds,
        "scores": {prediction.label: prediction.score for prediction in result.predictions},
        "media": {name: getattr(result.media, name) for name in MEDIA},
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(Measurement(**json.loads(sys.argv[1]))))))
