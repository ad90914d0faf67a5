"""(f) LitServe with torch, its usual engine, and decord; otherwise as litserve_openvino.

python -m bench.baselines.litserve_torch --port 9000
"""

import os
from typing import Any

import litserve
from fastapi import Request  # by this, its annotation, LitServe knows that a form may come

from bench.baselines.command import asked
from bench.baselines.litserve_openvino import decoded, serve


class Classifier(litserve.LitAPI):
    def setup(self, device: str) -> None:
        from bench.baselines.seeing import TorchClassifier, facts

        self._wanted = facts()
        self._classifier = TorchClassifier(int(os.environ["BASELINE_THREADS"]))
        self._classifier.warm_up()

    def decode_request(self, request: Request) -> Any:
        return decoded(request, self._wanted)

    def predict(self, x: Any) -> Any:
        return self._classifier.scores(x)

    def encode_response(self, output: Any) -> dict[str, Any]:
        from bench.baselines.seeing import named

        return named(output)


if __name__ == "__main__":
    told = asked(__doc__)
    from bench.baselines.litserve_torch import Classifier as Importable  # its processes import it by this name

    serve(Importable(api_path="/classify"), told.port, told.workers)
