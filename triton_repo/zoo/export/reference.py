"""Source of a model version, ready to run: the network in torch, or the ONNX file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from triton_repo.zoo import ModelError, onnx_data
from triton_repo.zoo.architectures.builtin import DEFAULTS
from triton_repo.zoo.architectures.downloads import sha256_of
from triton_repo.zoo.export.onnx_import import OnnxNetwork
from triton_repo.zoo.repository.sources import ONNX, Source, read_source
from triton_repo.zoo.repository.store import InstalledModel
from triton_repo.zoo.spec import NetworkSpec, ServedNetwork

Clips = NDArray[np.uint8]
Scores = NDArray[np.float32]
Network = Callable[[Clips], Scores]


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file, and the description given when it was added."""

    path: Path
    source: Source
    classes: int


@dataclass(frozen=True)
class Reference:
    """Runnable source of a model version.

    Attributes:
        words: What runs it, for messages.
        made_of: The network or the ONNX file.
        network: Runs it in float32: uint8 (B, frames, crop, crop, 3) -> probabilities float32 (B, classes).
    """

    words: str
    made_of: NetworkSpec | OnnxFile
    network: Network


def origin(model: InstalledModel, weights: Path | None = None) -> Reference:
    """Return the reference of the served version; `weights` is the source file's present path, if it was moved.

    Raises:
        ModelError: The source file is gone or has changed.
    """
    source = read_source(model.served)
    if source is None:
        if model.name not in DEFAULTS:
            raise ModelError(f"nothing says what {model.name} was made from: it was not added by clipstack-models.")
        try:
            return _of_torch(DEFAULTS[model.name]())
        except OSError as error:
            raise ModelError(f"{error}.") from error
    file = weights or source.file(model.served)
    if not file.is_file():
        raise ModelError(f"{file}, which {model.name} was made from, is gone: say where it is with --weights.")
    digest = onnx_data.digest(file) if source.architecture == ONNX else sha256_of(file)
    if digest != source.sha256:
        raise ModelError(
            f"{file} is not the file that {model.name} was made from: that one had the checksum {source.sha256}, "
            f"this one has {digest}."
        )
    if source.architecture == ONNX:
        classes = len(model.labels)
        return Reference("the ONNX file", OnnxFile(file, source, classes), OnnxNetwork(file, source, classes))
    return _of_torch(source.network(model.labels, file))


def _of_torch(served: NetworkSpec) -> Reference:
    network = ServedNetwork(served).eval()

    def run(clips: Clips) -> Scores:
        with torch.inference_mode():
            scores: Scores = network(torch.from_numpy(clips)).numpy()
        return scores

    return Reference("torch", served, run)
