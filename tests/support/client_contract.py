"""Tests of the client that hold with a recorded service and with a real one."""

from __future__ import annotations

import asyncio
import io
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from clipstack_client import AsyncClient, Client, Job, JobFailed, Progress, RequestRefused, ServiceUnreachable


class ClientContract:
    """Subclasses provide the fixtures `url` of a ready service, `video`, a file that it can classify, and `damaged`.

    The last one begins like a video and is none.
    """

    @pytest.fixture
    def client(self, url: str) -> Iterator[Client]:
        with Client(url) as client:
            yield client

    def test_path_is_classified(self, client: Client, video: Path) -> None:
        result = client.classify(video)
        scores = [prediction.score for prediction in result.predictions]
        assert len(scores) == 5
        assert scores == sorted(scores, reverse=True)
        assert scores[0] > 0
        assert result.media.bytes == video.stat().st_size
        assert result.request_id

    def test_frames_are_named_and_lie_in_the_clip(self, client: Client, video: Path) -> None:
        result = client.classify(video)
        (clip,) = result.clips
        (model,) = [model for model in client.models() if model.name == result.model]
        assert len(clip.frames) == len(clip.times_s) == model.frames
        assert clip.start_s <= min(clip.times_s) <= max(clip.times_s) <= clip.end_s + 0.01

    def test_stages_add_up_to_no_more_than_total(self, client: Client, video: Path) -> None:
        timing = client.classify(video).timing_ms
        assert 0 < sum(ms for stage, ms in timing.items() if stage != "total") <= timing["total"] * 1.05

    def test_top_k_limits_the_predictions(self, client: Client, video: Path) -> None:
        assert len(client.classify(video, top_k=2).predictions) == 2

    def test_clips_are_as_many_as_asked_for(self, client: Client, video: Path) -> None:
        assert len(client.classify(video, clips=3).clips) == 3

    def test_thumbnails_are_jpeg_files_of_the_first_clip(self, client: Client, video: Path) -> None:
        result = client.classify(video, thumbnails=True)
        assert len(result.thumbnails) == len(result.clips[0].frames)
        assert all(thumbnail.startswith(b"\xff\xd8") for thumbnail in result.thumbnails)

    def test_bytes_files_and_pipes_give_the_same_answer(self, client: Client, video: Path) -> None:
        content = video.read_bytes()
        by_path = client.classify(video)
        read_end, write_end = os.pipe()
        os.write(write_end, content[: 64 * 1024])  # a pipe holds that much without a reader
        os.close(write_end)
        with open(video, "rb") as file, open(read_end, "rb") as pipe:
            for source in (content, file, pipe if len(content) <= 64 * 1024 else io.BytesIO(content)):
                assert client.classify(source).predictions == by_path.predictions

    def test_file_name_is_returned_unchanged(self, client: Client, video: Path, tmp_path: Path) -> None:
        copy = tmp_path / "my film ä,;=%\N{CLAPPER BOARD}.mp4"
        copy.write_bytes(video.read_bytes())
        assert client.classify(copy).media.name == copy.name

    def test_progress_ends_with_everything_sent(self, client: Client, video: Path) -> None:
        seen: list[Progress] = []
        client.classify(video, progress=seen.append)
        size = video.stat().st_size
        assert seen[0] == Progress("sending", 0, size)
        assert seen[-1] == Progress("classifying", size, size)

    def test_text_is_refused_as_unsupported(self, client: Client) -> None:
        with pytest.raises(RequestRefused) as refused:
            client.classify(b"hello, this is no video at all\n")
        assert (refused.value.status, refused.value.code) == (415, "unsupported_media")
        assert refused.value.request_id

    def test_empty_file_is_refused(self, client: Client) -> None:
        with pytest.raises(RequestRefused) as refused:
            client.classify(b"")
        assert (refused.value.status, refused.value.code) == (400, "empty_file")

    def test_unknown_model_is_refused(self, client: Client, video: Path) -> None:
        with pytest.raises(RequestRefused) as refused:
            client.classify(video, model="no_such_model")
        assert (refused.value.status, refused.value.code) == (404, "model_not_found")

    def test_default_model_is_listed_with_its_labels(self, client: Client) -> None:
        (default,) = [model for model in client.models() if model.default]
        assert default.name == "camera_motion"
        assert {"pan_left", "static", "zoom_in"} <= set(default.labels)

    def test_health_of_a_ready_service(self, client: Client) -> None:
        assert client.health().ready

    def test_address_without_a_service_is_unreachable(self) -> None:
        with Client("http://127.0.0.1:1") as client, pytest.raises(ServiceUnreachable) as unreachable:
            client.health()
        assert unreachable.value.code == "connect_failed"

    def test_async_client_gives_the_same_answer(self, client: Client, url: str, video: Path) -> None:
        async def classified() -> list[tuple[object, ...]]:
            async with AsyncClient(url) as service:
                results = await asyncio.gather(*(service.classify(video) for _ in range(3)))
                return [result.predictions for result in results]

        assert asyncio.run(classified()) == [client.classify(video).predictions] * 3

    def test_timeline_covers_the_video_from_start_to_end(self, client: Client, video: Path) -> None:
        job = client.timeline(video)
        assert (job.state, job.error, job.name, job.bytes) == ("done", None, video.name, video.stat().st_size)
        assert job.timeline is not None and job.media is not None
        edges = [0.0, *(segment.end_s for segment in job.timeline.segments)]
        assert [segment.start_s for segment in job.timeline.segments] == pytest.approx(edges[:-1], abs=0.002)
        assert edges[-1] == pytest.approx(job.timeline.duration_s, abs=0.002)
        assert job.timeline.complete_to_s == pytest.approx(job.timeline.duration_s, abs=0.002)
        assert {segment.label for segment in job.timeline.segments} <= set(job.timeline.labels)

    def test_job_is_watched_to_its_end(self, client: Client, video: Path) -> None:
        seen: list[Job] = []
        sent: list[Progress] = []
        job = client.timeline(video, progress=sent.append, watch=seen.append)
        percents = [record.progress.percent for record in seen]
        assert percents == sorted(percents)
        assert (percents[-1], seen[-1].state) == (100.0, "done")
        assert {record.id for record in seen} == {job.id}
        assert sent[-1].sent == video.stat().st_size

    def test_parameters_reach_the_job(self, client: Client, video: Path) -> None:
        job = client.submit(video, hop_s=0.5, margin=0.2, top_k=3)
        parameters = job.answer["parameters"]
        assert (parameters["hop_s"], parameters["margin"], parameters["top_k"]) == (0.5, 0.2, 3)

    def test_windows_are_returned_on_request(self, client: Client, video: Path) -> None:
        id = client.timeline(video).id
        plain, full = client.job(id).timeline, client.job(id, windows=True).timeline
        assert plain is not None and full is not None
        assert plain.windows == ()
        starts = [window.start_s for window in full.windows]
        assert starts and starts == sorted(starts)

    @pytest.mark.parametrize(
        ("format", "start"),
        [("json", b"{"), ("csv", b"start_s"), ("vtt", b"WEBVTT"), ("svg", b"<"), ("png", b"\x89PNG")],
    )
    def test_timeline_is_exported(self, client: Client, video: Path, format: str, start: bytes) -> None:
        assert client.export(client.timeline(video).id, format).lstrip().startswith(start)

    def test_jobs_are_listed_newest_first_without_timelines(self, client: Client, video: Path) -> None:
        ids = [client.submit(video).id for _ in range(2)]
        listed = client.jobs(limit=2)
        assert [job.id for job in listed] == ids[::-1]
        assert [job.timeline for job in listed] == [None, None]

    def test_jobs_are_listed_by_state_in_pages(
        self, client: Client, video: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done = [client.timeline(video).id for _ in range(3)]
        monkeypatch.setattr("clipstack_client.async_jobs.MAX_PAGE", 2)
        assert [job.id for job in client.jobs(limit=3, state="done")] == done[::-1]
        assert all(job.result and 0 < job.result[1] <= 1 for job in client.jobs(limit=3, state="done"))
        assert client.jobs(state="failed") == ()

    def test_same_key_gives_the_first_job(self, client: Client, video: Path) -> None:
        key = uuid.uuid4().hex
        first = client.submit(video, key=key)
        assert client.submit(video, key=key).id == first.id
        with pytest.raises(RequestRefused) as refused:
            client.submit(video, key=key, hop_s=1.0)
        assert (refused.value.status, refused.value.code) == (409, "idempotency_conflict")

    def test_ended_job_is_not_cancelled_but_removed(self, client: Client, video: Path) -> None:
        id = client.timeline(video).id
        assert client.cancel(id).state == "done"
        client.remove(id)
        with pytest.raises(RequestRefused) as refused:
            client.job(id)
        assert (refused.value.status, refused.value.code) == (404, "job_not_found")

    def test_damaged_video_is_refused_or_fails_as_job(self, client: Client, damaged: Path) -> None:
        with pytest.raises((JobFailed, RequestRefused)) as failed:
            client.timeline(damaged)
        assert failed.value.code == "undecodable"
        assert getattr(failed.value, "at_fault", "file") == "file"

    def test_text_makes_no_job(self, client: Client) -> None:
        with pytest.raises(RequestRefused) as refused:
            client.submit(b"hello, this is no video at all\n")
        assert (refused.value.status, refused.value.code) == (415, "unsupported_media")

    def test_unknown_job_is_an_error(self, client: Client) -> None:
        with pytest.raises(RequestRefused) as refused:
            list(client.follow("20000101T000000-0000"))
        assert refused.value.code == "job_not_found"
