"""Mapping of Triton's errors to ours."""

import asyncio

import pytest
from tritonclient.utils import InferenceServerException

from app.errors import InferenceFailed, InferenceTimeout, NotReady
from app.inference.transports import CUDA, INLINE, SYSTEM, Transport
from app.inference.triton_errors import ModelUnloaded, RegionRefused, RegionUnknown, TritonUnavailable, translate_errors

UNAVAILABLE = "StatusCode.UNAVAILABLE"
STOPPING = "Server is stopping, scheduler for model has stopped accepting new inference requests"
NO_ROOM = "Failed to increase the shared memory pool size for key 'triton-8001-1'"
DEAD = "Stub process 'camera_motion_0_0' is not healthy."

NO_INPUT = "unexpected inference input 'GPU_CLIP' for model 'camera_motion'"


@pytest.mark.parametrize(
    ("message", "status", "transport", "ours"),
    [
        ("failed to connect to all addresses", UNAVAILABLE, SYSTEM, TritonUnavailable),
        (STOPPING, UNAVAILABLE, SYSTEM, ModelUnloaded),
        ("Request for unknown model: 'x' version 1 is not at ready state", UNAVAILABLE, SYSTEM, ModelUnloaded),
        ("Request for unknown model: 'x' is not found", "StatusCode.NOT_FOUND", SYSTEM, ModelUnloaded),
        ("Deadline Exceeded", "StatusCode.DEADLINE_EXCEEDED", INLINE, InferenceTimeout),
        ("Unable to find shared memory region: 'r'", "StatusCode.NOT_FOUND", SYSTEM, RegionUnknown),
        ("Unable to open shared memory region: '/r'", "StatusCode.INTERNAL", SYSTEM, RegionRefused),
        (
            "This protocol is restricted, expecting header 'triton-grpc-protocol-x'",
            UNAVAILABLE,
            SYSTEM,
            TritonUnavailable,
        ),
        ("Tls handshake failed: CERTIFICATE_VERIFY_FAILED: OK", UNAVAILABLE, SYSTEM, TritonUnavailable),
        (DEAD, "StatusCode.INTERNAL", SYSTEM, NotReady),
        (DEAD, "StatusCode.INTERNAL", CUDA, RegionRefused),
        ("CUDA IPC: region clipstack-1-2 on GPU 0 cannot be opened", "StatusCode.INTERNAL", CUDA, RegionRefused),
        (NO_INPUT, "StatusCode.INVALID_ARGUMENT", CUDA, RegionRefused),
        (NO_ROOM, "StatusCode.INTERNAL", INLINE, InferenceFailed),
    ],
)
def test_errors_of_triton_are_mapped(message: str, status: str, transport: Transport, ours: type[Exception]) -> None:
    async def scenario() -> None:
        async with translate_errors(transport):
            raise InferenceServerException(message, status)

    with pytest.raises(ours) as caught:
        asyncio.run(scenario())
    assert type(caught.value) is ours
