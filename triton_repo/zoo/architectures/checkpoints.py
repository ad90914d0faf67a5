"""Checkpoint files: loading without running code in them, and copying into a network.

a state dict, bare or under `model_state`, `state_dict`, `model_state_dict` or `model`
names with the common prefix `module.`, `model.` or `_orig_mod.`, which training wrappers add
*.safetensors
"""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from triton_repo.zoo import ModelError, listed

STATE_KEYS = ("model_state", "state_dict", "model_state_dict", "model")
PREFIXES = ("module.", "model.", "_orig_mod.")
COUNTER = "num_batches_tracked"  # only training needs it; old files lack it
_REFUSED = re.compile(r"(?:GLOBAL|global|class) `?([\w.]+\.[\w.]+)")

Tensors = dict[str, Tensor]


def read_checkpoint(path: Path) -> Tensors:
    """Return the tensors of a checkpoint by their names in the network.

    `weights_only=True` keeps pickles from running code.

    Raises:
        ModelError: The file cannot be used.
    """
    if not path.is_file():
        raise ModelError(f"{path} does not exist or is not a file.")
    if path.suffix == ".safetensors":
        try:
            return without_prefixes(load_file(path))
        except SafetensorError as error:
            raise ModelError(f"{path} is not a safetensors file, or is damaged or cut off ({error}).") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refused(path, str(error)) from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise _unreadable(path, str(error)) from error
    for name in STATE_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    tensors = {}
    if isinstance(content, Mapping):
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        content_names = (
            listed([str(name) for name in content]) if isinstance(content, Mapping) else type(content).__name__
        )
        raise ModelError(
            f"{path} holds no state dict (it holds {content_names}): expected are named tensors, bare or under one of "
            f"{', '.join(STATE_KEYS)}. Save it with torch.save(model.state_dict(), ...)."
        )
    return without_prefixes(tensors)


def without_prefixes(tensors: Tensors) -> Tensors:
    """Return the tensors without the prefixes that training wrappers add to every name."""
    for prefix in PREFIXES * 2:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def fill(network: nn.Module, tensors: Tensors, path: Path, architecture: str, labels: int) -> None:
    """Copy the tensors into the network, which has `labels` classes.

    Raises:
        ModelError: Names, shapes or the number of classes differ, or a value is not finite.
    """
    expected = network.state_dict()
    missing = [name for name in expected if name not in tensors and not name.endswith(COUNTER)]
    unknown = [name for name in tensors if name not in expected]
    shapes = [name for name in expected if name in tensors and tensors[name].shape != expected[name].shape]
    if not (missing or unknown) and (classes := _classes(expected, tensors, shapes, labels)):
        raise ModelError(
            f"{path} has {classes} classes ({', '.join(shapes)}), but there are {labels} labels: "
            f"give --labels with {classes} lines, one for each class in the order of the scores."
        )
    if missing or unknown or shapes:
        raise ModelError(
            f"{path} does not fit {architecture}: {_difference(missing, unknown, shapes, expected, tensors)}."
        )
    not_finite = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if not_finite:
        raise ModelError(f"{path} holds NaN or infinity in {listed(not_finite)}: the training went wrong.")
    network.load_state_dict(tensors, strict=False)


def _classes(expected: Tensors, tensors: Tensors, shapes: list[str], labels: int) -> int:
    """Return the checkpoint's number of classes if it differs in nothing else, or 0."""
    counts = {tensors[name].shape[0] if tensors[name].ndim else 0 for name in shapes}
    only_classes_differ = all(
        shape and shape[0] == labels and shape[1:] == tensors[name].shape[1:]
        for name, shape in ((name, expected[name].shape) for name in shapes)
    )
    return counts.pop() if only_classes_differ and len(counts) == 1 else 0


def _difference(missing: list[str], unknown: list[str], shapes: list[str], expected: Tensors, tensors: Tensors) -> str:
    sized = [f"{name} is {tuple(tensors[name].shape)} instead of {tuple(expected[name].shape)}" for name in shapes]
    parts = (("missing: ", missing), ("unexpected: ", unknown), ("", sized))
    return "; ".join(word + listed(names) for word, names in parts if names)


def _refused(path: Path, reason: str) -> ModelError:
    if match := _REFUSED.search(reason):
        return ModelError(
            f"{path} was not loaded: it is a pickle that calls {match[1]} and could run any code on this machine. "
            "If you trust its author, load it elsewhere and save only its weights: "
            "torch.save(model.state_dict(), 'weights.pth'), or as safetensors. Then add that file."
        )
    return _unreadable(path, reason)


def _unreadable(path: Path, reason: str) -> ModelError:
    if "TorchScript" in reason:
        return ModelError(
            f"{path} is a TorchScript archive, which contains code: save only its weights with "
            "torch.save(module.state_dict(), 'weights.pth'), or export it to ONNX and use --onnx."
        )
    return ModelError(
        f"{path} ({path.stat().st_size} bytes) is not a PyTorch checkpoint, or is damaged or cut off: "
        "download or copy it again and compare its size."
    )
