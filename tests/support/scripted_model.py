"""Two models for Triton's Python backend: `scripted` does what its clip says, `unloadable` fails to load until it may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput

ANSWER, CALCULATE_LONG, WAIT_FOR_EVER, CALCULATE = range(4)  # first byte of a clip; the response repeats it
LONG_S, SHORT_S = 11.0, 2.0
CURED = "cured"

SCRIPTED = f"""
import threading, time
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(pb_utils.get_input_tensor_by_name(request, "CLIP").as_numpy()) for request in requests]

    def answer(self, clip):
        action = int(clip.flat[0])
        if action == {WAIT_FOR_EVER}:
            threading.Event().wait()
        ends = time.monotonic() + {{{CALCULATE_LONG}: {LONG_S}, {CALCULATE}: {SHORT_S}}}.get(action, 0.0)
        while time.monotonic() < ends:
            pass
        scores = np.array([[action, 1.0]], np.float32)
        return pb_utils.InferenceResponse([pb_utils.Tensor("SCORES", scores)])
"""
UNLOADABLE = f"""{SCRIPTED}
    def initialize(self, args):
        import pathlib
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


def infer(address: str, action: int, timeout_s: float) -> int:
    """Return the action that the model repeats; raises InferenceServerException."""
    clip = np.full((1, 1, 8, 8, 3), action, np.uint8)
    sent = InferInput("CLIP", clip.shape, "UINT8")
    sent.set_data_from_numpy(clip)
    with InferenceServerClient(address) as triton:
        scores: Any = triton.infer("scripted", [sent], client_timeout=timeout_s).as_numpy("SCORES")
    return int(scores[0, 0])
