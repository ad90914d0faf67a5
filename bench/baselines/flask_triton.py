"""(d) Flask and gunicorn before Triton: normalised float32 tensors inside HTTP requests, as its client has it.

python -m bench.baselines.flask_triton --port 9000 --triton 127.0.0.1:8000

Triton serves the same network with a float32 input (bench/fixtures/servers.py starts it, with OpenVINO as for Clipstack).
"""

from __future__ import annotations

import os
from typing import Any

from flask import Flask
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from bench.baselines.command import asked, gunicorn
from bench.baselines.flask_torch import routes
from bench.baselines.seeing import MODEL, facts, frames, named, normalised


class TritonClassifier:
    """Classifier by Triton with one connection a worker: Triton's HTTP client is not thread-safe."""

    def __init__(self, address: str) -> None:
        self._client = InferenceServerClient(address, network_timeout=300, connection_timeout=300)
        self._wanted = facts()

    def classify(self, path: str) -> dict[str, Any]:
        """Return the best label of the file, and its score."""
        clip = normalised(frames(path, self._wanted), self._wanted)
        infer_input = InferInput("CLIP", list(clip.shape), "FP32")
        infer_input.set_data_from_numpy(clip, binary_data=True)
        outputs = [InferRequestedOutput("SCORES", binary_data=True)]
        scores = self._client.infer(f"{MODEL}_float", [infer_input], outputs=outputs).as_numpy("SCORES")
        return named(scores[0])


def create_app() -> Flask:
    """Return the application, connected to Triton."""
    return routes(TritonClassifier(os.environ["BASELINE_TRITON"]))


if __name__ == "__main__":
    told = asked(__doc__)
    told.workers *= 2  # while one waits for Triton another decodes
    gunicorn(told, "bench.baselines.flask_triton:create_app()")
