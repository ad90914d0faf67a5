"""Factory of gRPC clients for Triton, with shared channel options and the key of the installation.

Use it instead of creating an `InferenceServerClient` directly: a Triton that listens on TCP (deploy/stack/launch.py)
rejects clients without the key.
"""

from __future__ import annotations

from typing import Any

from tritonclient.grpc import InferenceServerClient, InferenceServerClientPlugin
from tritonclient.grpc import aio as aio_client

# gRPC's default backoff grows to two minutes, but a restarted Triton is back in seconds.
# Message size is unlimited, because the inline transport sends clips inside messages.
CHANNEL_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]
KEY_HEADER = "clipstack-key"  # as --grpc-restricted-protocol names it
HEADER_PREFIX = "triton-grpc-protocol-"  # prefix that Triton expects in requests
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
    """Plugin that adds the key to the metadata of every call."""

    def __init__(self, key: str) -> None:
        self._header = {HEADER_PREFIX + KEY_HEADER: key}

    def __call__(self, request: Any) -> None:
        request.headers = {**(request.headers or {}), **self._header}


def connect(address: str, key: str = "") -> InferenceServerClient:
    """Return a blocking client of the Triton at `address`, a gRPC target; it connects at its first call."""
    return _with_key(InferenceServerClient(address, channel_args=CHANNEL_OPTIONS), key)


def connect_async(address: str, key: str = "") -> aio_client.InferenceServerClient:
    """Return a client for the running event loop."""
    return _with_key(aio_client.InferenceServerClient(address, channel_args=CHANNEL_OPTIONS), key)


def restriction(key: str) -> str:
    """Return the command-line flag that makes Triton reject every call without `key`."""
    return f"--grpc-restricted-protocol={','.join(PROTOCOLS)}:{KEY_HEADER}={key}"


def _with_key(client: Any, key: str) -> Any:
    if key:
        client.register_plugin(_SendKey(key))
    return client
