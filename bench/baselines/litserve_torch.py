"""(f) LitServe with torch, its usual engine, and decord; otherwise as litserve_openvino.

python -m bench.baselines.litserve_torch --port 9000
"""

import os
from typing import Any

import litserve
from fastapi import Request  # LitServe accepts forms because of this annotation

from bench.baselines.command import asked
from bench.baselines.litserve_openvino import decoded, serve


class Classifier(litserve.LitAPI):
    """Classifier by torch."""

    def setup(self, device: str) -> None:
        """Load and warm up the model."""
        from bench.baselines.seeing import TorchClassifier, facts

        self._wanted = facts()
        self._classifier = TorchClassifier(int(os.environ["BASELINE_THREADS"]))
        self._classifier.warm_up()

    def decode_request(self, request: Request) -> Any:
        """Return the frames of the uploaded file."""
        return decoded(request, self._wanted)

    def predict(self, x: Any) -> Any:
        """Return the scores of one clip."""
        return self._classifier.scores(x)

    def encode_response(self, output: Any) -> dict[str, Any]:
        """Return the best label and its score."""
        from bench.baselines.seeing import named

        return named(output)


if __name__ == "__main__":
    told = asked(__doc__)
    from bench.baselines.litserve_torch import Classifier as Importable  # its processes import it by this name

    serve(Importable(api_path="/classify"), told.port, told.workers)
