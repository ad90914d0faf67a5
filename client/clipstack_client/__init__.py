"""Python client of a Clipstack service, which classifies videos and pictures."""

from .async_client import AsyncClient
from .client import Client
from .errors import (
    ClipstackError,
    ConnectFailed,
    DownloadFailed,
    JobFailed,
    KeyRefused,
    ReductionUnavailable,
    RequestRefused,
    ServiceFailed,
    ServiceUnavailable,
    ServiceUnreachable,
    TimedOut,
)
from .feedback import Feedback
from .http.upload import Progress
from .jobs import Job, JobProgress, Segment, Timeline, Window
from .models import Clip, Health, Match, Media, Model, Prediction, Result, SearchResult, Sent
from .webhooks import Webhook

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "Client",
    "Clip",
    "ClipstackError",
    "ConnectFailed",
    "DownloadFailed",
    "Feedback",
    "Health",
    "Job",
    "JobFailed",
    "JobProgress",
    "KeyRefused",
    "Match",
    "Media",
    "Model",
    "Prediction",
    "Progress",
    "ReductionUnavailable",
    "RequestRefused",
    "Result",
    "SearchResult",
    "Segment",
    "Sent",
    "ServiceFailed",
    "ServiceUnavailable",
    "ServiceUnreachable",
    "TimedOut",
    "Timeline",
    "Webhook",
    "Window",
    "__version__",
]
