"""Clients of Triton's gRPC, all with the same channel and, where Triton asks for one, with the key of its installation.

Import this instead of making an `InferenceServerClient` by hand: a client without the key is refused by a Triton that
listens on TCP (deploy/stack/launch.py).
"""

from __future__ import annotations

from typing import Any

from tritonclient.grpc import InferenceServerClient, InferenceServerClientPlugin
from tritonclient.grpc import aio as aio_client

# gRPC's own waits between attempts to connect grow to two minutes; a restarted Triton is back in seconds.
# Messages of any size pass: clips travel inside them where no memory is shared.
CHANNEL_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]
KEY_HEADER = "clipstack-key"  # as --grpc-restricted-protocol names it
HEADER_PREFIX = "triton-grpc-protocol-"  # which Triton expects before that name in a request
PROTOCOLS = (
    "health",
    "metadata",
    "inference",
    "shared-memory",
    "model-config",
    "model-repository",
    "statistics",
    "trace",
    "logging",
)


class _SendKey(InferenceServerClientPlugin):  # type: ignore[misc]
    """Add the key to the metadata of every call."""

    def __init__(self, key: str) -> None:
        self._header = {HEADER_PREFIX + KEY_HEADER: key}

    def __call__(self, request: Any) -> None:
        request.headers = {**(request.headers or {}), **self._header}


def connect(address: str, key: str = "") -> InferenceServerClient:
    """Return a blocking client of the Triton at `address`, a gRPC target; it connects at its first call."""
    return _with_key(InferenceServerClient(address, channel_args=CHANNEL_OPTIONS), key)


def connect_async(address: str, key: str = "") -> aio_client.InferenceServerClient:
    """Return a client for the event loop that runs now."""
    return _with_key(aio_client.InferenceServerClient(address, channel_args=CHANNEL_OPTIONS), key)


def restriction(key: str) -> str:
    """Return the flag by which Triton refuses every call without `key`."""
    return f"--grpc-restricted-protocol={','.join(PROTOCOLS)}:{KEY_HEADER}={key}"


def _with_key(client: Any, key: str) -> Any:
    if key:
        client.register_plugin(_SendKey(key))
    return client
