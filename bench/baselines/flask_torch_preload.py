"""(c) As flask_torch, but the model is loaded once in gunicorn's master, and the collector leaves its pages alone.

python -m bench.baselines.flask_torch_preload --port 9000

This module is gunicorn's configuration too. The warm-up is in the worker: torch's threads do not survive a fork.
"""

import gc
import os
from typing import Any

import torch
from flask import Flask

from bench.baselines.command import gunicorn, parse
from bench.baselines.flask_torch import routes

preload_app = True


def create_app() -> Flask:
    """Return the application, loaded in the master by one thread.

    Workers would hang if OpenMP had used more threads before the fork.
    """
    from bench.baselines.clips import TorchClassifier

    torch.set_num_threads(1)
    classifier = TorchClassifier()
    app = routes(classifier)
    app.extensions["classifier"] = classifier
    return app


def when_ready(server: Any) -> None:
    """Freeze all objects, so that the garbage collector does not unshare their pages."""
    gc.collect()
    gc.freeze()


def post_worker_init(worker: Any) -> None:
    """Set torch's default number of threads in the worker, which is that of the cores, and warm up the model."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    worker.app.wsgi().extensions["classifier"].warm_up()


if __name__ == "__main__":
    config = "python:bench.baselines.flask_torch_preload"
    gunicorn(parse(__doc__), "bench.baselines.flask_torch_preload:create_app()", "--config", config)
