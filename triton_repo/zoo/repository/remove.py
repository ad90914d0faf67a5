"""Takes a model, or one version of it, out of the folder of models and out of the running server."""

from __future__ import annotations

from pathlib import Path

from triton_repo.zoo.repository import store
from triton_repo.zoo.repository.server import TritonServer


def remove(models: Path, name: str, version: int | None, server: TritonServer | None) -> None:
    """Without `version`, or when it is the only one, the whole model; ModelError when there is no such model."""
    try:
        with store.removing(models, name, version) as left:
            if server is None:
                pass
            elif left is None:
                server.unload(name)
            else:
                server.load(name, left)
    except BaseException:
        if server:
            server.restore(name, there=(models / name).exists())
        raise


__all__ = ["remove"]
