"""Architectures, weights, export, training and repository of the networks that can be served."""

import os
import sys

# Disable telemetry, before anything imports OpenVINO or ONNX Runtime.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
