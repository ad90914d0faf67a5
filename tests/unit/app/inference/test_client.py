"""Triton's errors as ours."""

import asyncio

import pytest
from tritonclient.utils import InferenceServerException

from app.errors import InferenceFailed, InferenceTimeout, NotReady
from app.inference.triton_errors import ModelUnloaded, RegionRefused, RegionUnknown, TritonUnavailable, translate_errors

UNAVAILABLE = "StatusCode.UNAVAILABLE"
STOPPING = "Server is stopping, scheduler for model has stopped accepting new inference requests"
NO_ROOM = "Failed to increase the shared memory pool size for key 'triton-8001-1'"
DEAD = "Stub process 'camera_motion_0_0' is not healthy."


@pytest.mark.parametrize(
    ("message", "status", "by_reference", "ours"),
    [
        ("failed to connect to all addresses", UNAVAILABLE, True, TritonUnavailable),
        (STOPPING, UNAVAILABLE, True, ModelUnloaded),
        ("Request for unknown model: 'x' version 1 is not at ready state", UNAVAILABLE, True, ModelUnloaded),
        ("Request for unknown model: 'x' is not found", "StatusCode.NOT_FOUND", True, ModelUnloaded),
        ("Deadline Exceeded", "StatusCode.DEADLINE_EXCEEDED", False, InferenceTimeout),
        ("Unable to find shared memory region: 'r'", "StatusCode.NOT_FOUND", True, RegionUnknown),
        ("Unable to open shared memory region: '/r'", "StatusCode.INTERNAL", True, RegionRefused),
        (
            "This protocol is restricted, expecting header 'triton-grpc-protocol-x'",
            UNAVAILABLE,
            True,
            TritonUnavailable,
        ),
        (DEAD, "StatusCode.INTERNAL", True, NotReady),
        (NO_ROOM, "StatusCode.INTERNAL", False, InferenceFailed),
    ],
)
def test_each_error_of_triton_has_one_of_ours(
    message: str, status: str, by_reference: bool, ours: type[Exception]
) -> None:
    async def scenario() -> None:
        async with translate_errors(by_reference):
            raise InferenceServerException(message, status)

    with pytest.raises(ours) as caught:
        asyncio.run(scenario())
    assert type(caught.value) is ours
