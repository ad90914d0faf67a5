"""Two models for Triton's Python backend: `scripted` acts as its clip says, `unloadable` loads once it is repaired."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput

ANSWER, CALCULATE, WAIT_FOR_EVER = range(3)  # first byte of a clip; the response repeats it
MOST_S = 90.0  # CALCULATE ends by then, released or not
RELEASED, CURED = "released", "cured"  # files in the folder of a model

SCRIPTED = f"""
import pathlib, threading, time
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        self.folder = pathlib.Path(args["model_repository"])

    def execute(self, requests):
        return [self.answer(pb_utils.get_input_tensor_by_name(request, "CLIP").as_numpy()) for request in requests]

    def answer(self, clip):
        action = int(clip.flat[0])
        if action == {WAIT_FOR_EVER}:
            threading.Event().wait()
        ends = time.monotonic() + {MOST_S}
        while action == {CALCULATE} and time.monotonic() < ends and not (self.folder / "{RELEASED}").exists():
            pass
        scores = np.array([[action, 1.0]], np.float32)
        return pb_utils.InferenceResponse([pb_utils.Tensor("SCORES", scores)])
"""
UNLOADABLE = f"""{SCRIPTED}
    def initialize(self, args):
        if not pathlib.Path(args["model_repository"], "{CURED}").exists():
            raise ValueError("not yet")
"""
CONFIG = """
backend: "python"
max_batch_size: 1
input [ { name: "CLIP" data_type: TYPE_UINT8 dims: [ 1, 8, 8, 3 ] } ]
output [ { name: "SCORES" data_type: TYPE_FP32 dims: [ 2 ] label_filename: "labels.txt" } ]
instance_group [ { count: 1 kind: KIND_CPU } ]
parameters [
  { key: "kind" value: { string_value: "image" } },
  { key: "frames" value: { string_value: "1" } },
  { key: "stride" value: { string_value: "1" } },
  { key: "fps" value: { string_value: "30" } },
  { key: "resize" value: { string_value: "8" } },
  { key: "crop" value: { string_value: "8" } }
]
"""


def add(models: Path) -> None:
    """Write both into a model repository."""
    for name, program in (("scripted", SCRIPTED), ("unloadable", UNLOADABLE)):
        version = models / name / "1"
        version.mkdir(parents=True)
        (version / "model.py").write_text(program)
        (models / name / "config.pbtxt").write_text(CONFIG)
        (models / name / "labels.txt").write_text("action\nrest\n")


@contextmanager
def calculating(models: Path, address: str) -> Iterator[Future[int]]:
    """Keep `scripted` busy for the block and release it afterwards; yields the future response."""
    released = models / "scripted" / RELEASED
    with ThreadPoolExecutor(1) as pool:
        response = pool.submit(infer, address, CALCULATE, MOST_S + 30)
        try:
            yield response
        finally:
            released.touch()
            wait([response])
            released.unlink()


def infer(address: str, action: int, timeout_s: float) -> int:
    """Return the action that the model repeats; raises InferenceServerException."""
    clip = np.full((1, 1, 8, 8, 3), action, np.uint8)
    sent = InferInput("CLIP", clip.shape, "UINT8")
    sent.set_data_from_numpy(clip)
    with InferenceServerClient(address) as triton:
        scores: Any = triton.infer("scripted", [sent], client_timeout=timeout_s).as_numpy("SCORES")
    return int(scores[0, 0])
