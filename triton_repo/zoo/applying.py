"""Has a model served by another engine: its file goes into the newest version, then its name into the configuration."""

from __future__ import annotations

import shutil
from pathlib import Path

from triton_repo.backends.clip.clip_engines import engine_class
from triton_repo.zoo import configured, repository
from triton_repo.zoo.running import Running
from triton_repo.zoo.variants import Variant


def apply(
    models: Path, model: repository.Installed, variant: Variant, made: Path, server: Running | None = None
) -> None:
    """`made` is the folder where the file was made, unless the version has it. Each step is whole or not at all, and
    the engine is named last: until then, or when `server` cannot load it, the old one is served."""
    with repository.changing(models) as making:
        text = configured.with_engine((model.folder / "config.pbtxt").read_text(encoding="utf-8"), *variant)
        place = model.served / engine_class(variant.engine).file(variant.precision)
        if not place.exists():
            new = making / place.name
            shutil.copyfile(made / place.name, new)
            new.replace(place)
        try:
            with repository.redescribing(model.folder, text):
                if server:
                    server.load(model.name, model.versions[-1])
        except BaseException:
            if server:
                server.restore(model.name, there=True)
            raise


__all__ = ["apply"]
