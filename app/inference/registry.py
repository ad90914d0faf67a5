"""Registry of the available models, read from Triton's configuration, which is the only description of a model."""

import asyncio
import logging
import time
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from app.errors import ClipstackError, ModelNotFound, NotReady
from app.inference.client import Fingerprint, Triton
from app.inference.model import Model, class_count, parse_config, result_digest
from app.inference.single_flight import SingleFlight
from app.media.formats import Kind

REFRESH_S = 1.0  # maximum age of the list of models
CHECK_S = 5.0  # maximum age of a canary result in health checks
MISSED, MISSED_S = 3, 0.1  # retries and their delay before a missing model counts as removed
CHECK_PATIENCE_S = 5.0  # timeout of a canary in health checks
FINGERPRINT_S = 15.0  # interval of checks that a known model has the same weights
EXAMPLES = 3  # labels that stand for a model without examples of its own
FIRST_PATIENCE_S = 20.0  # timeout of the canary of a new model, which requests wait for

log = logging.getLogger(__name__)


class ModelRegistry:
    """Registry of the model versions that answered a canary. It follows what Triton loads and unloads.

    `name` refers to the newest version that answers, `name@version` to one version.
    """

    def __init__(self, triton: Triton, slot_bytes: int) -> None:
        self._triton = triton
        self._slot_bytes = slot_bytes
        self._entries: dict[_Key, _Entry] = {}
        self._was_away = False  # after an outage Triton may serve another model of the same name and version
        self._refreshed = SingleFlight(REFRESH_S, lambda: self._ask(force=False))
        self._checked = SingleFlight(CHECK_S, lambda: self._ask(force=True))

    async def get(self, name_or_version: str) -> Model:
        """Return the model for `name` or `name@version`.

        Raises:
            ModelNotFound: No model has this name.
            NotReady: Triton is unavailable, or the model's canary fails.
        """
        entries = self._of(name_or_version)
        if not any(entry.model for entry in entries):
            await self.refresh()
            entries = self._of(name_or_version)
        for entry in entries:
            if entry.model:
                return entry.model
        if entries or name_or_version.partition("@")[0] in self._triton.unready:
            raise NotReady("this model does not answer now; please try again in a moment")
        raise ModelNotFound(f"there is no model {name_or_version[:80]!r}: /v1/models lists all")

    def recent(self, name_or_version: str) -> Model | None:
        """Return what `get` returns if the list of models is recent enough, else None. Callable from any thread."""
        entries = self._of(name_or_version) if self._refreshed.is_recent else []
        return next((entry.model for entry in entries if entry.model), None)

    def _of(self, name_or_version: str) -> list["_Entry"]:
        """Return the entries of a model, newest first, or of one version."""
        name, _, version = name_or_version.partition("@")
        entries = self._entries  # never changes in size: other threads read it too
        keys = [key for key in entries if key.name == name and version in ("", str(key.version))]
        return [entries[key] for key in sorted(keys, reverse=True)]

    def default(self, kind: Kind, model: str, picture_model: str) -> str:
        """Return the model for a file of this kind when the request names none. Callable from any thread.

        It is `model`, but for pictures `picture_model` if that exists and `model` takes only videos.
        """
        takes_pictures = any(entry.model and entry.model.kind == "image" for entry in self._of(model))
        names = {key.name for key in self._entries}
        is_missing = bool(names) and picture_model.partition("@")[0] not in names
        return model if kind == "video" or takes_pictures or is_missing else picture_model

    async def health(self) -> "Health":
        """Return the health of all models, from canaries at most CHECK_S old. Raises NotReady without Triton."""
        await self._checked.get()
        names = sorted({key.name for key in self._entries})
        by_name = [[entry.model for entry in self._of(name) if entry.model and not entry.fault] for name in names]
        answering = [
            replace(models[0], versions=tuple(model.version for model in models)) for models in by_name if models
        ]
        silent = {str(key): entry for key, entry in sorted(self._entries.items()) if entry.fault}
        return Health(
            answering,
            failing={name: entry.fault for name, entry in silent.items() if not entry.unusable},
            unusable={name: entry.fault for name, entry in silent.items() if entry.unusable},
        )

    def readiness(self) -> dict[tuple[str, str], bool]:
        """Return for each (name, version) that Triton has whether requests to it are answered."""
        return {
            (key.name, str(key.version)): bool(entry.model and not entry.fault) for key, entry in self._entries.items()
        }

    def precisions(self) -> dict[tuple[str, str, str], bool]:
        """Return (name, version, precision) of all models whose precision is known, each with True."""
        models = (entry.model for entry in self._entries.values())
        return {(model.name, model.version, model.precision): True for model in models if model and model.precision}

    async def refresh(self) -> None:
        """Fetch Triton's list of models if it is older than REFRESH_S, and send each new model a canary."""
        await self._refreshed.get()

    async def record_unloaded(self, model: Model) -> None:
        """Record that Triton has unloaded `model`, and fetch the list of models at once."""
        key = _Key(model.name, int(model.version))
        if key in self._entries:
            self._entries[key] = _Entry({}, time.monotonic())  # no model; the empty configuration forces a new canary
        await self._refreshed.get(force=True)

    async def _ask(self, force: bool) -> None:
        try:
            configs = await self._listed()
        except ClipstackError:
            self._was_away = True
            raise
        force, self._was_away = force or self._was_away, False
        entries = await asyncio.gather(*(self._entry(config, force) for config in configs))
        keys = (_Key(str(config["name"]), int(config["version"])) for config in configs)
        self._entries = dict(zip(keys, entries, strict=True))

    async def _listed(self) -> list[dict[str, Any]]:
        """Return Triton's configurations; retry while a known model is missing, before it counts as removed."""
        names = {key.name for key in self._entries}
        configs = await self._triton.models()
        for _ in range(MISSED):
            if names <= {config["name"] for config in configs}:
                break
            # While Triton replaces all versions of a model, none is ready for a moment.
            await asyncio.sleep(MISSED_S)
            configs = await self._triton.models()
        return configs

    async def _entry(self, config: dict[str, Any], force: bool) -> "_Entry":
        previous = self._entries.get(_Key(str(config["name"]), int(config["version"])))
        if previous and previous.config != config:
            previous = None
        is_recent = previous and not force and (previous.model or time.monotonic() - previous.checked_at < CHECK_S)
        if previous and is_recent and await self._is_same(previous):
            return previous
        patience_s = CHECK_PATIENCE_S if force else FIRST_PATIENCE_S
        try:
            model, fingerprint = await self._described(config, patience_s)
            return _Entry(config, time.monotonic(), model=model, fingerprint=fingerprint, compared=time.monotonic())
        except ClipstackError as error:
            fault, unusable = str(error), False
        except (ValueError, IndexError) as error:
            fault, unusable = str(error), True
        except KeyError as error:
            fault, unusable = f"its configuration has no {error}", True
        if previous is None or previous.fault != fault:
            log.error("model %s, version %s, fails its canary: %s", config["name"], config["version"], fault)
        # A model that answered before may only be slow; requests have a timeout of their own.
        return _Entry(config, time.monotonic(), previous.model if previous else None, fault, unusable)

    async def _described(self, config: dict[str, Any], patience_s: float) -> tuple[Model, Fingerprint]:
        """Return the model with labels, and its fingerprint. Raises like `canary`, or ValueError for a large clip."""
        model = parse_config(config)
        if model.clip_bytes > self._slot_bytes:
            raise ValueError(f"a clip of {model.clip_bytes} bytes needs a larger CLIPSTACK_SLOT_MB")
        fingerprint = await self._triton.fingerprint(model.name, model.version, model.clip_shape, patience_s)
        canary = await self._triton.canary(model.name, model.version, model.clip_shape, class_count(config), patience_s)
        model = replace(
            model,
            labels=canary.labels,
            examples=model.examples or canary.labels[:EXAMPLES],
            precision=fingerprint.precision or None,
            embedding_size=fingerprint.features,
            weights=fingerprint.weights,
            digest=result_digest(config, canary, fingerprint),
        )
        return model, fingerprint

    async def _is_same(self, entry: "_Entry") -> bool:
        """Return whether a model with the same configuration has the same weights; checked every FINGERPRINT_S."""
        model = entry.model
        if model is None or time.monotonic() - entry.compared < FINGERPRINT_S:
            return True
        entry.compared = time.monotonic()
        try:
            current = await self._triton.fingerprint(model.name, model.version, model.clip_shape, CHECK_PATIENCE_S)
        except ClipstackError:
            return True  # no answer now: requests report it
        return current == entry.fingerprint


class Health(NamedTuple):
    """Health of all models: the newest answering version of each by name, and why others do not answer.

    `failing` ones may recover; `unusable` ones have an invalid configuration. Both map `name@version` to the reason.
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
    """State of one version: its model, once a canary was answered, and the fault of the last canary."""

    config: dict[str, Any]
    checked_at: float  # time.monotonic()
    model: Model | None = None
    fault: str = ""
    unusable: bool = False
    fingerprint: Fingerprint = Fingerprint()
    compared: float = 0.0  # time.monotonic() of the last fingerprint check
