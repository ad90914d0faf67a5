"""Architectures, weights, export, training and repository of the networks that can be served."""

import os
import sys

# Disable telemetry, before anything imports OpenVINO or ONNX Runtime.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

SIDE_BY_SIDE = 2  # versions of a model served at once; each has its own copy of the weights in memory


class ModelError(Exception):
    """A model cannot be added, found or served; the message is one paragraph with the problem and its fix."""


def listed(names: list[str], most: int = 3) -> str:
    """Return the first `most` names, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
