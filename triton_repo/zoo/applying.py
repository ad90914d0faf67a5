"""Has a model served by another engine: its file into the version's folder, then its name into the configuration."""

from __future__ import annotations

import shutil
from pathlib import Path

from triton_repo.backends.clip.clip_engines import engine_class
from triton_repo.zoo import configured, repository
from triton_repo.zoo.variants import Variant


def apply(models: Path, model: repository.Installed, variant: Variant, made: Path) -> None:
    """`made` is the folder where the file was made, unless the version has it. Each step is whole or not at all, and
    the engine is named last: until then the old one is served."""
    with repository.changing(models) as making:
        config = model.folder / "config.pbtxt"
        text = configured.with_engine(config.read_text(encoding="utf-8"), *variant)
        place = model.served / engine_class(variant.engine).file(variant.precision)
        if not place.exists():
            new = making / place.name
            shutil.copyfile(made / place.name, new)
            new.replace(place)
        configured.write(config, text)


__all__ = ["apply"]
