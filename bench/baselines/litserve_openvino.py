"""(e) LitServe with the very model that Clipstack serves (OpenVINO) and decord, as LitServe's manual has it.

python -m bench.baselines.litserve_openvino --port 9000

`decode_request` reads the form's file and decodes it, `predict` calculates, `encode_response` answers; two workers:
one decodes while the other calculates.
"""

import sys
import tempfile
from typing import Any

import litserve
from fastapi import Request  # LitServe accepts forms because of this annotation

from bench.baselines.command import asked

TIMEOUT_S = 300


class Classifier(litserve.LitAPI):
    """Classifier by OpenVINO with its own settings for single requests; like Clipstack it takes uint8 frames."""

    def setup(self, device: str) -> None:
        """Load and warm up the model."""
        import numpy as np

        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        import openvino

        from bench.baselines.seeing import MODEL, NETWORKS, facts

        self._wanted = facts()
        core = openvino.Core()
        model = core.read_model(NETWORKS.parent / "models" / MODEL / MODEL / "1" / "model.xml")
        shape = [1, *(size.get_length() for size in list(model.input("CLIP").partial_shape)[1:])]
        model.reshape(shape)
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        self._request = core.compile_model(model, "CPU", hints).create_infer_request()
        self.predict(np.zeros(shape[1:], np.uint8))

    def decode_request(self, request: Request) -> Any:
        """Return the frames of the uploaded file."""
        return decoded(request, self._wanted)

    def predict(self, x: Any) -> Any:
        """Return the scores of one clip."""
        self._request.infer({"CLIP": x[None]}, share_inputs=True)
        return self._request.get_output_tensor(0).data[0].copy()

    def encode_response(self, output: Any) -> dict[str, Any]:
        """Return the best label and its score."""
        from bench.baselines.seeing import named

        return named(output)


def decoded(request: Any, wanted: dict[str, Any]) -> Any:
    """Return the frames of the form's file, which decord needs on disk."""
    from bench.baselines.seeing import frames

    with tempfile.NamedTemporaryFile(suffix=".media") as file:
        file.write(request["file"].file.read())
        file.flush()
        return frames(file.name, wanted)


def serve(api: litserve.LitAPI, port: int, workers: int) -> None:
    """Run LitServe with this API on loopback."""
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=workers, timeout=TIMEOUT_S)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    told = asked(__doc__)
    from bench.baselines.litserve_openvino import Classifier as Importable  # its processes import it by this name

    serve(Importable(api_path="/classify"), told.port, told.workers)
