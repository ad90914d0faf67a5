"""Has a model served by another engine: its file goes into the newest version, then its name into the configuration."""

from __future__ import annotations

import shutil
from pathlib import Path

from triton_repo.backends.clip.clip_engines import engine_class
from triton_repo.zoo.benchmark.engines import Variant
from triton_repo.zoo.repository import engine_config, store
from triton_repo.zoo.repository.server import TritonServer


def apply(
    models: Path, model: store.InstalledModel, variant: Variant, made: Path, server: TritonServer | None = None
) -> None:
    """`made` is the folder where the file was made, unless the version has it. Each step is whole or not at all, and
    the engine is named last: until then, or when `server` cannot load it, the old one is served."""
    with store.changing(models) as making:
        text = engine_config.with_engine((model.folder / "config.pbtxt").read_text(encoding="utf-8"), *variant)
        place = model.served / engine_class(variant.engine).file(variant.precision)
        if not place.exists():
            new = making / place.name
            shutil.copyfile(made / place.name, new)
            new.replace(place)
        try:
            with store.redescribing(model.folder, text):
                if server:
                    server.load(model.name, model.versions[-1])
        except BaseException:
            if server:
                server.restore(model.name, there=True)
            raise


__all__ = ["apply"]
