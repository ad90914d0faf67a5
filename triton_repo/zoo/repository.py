"""The folder of models: what is in it, and changes that happen whole or not at all.

<models>/<name>/config.pbtxt  labels.txt  1/  2/ ...      the highest version is served
<models>/.making-*                                        made complete here, then moved by renames
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triton_repo.zoo.errors import ModelError
from triton_repo.zoo.names import checked

MAKING = ".making-"
NEEDED = {"kind", "frames", "stride", "fps", "resize", "crop"}  # parameters that the app reads
TEXTS = ("labels.txt", "config.pbtxt")


@dataclass(frozen=True)
class Installed:
    """One model folder; `config` as Triton gives it to a backend, `versions` ascending."""

    name: str
    folder: Path
    config: dict[str, Any]
    labels: tuple[str, ...]
    versions: tuple[int, ...]

    @property
    def parameters(self) -> dict[str, str]:
        return {name: value["string_value"] for name, value in self.config["parameters"].items()}

    @property
    def served(self) -> Path:
        """Folder of the version that is served."""
        if not self.versions:
            raise ModelError(f"{self.name} has no version yet: run `make setup`, which exports it.")
        return self.folder / str(self.versions[-1])


def versions(folder: Path) -> tuple[int, ...]:
    if not folder.is_dir():
        return ()
    return tuple(sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal() and path.is_dir()))


def installed(models: Path, name: str) -> Installed:
    """The model of that name; ModelError when there is none or its description is damaged."""
    from google.protobuf import json_format, text_format
    from tritonclient.grpc import model_config_pb2

    folder = models / checked(name)
    if not (folder / "config.pbtxt").is_file():
        raise ModelError(f"there is no model {name!r} in {models}: there are {', '.join(names(models)) or 'none'}.")
    try:
        text = (folder / "config.pbtxt").read_text(encoding="utf-8")
        message = text_format.Parse(text, model_config_pb2.ModelConfig())
        config: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
        labels = (folder / config["output"][0]["label_filename"]).read_text(encoding="utf-8").splitlines()
        if lacking := NEEDED - config.get("parameters", {}).keys():
            raise ValueError(f"config.pbtxt has no {', '.join(sorted(lacking))}")
        return Installed(name, folder, config, tuple(labels), versions(folder))
    except (text_format.ParseError, OSError, ValueError, LookupError) as error:
        raise ModelError(f"{folder} is damaged ({error}): remove the model and add it again.") from error


def names(models: Path) -> list[str]:
    """Every model in the folder, by name."""
    if not models.is_dir():
        return []
    return sorted(path.name for path in models.iterdir() if path.name[0] != "." and (path / "config.pbtxt").is_file())


@contextmanager
def changing(models: Path) -> Iterator[Path]:
    """A folder to make things in, on the same filesystem; only one process at a time has one."""
    models.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(models, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ModelError(f"another clipstack-models is changing {models} just now: try again later.") from None
        for left in models.glob(f"{MAKING}*"):
            shutil.rmtree(left)  # of a process that was killed
        with tempfile.TemporaryDirectory(prefix=MAKING, dir=models) as making:
            yield Path(making)
    finally:
        os.close(descriptor)


def install(made: Path, models: Path, version: int) -> None:
    """Moves the model folder `made`, which holds one version, to its place; undone when a step of it fails.

    A new model is one rename. A new version of an old one is moved last: until then the old one is served.
    """
    folder = models / made.name
    if not folder.exists():
        made.rename(folder)
        return
    before = {name: (folder / name).read_bytes() for name in TEXTS if (folder / name).exists()}
    try:
        for name in TEXTS:
            (made / name).replace(folder / name)
        (made / str(version)).rename(folder / str(version))
    except BaseException:
        for name, content in before.items():
            (made / name).write_bytes(content)
            (made / name).replace(folder / name)
        raise


def remove(models: Path, name: str) -> None:
    """Takes the model away with all its versions; ModelError when there is none."""
    folder = models / checked(name)
    with changing(models) as making:
        if not folder.is_dir():
            raise ModelError(f"there is no model {name!r} in {models}: there are {', '.join(names(models)) or 'none'}.")
        folder.rename(making / name)


__all__ = ["Installed", "changing", "install", "installed", "names", "remove", "versions"]
