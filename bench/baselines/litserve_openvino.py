"""(e) LitServe with the very model that Clipstack serves (OpenVINO) and decord, as both manuals have it.

python -m bench.baselines.litserve_openvino --port 9000

`decode_request` reads the form's file and decodes it, `predict` calculates, `encode_response` answers; two workers:
one decodes while the other calculates.
"""

import os
import sys
import tempfile
from typing import Any

import litserve
from fastapi import Request  # LitServe accepts forms because of this annotation

from bench.baselines.command import parse

TIMEOUT_S = 300


class Classifier(litserve.LitAPI):
    """Classifier by OpenVINO with its default settings; like Clipstack it takes uint8 frames."""

    def setup(self, device: str) -> None:
        """Load and warm up the model."""
        import numpy as np

        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        import openvino

        from bench.baselines.clips import MODEL, NETWORKS, input_spec

        self._spec = input_spec()
        core = openvino.Core()
        model = core.read_model(NETWORKS.parent / "models" / MODEL / MODEL / "1" / "model.xml")
        shape = [1, *(size.get_length() for size in list(model.input("CLIP").partial_shape)[1:])]
        model.reshape(shape)
        precision = os.environ["BASELINE_PRECISION"]
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision} if precision else {})
        self._precision = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        self._request = compiled.create_infer_request()
        self.predict(np.zeros(shape[1:], np.uint8))

    def decode_request(self, request: Request) -> Any:
        """Return the frames of the uploaded file."""
        from bench.baselines.clips import frames

        with tempfile.NamedTemporaryFile(suffix=".media") as file:  # decord needs it on disk
            file.write(request["file"].file.read())
            file.flush()
            return frames(file.name, self._spec)

    def predict(self, x: Any) -> Any:
        """Return the scores of one clip."""
        self._request.infer({"CLIP": x[None]}, share_inputs=True)
        return self._request.get_output_tensor(0).data[0].copy()

    def encode_response(self, output: Any) -> dict[str, Any]:
        """Return the answer."""
        from bench.baselines.clips import answer

        return answer(output, self._precision)


if __name__ == "__main__":
    arguments = parse(__doc__)
    from bench.baselines.litserve_openvino import Classifier as Importable  # its processes import it by this name

    api = Importable(api_path="/classify")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=arguments.workers, timeout=TIMEOUT_S)
    server.run(host="127.0.0.1", port=arguments.port, generate_client_file=False, log_level="warning")
