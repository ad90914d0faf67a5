"""Python client of a Clipstack service, which classifies videos and pictures."""

from client.async_client import AsyncClient
from client.client import Client
from client.errors import (
    ClipstackError,
    ConnectFailed,
    JobFailed,
    KeyRefused,
    ReductionUnavailable,
    RequestRefused,
    ServiceFailed,
    ServiceUnavailable,
    ServiceUnreachable,
    TimedOut,
)
from client.jobs import Job, JobProgress, Segment, Timeline, Window
from client.models import Clip, Health, Media, Model, Prediction, Result, Sent
from client.upload import Progress

__all__ = [
    "AsyncClient",
    "Client",
    "Clip",
    "ClipstackError",
    "ConnectFailed",
    "Health",
    "Job",
    "JobFailed",
    "JobProgress",
    "KeyRefused",
    "Media",
    "Model",
    "Prediction",
    "Progress",
    "ReductionUnavailable",
    "RequestRefused",
    "Result",
    "Segment",
    "Sent",
    "ServiceFailed",
    "ServiceUnavailable",
    "ServiceUnreachable",
    "TimedOut",
    "Timeline",
    "Window",
]
