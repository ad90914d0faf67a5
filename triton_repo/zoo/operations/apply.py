"""Selection of the engine that serves a model."""

import shutil
from pathlib import Path

from triton_repo.backends.clip.clip_engines import engine_class
from triton_repo.backends.clip.clip_engines.precision import AUTO
from triton_repo.zoo.benchmark.engines import Variant, automatic
from triton_repo.zoo.repository import engine_config, store
from triton_repo.zoo.repository.server import TritonServer, restored_on_failure


def apply(
    models: Path, model: store.InstalledModel, variant: Variant, made: Path, server: TritonServer | None = None
) -> None:
    """Serve the model by the engine and precision of `variant`; the precision `auto` is kept where it means the same.

    The engine's file is copied into the newest version first; then the configuration names the engine. Each step is
    atomic. Until the last step succeeds, and if `server` cannot load the model, the old engine serves it. `made` holds
    the engine's file, unless the version has it.
    """
    with store.changing(models) as making:
        config = (model.folder / "config.pbtxt").read_text(encoding="utf-8")
        is_automatic = variant.engine == "openvino" and automatic(model, "openvino") == variant.precision
        text = engine_config.with_engine(config, variant.engine, AUTO if is_automatic else variant.precision)
        place = model.served / engine_class(variant.engine).file(variant.precision)
        if not place.exists():
            new = making / place.name
            shutil.copyfile(made / place.name, new)
            new.replace(place)
        with restored_on_failure(server, models, model.name), store.redescribing(model.folder, text):
            if server:
                server.load(model.name, model.versions[-1])
