"""Two models of the tests' own, run by Triton's plain Python backend: one does what its clip says, one cannot load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput

ANSWER, CALCULATE_LONG, WAIT_FOR_EVER, CALCULATE = range(4)  # the first byte of a clip; the answer repeats it
LONG_S, SHORT_S = 11.0, 2.0
CURED = "cured"

MOODY = f"""
import threading, time
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(pb_utils.get_input_tensor_by_name(request, "CLIP").as_numpy()) for request in requests]

    def answer(self, clip):
        mood = int(clip.flat[0])
        if mood == {WAIT_FOR_EVER}:
            threading.Event().wait()
        ends = time.monotonic() + {{{CALCULATE_LONG}: {LONG_S}, {CALCULATE}: {SHORT_S}}}.get(mood, 0.0)
        while time.monotonic() < ends:
            pass
        scores = np.array([[mood, 1.0]], np.float32)
        return pb_utils.InferenceResponse([pb_utils.Tensor("SCORES", scores)])
"""
LAME = f"""{MOODY}
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
    """Writes both into Triton's folder of models."""
    for name, program in (("moody", MOODY), ("lame", LAME)):
        version = models / name / "1"
        version.mkdir(parents=True)
        (version / "model.py").write_text(program)
        (models / name / "config.pbtxt").write_text(CONFIG)
        (models / name / "labels.txt").write_text("mood\nrest\n")


def ask(address: str, mood: int, patience_s: float) -> int:
    """The mood that the model tells of the clip that it was sent; raises InferenceServerException."""
    clip = np.full((1, 1, 8, 8, 3), mood, np.uint8)
    sent = InferInput("CLIP", clip.shape, "UINT8")
    sent.set_data_from_numpy(clip)
    with InferenceServerClient(address) as triton:
        scores: Any = triton.infer("moody", [sent], client_timeout=patience_s).as_numpy("SCORES")
    return int(scores[0, 0])
