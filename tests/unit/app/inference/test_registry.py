"""The catalogue of models, asked of a model server that answers as it is told to."""

import asyncio
from typing import Any

import pytest

from app.errors import InferenceTimeout, ModelNotFound, NotReady
from app.inference.client import Fingerprint, ProbeResult
from app.inference.registry import ModelRegistry
from app.inference.triton_errors import TritonUnavailable
from app.media.formats import Kind


class FakeTriton:
    """Offers the models of `configs`; `broken` is what a canary raises, `gone` what everything does."""

    def __init__(self, *configs: dict[str, Any]) -> None:
        self.configs = configs
        self.broken: Exception | None = None
        self.record_unloaded: Exception | None = None
        self.checked_at = 0
        self.blink = 0  # how many times more it says that it has nothing
        self.canaries: list[str] = []
        self.score = 0.5
        self.weights = "aa"
        self.precision = "f32"
        self.fingerprints = 0
        self.unready: frozenset[str] = frozenset()

    async def models(self) -> list[dict[str, Any]]:
        self.checked_at += 1
        if self.blink:
            self.blink -= 1
            return []
        await asyncio.sleep(0.01)
        if self.record_unloaded:
            raise self.record_unloaded
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
    told = {"kind": "video", "frames": "4", "stride": "2", "fps": "30", "resize": "80", "crop": "80"} | changed
    return {
        "name": name,
        "version": version,
        "parameters": {key: {"string_value": value} for key, value in told.items()},
        "output": [{"name": output, "dims": ["3"]}],
    }


def catalogue(triton: FakeTriton) -> ModelRegistry:
    return ModelRegistry(triton, 1 << 20)  # type: ignore[arg-type]


def test_unloadable_model_is_not_ready_and_unknown_one_not_found() -> None:
    triton = FakeTriton(config())
    triton.unready = frozenset(("lame",))

    async def scenario() -> None:
        models = catalogue(triton)
        with pytest.raises(NotReady):
            await models.get("lame")
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
        models = catalogue(FakeTriton(config(scores="sigmoid", thresholds="0.5, 0.25, 1"), config("usual")))
        model, usual = await models.get("good"), await models.get("usual")
        assert (model.scores, model.thresholds) == ("sigmoid", (0.5, 0.25, 1.0))
        assert model.to_json([])["thresholds"] == [0.5, 0.25, 1.0]
        assert (usual.scores, usual.to_json([])["thresholds"]) == ("softmax", None)
        assert model.digest != usual.digest

    asyncio.run(scenario())


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_one_broken_model_does_not_take_others_away(broken: dict[str, Any]) -> None:
    async def scenario() -> None:
        models = catalogue(FakeTriton(broken, config()))
        health = await models.health()
        assert [model.name for model in health.models] == ["good"]
        assert (health.failing, list(health.unusable)) == ({}, ["broken@1"])

    asyncio.run(scenario())


def test_model_too_slow_for_its_canary_is_not_ready() -> None:
    async def scenario() -> None:
        triton = FakeTriton(config())
        triton.broken = InferenceTimeout("slow")
        models = catalogue(triton)
        with pytest.raises(NotReady):
            await models.get("good")
        with pytest.raises(ModelNotFound):
            await models.get("unknown")
        assert (await models.health()).failing == {"good@1": "slow"}

    asyncio.run(scenario())


def test_concurrent_callers_share_one_result() -> None:
    async def scenario() -> None:
        triton = FakeTriton(config())
        triton.record_unloaded = NotReady("away")
        models = catalogue(triton)
        answers = await asyncio.gather(*(models.health() for _ in range(5)), return_exceptions=True)
        assert [type(result) for result in answers] == [NotReady] * 5
        assert triton.checked_at == 1
        triton.record_unloaded = None
        assert len((await models.health()).models) == 1

    asyncio.run(scenario())


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton is asked whenever there is a reason to."""
    monkeypatch.setattr("app.inference.registry.REFRESH_S", 0.0)


def test_versions_come_and_go(at_once: None) -> None:
    async def scenario() -> None:
        triton = FakeTriton(config(version="2"), config(version="10"), config("other"))
        models = catalogue(triton)
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


def test_brief_absence_of_a_model_is_ignored(at_once: None) -> None:
    async def scenario() -> None:
        triton = FakeTriton(config())
        models = catalogue(triton)
        first = await models.get("good")
        triton.blink = 2
        await models.record_unloaded(first)
        assert (await models.get("good")).version == "1"
        triton.blink = 2
        await models.refresh()
        assert (await models.get("good")).version == "1"
        triton.configs = ()
        await models.refresh()
        with pytest.raises(ModelNotFound):
            await models.get("good")

    asyncio.run(scenario())


def test_list_that_lacks_a_model_is_refreshed() -> None:
    async def scenario() -> None:
        triton = FakeTriton(config())
        models = catalogue(triton)
        first = await models.get("good")
        triton.record_unloaded = TritonUnavailable("it is ending")
        for call in (lambda: models.record_unloaded(first), lambda: models.get("good")):
            with pytest.raises(TritonUnavailable):
                await call()
        triton.record_unloaded = None
        assert (await models.get("good")).version == "1"

    asyncio.run(scenario())


def test_version_that_fails_its_canary_is_not_used(at_once: None) -> None:
    async def scenario() -> None:
        triton = FakeTriton(config(version="1"), config(version="2", fps="0"))
        models = catalogue(triton)
        assert (await models.get("good")).version == "1"
        with pytest.raises(NotReady):
            await models.get("good@2")
        assert list((await models.health()).unusable) == ["good@2"]

    asyncio.run(scenario())


def test_model_slow_once_is_still_used(monkeypatch: pytest.MonkeyPatch, at_once: None) -> None:
    monkeypatch.setattr("app.inference.registry.CHECK_S", 0.0)

    async def scenario() -> None:
        triton = FakeTriton(config())
        models = catalogue(triton)
        await models.refresh()
        triton.broken = InferenceTimeout("slow")
        health = await models.health()
        assert (health.models, health.failing) == ([], {"good@1": "slow"})
        assert (await models.get("good")).version == "1"
        triton.broken = None
        assert (await models.health()).failing == {}

    asyncio.run(scenario())


def test_only_what_is_new_or_changed_gets_canary(at_once: None) -> None:
    async def scenario() -> None:
        triton = FakeTriton(config(), config("other"))
        models = catalogue(triton)
        for _ in range(3):
            await models.refresh()
        assert sorted(triton.canaries) == ["good@1", "other@1"]
        triton.configs = (config(fps="25"), config("other"))
        await models.refresh()
        assert triton.canaries[2:] == ["good@1"]
        await models.health()
        assert sorted(triton.canaries[3:]) == ["good@1", "other@1"]

    asyncio.run(scenario())


def test_replaced_model_has_another_fingerprint(at_once: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.inference.registry.CHECK_S", 0.0)

    async def scenario() -> None:
        triton = FakeTriton(config())
        models = catalogue(triton)
        first = (await models.get("good")).digest
        triton.score = 0.5 + 1e-6
        await models.health()
        assert (await models.get("good")).digest == first, "sums in another order"
        triton.score = 0.6
        await models.health()
        assert (await models.get("good")).digest != first

    asyncio.run(scenario())


def test_other_weights_under_same_configuration_have_another_mark(
    at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        triton = FakeTriton(config())
        models = catalogue(triton)
        first = (await models.get("good")).digest
        triton.weights = "bb"
        await models.refresh()
        assert ((await models.get("good")).digest, triton.fingerprints) == (first, 1), "not asked every time"
        monkeypatch.setattr("app.inference.registry.FINGERPRINT_S", 0.0)
        await models.refresh()
        assert (await models.get("good")).digest != first

    asyncio.run(scenario())


def test_precision_changes_the_fingerprint(at_once: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.inference.registry.FINGERPRINT_S", 0.0)

    async def scenario() -> None:
        triton = FakeTriton(config())
        models = catalogue(triton)
        exact = await models.get("good")
        assert exact.to_json(["video"])["precision"] == "f32"
        triton.precision = "bf16"
        await models.refresh()
        fast = await models.get("good")
        assert fast.digest != exact.digest
        assert models.precisions() == {("good", "1", "bf16"): True}

    asyncio.run(scenario())


def test_precision_of_another_backend_is_unknown(at_once: None) -> None:
    async def scenario() -> None:
        triton = FakeTriton(config())
        triton.weights = triton.precision = ""
        models = catalogue(triton)
        assert (await models.get("good")).to_json(["video"])["precision"] is None
        assert models.precisions() == {}

    asyncio.run(scenario())


@pytest.mark.parametrize("changed", [{"fps": "25"}, {"stride": "3"}, {"crop": "64"}, {"engine": "torch"}])
def test_other_configuration_has_another_mark(at_once: None, changed: dict[str, str]) -> None:
    async def scenario() -> None:
        triton = FakeTriton(config())
        models = catalogue(triton)
        first = (await models.get("good")).digest
        triton.configs = (config(**changed),)
        await models.refresh()
        assert (await models.get("good")).digest != first
        triton.configs = (config(),)
        await models.refresh()
        assert (await models.get("good")).digest == first

    asyncio.run(scenario())


def test_models_are_listed_again_after_an_outage(at_once: None) -> None:
    async def scenario() -> None:
        triton = FakeTriton(config())
        models = catalogue(triton)
        first = (await models.get("good")).digest
        triton.record_unloaded = TritonUnavailable("it restarts")
        with pytest.raises(TritonUnavailable):
            await models.refresh()
        triton.record_unloaded, triton.weights = None, "bb"
        await models.refresh()
        assert (await models.get("good")).digest != first

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
    models = catalogue(FakeTriton(*(config(name, kind=kinds[name]) for name in names)))
    asyncio.run(models.refresh())
    assert models.default(kind, model, "words") == chosen


def test_before_models_are_known_pictures_go_to_model_for_pictures() -> None:
    assert catalogue(FakeTriton()).default("image", "camera", "words") == "words"


def test_model_without_title_shows_name_and_labels() -> None:
    models = catalogue(FakeTriton(config(title="Words", examples="label2, label0"), config("plain")))

    async def scenario() -> None:
        good, plain = await models.get("good"), await models.get("plain")
        assert (good.title, good.examples) == ("Words", ("label2", "label0"))
        assert (plain.title, plain.description, plain.examples) == ("plain", "", ("label0", "label1", "label2"))
        facts = good.to_json(["image"])
        assert (facts["default"], facts["default_for"], facts["examples"]) == (False, ["image"], ["label2", "label0"])

    asyncio.run(scenario())
