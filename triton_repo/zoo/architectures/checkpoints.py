"""Checkpoint files: read without running code that they may hold, and filled into a network layer by layer.

a state dict, bare or under `model_state`, `state_dict`, `model_state_dict` or `model`
names that all begin with `module.`, `model.` or `_orig_mod.`: what wrappers of training put there
*.safetensors
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from triton_repo.zoo.errors import ModelError, listed

INSIDE = ("model_state", "state_dict", "model_state_dict", "model")
WRAPPERS = ("module.", "model.", "_orig_mod.")
COUNTER = "num_batches_tracked"  # of use to training alone; old files are without it
_REFUSED = re.compile(r"(?:GLOBAL|global|class) `?([\w.]+\.[\w.]+)")

Tensors = dict[str, Tensor]


def read_checkpoint(path: Path) -> Tensors:
    """The tensors of a checkpoint by their names in the network; ModelError when the file cannot be used.

    Pickles are opened with `weights_only=True`: whatever else they hold is not run.
    """
    if not path.is_file():
        raise ModelError(f"{path} does not exist or is no file.")
    if path.suffix == ".safetensors":
        try:
            return unwrapped(load_file(path))
        except SafetensorError as error:
            raise ModelError(f"{path} is no safetensors file, or is broken or cut off ({error}).") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refused(path, str(error)) from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise _unreadable(path, str(error)) from error
    for name in INSIDE:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    tensors = {}
    if isinstance(content, Mapping):
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        inside = f"it holds {listed([str(name) for name in content])}" if isinstance(content, Mapping) else "it is none"
        raise ModelError(
            f"{path} holds no state dict ({inside}): expected are the tensors themselves by name, or under one of "
            f"{', '.join(INSIDE)}. Save it with torch.save(model.state_dict(), ...)."
        )
    return unwrapped(tensors)


def unwrapped(tensors: Tensors) -> Tensors:
    """The same tensors without what wrappers put before every name."""
    for wrapper in WRAPPERS * 2:
        if tensors and all(name.startswith(wrapper) for name in tensors):
            tensors = {name.removeprefix(wrapper): tensor for name, tensor in tensors.items()}
    return tensors


def fill(network: nn.Module, tensors: Tensors, path: Path, architecture: str, labels: int) -> None:
    """Copies the tensors into the network, which tells `labels` classes apart; ModelError names what differs."""
    wanted = network.state_dict()
    missing = [name for name in wanted if name not in tensors and not name.endswith(COUNTER)]
    unknown = [name for name in tensors if name not in wanted]
    shapes = [name for name in wanted if name in tensors and tensors[name].shape != wanted[name].shape]
    if not (missing or unknown) and (classes := _classes(wanted, tensors, shapes, labels)):
        raise ModelError(
            f"{path} tells {classes} classes apart ({', '.join(shapes)}), and there are {labels} labels: "
            f"give the file that names its {classes} classes in their order, one a line, as --labels."
        )
    if missing or unknown or shapes:
        raise ModelError(f"{path} is no {architecture}: {_difference(missing, unknown, shapes, wanted, tensors)}.")
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise ModelError(f"{path} holds values that are no numbers, in {listed(broken)}: the training went wrong.")
    network.load_state_dict(tensors, strict=False)


def _classes(wanted: Tensors, tensors: Tensors, shapes: list[str], labels: int) -> int:
    """How many classes the checkpoint has, when that is all in which it differs; else 0."""
    counts = {tensors[name].shape[0] if tensors[name].ndim else 0 for name in shapes}
    only = all(
        wanted[name].ndim and wanted[name].shape[0] == labels and wanted[name].shape[1:] == tensors[name].shape[1:]
        for name in shapes
    )
    return counts.pop() if only and len(counts) == 1 else 0


def _difference(missing: list[str], unknown: list[str], shapes: list[str], wanted: Tensors, tensors: Tensors) -> str:
    sized = [f"{name} is {tuple(tensors[name].shape)} instead of {tuple(wanted[name].shape)}" for name in shapes]
    parts = (("it lacks ", missing), ("it has besides ", unknown), ("", sized))
    return "; ".join(word + listed(names) for word, names in parts if names)


def _refused(path: Path, reason: str) -> ModelError:
    if found := _REFUSED.search(reason):
        return ModelError(
            f"{path} was not loaded: it is a pickle that, when it is opened, calls {found[1]}, and so could run any "
            "code on this machine. Where you trust whoever made it, open it there and save its weights alone: "
            "torch.save(model.state_dict(), 'weights.pth'), or as safetensors; then add that file."
        )
    return _unreadable(path, reason)


def _unreadable(path: Path, reason: str) -> ModelError:
    if "TorchScript" in reason:
        return ModelError(
            f"{path} is a TorchScript archive, which is a program: save its weights alone with "
            "torch.save(module.state_dict(), 'weights.pth'), or export it to ONNX and add that with --onnx."
        )
    return ModelError(
        f"{path} ({path.stat().st_size} bytes) is no checkpoint of PyTorch, or is broken or cut off: "
        "fetch or copy it again, and compare its size."
    )


__all__ = ["fill", "read_checkpoint", "unwrapped"]
