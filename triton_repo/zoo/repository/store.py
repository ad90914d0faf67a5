"""The folder of models: what is in it, and changes that happen whole or not at all.

<models>/<name>/config.pbtxt  labels.txt      of the newest version, for Triton
<models>/<name>/1/  2/ ...                    the versions, each with the same two files as they were made for it
<models>/.making-*                            made complete here, then moved by renames
<models>/.removed.json                        last version of what was removed: no number is given twice, so that an
                                              answer's name and version say which weights gave it
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triton_repo.zoo.errors import ModelError
from triton_repo.zoo.repository.names import checked

MAKING = ".making-"
NEEDED = {"kind", "frames", "stride", "fps", "resize", "crop"}  # parameters that the app reads
TEXTS = ("labels.txt", "config.pbtxt")
REMOVED = ".removed.json"
SIDE_BY_SIDE = 2  # versions of one model that are served: each has its own copy of the weights in memory
_POLICY = re.compile(r"^version_policy: .*$", re.M)


@dataclass(frozen=True)
class InstalledModel:
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
    def side_by_side(self) -> tuple[int, ...]:
        """The versions that a server serves, ascending; the newest alone where the configuration names none."""
        latest = self.config.get("version_policy", {}).get("latest", {})
        return self.versions[-int(latest.get("num_versions", 1)) :]

    @property
    def served(self) -> Path:
        """Folder of the newest version, which answers who names none."""
        if not self.versions:
            raise ModelError(f"{self.name} has no version yet: run `make setup`, which exports it.")
        return self.folder / str(self.versions[-1])


def versions(folder: Path) -> tuple[int, ...]:
    if not folder.is_dir():
        return ()
    return tuple(sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal() and path.is_dir()))


def installed(models: Path, name: str) -> InstalledModel:
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
        return InstalledModel(name, folder, config, tuple(labels), versions(folder))
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


def next_version(models: Path, name: str) -> int:
    return max((*versions(models / name), _removed(models).get(name, 0))) + 1


@contextmanager
def installing(made: Path, models: Path, version: int) -> Iterator[None]:
    """Moves the model folder `made`, which holds one version, to its place; undone when the block fails.

    Until the block is left, the folder is as a server should see it next, and nobody but this process changes it.
    """
    for name in TEXTS:
        shutil.copyfile(made / name, made / str(version) / name)
    folder = models / made.name
    if not folder.exists():
        made.rename(folder)
        try:
            yield
        except BaseException:
            folder.rename(made)
            raise
        return
    with _changed_version(folder):
        (made / str(version)).rename(folder / str(version))
        try:
            _describe(folder)
            yield
        except BaseException:
            (folder / str(version)).rename(made / str(version))
            raise


@contextmanager
def removing(models: Path, name: str, version: int | None) -> Iterator[int | None]:
    """Takes the model away, or one version of it; undone when the block fails. ModelError when there is none.

    The block gets the newest version that is left, or None when the model is gone with all of them.
    """
    folder = models / checked(name)
    with changing(models) as making:
        if not folder.is_dir():
            raise ModelError(f"there is no model {name!r} in {models}: there are {', '.join(names(models)) or 'none'}.")
        there = versions(folder)
        if version is not None and version not in there:
            raise ModelError(f"{name} has no version {version}: it has {', '.join(map(str, there)) or 'none'}.")
        away = making / name
        if version is None or there == (version,):
            folder.rename(away)
            try:
                _remember(models, name, max(there, default=0))
                yield None
            except BaseException:
                away.rename(folder)
                raise
            return
        with _changed_version(folder):
            (folder / str(version)).rename(away)
            try:
                _describe(folder)
                _remember(models, name, version)
                yield versions(folder)[-1]
            except BaseException:
                away.rename(folder / str(version))
                raise


@contextmanager
def redescribing(folder: Path, config: str) -> Iterator[None]:
    """Gives the newest version of a model another configuration; undone when the block fails."""
    version = versions(folder)[-1]
    own = folder / str(version)
    labels, before = _description(folder, version)
    with _changed_version(folder):
        try:
            _replace(own / "labels.txt", labels)
            _replace(own / "config.pbtxt", config)
            _describe(folder)
            yield
        except BaseException:
            _replace(own / "config.pbtxt", before)
            raise


@contextmanager
def _changed_version(folder: Path) -> Iterator[None]:
    """Puts the model's description back when the block, which changes its versions, fails."""
    before = {name: (folder / name).read_text(encoding="utf-8") for name in TEXTS if (folder / name).exists()}
    try:
        yield
    except BaseException:
        for name, text in before.items():
            _replace(folder / name, text)
        raise


def _describe(folder: Path) -> None:
    """Writes the model's description from that of its newest version.

    Triton serves as many of the newest versions as the description fits, SIDE_BY_SIDE at most.
    """
    told = [_description(folder, version) for version in reversed(versions(folder))]
    same = 0
    while same < min(len(told), SIDE_BY_SIDE) and told[same] == told[0]:
        same += 1
    labels, config = told[0]
    count = same if same < len(told) else SIDE_BY_SIDE
    _replace(folder / "labels.txt", labels)
    _replace(folder / "config.pbtxt", _POLICY.sub(f"version_policy: {{ latest {{ num_versions: {count} }} }}", config))


def _description(folder: Path, version: int) -> tuple[str, str]:
    """Labels and configuration of one version; the model's own where the version brought none."""
    own = folder / str(version)
    place = own if all((own / name).exists() for name in TEXTS) else folder
    labels, config = ((place / name).read_text(encoding="utf-8") for name in TEXTS)
    return labels, _POLICY.sub(f"version_policy: {{ latest {{ num_versions: {SIDE_BY_SIDE} }} }}", config)


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _removed(models: Path) -> dict[str, int]:
    try:
        told: dict[str, int] = json.loads((models / REMOVED).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ModelError(f"{models / REMOVED} is damaged ({error}): remove it.") from error
    return told


def _remember(models: Path, name: str, version: int) -> None:
    told = _removed(models)
    _replace(models / REMOVED, json.dumps(told | {name: max(version, told.get(name, 0))}, indent=2) + "\n")


__all__ = [
    "SIDE_BY_SIDE",
    "InstalledModel",
    "changing",
    "installed",
    "installing",
    "names",
    "next_version",
    "redescribing",
    "removing",
]
