"""Fingerprints of models: equal while a model gives the same answers."""

import asyncio

import pytest

from app.inference.triton_errors import TritonUnavailable
from tests.unit.app.inference.registries import FakeTriton, config, registry


def test_replaced_model_has_another_fingerprint(always_refresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.inference.registry.CHECK_S", 0.0)

    async def scenario() -> None:
        triton = FakeTriton(config())
        models = registry(triton)
        first = (await models.get("good")).digest
        triton.score = 0.5 + 1e-6
        await models.health()
        assert (await models.get("good")).digest == first, "sums in another order"
        triton.score = 0.6
        await models.health()
        assert (await models.get("good")).digest != first

    asyncio.run(scenario())


def test_other_weights_change_the_digest(always_refresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        triton = FakeTriton(config())
        models = registry(triton)
        first = (await models.get("good")).digest
        triton.weights = "bb"
        await models.refresh()
        assert ((await models.get("good")).digest, triton.fingerprints) == (first, 1), "not asked every time"
        monkeypatch.setattr("app.inference.registry.FINGERPRINT_S", 0.0)
        await models.refresh()
        assert (await models.get("good")).digest != first

    asyncio.run(scenario())


def test_precision_changes_the_fingerprint(always_refresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.inference.registry.FINGERPRINT_S", 0.0)

    async def scenario() -> None:
        triton = FakeTriton(config())
        models = registry(triton)
        exact = await models.get("good")
        assert exact.to_json(["video"])["precision"] == "f32"
        triton.precision = "bf16"
        await models.refresh()
        fast = await models.get("good")
        assert fast.digest != exact.digest
        assert models.precisions() == {("good", "1", "bf16"): True}

    asyncio.run(scenario())


def test_precision_of_another_backend_is_unknown(always_refresh: None) -> None:
    async def scenario() -> None:
        triton = FakeTriton(config())
        triton.weights = triton.precision = ""
        models = registry(triton)
        assert (await models.get("good")).to_json(["video"])["precision"] is None
        assert models.precisions() == {}

    asyncio.run(scenario())


@pytest.mark.parametrize("changed", [{"fps": "25"}, {"stride": "3"}, {"crop": "64"}, {"engine": "torch"}])
def test_other_configuration_changes_the_digest(always_refresh: None, changed: dict[str, str]) -> None:
    async def scenario() -> None:
        triton = FakeTriton(config())
        models = registry(triton)
        first = (await models.get("good")).digest
        triton.configs = (config(**changed),)
        await models.refresh()
        assert (await models.get("good")).digest != first
        triton.configs = (config(),)
        await models.refresh()
        assert (await models.get("good")).digest == first

    asyncio.run(scenario())


def test_digest_is_read_again_after_an_outage(always_refresh: None) -> None:
    async def scenario() -> None:
        triton = FakeTriton(config())
        models = registry(triton)
        first = (await models.get("good")).digest
        triton.outage = TritonUnavailable("it restarts")
        with pytest.raises(TritonUnavailable):
            await models.refresh()
        triton.outage, triton.weights = None, "bb"
        await models.refresh()
        assert (await models.get("good")).digest != first

    asyncio.run(scenario())
