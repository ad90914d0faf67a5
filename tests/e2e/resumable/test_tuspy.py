"""An independent client of tus against the service."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from deploy.stack.stack import Stack
from tests.support.breaking_link import breaking_link
from tests.support.large_films import digest

tusclient = pytest.importorskip("tusclient.client", reason="tuspy is not installed")

MB = 1_000_000


@pytest.mark.parametrize("checksum", [False, True])
def test_tuspy_sends_film_over_breaking_link(
    stack: Stack, http: httpx.Client, large_film: Path, checksum: bool
) -> None:
    with breaking_link(stack.settings.port, 20 * MB) as link, large_film.open("rb") as file:
        uploader = tusclient.TusClient(f"{link.url}/v1/uploads").uploader(
            file_stream=file,
            chunk_size=3 * MB,
            retries=20,
            retry_delay=0.5,
            metadata={"filename": large_film.name},
            upload_checksum=checksum,
        )
        uploader.upload()
        assert link.breaks >= 2
    answer = http.post("/v1/jobs", json={"upload": uploader.url.rpartition("/")[2]})
    assert (answer.status_code, answer.json()["name"]) == (202, large_film.name)
    assert digest(stack.settings.data_dir / "jobs" / answer.json()["id"] / "source") == digest(large_film)
