"""Clipstack's client: ask a running service what is in a video or a picture, from Python or a shell."""

from client.answers import Clip, Health, Media, Model, Prediction, Result
from client.client import Client
from client.errors import (
    ClipstackError,
    ConnectFailed,
    RequestRefused,
    ServiceFailed,
    ServiceUnavailable,
    ServiceUnreachable,
    TimedOut,
)
from client.upload import Progress

__all__ = [
    "Client",
    "Clip",
    "ClipstackError",
    "ConnectFailed",
    "Health",
    "Media",
    "Model",
    "Prediction",
    "Progress",
    "RequestRefused",
    "Result",
    "ServiceFailed",
    "ServiceUnavailable",
    "ServiceUnreachable",
    "TimedOut",
]
