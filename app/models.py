"""The models that can be asked: read from Triton's configuration, the one place where a model is described."""

import asyncio
import logging
import time
from dataclasses import asdict, dataclass
from typing import Any

from app.errors import ClipstackError, ModelNotFound, NotReady
from app.inference import OUTPUT, Triton
from app.media import Kind

REFRESH_S = 5.0

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

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """(T, H, W, 3) of one uint8 clip."""
        return (self.frames, self.crop, self.crop, 3)

    @property
    def clip_bytes(self) -> int:
        return self.frames * self.crop * self.crop * 3

    def facts(self, default: bool) -> dict[str, Any]:
        """The model as the API shows it."""
        return asdict(self) | {"labels": list(self.labels), "default": default}


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


def _classes(config: dict[str, Any]) -> int:
    classes = {output["name"]: int(output["dims"][0]) for output in config["output"]}
    return classes[OUTPUT]


class Catalogue:
    """The models that answered a canary, refreshed from Triton at most every REFRESH_S seconds."""

    def __init__(self, triton: Triton, slot_bytes: int) -> None:
        self._triton = triton
        self._slot_bytes = slot_bytes
        self._models: dict[str, Model] = {}
        self._faults: dict[str, str] = {}
        self._checked = float("-inf")
        self._refreshing: asyncio.Future[None] | None = None

    async def get(self, name: str) -> Model:
        """The model of that name; raises ModelNotFound, or NotReady while Triton is away or its canary fails."""
        if name not in self._models:
            await self.refresh()
        if name in self._faults:
            raise NotReady("this model does not answer now; please try again in a moment")
        try:
            return self._models[name]
        except KeyError:
            raise ModelNotFound(f"there is no model {name[:80]!r}") from None

    async def all(self) -> list[Model]:
        """Every model, by name; raises NotReady while Triton is away."""
        await self.refresh()
        return [self._models[name] for name in sorted(self._models)]

    async def faults(self) -> dict[str, str]:
        """Models that Triton calls ready and that failed their canary, with the reason."""
        await self.refresh()
        return self._faults

    async def refresh(self) -> None:
        """Asks Triton for its models and sends each a canary, unless that was done a moment ago.

        All who ask meanwhile share one answer: a Triton that hangs would let them wait one after the other.
        """
        if time.monotonic() - self._checked < REFRESH_S:
            return
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.ensure_future(self._ask())
        await asyncio.shield(self._refreshing)

    async def _ask(self) -> None:
        models: dict[str, Model] = {}
        faults: dict[str, str] = {}
        for config in await self._triton.models():
            name = str(config.get("name"))
            try:
                models[name] = await self._with_labels(config)
            except (KeyError, ValueError, IndexError, ClipstackError) as error:
                faults[name] = f"{type(error).__name__}: {error}"
                log.error("model %s is left out: %s", name, faults[name])
        self._models, self._faults = models, faults
        self._checked = time.monotonic()

    async def _with_labels(self, config: dict[str, Any]) -> Model:
        model = _model(config)
        if model.clip_bytes > self._slot_bytes:
            raise ValueError(f"a clip of {model.clip_bytes} bytes needs a larger CLIPSTACK_SLOT_MB")
        labels = await self._triton.canary(model.name, model.version, model.clip_shape, _classes(config))
        return Model(**(asdict(model) | {"labels": labels}))
