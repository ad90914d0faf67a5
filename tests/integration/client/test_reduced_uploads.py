"""Reduced files on their way to the service: which reduction is chosen, and the bytes that are sent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import CHECKOUT
from clipstack_client import Client, Progress
from clipstack_client.reduction.prepare import probe
from clipstack_client.reduction.strategy import choose
from clipstack_client.reduction.uploader import Rate
from tests.support.client_service import RecordedService
from tests.support.films import numbered, panning, write_video


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_video(tmp_path / "film.mp4", panning(90, 320, 240), options={"crf": "1", "preset": "ultrafast"})


@pytest.mark.parametrize("reduction", ["frames", "shrink"])
def test_reduced_upload_reports_its_sizes(service: RecordedService, film: Path, reduction: str) -> None:
    stages: list[Progress] = []
    with Client(service.url) as client:
        result = client.classify(film, reduce=reduction, progress=stages.append)  # type: ignore[arg-type]
    body = service.received[-1].body
    assert result.sent is not None
    assert (result.sent.reduction, result.sent.bytes) == (reduction, len(body))
    assert result.sent.whole_bytes == result.media.bytes == film.stat().st_size > 2 * len(body)
    assert (result.media.name, result.media.width, result.media.height) == ("film.mp4", 320, 240)
    assert stages[0].stage == "preparing"
    assert stages[-1] == Progress("classifying", len(body), len(body))


def test_bytes_objects_are_reduced_too(service: RecordedService, film: Path) -> None:
    with Client(service.url) as client:
        result = client.classify(film.read_bytes(), reduce="frames")
    assert result.sent is not None and result.sent.bytes == len(service.received[-1].body)


def test_irreducible_file_is_sent_unchanged(service: RecordedService, tmp_path: Path) -> None:
    tiny = write_video(tmp_path / "tiny.mp4", [numbered(0, 32, 32)] * 2)
    with Client(service.url) as client, tiny.open("rb") as file:
        for source in (tiny, tiny.read_bytes(), file):
            assert client.classify(source, reduce="shrink").sent is None
            assert service.received[-1].body == tiny.read_bytes()


@pytest.mark.parametrize(("rate", "sent"), [(1e9, None), (20_000.0, "frames")])
def test_auto_chooses_by_upload_rate(service: RecordedService, film: Path, rate: float, sent: str | None) -> None:
    from clipstack_client.async_client import AsyncClient
    from clipstack_client.loop_thread import LoopThread

    async def classify() -> str | None:
        async with AsyncClient(service.url, rate=rate) as client:
            result = await client.classify(film, reduce="auto")
            return result.sent and result.sent.reduction

    thread = LoopThread()
    assert thread.run(classify()) == sent
    thread.close()


def test_timeline_sends_a_reduced_file(service: RecordedService, film: Path) -> None:
    with Client(service.url) as client:
        job = client.timeline(film, reduce="shrink")
    assert job.sent is not None and job.sent.bytes < film.stat().st_size


def test_missing_pyav_is_named(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['av'] = None\n"
        "from clipstack_client import Client, ReductionUnavailable\n"
        "with Client('http://127.0.0.1:1') as client:\n"
        "    try: client.classify('film.mp4', reduce='shrink')\n"
        "    except ReductionUnavailable as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "making videos smaller needs PyAV: in Clipstack's checkout, pip install './client[shrink]'\n"


def test_rate_ignores_short_transfers() -> None:
    rate = Rate()
    rate.record(10_000, 0.001)
    assert rate.bytes_s is None
    rate.record(1_000_000, 1.0)
    rate.record(3_000_000, 1.0)
    assert rate.bytes_s == 2_000_000
    given = Rate(5.0)
    given.record(1_000_000, 1.0)
    assert given.bytes_s == 5.0


def test_slower_links_choose_smaller_reductions(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.mp4", [numbered(0, 160, 120)])
    with path.open("rb") as file:
        facts = probe(file, path.stat().st_size)
    assert facts is not None
    hd = type(facts)(
        **{**vars(facts), "width": 1920, "height": 1080, "duration_s": 60.0, "frames": 1800, "bytes": 60_000_000}
    )
    assert choose(hd, 0, 1e10) == choose(hd, 1, 1e10) == "none"
    assert choose(hd, 0, 1e6) == "shrink"
    assert choose(hd, 1, 1e6) == "frames"
    assert choose(hd, 0, 1e6, bytes_left=1_000_000) == "none"
