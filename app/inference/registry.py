"""The models that can be asked: read from Triton's configuration, the one place where a model is described."""

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from app.errors import ClipstackError, ModelNotFound, NotReady
from app.inference.client import OUTPUT, ProbeResult, Triton
from app.media.types import Kind
from app.software import software_digest

REFRESH_S = 1.0  # how old the list of Triton's models may be
CHECK_S = 5.0  # how old a canary's answer may be for those who ask whether all is well
MISSED, MISSED_S = 3, 0.1  # how often, and after how long, a model that is gone is looked for again
CHECK_PATIENCE_S = 5.0  # with such a canary
FINGERPRINT_S = 15.0  # how often it is looked whether a model that was known before is still the same
FIRST_PATIENCE_S = 20.0  # with the canary of a new model, which requests wait for

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Model:
    """What the pipeline must know of a model; `resize` and `crop` in pixels, `stride` counted at `fps`."""

    name: str
    version: str
    kind: Kind
    frames: int
    stride: int
    fps: float
    resize: int
    crop: int
    architecture: str
    labels: tuple[str, ...]
    mark: str = ""  # digest of all that an answer depends on beside the file: other models and software have another
    versions: tuple[str, ...] = ()  # newest first, all that answer; only where models are listed

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """(T, H, W, 3) of one uint8 clip."""
        return (self.frames, self.crop, self.crop, 3)

    @property
    def clip_bytes(self) -> int:
        return self.frames * self.crop * self.crop * 3

    def facts(self, default: bool) -> dict[str, Any]:
        """The model as the API shows it."""
        told = asdict(self) | {"labels": list(self.labels), "versions": list(self.versions), "default": default}
        del told["mark"]
        return told


def _model(config: dict[str, Any]) -> Model:
    """From Triton's configuration, labels still empty; KeyError or ValueError when a parameter is missing or odd."""
    told = {name: value.get("string_value", "") for name, value in config.get("parameters", {}).items()}
    if told["kind"] not in ("video", "image"):
        raise ValueError(f"kind {told['kind']!r}")
    model = Model(
        name=config["name"],
        version=config["version"],
        kind=told["kind"],
        frames=int(told["frames"]),
        stride=int(told["stride"]),
        fps=float(told["fps"]),
        resize=int(told["resize"]),
        crop=int(told["crop"]),
        architecture=told.get("architecture", ""),
        labels=(),
    )
    if min(model.frames, model.stride, model.fps, model.crop) <= 0 or model.crop > model.resize:
        raise ValueError("frames, stride, fps and crop must be above 0, and crop no larger than resize")
    return model


def _mark(config: dict[str, Any], canary: ProbeResult, fingerprint: str) -> str:
    """Return the digest of what an answer depends on beside the file: the model, its configuration, this software.

    The canary's scores count too, for a model of another backend, which has no fingerprint; rounding is left out.
    """
    parts = [json.dumps(config, sort_keys=True), fingerprint, software_digest(), *canary.labels]
    parts += [f"{score:.2e}" for score in canary.scores]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _classes(config: dict[str, Any]) -> int:
    classes = {output["name"]: int(output["dims"][0]) for output in config["output"]}
    return classes[OUTPUT]


class ModelRegistry:
    """The model versions that answered a canary; follows what Triton loads and unloads.

    A model is asked for as `name`, its newest version that answers, or as `name@version`.
    """

    def __init__(self, triton: Triton, slot_bytes: int) -> None:
        self._triton = triton
        self._slot_bytes = slot_bytes
        self._entries: dict[_Key, _Entry] = {}
        self._was_away = False  # Triton: what it serves since may be another model of the same name and version
        self._refreshed = SingleFlight(REFRESH_S, lambda: self._ask(anew=False))
        self._checked = SingleFlight(CHECK_S, lambda: self._ask(anew=True))

    async def get(self, wanted: str) -> Model:
        """The model of that name; raises ModelNotFound, or NotReady while Triton is away or its canary fails."""
        name, _, version = wanted.partition("@")
        entries = self._of(name, version)
        if not any(entry.model for entry in entries):
            await self.refresh()
            entries = self._of(name, version)
        for entry in entries:
            if entry.model:
                return entry.model
        if entries or name in self._triton.unready:
            raise NotReady("this model does not answer now; please try again in a moment")
        raise ModelNotFound(f"there is no model {wanted[:80]!r}")

    def _of(self, name: str, version: str = "") -> list["_Entry"]:
        """Newest first; all versions when none is named."""
        keys = [key for key in self._entries if key.name == name and version in ("", str(key.version))]
        return [self._entries[key] for key in sorted(keys, reverse=True)]

    async def health(self) -> "Health":
        """All models, each after a canary of a moment ago; raises NotReady while Triton is away."""
        await self._checked.get()
        answering = []
        for name in sorted({key.name for key in self._entries}):
            if models := [entry.model for entry in self._of(name) if entry.model and not entry.fault]:
                answering.append(replace(models[0], versions=tuple(model.version for model in models)))
        silent = {str(key): entry for key, entry in sorted(self._entries.items()) if entry.fault}
        return Health(
            answering,
            failing={name: entry.fault for name, entry in silent.items() if not entry.unusable},
            unusable={name: entry.fault for name, entry in silent.items() if entry.unusable},
        )

    def readiness(self) -> dict[tuple[str, str], bool]:
        """Whether requests to it would be answered, of each name and version that Triton has."""
        return {
            (key.name, str(key.version)): bool(entry.model and not entry.fault) for key, entry in self._entries.items()
        }

    async def refresh(self) -> None:
        """Asks Triton for its models, unless that was done a moment ago, and sends each new one a canary."""
        await self._refreshed.get()

    async def gone(self, model: Model) -> None:
        """Triton no longer knows `model`: looks at once what it has instead."""
        key = _Key(model.name, int(model.version))
        if key in self._entries:
            self._entries[key] = _Entry({}, time.monotonic())  # no answer, and not of this configuration
        await self._refreshed.get(anew=True)

    async def _ask(self, anew: bool) -> None:
        try:
            configs = await self._listed()
        except ClipstackError:
            self._was_away = True
            raise
        anew, self._was_away = anew or self._was_away, False
        entries = await asyncio.gather(*(self._entry(config, anew) for config in configs))
        keys = (_Key(str(config["name"]), int(config["version"])) for config in configs)
        self._entries = dict(zip(keys, entries, strict=True))

    async def _listed(self) -> list[dict[str, Any]]:
        """What Triton has now; a model that it had before is missed only when it is missing again and again."""
        known = {key.name for key in self._entries}
        configs = await self._triton.models()
        for _ in range(MISSED):
            if known <= {config["name"] for config in configs}:
                break
            # While Triton exchanges all versions of a model, for a moment none of them is ready.
            await asyncio.sleep(MISSED_S)
            configs = await self._triton.models()
        return configs

    async def _entry(self, config: dict[str, Any], anew: bool) -> "_Entry":
        known = self._entries.get(_Key(str(config["name"]), int(config["version"])))
        if known and known.config != config:
            known = None
        is_recent = known and not anew and (known.model or time.monotonic() - known.asked < CHECK_S)
        if known and is_recent and await self._is_same(known):
            return known
        patience_s = CHECK_PATIENCE_S if anew else FIRST_PATIENCE_S
        try:
            model, fingerprint = await self._described(config, patience_s)
            return _Entry(config, time.monotonic(), model=model, fingerprint=fingerprint, compared=time.monotonic())
        except ClipstackError as error:
            fault, unusable = str(error), False
        except (ValueError, IndexError) as error:
            fault, unusable = str(error), True
        except KeyError as error:
            fault, unusable = f"its configuration has no {error}", True
        if known is None or known.fault != fault:
            log.error("model %s, version %s, fails its canary: %s", config["name"], config["version"], fault)
        # One that answered before may only be slow: requests have a time limit of their own.
        return _Entry(config, time.monotonic(), known.model if known else None, fault, unusable)

    async def _described(self, config: dict[str, Any], patience_s: float) -> tuple[Model, str]:
        """Return the model with its labels, and its fingerprint; raises as the canary does, and ValueError."""
        model = _model(config)
        if model.clip_bytes > self._slot_bytes:
            raise ValueError(f"a clip of {model.clip_bytes} bytes needs a larger CLIPSTACK_SLOT_MB")
        fingerprint = await self._triton.fingerprint(model.name, model.version, model.clip_shape, patience_s)
        canary = await self._triton.canary(model.name, model.version, model.clip_shape, _classes(config), patience_s)
        return replace(model, labels=canary.labels, mark=_mark(config, canary, fingerprint)), fingerprint

    async def _is_same(self, entry: "_Entry") -> bool:
        """Return whether the weights are those of before, for one whose configuration is; asked every FINGERPRINT_S."""
        model = entry.model
        if model is None or time.monotonic() - entry.compared < FINGERPRINT_S:
            return True
        entry.compared = time.monotonic()
        try:
            found = await self._triton.fingerprint(model.name, model.version, model.clip_shape, CHECK_PATIENCE_S)
        except ClipstackError:
            return True  # it does not answer now: requests find that out
        return found == entry.fingerprint


class Health(NamedTuple):
    """The newest version of every model that answers, by name; and why others, as `name@version`, do not.

    `failing` may answer again; `unusable` have a description that this service cannot follow.
    """

    models: list[Model]
    failing: dict[str, str]
    unusable: dict[str, str]


class _Key(NamedTuple):
    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(slots=True)
class _Entry:
    """One version as Triton told of it: the model when it ever answered a canary, and why it did not the last time."""

    config: dict[str, Any]
    asked: float  # time.monotonic()
    model: Model | None = None
    fault: str = ""
    unusable: bool = False
    fingerprint: str = ""
    compared: float = 0.0  # time.monotonic() when the fingerprint was looked at


class SingleFlight:
    """Work that is done at most every `age_s` seconds; all who ask meanwhile share one run, and its error.

    Else a Triton that hangs would let them wait one after the other.
    """

    def __init__(self, age_s: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._age_s = age_s
        self._work = work
        self._done = float("-inf")
        self._run: asyncio.Future[None] | None = None

    async def get(self, anew: bool = False) -> None:
        """Returns when the work was done no longer than `age_s` ago; `anew`: when a run that begins now ended.

        What was done before is then too old for everybody, also when this run fails.
        """
        if anew:
            self._done = float("-inf")
        if anew and self._run and not self._run.done():
            await asyncio.wait([self._run])
        if self._run is None or self._run.done():
            if not anew and time.monotonic() - self._done < self._age_s:
                return
            self._run = asyncio.ensure_future(self._do())
        await asyncio.shield(self._run)

    async def _do(self) -> None:
        await self._work()
        self._done = time.monotonic()
