"""Weight files beside an ONNX file, as the ONNX file names them.

The author of an ONNX file chooses these names. A file saved in a home folder could therefore name `.ssh/id_rsa`, and
the secret would become weights of a served model. Libraries only keep names inside the file's folder. This module
allows only files named after the model and files that the user lists. The digest covers all of them, so changed weights
count as another model.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from triton_repo.zoo import ModelError
from triton_repo.zoo.architectures.downloads import sha256_of

# Fields of onnx.proto3 (github.com/onnx/onnx) on the way to a tensor's external data, by name and number
_FORMAT = {
    "Entry": (("key", 1, ""), ("value", 2, "")),
    "Tensor": (("external_data", 13, "Entry"),),
    "SparseTensor": (("values", 1, "Tensor"), ("indices", 2, "Tensor")),
    "Attribute": (
        ("t", 5, "Tensor"),
        ("g", 6, "Graph"),
        ("tensors", 10, "Tensor"),
        ("graphs", 11, "Graph"),
        ("sparse_tensor", 22, "SparseTensor"),
        ("sparse_tensors", 23, "SparseTensor"),
    ),
    "Node": (("attribute", 5, "Attribute"),),
    "Graph": (("node", 1, "Node"), ("initializer", 5, "Tensor"), ("sparse_initializer", 15, "SparseTensor")),
    "Function": (("node", 7, "Node"),),
    "Training": (("initialization", 1, "Graph"), ("algorithm", 2, "Graph")),
    "Model": (("graph", 7, "Graph"), ("training_info", 20, "Training"), ("functions", 25, "Function")),
}
_ENDS = (".", "_", "-")  # separators after the model's name in the name of a weight file


def digest(file: Path) -> str:
    """Return the SHA-256 of an ONNX file together with its weight files.

    Raises:
        ModelError: The file is no ONNX model, or names a file that does not exist.
    """
    names = _locations(file)
    if not names:
        return sha256_of(file)
    sha = hashlib.sha256(sha256_of(file).encode())
    for name in names:
        path = file.parent / name
        if not path.is_file():
            raise ModelError(f"{file} has weights in {name!r}, and there is no such file beside it.")
        sha.update(f"\0{name}\0{sha256_of(path)}".encode(errors="surrogateescape"))
    return sha.hexdigest()


def check(file: Path, allowed: Sequence[Path]) -> None:
    """Check that all weight files belong to the model, by their names or because they are `allowed`.

    Args:
        file: The ONNX file.
        allowed: Permitted files, and folders with all their contents.

    Raises:
        ModelError: The ONNX file names another file, or a link.
    """
    permitted = [path.resolve() for path in allowed]
    for name in _locations(file):
        path = file.parent / name
        is_named_after = Path(name).name == name and any(name.startswith(file.stem + end) for end in _ENDS)
        resolved = path.resolve()
        if path.is_symlink() or not (is_named_after or any(resolved.is_relative_to(parent) for parent in permitted)):
            raise ModelError(
                f"{file} wants {name!r} as its weights. If that file belongs to the model say --data {path}; a file "
                f"named {file.stem}.* beside the model is taken without, a link is never taken."
            )


def _locations(file: Path) -> list[str]:
    try:
        model = _model_class().FromString(file.read_bytes())
    except DecodeError as error:
        raise ModelError(f"{file} is no ONNX model, or is cut off.") from error
    return sorted(set(_walk(model)))


def _walk(message: Any) -> Iterator[str]:
    if message.DESCRIPTOR.name == "Entry":
        if message.key == b"location":
            yield message.value.decode(errors="surrogateescape")
        return
    for _, parts in message.ListFields():
        for part in parts:
            yield from _walk(part)


@cache
def _model_class() -> Any:
    package = "clipstack_onnx_data"
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto2")
    for name, fields in _FORMAT.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            # Read every field as a list: parsers differ in which value of a repeated singular field they use
            message.field.add(
                name=field,
                number=number,
                label=descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED if kind else 1,
                type=11 if kind else 12,
                type_name=f".{package}.{kind}" if kind else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.Model"))
