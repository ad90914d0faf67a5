"""Every model version that Triton has loaded, asked for its scores of a black clip."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

CANARY_S = 5.0  # a model that is only busy may be slower: see `Told.answered`
CALL_S = 2.0
AT_ONCE = 8


class Away(Exception):
    """Triton itself does not answer, which Supervisor sees too, or will soon."""


class Told(NamedTuple):
    """What one version did: why its canary failed, None when it did not; and all inferences it ever answered."""

    fault: str | None
    answered: int


class Canaries:
    """A connection to the Triton at `address`."""

    def __init__(self, address: str) -> None:
        self._client = InferenceServerClient(address)

    def ask(self) -> dict[str, Told]:
        """All versions that are ready, as `name@version`; raises Away."""
        try:
            index = self._client.get_model_repository_index(as_json=True, client_timeout=CALL_S)
            ready = [
                (str(model["name"]), str(model.get("version", "1")))
                for model in index.get("models", [])
                if model.get("state") == "READY"
            ]
            with ThreadPoolExecutor(AT_ONCE) as pool:
                faults = list(pool.map(lambda model: self._fault(*model), ready))
            answered = self._answered()
        except InferenceServerException as error:
            raise Away(error.message()) from error
        told = {f"{name}@{version}": fault for (name, version), fault in zip(ready, faults, strict=True)}
        return {key: Told(fault, answered.get(key, 0)) for key, fault in told.items()}

    def _fault(self, name: str, version: str) -> str | None:
        try:
            config = self._client.get_model_config(name, version, client_timeout=CALL_S).config
            clip = np.zeros((1, *config.input[0].dims), np.uint8)
            sent = InferInput(config.input[0].name, clip.shape, "UINT8")
            sent.set_data_from_numpy(clip)
            self._client.infer(name, [sent], version, client_timeout=CANARY_S)
        except InferenceServerException as error:
            return str(error.message())
        return None

    def _answered(self) -> dict[str, int]:
        told: dict[str, Any] = self._client.get_inference_statistics(as_json=True, client_timeout=CALL_S)
        return {
            f"{model['name']}@{model['version']}": int(model["inference_stats"].get("success", {}).get("count", 0))
            for model in told.get("model_stats", [])
        }

    def close(self) -> None:
        self._client.close()
