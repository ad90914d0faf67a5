"""(d) Flask and gunicorn before Triton: normalised float32 tensors inside HTTP requests, as its client has it.

python -m bench.baselines.flask_triton --port 9000 --triton 127.0.0.1:8000

Triton serves the same network with a float32 input, once for each precision (bench/fixtures/servers.py starts it). OpenVINO
calculates, as for Clipstack; without --precision in the one that OpenVINO itself would choose.
"""

import os
from typing import Any

from flask import Flask
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from bench.baselines.clips import MODEL, answer, frames, input_spec, normalised
from bench.baselines.command import gunicorn, parse
from bench.baselines.flask_torch import routes


class TritonClassifier:
    """Classifier by Triton with one connection a worker: Triton's HTTP client is not thread-safe."""

    def __init__(self, address: str) -> None:
        self._client = InferenceServerClient(address, network_timeout=300, connection_timeout=300)
        self._spec = input_spec()
        self._model = f"{MODEL}_float_{os.environ['BASELINE_PRECISION'] or default_precision()}"
        parameters = self._client.get_model_config(self._model)["parameters"]
        self._precision = parameters["precision"]["string_value"]  # the engine loads in no other one

    def classify(self, path: str) -> dict[str, Any]:
        """Return the answer to the file."""
        clip = normalised(frames(path, self._spec), self._spec)
        infer_input = InferInput("CLIP", list(clip.shape), "FP32")
        infer_input.set_data_from_numpy(clip, binary_data=True)
        outputs = [InferRequestedOutput("SCORES", binary_data=True)]
        scores = self._client.infer(self._model, [infer_input], outputs=outputs).as_numpy("SCORES")
        return answer(scores[0], self._precision)


def default_precision() -> str:
    """Return the precision that OpenVINO chooses on this CPU: bf16 where it has the instructions, else f32."""
    import openvino

    return "bf16" if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"


def create_app() -> Flask:
    """Return the application, connected to Triton."""
    return routes(TritonClassifier(os.environ["BASELINE_TRITON"]))


if __name__ == "__main__":
    arguments = parse(__doc__)
    arguments.workers *= 2  # while one waits for Triton another decodes
    gunicorn(arguments, "bench.baselines.flask_triton:create_app()")
