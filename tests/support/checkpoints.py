"""Checkpoints as they are published, with random weights; ONNX files; a server to download from."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from torch import Tensor, nn

from tests.support.networks import centred_logits, spread_out
from triton_repo.backends.clip.clip_engines.accuracy import random_clips
from triton_repo.zoo.architectures.catalog import published
from triton_repo.zoo.names import X3D
from triton_repo.zoo.spec import ClipSpec


def state(architecture: str, classes: int, example: tuple[int, ...]) -> dict[str, Tensor]:
    """Return a state dict of random weights whose scores differ from clip to clip; `example` is an input's shape."""
    torch.manual_seed(0)
    return dict(spread_out(published(architecture).network(classes), normal_clips(example)).state_dict())


def normal_clips(shape: tuple[int, ...]) -> Tensor:
    """Return normalised clips like those of `verify`: float (B, 3, T, H, W), or (B, 3, H, W) of pictures."""
    frames = shape[2] if len(shape) == 5 else 1
    clips = np.concatenate(random_clips((frames, *shape[-2:], 3), shape[0], seed=5))
    return ((torch.from_numpy(clips) / 255 - 0.45) / 0.225).permute(0, 4, 1, 2, 3).reshape(shape)


def official_x3d(path: Path, classes: int = 400, variant: str = "x3d_xs") -> Path:
    """Write an X3D checkpoint in PyTorchVideo's layout."""
    torch.save(_pytorchvideo(state(variant, classes, (8, 3, 2, 32, 32))), path)
    return path


def official_resnet(path: Path, classes: int = 1000) -> Path:
    """Write a ResNet checkpoint in torchvision's layout."""
    torch.save(state("resnet18", classes, (8, 3, 32, 32)), path)
    return path


def official(folder: Path, name: str, spec: ClipSpec) -> Path:
    """The checkpoint of any X3D or ResNet, under the file name it is published by; scores differ for such clips."""
    torch.manual_seed(0)
    known = published(name)
    time = (spec.frames,) if spec.kind == "video" else ()
    example = normal_clips((4, 3, *time, spec.crop, spec.crop))
    network = centred_logits(spread_out(known.network(len(known.labels)), example), example)
    return published_file(folder, name, network)


def published_file(folder: Path, name: str, network: nn.Module) -> Path:
    """The weights of a network called `name` in the layout, and under the file name, they are published by."""
    weights, path = dict(network.state_dict()), folder / Path(published(name).url).name
    torch.save(_pytorchvideo(weights) if name in X3D else weights, path)
    return path


def _pytorchvideo(weights: dict[str, Tensor]) -> dict[str, object]:
    return {"model_state": weights, "optimizer_state": {}, "epoch": 300, "cfg": "MODEL: X3D"}


def labels_file(path: Path, count: int) -> Path:
    path.write_text("".join(f"class {number}\n" for number in range(count)), encoding="utf-8")
    return path


# --- ONNX: the few messages of its format that are needed here, as onnx.proto numbers them ---

_INT, _TEXT, _BYTES, _MESSAGE = 3, 9, 12, 11
_FORMAT = {
    "Dimension": [("dim_value", 1, _INT, "")],
    "Shape": [("dim", 1, _MESSAGE, "*Dimension")],
    "TensorType": [("elem_type", 1, _INT, ""), ("shape", 2, _MESSAGE, "Shape")],
    "Type": [("tensor_type", 1, _MESSAGE, "TensorType")],
    "ValueInfo": [("name", 1, _TEXT, ""), ("type", 2, _MESSAGE, "Type")],
    "Tensor": [("dims", 1, _INT, "*"), ("data_type", 2, _INT, ""), ("name", 8, _TEXT, ""), ("raw_data", 9, _BYTES, "")],
    "Node": [("input", 1, _TEXT, "*"), ("output", 2, _TEXT, "*"), ("name", 3, _TEXT, ""), ("op_type", 4, _TEXT, "")],
    "Graph": [
        ("node", 1, _MESSAGE, "*Node"), ("name", 2, _TEXT, ""), ("initializer", 5, _MESSAGE, "*Tensor"),
        ("input", 11, _MESSAGE, "*ValueInfo"), ("output", 12, _MESSAGE, "*ValueInfo"),
    ],
    "Opset": [("domain", 1, _TEXT, ""), ("version", 2, _INT, "")],
    "Model": [("ir_version", 1, _INT, ""), ("graph", 7, _MESSAGE, "Graph"), ("opset_import", 8, _MESSAGE, "*Opset")],
}  # fmt: skip


def _onnx_model() -> type:
    file = descriptor_pb2.FileDescriptorProto(name="clipstack_onnx.proto", package="clipstack_onnx", syntax="proto2")
    for name, fields in _FORMAT.items():
        message = file.message_type.add(name=name)
        for field, number, kind, of in fields:
            message.field.add(
                name=field,
                number=number,
                type=kind,
                label=3 if of.startswith("*") else 1,
                type_name=f".clipstack_onnx.{of.lstrip('*')}" if kind == _MESSAGE else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("clipstack_onnx.Model"))


_Model = _onnx_model()


def onnx_file(path: Path, shape: tuple[int, ...], classes: int, softmax: bool = False) -> Path:
    """Flatten and one matrix: scores (1, classes) of a clip of this shape, which begins with 1."""
    weights = np.random.default_rng(0).normal(0, 1, (int(np.prod(shape)), classes)).astype(np.float32)
    weights *= 10 / np.sqrt(len(weights))
    model = _Model(ir_version=8)
    model.opset_import.add(domain="", version=13)
    graph = model.graph
    graph.name = "small"
    graph.initializer.add(dims=weights.shape, data_type=1, name="w", raw_data=weights.tobytes())
    graph.node.add(op_type="Flatten", input=["x"], output=["flat"])
    graph.node.add(op_type="MatMul", input=["flat", "w"], output=["scores" if softmax else "y"])
    if softmax:
        graph.node.add(op_type="Softmax", input=["scores"], output=["y"])
    for values, name, dims in ((graph.input, "x", shape), (graph.output, "y", (1, classes))):
        kind = values.add(name=name).type.tensor_type
        kind.elem_type = 1
        for size in dims:
            kind.shape.dim.add(dim_value=size)
    path.write_bytes(model.SerializeToString())
    return path


# --- Downloads ---


class FileServer(ThreadingHTTPServer):
    """Serve one file under any path. `break_after`: bytes after which a connection ends, one entry per connection."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.ranges = True
        self.status = 200
        self.break_after: list[int] = []
        self.requests: list[tuple[str, str | None]] = []  # path, Range

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        server, content = self.server, self.server.content
        tag, wanted = f'"{hashlib.sha256(content).hexdigest()[:8]}"', self.headers["Range"]
        server.requests.append((self.path, wanted))
        start = 0
        if wanted and server.ranges and self.headers["If-Range"] == tag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(server.status if server.status != 200 else 206 if start else 200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        end = start + server.break_after.pop(0) if server.break_after else len(content)
        self.wfile.write(content[start:end])

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def file_server(content: bytes) -> Iterator[FileServer]:
    with FileServer(content) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


__all__ = [
    "FileServer",
    "file_server",
    "labels_file",
    "normal_clips",
    "official",
    "official_resnet",
    "official_x3d",
    "onnx_file",
    "published_file",
    "state",
]
