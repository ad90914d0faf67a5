"""The networks that can be served: their architectures, weights, export and training."""

import os
import sys

# As in the backend, and before anything here imports OpenVINO or ONNX Runtime: they must not report to their makers.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
