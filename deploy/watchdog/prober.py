"""Health of Triton's models: Triton's own index, and a black clip (canary) to each ready version that answered nobody.

Canaries of large models are expensive: one of X3D-M every 2 s takes a tenth of a core. A version that answers clients
therefore gets none, and an unused version gets one every IDLE_S.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from app.inference.channel import connect
from app.inference.repository_index import shorten, unloaded
from app.settings import TritonTls
from deploy.watchdog.health import Outcome

CANARY_TIMEOUT_S = 3.0
IDLE_S = 5.0  # how long an answered canary counts for an unused version; hangs are still repaired within 20 s
CALL_TIMEOUT_S = 2.0
MAX_PARALLEL = 8
# Triton's error texts when a backend process gives no sign of life: it may be dead, stopped or only very slow.
SILENT = ("is not healthy", "health mutex")


class TritonUnreachable(Exception):
    """Triton does not answer at all: it is starting, stopping or hanging."""


class Canary(NamedTuple):
    """Outcome of one canary with its reason, and the number of inferences that the version ever answered."""

    outcome: Outcome
    reason: str
    answers: int


class _Counts(NamedTuple):
    """Inferences of one version since Triton's start that succeeded and that failed."""

    answered: int = 0
    failed: int = 0


class Report(NamedTuple):
    """State of Triton's models after one round of canaries.

    Attributes:
        canaries: By name@version.
        unloaded: Load errors of models without a loaded version, by name.
        loading: Versions that are being loaded, as name@version.
    """

    canaries: dict[str, Canary]
    unloaded: dict[str, str]
    loading: frozenset[str] = frozenset()


def send_canary(client: InferenceServerClient, name: str, version: str, timeout_s: float) -> None:
    """Have a model version classify a black clip; an empty `version` means the latest.

    Raises:
        InferenceServerException: Triton does not answer, or with an error.
        ValueError: The model returned no scores.
        IndexError: The model has no input or output.
    """
    config = client.get_model_config(name, version, client_timeout=CALL_TIMEOUT_S).config
    clip = np.zeros((1, *config.input[0].dims), np.uint8)
    infer_input = InferInput(config.input[0].name, clip.shape, "UINT8")
    infer_input.set_data_from_numpy(clip)
    result = client.infer(name, [infer_input], version, client_timeout=timeout_s)
    scores = result.as_numpy(config.output[0].name)
    if scores is None or scores.size == 0:
        raise ValueError("it returns empty scores")


class ModelProber:
    """Connection to the Triton at `address`.

    Clips travel inside the messages, so no shared memory is needed.
    """

    def __init__(self, address: str, key: str = "", tls: TritonTls | None = None) -> None:
        self._client = connect(address, key, tls)
        self._counts: dict[str, _Counts] = {}  # by version, at the end of the last check
        self._recent_answers: dict[
            str, tuple[float, _Counts]
        ] = {}  # time of the last answered canary, and the counts then

    def probe(self, all_versions: bool = False) -> Report:
        """Probe all models in little more than CANARY_TIMEOUT_S.

        Args:
            all_versions: Send a canary to every version, whatever it answered before.

        Raises:
            TritonUnreachable: Triton does not answer.
        """
        try:
            self._client.is_server_live(client_timeout=CALL_TIMEOUT_S)
            index = self._client.get_model_repository_index(as_json=True, client_timeout=CALL_TIMEOUT_S).get(
                "models", []
            )
            before, self._counts = self._counts, self._read_counts()
            in_use = {key for key, entry in self._counts.items() if entry.answered > before.get(key, entry).answered}
            spared = in_use if all_versions else in_use | self._recently_answered()
            keys = _in_state("READY", index)
            with ThreadPoolExecutor(MAX_PARALLEL) as pool:
                outcomes = dict(zip(keys, pool.map(lambda key: self._outcome(key, key in spared), keys), strict=True))
            counts = self._read_counts()
        except InferenceServerException as error:
            raise TritonUnreachable(str(error.message())) from error
        for key, (outcome, _) in outcomes.items():
            if key not in spared:
                counts[key] = self._record(key, outcome, counts.get(key, _Counts()))
        self._counts = counts
        canaries = {key: Canary(*entry, counts.get(key, _Counts()).answered) for key, entry in outcomes.items()}
        return Report(canaries, unloaded(index), frozenset(_in_state("LOADING", index)))

    def _record(self, key: str, outcome: Outcome, counts: _Counts) -> _Counts:
        """Record a canary's outcome and return the counts including it; Triton counts only after it has answered."""
        before = self._counts.get(key, _Counts())
        if outcome != "answered":
            self._recent_answers.pop(key, None)
            return counts
        counts_after = _Counts(before.answered + 1, before.failed)
        self._recent_answers[key] = time.monotonic(), counts_after
        return max(counts, counts_after)

    def _recently_answered(self) -> set[str]:
        """Return the versions that answered a canary less than IDLE_S ago and had no request since."""
        now = time.monotonic()
        return {
            key
            for key, (at, counts) in self._recent_answers.items()
            if now < at + IDLE_S and counts == self._counts.get(key)
        }

    def load(self, name: str) -> None:
        """Make Triton try once more to load a model; a later report has the result."""
        try:
            self._client.load_model(name, client_timeout=CALL_TIMEOUT_S)
        except InferenceServerException:
            return  # loading failed again, or continues beyond the timeout

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _outcome(self, key: str, spared: bool) -> tuple[Outcome, str]:
        if spared:
            return "answered", ""
        name, _, version = key.rpartition("@")
        try:
            send_canary(self._client, name, version, CANARY_TIMEOUT_S)
        except InferenceServerException as error:
            reason = str(error.message())
            silent = "DEADLINE_EXCEEDED" in str(error.status()) or any(text in reason for text in SILENT)
            return "silent" if silent else "failed", shorten(reason)
        except (IndexError, ValueError) as error:  # a configuration unlike that of our models
            return "failed", str(error)
        return "answered", ""

    def _read_counts(self) -> dict[str, _Counts]:
        statistics: dict[str, Any] = self._client.get_inference_statistics(as_json=True, client_timeout=CALL_TIMEOUT_S)
        return {
            f"{model['name']}@{model['version']}": _Counts(
                *(int(model["inference_stats"].get(result, {}).get("count", 0)) for result in ("success", "fail"))
            )
            for model in statistics.get("model_stats", [])
        }


def _in_state(state: str, index: list[dict[str, str]]) -> list[str]:
    return [f"{model['name']}@{model.get('version', '1')}" for model in index if model.get("state") == state]
