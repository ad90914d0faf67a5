"""Errors of Triton, translated from tritonclient's InferenceServerException."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tritonclient.utils import InferenceServerException

from app.errors import InferenceFailed, InferenceTimeout, NotReady
from app.inference.transports import CUDA, INLINE, SYSTEM, Transport
from app.shm import cuda_region

# Errors of a clip sent by its reference. They begin a message of the backend, name the input of a model that has it no
# longer, or say that the model's process ended: a reference must never be what ends it a second time.
CUDA_REFUSALS = ("CUDA IPC", cuda_region.INPUT, "is not healthy")
# Signs of gRPC's TLS errors, the most specific first
TLS_ERRORS = {
    "CERTIFICATE_VERIFY_FAILED": "the model server's certificate is not of the CA in CLIPSTACK_TRITON_TLS_CA",
    "Hostname Verification": "the model server's certificate has another name; see CLIPSTACK_TRITON_TLS_NAME",
    "WRONG_VERSION_NUMBER": "the model server does not use TLS; unset CLIPSTACK_TRITON_TLS_CA, or let it use TLS",
    "handshake failed": "there is no TLS connection to the model server; see docs/remote-triton.md",
}

log = logging.getLogger(__name__)


class TritonUnavailable(NotReady):
    """Triton is not reachable or is shutting down; the outcome of the call is unknown."""


class ModelUnloaded(NotReady):
    """Triton has unloaded this version or is about to: the list of the registry is out of date."""


class RegionUnknown(Exception):
    """Triton does not know the region: it was restarted, or the region was unregistered."""


class RegionRefused(Exception):
    """Triton or the model cannot map the region: it runs elsewhere, or does not support shared memory."""


def _translate(error: InferenceServerException, transport: Transport) -> Exception:
    status, message = str(error.status() or ""), error.message() or ""
    if transport == CUDA and any(words in message for words in CUDA_REFUSALS):
        return RegionRefused(message)
    # In an inline request these messages are about the backend's own shared memory.
    if transport == SYSTEM and "Unable to find " in message and "shared memory region" in message:
        return RegionUnknown(message)
    if transport == SYSTEM and "shared memory" in message.lower():
        return RegionRefused(message)
    if "unknown model" in message or "scheduler for model has stopped" in message:
        return ModelUnloaded("this model is being replaced or removed; please try again in a moment")
    if "is not healthy" in message:  # the model's process died or hangs; the watchdog restarts it
        return NotReady("this model does not answer now; please try again in a moment")
    if "protocol is restricted" in message:
        return TritonUnavailable("the model server refuses the key of this installation; see CLIPSTACK_TRITON_KEY_FILE")
    for sign, reason in TLS_ERRORS.items():
        if sign in message:
            return TritonUnavailable(reason)
    if "UNAVAILABLE" in status or "CANCELLED" in status:
        return TritonUnavailable("the model server is starting; please try again in a moment")
    if "DEADLINE_EXCEEDED" in status:
        return InferenceTimeout("the model server did not answer in time")
    log.error("inference failed: %s %s", status, message[:500])
    return InferenceFailed("the model could not process this clip")


@asynccontextmanager
async def translate_errors(transport: Transport = INLINE) -> AsyncIterator[None]:
    """Raise our errors for tritonclient's; `transport` is that of the call's clip, or of the region that it names."""
    try:
        yield
    except InferenceServerException as error:
        raise _translate(error, transport) from error
