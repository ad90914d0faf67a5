"""Factory of gRPC clients for Triton, with shared channel options, TLS and the key of the installation.

Use it instead of creating an `InferenceServerClient` directly: a Triton that listens on TCP (deploy/stack/launch.py)
rejects clients without the key.
"""

from pathlib import Path
from typing import Any

import grpc
from tritonclient.grpc import InferenceServerClient, InferenceServerClientPlugin
from tritonclient.grpc import aio as aio_client

from app.settings import TritonTls

# gRPC's default backoff grows to two minutes, but a restarted Triton is back in seconds.
# Message size is unlimited, because the inline transport sends clips inside messages.
CHANNEL_OPTIONS = {
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
    "grpc.max_send_message_length": -1,
    "grpc.max_receive_message_length": -1,
}
PING_S, PONG_S = 10, 5
# On a network, a link may be slow or silently dead.
TCP_OPTIONS = {
    "grpc.min_reconnect_backoff_ms": 2000,  # time for a connection, which takes three round trips with TLS
    # A call on a dead link fails after PONG_S if data was sent, else after PING_S + PONG_S, instead of 15 minutes.
    "grpc.keepalive_time_ms": PING_S * 1000,
    "grpc.keepalive_timeout_ms": PONG_S * 1000,
    "grpc.http2.max_pings_without_data": 0,
    "grpc.enable_http_proxy": 0,  # HTTPS_PROXY is for downloads
}
# Triton closes connections that ping more often than every five minutes, unless its flags allow it.
SERVER_FLAGS = (
    f"--grpc-http2-min-recv-ping-interval-without-data={PING_S * 500}",
    f"--grpc-keepalive-time={PING_S * 1000}",
    f"--grpc-keepalive-timeout={PONG_S * 1000}",
)
KEY_HEADER = "clipstack-key"  # as --grpc-restricted-protocol names it
HEADER_PREFIX = "triton-grpc-protocol-"  # prefix that Triton expects in requests
PROTOCOLS = "health,metadata,inference,shared-memory,model-config,model-repository,statistics,trace,logging"


class _SendKey(InferenceServerClientPlugin):  # type: ignore[misc]
    """Plugin that adds the key to the metadata of every call."""

    def __init__(self, key: str) -> None:
        self._header = {HEADER_PREFIX + KEY_HEADER: key}

    def __call__(self, request: Any) -> None:
        request.headers = {**(request.headers or {}), **self._header}


def connect(address: str, key: str = "", tls: TritonTls | None = None) -> InferenceServerClient:
    """Return a blocking client of the Triton at `address`, a gRPC target; it connects at its first call.

    Raises:
        OSError: A file of `tls` cannot be read.
    """
    return _with_key(InferenceServerClient(address, **_channel(address, tls)), key)


def connect_async(address: str, key: str = "", tls: TritonTls | None = None) -> aio_client.InferenceServerClient:
    """Return a client for the running event loop. Raises like `connect`."""
    return _with_key(aio_client.InferenceServerClient(address, **_channel(address, tls)), key)


def server_flags(key: str, tls: TritonTls | None) -> list[str]:
    """Return Triton's flags for clients on TCP: every call needs `key`, and TLS if there are files for it."""
    flags = [*SERVER_FLAGS, f"--grpc-restricted-protocol={PROTOCOLS}:{KEY_HEADER}={key}"]
    if tls:
        flags += ["--grpc-use-ssl=true", f"--grpc-server-cert={tls.cert}", f"--grpc-server-key={tls.key}"]
    if tls and tls.ca:
        flags += ["--grpc-use-ssl-mutual=true", f"--grpc-root-cert={tls.ca}"]
    return flags


def _channel(address: str, tls: TritonTls | None) -> dict[str, Any]:
    """Return the arguments of a client for its channel."""
    options: dict[str, Any] = CHANNEL_OPTIONS | ({} if address.startswith("unix:") else TCP_OPTIONS)
    if tls and tls.name:
        options["grpc.ssl_target_name_override"] = tls.name
    return {"channel_args": list(options.items()), "creds": _credentials(tls) if tls else None}


def _credentials(tls: TritonTls) -> grpc.ChannelCredentials:
    """Return credentials that trust the CA, and the own certificate: Triton's watchdog has no other."""
    ca, cert, key = (Path(path).read_bytes() if path else b"" for path in (tls.ca, tls.cert, tls.key))
    return grpc.ssl_channel_credentials(ca + b"\n" + cert, key or None, cert or None)


def _with_key(client: Any, key: str) -> Any:
    if key:
        client.register_plugin(_SendKey(key))
    return client
