"""The registry of models: which are ready, in which versions, and which one a file gets."""

import asyncio
from typing import Any

import pytest

from app.errors import InferenceTimeout, ModelNotFound, NotReady
from app.inference.triton_errors import TritonUnavailable
from app.media.formats import Kind
from tests.unit.app.inference.registries import FakeTriton, config, registry


def test_unloadable_model_is_not_ready_and_unknown_one_not_found() -> None:
    triton = FakeTriton(config())
    triton.unready = frozenset(("unloadable",))

    async def scenario() -> None:
        models = registry(triton)
        with pytest.raises(NotReady):
            await models.get("unloadable")
        with pytest.raises(ModelNotFound):
            await models.get("never")

    asyncio.run(scenario())


BROKEN = {
    "other_output": config("broken", output="LOGITS"),
    "no_dimensions": config("broken") | {"output": [{"name": "SCORES", "dims": []}]},
    "no_parameters": config("broken") | {"parameters": {}},
    "no_rate": config("broken", fps="0"),
    "crop_beyond_resize": config("broken", crop="90"),
    "larger_than_a_slot": config("broken", frames="1000"),
    "unknown_scores": config("broken", scores="logits"),
    "too_few_thresholds": config("broken", thresholds="0.5, 0.5"),
    "threshold_above_1": config("broken", thresholds="0.5, 0.5, 1.5"),
    "threshold_is_no_number": config("broken", thresholds="0.5, 0.5, nan"),
}


def test_scores_and_thresholds_come_from_the_configuration() -> None:
    async def scenario() -> None:
        models = registry(FakeTriton(config(scores="sigmoid", thresholds="0.5, 0.25, 1"), config("usual")))
        model, usual = await models.get("good"), await models.get("usual")
        assert (model.scores, model.thresholds) == ("sigmoid", (0.5, 0.25, 1.0))
        assert model.to_json([])["thresholds"] == [0.5, 0.25, 1.0]
        assert (usual.scores, usual.to_json([])["thresholds"]) == ("softmax", None)
        assert model.digest != usual.digest

    asyncio.run(scenario())


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_broken_model_does_not_hide_others(broken: dict[str, Any]) -> None:
    async def scenario() -> None:
        models = registry(FakeTriton(broken, config()))
        health = await models.health()
        assert [model.name for model in health.models] == ["good"]
        assert (health.failing, list(health.unusable)) == ({}, ["broken@1"])

    asyncio.run(scenario())


def test_model_too_slow_for_its_canary_is_not_ready() -> None:
    async def scenario() -> None:
        triton = FakeTriton(config())
        triton.broken = InferenceTimeout("slow")
        models = registry(triton)
        with pytest.raises(NotReady):
            await models.get("good")
        with pytest.raises(ModelNotFound):
            await models.get("unknown")
        assert (await models.health()).failing == {"good@1": "slow"}

    asyncio.run(scenario())


def test_concurrent_callers_share_one_result() -> None:
    async def scenario() -> None:
        triton = FakeTriton(config())
        triton.outage = NotReady("away")
        models = registry(triton)
        answers = await asyncio.gather(*(models.health() for _ in range(5)), return_exceptions=True)
        assert [type(result) for result in answers] == [NotReady] * 5
        assert triton.listings == 1
        triton.outage = None
        assert len((await models.health()).models) == 1

    asyncio.run(scenario())


def test_versions_are_added_and_removed(always_refresh: None) -> None:
    async def scenario() -> None:
        triton = FakeTriton(config(version="2"), config(version="10"), config("other"))
        models = registry(triton)
        assert (await models.get("good")).version == "10"
        assert (await models.get("good@2")).version == "2"
        good, other = (await models.health()).models
        assert (good.versions, other.versions) == (("10", "2"), ("1",))
        with pytest.raises(ModelNotFound, match="good@3"):
            await models.get("good@3")
        latest = await models.get("good")
        triton.configs = (config(version="2"),)
        await models.record_unloaded(latest)
        assert (await models.get("good")).version == "2"
        with pytest.raises(ModelNotFound):
            await models.get("other")

    asyncio.run(scenario())


def test_brief_absence_of_a_model_is_ignored(always_refresh: None) -> None:
    async def scenario() -> None:
        triton = FakeTriton(config())
        models = registry(triton)
        first = await models.get("good")
        triton.empty_listings = 2
        await models.record_unloaded(first)
        assert (await models.get("good")).version == "1"
        triton.empty_listings = 2
        await models.refresh()
        assert (await models.get("good")).version == "1"
        triton.configs = ()
        await models.refresh()
        with pytest.raises(ModelNotFound):
            await models.get("good")

    asyncio.run(scenario())


def test_models_are_listed_again_after_a_failed_listing() -> None:
    async def scenario() -> None:
        triton = FakeTriton(config())
        models = registry(triton)
        first = await models.get("good")
        triton.outage = TritonUnavailable("it is ending")
        for call in (lambda: models.record_unloaded(first), lambda: models.get("good")):
            with pytest.raises(TritonUnavailable):
                await call()
        triton.outage = None
        assert (await models.get("good")).version == "1"

    asyncio.run(scenario())


def test_version_that_fails_its_canary_is_not_used(always_refresh: None) -> None:
    async def scenario() -> None:
        triton = FakeTriton(config(version="1"), config(version="2", fps="0"))
        models = registry(triton)
        assert (await models.get("good")).version == "1"
        with pytest.raises(NotReady):
            await models.get("good@2")
        assert list((await models.health()).unusable) == ["good@2"]

    asyncio.run(scenario())


def test_model_slow_once_is_still_used(monkeypatch: pytest.MonkeyPatch, always_refresh: None) -> None:
    monkeypatch.setattr("app.inference.registry.CHECK_S", 0.0)

    async def scenario() -> None:
        triton = FakeTriton(config())
        models = registry(triton)
        await models.refresh()
        triton.broken = InferenceTimeout("slow")
        health = await models.health()
        assert (health.models, health.failing) == ([], {"good@1": "slow"})
        assert (await models.get("good")).version == "1"
        triton.broken = None
        assert (await models.health()).failing == {}

    asyncio.run(scenario())


def test_only_new_and_changed_models_get_a_canary(always_refresh: None) -> None:
    async def scenario() -> None:
        triton = FakeTriton(config(), config("other"))
        models = registry(triton)
        for _ in range(3):
            await models.refresh()
        assert sorted(triton.canaries) == ["good@1", "other@1"]
        triton.configs = (config(fps="25"), config("other"))
        await models.refresh()
        assert triton.canaries[2:] == ["good@1"]
        await models.health()
        assert sorted(triton.canaries[3:]) == ["good@1", "other@1"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("kind", "model", "others", "chosen"),
    [
        ("video", "camera", ("words",), "camera"),
        ("image", "camera", ("words",), "words"),
        ("image", "faults", ("camera", "words"), "faults"),  # the default model takes pictures itself
        ("image", "camera", ("faults",), "camera"),  # there is no model for pictures: the request is refused
        ("image", "camera@1", ("words",), "words"),
    ],
)
def test_the_kind_of_the_file_chooses_the_model(kind: Kind, model: str, others: tuple[str, ...], chosen: str) -> None:
    kinds = {"camera": "video", "words": "image", "faults": "image"}
    names = (model.partition("@")[0], *others)
    models = registry(FakeTriton(*(config(name, kind=kinds[name]) for name in names)))
    asyncio.run(models.refresh())
    assert models.default(kind, model, "words") == chosen


def test_pictures_have_a_default_before_models_are_known() -> None:
    assert registry(FakeTriton()).default("image", "camera", "words") == "words"


def test_model_without_title_shows_name_and_labels() -> None:
    models = registry(FakeTriton(config(title="Words", examples="label2, label0"), config("plain")))

    async def scenario() -> None:
        good, plain = await models.get("good"), await models.get("plain")
        assert (good.title, good.examples) == ("Words", ("label2", "label0"))
        assert (plain.title, plain.description, plain.examples) == ("plain", "", ("label0", "label1", "label2"))
        facts = good.to_json(["image"])
        assert (facts["default"], facts["default_for"], facts["examples"]) == (False, ["image"], ["label2", "label0"])

    asyncio.run(scenario())
