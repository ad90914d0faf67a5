"""The folder of models: its contents, and atomic changes of it.

<models>/<name>/config.pbtxt  labels.txt      of the newest version, for Triton
<models>/<name>/1/  2/ ...                    the versions, each with its own copy of the same two files
<models>/.making-*                            new versions are completed here, then renamed into place
<models>/.removed.json                        last version number of each removed model; numbers are never reused,
                                              so that a result's name and version identify the weights
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
from typing import TYPE_CHECKING, Any

from app.files import write_file
from triton_repo.zoo import SIDE_BY_SIDE, ModelError
from triton_repo.zoo.names import checked

if TYPE_CHECKING:
    from triton_repo.zoo.spec import ClipSpec

MAKING = ".making-"
NEEDED = {"kind", "frames", "stride", "fps", "resize", "crop"}  # parameters that the app reads
TEXTS = ("labels.txt", "config.pbtxt")
REMOVED = ".removed.json"
_TEXT = re.compile(r'^.*key: "description".*\n', re.M)  # says nothing about how a version is served
_POLICY = re.compile(r"^version_policy: .*$", re.M)


@dataclass(frozen=True)
class InstalledModel:
    """One model folder; `config` has Triton's format, `versions` is ascending."""

    name: str
    folder: Path
    config: dict[str, Any]
    labels: tuple[str, ...]
    versions: tuple[int, ...]

    @property
    def parameters(self) -> dict[str, str]:
        """Return the parameters of `config.pbtxt` by name."""
        return {name: value["string_value"] for name, value in self.config["parameters"].items()}

    @property
    def spec(self) -> ClipSpec:
        """Return the clip that the model takes."""
        from triton_repo.zoo.spec import ClipSpec  # imports torch, which takes seconds

        p = self.parameters
        frames, stride, resize, crop = (int(p[name]) for name in ("frames", "stride", "resize", "crop"))
        return ClipSpec("video" if p["kind"] == "video" else "image", frames, stride, float(p["fps"]), resize, crop)

    @property
    def clip_shape(self) -> tuple[int, ...]:
        """Return the shape of a clip (T, H, W, 3)."""
        return tuple(int(size) for size in self.config["input"][0]["dims"])

    @property
    def max_batch(self) -> int:
        """Return the largest number of clips that the server passes at once."""
        return max(1, int(self.config.get("max_batch_size", 1)))

    @property
    def is_independent(self) -> bool:
        """Return whether the scores are those of sigmoids, so that several labels may be right at a time."""
        return self.parameters.get("scores") == "sigmoid"

    @property
    def side_by_side(self) -> tuple[int, ...]:
        """Return the versions that a server serves, ascending; only the newest without a version policy."""
        latest = self.config.get("version_policy", {}).get("latest", {})
        return self.versions[-int(latest.get("num_versions", 1)) :]

    @property
    def served(self) -> Path:
        """Return the folder of the newest version, which serves requests without a version.

        Raises:
            ModelError: The model has no version.
        """
        if not self.versions:
            raise ModelError(f"{self.name} has no version yet: run `make setup`, which exports it.")
        return self.folder / str(self.versions[-1])


def versions(folder: Path) -> tuple[int, ...]:
    """Return the version numbers in a model's folder, ascending."""
    if not folder.is_dir():
        return ()
    return tuple(sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal() and path.is_dir()))


def installed(models: Path, name: str) -> InstalledModel:
    """Return the model of that name; raise ModelError if it is missing or its description is damaged."""
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
        if missing := NEEDED - config.get("parameters", {}).keys():
            raise ValueError(f"config.pbtxt has no {', '.join(sorted(missing))}")
        return InstalledModel(name, folder, config, tuple(labels), versions(folder))
    except (text_format.ParseError, OSError, ValueError, LookupError) as error:
        raise ModelError(f"{folder} is damaged ({error}): remove the model and add it again.") from error


def names(models: Path) -> list[str]:
    """Return the names of all models in the folder."""
    if not models.is_dir():
        return []
    return sorted(path.name for path in models.iterdir() if path.name[0] != "." and (path / "config.pbtxt").is_file())


@contextmanager
def changing(models: Path) -> Iterator[Path]:
    """Yield a temporary folder on the models' filesystem, under an exclusive lock.

    Raises:
        ModelError: Another process is changing the models.
    """
    models.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(models, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ModelError(f"another clipstack-models is changing {models} just now: try again later.") from None
        for left in models.glob(f"{MAKING}*"):
            shutil.rmtree(left)  # left by a process that was killed
        with tempfile.TemporaryDirectory(prefix=MAKING, dir=models) as making:
            yield Path(making)
    finally:
        os.close(descriptor)


def next_version(models: Path, name: str) -> int:
    """Return the next unused version number of a model, counting removed versions."""
    return max((*versions(models / name), _removed(models).get(name, 0))) + 1


@contextmanager
def installing(made: Path, models: Path, version: int) -> Iterator[None]:
    """Move the model folder `made`, which holds one version, into place; undo it if the block fails.

    Inside the block, the folder already has its new state, and no other process changes it.
    """
    for name in TEXTS:
        shutil.copyfile(made / name, made / str(version) / name)
    folder = models / made.name
    if not folder.exists():
        with _moved(made, folder):
            yield
        return
    with _changed_version(folder), _moved(made / str(version), folder / str(version)):
        _describe(folder)
        yield


@contextmanager
def removing(models: Path, name: str, version: int | None) -> Iterator[int | None]:
    """Remove the model, or one version of it; undo it if the block fails.

    Yields the newest version that is left, or None if the whole model is removed.

    Raises:
        ModelError: The model or the version does not exist.
    """
    folder = models / checked(name)
    with changing(models) as making:
        if not folder.is_dir():
            raise ModelError(f"there is no model {name!r} in {models}: there are {', '.join(names(models)) or 'none'}.")
        present = versions(folder)
        if version is not None and version not in present:
            raise ModelError(f"{name} has no version {version}: it has {', '.join(map(str, present)) or 'none'}.")
        removed = making / name
        if version is None or present == (version,):
            with _moved(folder, removed):
                _remember(models, name, max(present, default=0))
                yield None
            return
        with _changed_version(folder), _moved(folder / str(version), removed):
            _describe(folder)
            _remember(models, name, version)
            yield versions(folder)[-1]


@contextmanager
def redescribing(folder: Path, config: str) -> Iterator[None]:
    """Replace the configuration of a model's newest version; undo it if the block fails."""
    version = versions(folder)[-1]
    own = folder / str(version)
    labels, before = _description(folder, version)
    with _changed_version(folder):
        try:
            write_file(own / "labels.txt", labels.encode())
            write_file(own / "config.pbtxt", config.encode())
            _describe(folder)
            yield
        except BaseException:
            write_file(own / "config.pbtxt", before.encode())
            raise


@contextmanager
def _moved(source: Path, target: Path) -> Iterator[None]:
    """Rename a folder, and rename it back if the block fails."""
    source.rename(target)
    try:
        yield
    except BaseException:
        target.rename(source)
        raise


@contextmanager
def _changed_version(folder: Path) -> Iterator[None]:
    """Restore the model's description if the block, which changes its versions, fails."""
    before = {name: (folder / name).read_text(encoding="utf-8") for name in TEXTS if (folder / name).exists()}
    try:
        yield
    except BaseException:
        for name, text in before.items():
            write_file(folder / name, text.encode())
        raise


def _describe(folder: Path) -> None:
    """Write the model's description from that of its newest version.

    Triton serves as many of the newest versions as share this description but for its text, at most SIDE_BY_SIDE.
    """
    descriptions = [_description(folder, version) for version in reversed(versions(folder))]
    matching = 0
    alike = [(labels, _TEXT.sub("", config)) for labels, config in descriptions]
    while matching < min(len(alike), SIDE_BY_SIDE) and alike[matching] == alike[0]:
        matching += 1
    labels, config = descriptions[0]
    count = matching if matching < len(descriptions) else SIDE_BY_SIDE
    write_file(folder / "labels.txt", labels.encode())
    policy = f"version_policy: {{ latest {{ num_versions: {count} }} }}"
    write_file(folder / "config.pbtxt", _POLICY.sub(policy, config).encode())


def _description(folder: Path, version: int) -> tuple[str, str]:
    """Return labels and configuration of one version; the model's own if the version has none."""
    own = folder / str(version)
    place = own if all((own / name).exists() for name in TEXTS) else folder
    labels, config = ((place / name).read_text(encoding="utf-8") for name in TEXTS)
    return labels, _POLICY.sub(f"version_policy: {{ latest {{ num_versions: {SIDE_BY_SIDE} }} }}", config)


def _removed(models: Path) -> dict[str, int]:
    try:
        last_versions: dict[str, int] = json.loads((models / REMOVED).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ModelError(f"{models / REMOVED} is damaged ({error}): remove it.") from error
    return last_versions


def _remember(models: Path, name: str, version: int) -> None:
    last_versions = _removed(models)
    last_versions[name] = max(version, last_versions.get(name, 0))
    write_file(models / REMOVED, (json.dumps(last_versions, indent=2) + "\n").encode())
