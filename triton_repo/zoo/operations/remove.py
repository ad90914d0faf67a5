"""Removal of a model, or of one of its versions, from the folder of models and from the running server."""

from __future__ import annotations

from pathlib import Path

from triton_repo.zoo.repository import store
from triton_repo.zoo.repository.server import TritonServer, restored_on_failure


def remove(models: Path, name: str, version: int | None, server: TritonServer | None) -> None:
    """Remove one version, or the whole model if `version` is None or the only one; raise ModelError if missing."""
    with restored_on_failure(server, models, name), store.removing(models, name, version) as left:
        if server and left is None:
            server.unload(name)
        elif server and left is not None:
            server.load(name, left)
