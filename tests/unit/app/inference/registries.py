"""A model registry on a Triton that the test controls."""

import asyncio
from typing import Any

from app.inference.client import Fingerprint, ProbeResult
from app.inference.registry import ModelRegistry


class FakeTriton:
    """Serve the models of `configs`; canaries raise `broken`, listing models raises `outage`."""

    def __init__(self, *configs: dict[str, Any]) -> None:
        self.configs = configs
        self.broken: Exception | None = None
        self.outage: Exception | None = None
        self.listings = 0
        self.empty_listings = 0  # the next ones return no models
        self.canaries: list[str] = []
        self.score = 0.5
        self.weights = "aa"
        self.precision = "f32"
        self.fingerprints = 0
        self.unready: frozenset[str] = frozenset()

    async def models(self) -> list[dict[str, Any]]:
        self.listings += 1
        if self.empty_listings:
            self.empty_listings -= 1
            return []
        await asyncio.sleep(0.01)
        if self.outage:
            raise self.outage
        return list(self.configs)

    async def fingerprint(self, model: str, version: str, shape: tuple[int, ...], patience_s: float) -> Fingerprint:
        self.fingerprints += 1
        return Fingerprint(self.weights, self.precision)

    async def canary(
        self, model: str, version: str, shape: tuple[int, ...], classes: int, patience_s: float
    ) -> ProbeResult:
        self.canaries.append(f"{model}@{version}")
        if self.broken:
            raise self.broken
        return ProbeResult(tuple(f"label{number}" for number in range(classes)), (self.score,) * classes)


def config(name: str = "good", output: str = "SCORES", version: str = "1", **changed: str) -> dict[str, Any]:
    parameters = {"kind": "video", "frames": "4", "stride": "2", "fps": "30", "resize": "80", "crop": "80"} | changed
    return {
        "name": name,
        "version": version,
        "parameters": {key: {"string_value": value} for key, value in parameters.items()},
        "output": [{"name": output, "dims": ["3"]}],
    }


def registry(triton: FakeTriton) -> ModelRegistry:
    return ModelRegistry(triton, 1 << 20)  # type: ignore[arg-type]
