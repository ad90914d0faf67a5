"""Causes of errors: the file, the attempt, the service, or the run."""

from __future__ import annotations

import pytest

from clipstack_client.bulk.service import Blame, blame
from clipstack_client.bulk.stores.interface import StoreFailed
from clipstack_client.errors import (
    ClipstackError,
    ConnectFailed,
    DownloadFailed,
    JobFailed,
    KeyRefused,
    RequestRefused,
    ServiceFailed,
    ServiceUnavailable,
    ServiceUnreachable,
    TimedOut,
)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (RequestRefused("", code="undecodable", status=422), Blame.FILE),
        (RequestRefused("", code="too_large", status=413), Blame.FILE),
        (RequestRefused("", code="invalid_parameter", status=400), Blame.RUN),
        (RequestRefused("", code="model_not_found", status=404), Blame.RUN),
        (KeyRefused("", code="unauthorized", status=401), Blame.RUN),
        (ServiceUnavailable("", code="overloaded", status=503), Blame.SERVICE),
        (ServiceUnavailable("", code="too_many_requests", status=429), Blame.SERVICE),
        (ServiceUnavailable("", code="deadline_exceeded", status=504), Blame.ATTEMPT),
        (ConnectFailed("", code="connect_failed"), Blame.SERVICE),
        (ServiceUnreachable("", code="connection_broken"), Blame.ATTEMPT),
        (TimedOut("", code="timed_out"), Blame.ATTEMPT),
        (ServiceFailed("", code="inference_failed", status=500), Blame.ATTEMPT),
        (JobFailed("", code="undecodable", job_id="a"), Blame.FILE),
        (JobFailed("", code="inference_failed", job_id="a"), Blame.ATTEMPT),
        (JobFailed("", code="cancelled", job_id="a"), Blame.ATTEMPT),
        (DownloadFailed("", code="download_failed"), Blame.ATTEMPT),
        (StoreFailed(""), Blame.ATTEMPT),
        (FileNotFoundError(), Blame.FILE),
        (PermissionError(), Blame.FILE),
    ],
)
def test_cause_of_an_error(error: ClipstackError | OSError, cause: Blame) -> None:
    assert blame(error) is cause
