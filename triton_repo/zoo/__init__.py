"""The networks that can be served: their architectures, weights, export and training."""

import sys

# As in the backend, and before anything here imports OpenVINO: it must not report its use to its maker.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
