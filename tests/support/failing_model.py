"""An OpenVINO model whose inference fails for some clips; no exported network does that."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SHAPE, CLASSES = (1, 4, 4, 3), 3
# All bytes of a clip have this value: its 48 bytes fit into rows of 4, not of 5. OpenVINO fails once for each: it does not
# check a length again that equals the one of the previous inference.
GOOD, BADS = 4, [length for length in range(5, 48) if 48 % length]
REASON = "shape of input data"

CONFIG = f"""
backend: "clip"
max_batch_size: 4
input [ {{ name: "CLIP" data_type: TYPE_UINT8 dims: {list(SHAPE)} }} ]
output [ {{ name: "SCORES" data_type: TYPE_FP32 dims: [ {CLASSES} ] label_filename: "labels.txt" }} ]
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
dynamic_batching {{ }}
parameters [ {{ key: "engine" value: {{ string_value: "openvino" }} }} ]
"""


def clips(*values: int) -> np.ndarray:
    return np.stack([np.full(SHAPE, value, np.uint8) for value in values])


def expected_scores(count: int) -> np.ndarray:
    """Return the scores of `count` good clips."""
    return np.full((count, CLASSES), GOOD, np.float32)


def write_network(folder: Path) -> None:
    """Write `model.xml`: it reshapes a clip into rows as long as its greatest value, and scores by the mean."""
    import openvino
    from openvino import opset13 as op

    clip = op.parameter([-1, *SHAPE], np.uint8, name="CLIP")
    greatest = op.convert(op.reshape(op.reduce_max(clip, [0, 1, 2, 3, 4]), [1], False), "i64")
    length = op.maximum(greatest, np.int64(1))
    rows = op.reshape(clip, op.concat([[np.int64(-1)], length], 0), False)
    mean = op.reshape(op.reduce_mean(op.convert(rows, "f32"), [0, 1]), [1, 1], False)
    batch = op.gather(op.shape_of(clip), [0], 0)
    scores = op.broadcast(mean, op.concat([batch, [np.int64(CLASSES)]], 0))
    clip.output(0).get_tensor().set_names({"CLIP"})
    scores.output(0).get_tensor().set_names({"SCORES"})
    openvino.save_model(openvino.Model([scores], [clip], "rows"), folder / "model.xml")


def write_model(model: Path) -> None:
    """Write the model's folder, as Triton serves it."""
    (model / "1").mkdir(parents=True)
    write_network(model / "1")
    (model / "labels.txt").write_text("a\nb\nc\n")
    (model / "config.pbtxt").write_text(CONFIG)
