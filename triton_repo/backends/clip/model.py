"""Triton backend `clip`: uint8 clips in, scores out, by the engine that the model's `config.pbtxt` names.

The server imports this file for every model with `backend: "clip"`. This folder is on the import path; the checkout is
not.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# With NumPy 2 the server returns empty outputs of the right shape, without any error.
if int(np.__version__.split(".")[0]) >= 2:
    raise ImportError(
        f"NumPy {np.__version__} from {Path(np.__file__).parent} makes Triton return empty outputs: "
        "start the server with the project's .venv/bin first on PATH, which has NumPy 1"
    )

import triton_python_backend_utils as pb_utils  # noqa: E402
from clip_engines import DlpackEngine, EngineError, Rows, StreamingEngine, load_engine  # noqa: E402
from gpu_clips import GpuClipError, GpuClips  # noqa: E402

# Keys in a request's parameters, which are JSON
FINGERPRINT = '"clipstack_fingerprint"'
FEATURES = '"clipstack_features"'
# The two inputs of which a request has one: the clips, or references to clips in GPU memory (uint8, one a row). Only
# models that are placed on a GPU have the second one (deploy/gpu/placement.py).
CLIP, GPU_CLIP = "CLIP", "GPU_CLIP"


class Clips(NamedTuple):
    """Clips of one request, in parts that DLPack passes without a copy."""

    tensors: list[Any]
    number: int


class TritonPythonModel:
    """One instance of one model version, in its own process; Triton defines the method names."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load and warm up the engine; raise TritonModelException if the model cannot be loaded."""
        _close_to_others()
        config = json.loads(args["model_config"])
        folder = Path(args["model_repository"]) / args["model_version"]
        try:
            on_gpu = args["model_instance_kind"] == "GPU"
            device = f"cuda:{args['model_instance_device_id']}" if on_gpu else None
            self.engine = load_engine(config, folder, device)
        except (EngineError, OSError) as error:
            raise pb_utils.TritonModelException(f"model {args['model_name']}: {error}") from error
        self.gpu_clips = GpuClips()
        self.engine.warm_up()  # so that no request waits for the first run's preparations
        pb_utils.Logger.log_info(
            f"model {args['model_name']}, version {args['model_version']}, calculates in {self.engine.precision}"
        )
        labels = config["output"][0].get("label_filename", "")
        self.fingerprint = _fingerprint(args["model_config"], folder, labels, self.engine)

    def execute(self, requests: list[Any]) -> list[Any] | None:
        """Answer all requests: with scores, with the features behind them, or with the fingerprint in their place."""
        parameters = [request.parameters() for request in requests]
        wants_fingerprint = [FINGERPRINT in text for text in parameters]
        widths = [self._width(text) for text in parameters if FINGERPRINT not in text]
        if not any(wants_fingerprint):
            return self._infer(requests, widths)
        clips = [request for request, asks in zip(requests, wants_fingerprint, strict=True) if not asks]
        if isinstance(self.engine, StreamingEngine):
            for request, asks in zip(requests, wants_fingerprint, strict=True):
                if asks:
                    _answer(request.get_response_sender(), None, self.fingerprint.shape[1], self.fingerprint)
            return self._infer(clips, widths) if clips else None
        answers = iter((self._infer(clips, widths) if clips else None) or [])
        return [
            _response(self.fingerprint, self.fingerprint.shape[1]) if asks else next(answers)
            for asks in wants_fingerprint
        ]

    def _width(self, parameters: str) -> int:
        """Return how many numbers of a clip's row a request with these parameters gets."""
        return int(self.engine.classes + (self.engine.features if FEATURES in parameters else 0))

    def _infer(self, requests: list[Any], widths: list[int]) -> list[Any] | None:
        """Infer the batches (b, *clip_shape) of all requests in one run of the engine.

        Each request gets as many numbers of its clips' rows as `widths` says.
        Return None if the engine answers each request by itself: Triton then passes the next requests while these run.
        """
        if isinstance(self.engine, DlpackEngine):
            with self.gpu_clips.in_use():
                return self._infer_in_place(self.engine, requests, widths)
        tensors = [pb_utils.get_input_tensor_by_name(request, CLIP) for request in requests]
        if isinstance(self.engine, StreamingEngine):
            senders = [request.get_response_sender() for request in requests]
            # The callback keeps the tensor alive, because the engine reads its memory
            callbacks = [partial(_answer, *parts) for parts in zip(senders, tensors, widths, strict=True)]
            self.engine.submit(
                [(tensor.as_numpy(), callback) for tensor, callback in zip(tensors, callbacks, strict=True)],
                with_features=max(widths) > self.engine.classes,
            )
            return None
        clips = [tensor.as_numpy() for tensor in tensors]
        rows = self.engine.infer_rows(clips[0] if len(clips) == 1 else np.concatenate(clips))
        ends = np.cumsum([tensor.shape()[0] for tensor in tensors])
        parts = np.split(rows, ends[:-1])
        return [_response(part, width) for part, width in zip(parts, widths, strict=True)]

    def _infer_in_place(self, engine: DlpackEngine, requests: list[Any], widths: list[int]) -> list[Any]:
        """Infer all requests in one run; a clip on a GPU is read where the web worker wrote it.

        A request whose clip cannot be read gets an error and leaves the others alone.
        """
        parts = [self._clips(engine, request) for request in requests]
        good = [part for part in parts if isinstance(part, Clips)]
        rows: Iterator[Rows] = iter(())
        if good:
            ends = np.cumsum([part.number for part in good])
            rows = iter(np.split(engine.infer_dlpack([clip for part in good for clip in part.tensors]), ends[:-1]))
        return [
            _response(next(rows) if isinstance(part, Clips) else part, width)
            for part, width in zip(parts, widths, strict=True)
        ]

    def _clips(self, engine: DlpackEngine, request: Any) -> "Clips | EngineError":
        """Return a request's clips where they are, or why they cannot be read."""
        clips = pb_utils.get_input_tensor_by_name(request, CLIP)
        if clips is not None:
            return Clips([clips.to_dlpack()], clips.shape()[0])
        references = pb_utils.get_input_tensor_by_name(request, GPU_CLIP)
        if references is None:
            return EngineError(f"a request has the input {CLIP} or {GPU_CLIP}")
        size = int(np.prod(engine.clip_shape))
        try:
            found = [self.gpu_clips.find(row.tobytes(), size) for row in references.as_numpy()]
        except GpuClipError as error:
            return EngineError(f"CUDA IPC: {error}")  # the app knows these words (app/inference/triton_errors.py)
        return Clips([engine.tensor_at(clip.device, clip.address) for clip in found], len(found))

    def finalize(self) -> None:
        """Wait until the engine has answered all requests, and close the memory of web workers."""
        if isinstance(self.engine, StreamingEngine):
            self.engine.drain()
        self.gpu_clips.close()


def _fingerprint(config: str, folder: Path, labels: str, engine: Any) -> Rows:
    """Return the SHA-256 of all that determines this version's scores, and facts about its precision and features.

    These are its configuration, labels and files, the engine's code, and the precision that it calculates in.

    The result is float32 (1, N): -1, which is not a valid score, then one byte in each number: the 32 bytes of the
    digest, then text with spaces between the name of the precision, the number of features, and the digest of the
    weights, by which features are comparable.
    """
    sha = hashlib.sha256(json.dumps(json.loads(config), sort_keys=True).encode())  # the key order is random
    sha.update(b"\0" + engine.precision.encode())
    code = Path(__file__).parent
    for below in (folder, code):
        for path in sorted(below.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                _add(sha, path, str(path.relative_to(below)))
    if labels:
        _add(sha, folder.parent / labels, labels)
    facts = f"{engine.precision} {engine.features} {_weights_digest(folder, engine)}"
    return np.array([[-1, *sha.digest(), *facts.encode()]], np.float32)


def _weights_digest(folder: Path, engine: Any) -> str:
    """Return the digest, in hex, of the files that the engine calculates with."""
    sha = hashlib.sha256()
    file = folder / engine.file(engine.precision)
    for path in (file, file.with_suffix(".bin")):
        if path.is_file():
            _add(sha, path, path.name)
    return sha.hexdigest()[:32]


def _add(sha: Any, path: Path, name: str) -> None:
    with path.open("rb") as file:
        sha.update(name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())


def _answer(sender: Any, _tensor: Any, width: int, rows: "Rows | EngineError") -> None:
    """Send the complete response to one request: the first `width` numbers of each row."""
    try:
        sender.send(_response(rows, width), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
    except Exception as error:  # runs in an engine thread, where an exception would be lost
        pb_utils.Logger.log_error(f"an answer could not be sent: {error}")


def _response(rows: "Rows | EngineError", width: int) -> Any:
    if isinstance(rows, EngineError):
        return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(rows)))
    return pb_utils.InferenceResponse([pb_utils.Tensor("SCORES", np.ascontiguousarray(rows[:, :width]))])


def _close_to_others() -> None:
    """Deny other users access to the shared memory of this process and the server, which holds clips.

    Triton creates it with mode 0644, whatever the umask.
    """
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line[line.find("/dev/shm/") :]
        if path.startswith("/dev/shm/triton-"):
            with suppress(OSError):
                os.chmod(path, 0o600)
