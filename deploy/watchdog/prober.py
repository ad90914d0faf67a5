"""Triton's own word on its models, and a black clip for each version that it says is ready and that answered nobody.

A canary of a large model is work: one of X3D-M every two seconds takes a tenth of a core, which others would wait for.
So one that is in use gets none while it answers, and one that nobody uses gets one every IDLE_S.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from tritonclient.grpc import InferInput
from tritonclient.utils import InferenceServerException

from app.inference.channel import connect
from app.inference.repository_index import in_short, unloaded
from deploy.watchdog.health import Outcome

CANARY_S = 3.0
IDLE_S = 5.0  # so long an answered canary is enough while nobody else asks; the promise for a hang is 20 s with it
CALL_S = 2.0
AT_ONCE = 8
# The server's words when it has no sign of life from a backend process: it may be dead, stopped, or only very slow
SILENT = ("is not healthy", "health mutex")


class TritonUnreachable(Exception):
    """Triton does not answer at all: it starts, or ends, or hangs."""


class Canary(NamedTuple):
    """What became of one, and why; and all inferences that this version ever answered."""

    outcome: Outcome
    why: str
    answers: int


class _Counts(NamedTuple):
    """Inferences of one version that ended well, and badly, ever."""

    answered: int = 0
    failed: int = 0


class Report(NamedTuple):
    """Canaries by name@version; and why models of which no version could be loaded could not, by name."""

    canaries: dict[str, Canary]
    unloaded: dict[str, str]


class ModelProber:
    """A connection to the Triton at `address`; clips go inside the messages, so that no memory is shared."""

    def __init__(self, address: str, key: str = "") -> None:
        self._client = connect(address, key)
        self._counts: dict[str, _Counts] = {}  # of each version until the end of the last look
        self._vouched: dict[str, tuple[float, _Counts]] = {}  # when it last answered a canary, and its counts then

    def ask(self, doubts: bool = False) -> Report:
        """About all models, in little more than CANARY_S; raises Away.

        `doubts`: what was answered to earlier canaries says nothing now.
        """
        try:
            self._client.is_server_live(client_timeout=CALL_S)
            index = self._client.get_model_repository_index(as_json=True, client_timeout=CALL_S).get("models", [])
            ready = [(model["name"], model.get("version", "1")) for model in index if model.get("state") == "READY"]
            before, self._counts = self._counts, self._counted()
            others = {key for key, told in self._counts.items() if told.answered > before.get(key, told).answered}
            spared = others if doubts else others | self._idle()
            keys = [f"{name}@{version}" for name, version in ready]
            with ThreadPoolExecutor(AT_ONCE) as pool:
                outcomes = dict(zip(keys, pool.map(lambda key: self._outcome(key, key in spared), keys), strict=True))
            counts = self._counted()
        except InferenceServerException as error:
            raise TritonUnreachable(str(error.message())) from error
        for key, (outcome, _) in outcomes.items():
            if key not in spared:
                counts[key] = self._asked(key, outcome, counts.get(key, _Counts()))
        self._counts = counts
        canaries = {key: Canary(*told, counts.get(key, _Counts()).answered) for key, told in outcomes.items()}
        return Report(canaries, unloaded(index))

    def _asked(self, key: str, outcome: Outcome, counts: _Counts) -> _Counts:
        """Takes note of what a canary did; the counts with it, for Triton counts after it has answered."""
        before = self._counts.get(key, _Counts())
        if outcome != "answered":
            self._vouched.pop(key, None)
            return counts
        with_it = _Counts(before.answered + 1, before.failed)
        self._vouched[key] = time.monotonic(), with_it
        return max(counts, with_it)

    def _idle(self) -> set[str]:
        """Versions that answered a canary less than IDLE_S ago, and that nobody has asked since."""
        now = time.monotonic()
        return {
            key for key, (at, counts) in self._vouched.items() if now < at + IDLE_S and counts == self._counts.get(key)
        }

    def load(self, name: str) -> None:
        """Has Triton try once more to load a model; what comes of it stands in a later report."""
        try:
            self._client.load_model(name, client_timeout=CALL_S)
        except InferenceServerException:
            return  # it failed again, or takes longer, and goes on

    def close(self) -> None:
        self._client.close()

    def _outcome(self, key: str, spared: bool) -> tuple[Outcome, str]:
        if spared:
            return "answered", ""
        name, _, version = key.rpartition("@")
        try:
            config = self._client.get_model_config(name, version, client_timeout=CALL_S).config
            clip = np.zeros((1, *config.input[0].dims), np.uint8)
            sent = InferInput(config.input[0].name, clip.shape, "UINT8")
            sent.set_data_from_numpy(clip)
            scores = self._client.infer(name, [sent], version, client_timeout=CANARY_S).as_numpy(config.output[0].name)
        except InferenceServerException as error:
            why = str(error.message())
            silent = "DEADLINE_EXCEEDED" in str(error.status()) or any(word in why for word in SILENT)
            return "silent" if silent else "failed", in_short(why)
        except (IndexError, ValueError) as error:  # a description that no model here has
            return "failed", f"cannot be asked: {error}"
        return ("failed", "gives empty scores") if scores is None or scores.size == 0 else ("answered", "")

    def _counted(self) -> dict[str, _Counts]:
        told: dict[str, Any] = self._client.get_inference_statistics(as_json=True, client_timeout=CALL_S)
        return {
            f"{model['name']}@{model['version']}": _Counts(
                *(int(model["inference_stats"].get(end, {}).get("count", 0)) for end in ("success", "fail"))
            )
            for model in told.get("model_stats", [])
        }
