"""What a request's numbers, and its line in the log, cost: microseconds of a thread, beside the same without them.

.venv/bin/python -m bench.tools.metrics [--requests 5000] [--json metrics.json]
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from flask import Flask, g

from app import logs
from app.metrics.middleware import watch_requests
from app.metrics.recorder import MetricsRecorder
from app.pipeline.timings import StageTimings

ROUNDS = 7
STAGES = ("receive", "known", "queue", "probe", "decode", "infer", "answer")


class _Monitor:
    """The part of MetricsService that app/metrics/middleware.py needs."""

    def __init__(self, folder: Path) -> None:
        self.meter = MetricsRecorder("web", folder)


def application(folder: Path | None) -> Flask:
    """Return an app that only runs the stages of a classification; with metrics if there is a `folder`."""
    app = Flask(__name__)
    if folder:
        app.extensions["clipstack.monitor"] = _Monitor(folder)
        watch_requests(app)

    @app.post("/v1/classify")
    def classify() -> dict[str, str]:
        g.stages = StageTimings()
        for name in STAGES:
            with g.stages.stage(name):
                pass
        g.answered = ("camera_motion", "off")
        return {}

    return app


def microseconds(app: Flask, requests: int) -> float:
    """Return the processor time of a request."""
    client = app.test_client()
    client.post("/v1/classify")
    began = time.thread_time()
    for _ in range(requests):
        client.post("/v1/classify")
    return (time.thread_time() - began) / requests * 1e6


def compare(requests: int) -> dict[str, float]:
    """Return the medians of alternating rounds: bare, with metrics, with metrics and log lines."""
    handler = logging.FileHandler(os.devnull)
    handler.setFormatter(logs.formatter("json"))
    logger = logging.getLogger("app.requests")
    logger.propagate, logger.handlers = False, [handler]

    def at(level: int, app: Flask) -> Callable[[], float]:
        def measured() -> float:
            logger.setLevel(level)
            return microseconds(app, requests // ROUNDS)

        return measured

    with tempfile.TemporaryDirectory() as folder:
        bare, counted = application(None), application(Path(folder))
        variants = {
            "bare": at(logging.ERROR, bare),
            "numbers": at(logging.ERROR, counted),
            "numbers and line": at(logging.INFO, counted),
        }
        results: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(ROUNDS):
            for name, measured in variants.items():
                results[name].append(measured())
    return {name: round(median(figures), 1) for name, figures in results.items()}


def main() -> None:
    """Measure and print the costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=7000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = compare(options.requests)
    for name, figure in results.items():
        print(f"{name:18} {figure:7.1f} us a request, {figure - results['bare']:6.1f} more")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
