"""Adding a model version from a checkpoint or an ONNX file."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import openvino
from numpy.typing import NDArray

from triton_repo.backends.clip.clip_engines.precision import AUTO
from triton_repo.zoo import ModelError, onnx_data
from triton_repo.zoo.architectures.catalog import published
from triton_repo.zoo.architectures.downloads import sha256_of
from triton_repo.zoo.export import openvino as export
from triton_repo.zoo.export import precision as bf16
from triton_repo.zoo.export.onnx_import import OnnxNetwork, convert_onnx
from triton_repo.zoo.names import BUILT_IN, checked
from triton_repo.zoo.repository import engine_config, store
from triton_repo.zoo.repository.server import TritonServer, restored_on_failure
from triton_repo.zoo.repository.sources import ONNX, Source, read_labels
from triton_repo.zoo.spec import ClipSpec, Description, Scoring, config_text

Colours = tuple[float, float, float]
Notice = Callable[[str], None]


@dataclass(frozen=True)
class ClipOverrides:
    """The user's settings for the clip and its normalisation; None keeps the published value."""

    frames: int | None = None
    stride: int | None = None
    fps: float | None = None
    size: int | None = None
    resize: int | None = None
    mean: Colours | None = None
    std: Colours | None = None

    def spec(self, usual: ClipSpec) -> ClipSpec:
        """Return `usual` with the overrides; a size without a resize keeps the cropped share of the frame."""
        crop = self.size or usual.crop
        resize = self.resize or round(usual.resize * crop / usual.crop)
        if crop > resize:
            raise ModelError(f"a frame scaled to {resize} pixels has no middle of {crop}: --size is above --resize.")
        stride, fps = self.stride or usual.stride, self.fps or usual.fps
        return replace(usual, frames=self.frames or usual.frames, stride=stride, fps=fps, resize=resize, crop=crop)


@dataclass(frozen=True)
class Target:
    """Destination of a new model version.

    Attributes:
        models: Folder of the models.
        name: Name of the model.
        server: Running server that loads the version at once, or None.
        say: Receives progress messages.
        precision: Precision that the version is served in; `auto` follows the version's accuracy in bf16.
        scoring: How the scores are made and decided on.
    """

    models: Path
    name: str
    server: TritonServer | None
    say: Notice
    precision: str = AUTO
    scoring: Scoring = Scoring()


def add_network(target: Target, architecture: str, weights: Path, labels: Path | None, wishes: ClipOverrides) -> int:
    """Add a published network with the weights of a file and return the new version; raise ModelError on failure."""
    check_name(target.name)
    network = published(architecture, weights.name)
    spec = wishes.spec(network.spec)
    network.check(spec)
    label_names = read_labels(labels) if labels else network.labels
    target.scoring.check(label_names)
    mean, std = wishes.mean or network.mean, wishes.std or network.std
    # Load the weights before the long export, so that a missing or unfitting file fails at once.
    source = Source(architecture, str(weights.absolute()), "", spec, mean, std, scoring=target.scoring)
    served = source.network(label_names, weights)
    source = replace(source, sha256=sha256_of(weights))

    if not labels:
        served = replace(served, summary=network.summary)

    def write(making: Path, version: int) -> None:
        try:
            export.write_model(served, target.name, making, version)
        except Exception as error:  # the converter and the networks raise errors of any type
            reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
            raise ModelError(f"{architecture} for such clips could not be exported: {reason[0][:300]}") from error

    return add_version(target, source, write)


@dataclass(frozen=True)
class OnnxInput:
    """An ONNX file to add.

    Attributes:
        file: The ONNX file.
        layout: Axes of its input, for example NCTHW; None selects the default.
        scores: Meaning of its output: "logits" or "probabilities", after the softmax or the sigmoid.
        data: Weight files that are not named after the ONNX file.
    """

    file: Path
    layout: str | None = None
    scores: str = "logits"
    data: tuple[Path, ...] = ()


def add_onnx(target: Target, onnx: OnnxInput, labels: Path, wishes: ClipOverrides) -> int:
    """Add a model of any architecture and return its new version; raise ModelError on failure."""
    file, layout = onnx.file, onnx.layout
    check_name(target.name)
    if not (wishes.frames and wishes.size):
        raise ModelError("an ONNX model needs --frames (1 for pictures) and --size: the file does not tell them.")
    kind: Literal["video", "image"] = "image" if wishes.frames == 1 else "video"
    spec = wishes.spec(ClipSpec(kind, wishes.frames, 1, 30, wishes.size, wishes.size))
    label_names = read_labels(labels)
    target.scoring.check(label_names)
    if onnx.scores != "logits" and target.scoring.temperature != 1:
        raise ModelError("a temperature needs logits, and this file gives probabilities: leave it out.")
    layout = layout or ("NCHW" if kind == "image" else "NCTHW")
    if ("T" in layout) != (kind == "video"):
        raise ModelError(f"the layout {layout} is not one of {'videos' if kind == 'video' else 'pictures'}.")
    mean, std = wishes.mean or (0.0,) * 3, wishes.std or (1.0,) * 3
    if not file.is_file():
        raise ModelError(f"{file} does not exist or is no file.")
    onnx_data.check(file, onnx.data)
    source = Source(
        ONNX, str(file.absolute()), onnx_data.digest(file), spec, mean, std, layout, onnx.scores, target.scoring
    )
    description = Description(ONNX, spec, label_names, scoring=target.scoring)

    def write(making: Path, version: int) -> None:
        model = convert_onnx(file, source, len(label_names))
        _check_scores(file, source, label_names)
        folder = making / target.name
        (folder / str(version)).mkdir(parents=True)
        openvino.save_model(model, folder / str(version) / "model.xml", compress_to_fp16=False)
        bf16.record(folder / str(version), is_independent=target.scoring.kind == "sigmoid")
        (folder / "labels.txt").write_text("".join(f"{word}\n" for word in label_names), encoding="utf-8")
        (folder / "config.pbtxt").write_text(config_text(target.name, description), encoding="utf-8")

    return add_version(target, source, write)


def check_name(name: str) -> None:
    """Raise ModelError if no model may be added by this name."""
    if checked(name) in BUILT_IN:
        raise ModelError(f"{name} is built in, and `make setup` makes it: choose another name.")


def _check_scores(file: Path, source: Source, labels: tuple[str, ...]) -> None:
    """Raise ModelError if the file's output contradicts `source`; wrong scores would still look plausible."""
    as_they_are = replace(source, scores="probabilities")
    clips = export.example_clips(source, 3)
    clips = np.concatenate([clips, np.full_like(clips[:1], 0), np.full_like(clips[:1], 255)])
    raw = OnnxNetwork(file, as_they_are, len(labels))(clips)
    if not np.isfinite(raw).all():
        raise ModelError(f"{file} answers a test clip with scores that are no numbers.")
    if source.scoring.kind == "sigmoid":
        _check_sigmoid(file, source, raw)
        return
    probable = bool((raw >= 0).all()) and bool(np.allclose(raw.sum(axis=1), 1, atol=1e-3))
    if probable and source.scores == "logits" and len(labels) > 1:
        raise ModelError(f"{file} gives probabilities already (they add up to 1): say --output probabilities.")
    if not probable and source.scores == "probabilities":
        raise ModelError(f"{file} gives scores that do not add up to 1: they are logits, so leave out --output.")


def _check_sigmoid(file: Path, source: Source, raw: NDArray[np.float32]) -> None:
    probable = bool((raw >= 0).all() and (raw <= 1).all())
    if probable and source.scores == "logits":
        raise ModelError(
            f"{file} gives values from 0 to 1 alone for all test clips, so it has a sigmoid already: say "
            "--output probabilities."
        )
    if not probable and source.scores == "probabilities":
        raise ModelError(f"{file} gives values outside 0 to 1: they are logits, so leave out --output.")


def add_version(target: Target, source: Source, write: Callable[[Path, int], None]) -> int:
    """Install the version that `write` makes from `source`, and return its number; arguments as for `install`."""

    def write_with_source(making: Path, version: int) -> None:
        target.say(f"converting {target.name}, version {version}")
        write(making, version)
        if target.precision != AUTO:
            config = making / target.name / "config.pbtxt"
            text = engine_config.with_engine(config.read_text(encoding="utf-8"), "openvino", target.precision)
            engine_config.write(config, text)
        source.write(making / target.name / str(version))

    return install(target, write_with_source)


def install(target: Target, write: Callable[[Path, int], None]) -> int:
    """Install a model's next version and return its number; nothing changes if a step fails.

    Args:
        target: Destination of the version.
        write: Writes the model folder, with this version, into the folder that it gets.

    Raises:
        ModelError: Another process changes the models, or the server cannot load the version.
    """
    models, name, server = target.models, target.name, target.server
    with store.changing(models) as making:
        version = store.next_version(models, name)
        write(making, version)
        with restored_on_failure(server, models, name), store.installing(making / name, models, version):
            if server:
                target.say(f"loading {name}, version {version}")
                server.load(name, version)
    return version
