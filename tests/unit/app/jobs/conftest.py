"""A job service on a temporary folder, and an upload of ten bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.jobs.service import JobService
from app.jobs.storage.store import Job
from app.jobs.webhooks.outbox import Outbox
from app.media.types import Source
from app.settings import Settings
from tests.unit.app.jobs.records import MAX_JOBS, WEBHOOK_SPEC, running_service


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return dataclasses.replace(Settings.from_environment({}), data_dir=tmp_path / "data", max_jobs=MAX_JOBS)


@pytest.fixture
def service(settings: Settings) -> Iterator[JobService]:
    with running_service(settings) as service:
        yield service


@pytest.fixture
def upload(tmp_path: Path) -> Source:
    (tmp_path / "upload").write_bytes(b"0123456789")
    return Source(str(tmp_path / "upload"), 0, 10)


@pytest.fixture
def job(service: JobService, upload: Source) -> Job:
    """A job with a webhook."""
    return service.accept(WEBHOOK_SPEC, upload, None)[0]


@pytest.fixture
def outbox(service: JobService) -> Outbox:
    return service.folder.outbox
