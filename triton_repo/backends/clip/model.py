"""Triton's backend `clip`: uint8 clips in, scores out, by the engine that the model's `config.pbtxt` names.

The server imports this file for every model with `backend: "clip"`. Its own folder is on the path, the
checkout is not.
"""

import hashlib
import json
import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

# NumPy 2 makes this server return empty outputs of the right shape, without any error.
if int(np.__version__.split(".")[0]) >= 2:
    raise ImportError(
        f"NumPy {np.__version__} from {Path(np.__file__).parent} makes Triton return empty outputs: "
        "start the server with the project's .venv/bin first on PATH, which has NumPy 1"
    )

import triton_python_backend_utils as pb_utils  # noqa: E402
from clip_engines import DlpackEngine, EngineError, Scores, StreamingEngine, load_engine  # noqa: E402

FINGERPRINT = '"clipstack_fingerprint"'  # of a request's parameters, which are JSON


class TritonPythonModel:
    """One instance of one model version, in a process of its own. The names are those Triton calls."""

    def initialize(self, args: dict[str, str]) -> None:
        _close_to_others()
        config = json.loads(args["model_config"])
        folder = Path(args["model_repository"]) / args["model_version"]
        try:
            on_gpu = args["model_instance_kind"] == "GPU"
            device = f"cuda:{args['model_instance_device_id']}" if on_gpu else None
            self.engine = load_engine(config, folder, device)
        except (EngineError, OSError) as error:
            raise pb_utils.TritonModelException(f"model {args['model_name']}: {error}") from error
        self.engine.warm_up()  # no person should wait for what the first run prepares
        self.fingerprint = _fingerprint(args["model_config"], folder, config["output"][0].get("label_filename", ""))

    def execute(self, requests: list[Any]) -> list[Any] | None:
        """Answers all requests; those that ask for the fingerprint get it in the place of scores."""
        asking = [FINGERPRINT in request.parameters() for request in requests]
        if not any(asking):
            return self._infer(requests)
        clips = [request for request, asks in zip(requests, asking, strict=True) if not asks]
        if isinstance(self.engine, StreamingEngine):
            for request, asks in zip(requests, asking, strict=True):
                if asks:
                    _answer(request.get_response_sender(), None, self.fingerprint)
            return self._infer(clips) if clips else None
        answers = iter((self._infer(clips) if clips else None) or [])
        return [_response(self.fingerprint) if asks else next(answers) for asks in asking]

    def _infer(self, requests: list[Any]) -> list[Any] | None:
        """Answers all requests by one run of the engine; each brings a batch of its own, (b, *clip_shape).

        None, where the engine answers each by itself: Triton has the next ones put to it while it still works at these.
        """
        given = [pb_utils.get_input_tensor_by_name(request, "CLIP") for request in requests]
        if isinstance(self.engine, StreamingEngine):
            senders = [request.get_response_sender() for request in requests]
            # A tensor's memory is its own for as long as the tensor is there
            done = [partial(_answer, sender, tensor) for sender, tensor in zip(senders, given, strict=True)]
            self.engine.submit([(tensor.as_numpy(), each) for tensor, each in zip(given, done, strict=True)])
            return None
        if isinstance(self.engine, DlpackEngine):
            # A clip in CUDA's shared memory is read where the web worker put it.
            scores = self.engine.infer_dlpack([tensor.to_dlpack() for tensor in given])
        else:
            clips = [tensor.as_numpy() for tensor in given]
            scores = self.engine.infer(clips[0] if len(clips) == 1 else np.concatenate(clips))
        ends = np.cumsum([tensor.shape()[0] for tensor in given])
        return [_response(part) for part in np.split(scores, ends[:-1])]

    def finalize(self) -> None:
        if isinstance(self.engine, StreamingEngine):
            self.engine.drain()


def _fingerprint(config: str, folder: Path, labels: str) -> Scores:
    """SHA-256 of all that decides what this version answers: configuration, labels, its files, and the engines' code.

    float32 (1, 33): -1, which is no score, and then a byte in each number.
    """
    sha = hashlib.sha256(json.dumps(json.loads(config), sort_keys=True).encode())  # its own order is by chance
    code = Path(__file__).parent
    for below in (folder, code):
        for path in sorted(below.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                _add(sha, path, str(path.relative_to(below)))
    if labels:
        _add(sha, folder.parent / labels, labels)
    return np.array([[-1, *sha.digest()]], np.float32)


def _add(sha: Any, path: Path, name: str) -> None:
    with path.open("rb") as file:
        sha.update(name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())


def _answer(sender: Any, _tensor: Any, scores: "Scores | EngineError") -> None:
    """The whole answer to one request."""
    try:
        sender.send(_response(scores), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
    except Exception as error:  # in a thread of the engine's, where nobody would hear of it
        pb_utils.Logger.log_error(f"an answer could not be sent: {error}")


def _response(scores: "Scores | EngineError") -> Any:
    if isinstance(scores, EngineError):
        return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(scores)))
    return pb_utils.InferenceResponse([pb_utils.Tensor("SCORES", np.ascontiguousarray(scores))])


def _close_to_others() -> None:
    """Keep other users out of the memory that this process shares with the server: clips pass through it.

    Triton makes it 0644, whatever the umask.
    """
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line[line.find("/dev/shm/") :]
        if path.startswith("/dev/shm/triton-"):
            with suppress(OSError):
                os.chmod(path, 0o600)
