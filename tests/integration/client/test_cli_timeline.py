"""`clipstack timeline`, `jobs` and `watch`."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.support.client_process import Run, Running, lines_of, uploads
from tests.support.client_service import MP4, RecordedService, refusal


def test_timeline_shows_strip_and_line_for_each_segment(run: Run, clip: Path) -> None:
    result = run("timeline", clip)
    lines = result.stdout.splitlines()
    assert (result.exit_code, result.stderr) == (0, "")
    assert lines[0] == f"{clip}  340×256 · h264 in mp4 · 28 fps · 10.0 s · 1.0 kB"
    assert [lines[1].index(label) for label in ("static", "pan_left", "zoom_in")] == [16, 52, 86]
    assert (lines[2].split(), len(lines[2])) == (["0:00.0", "0:10.0"], 102)
    assert lines[4:7] == [
        "  ■  0:00.0  0:03.2  3.2 s  static    91.0%",
        "  ■  0:03.2  0:07.5  4.2 s  pan_left  97.0%",
        "  ■  0:07.5  0:10.0  2.5 s  zoom_in   62.0%",
    ]
    assert lines[7] == "  camera_motion, 37 windows of 0.93 s, one every 0.25 s · 1 cut"
    assert lines[8].startswith("  4.2 s: decode 3.9, infer 2.0, after 0.1 s in the queue · job ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("timeline", "-"),
        ("timeline", "{clip}", "--format", "vtt", "--json", "--format", "csv"),
        ("timeline", "{clip}", "--format", "mp4"),
        ("timeline", "{clip}", "--detach", "--format", "vtt"),
        ("classify", "{clip}", "-o", "answers.txt"),
        ("classify", "{clip}", "-o", "csv"),
        ("classify", "{clip}", "-o", "out.jsonl", "--resume", "--force"),
        ("timeline", "{clip}", "--margin", "2"),
        ("timeline", "{clip}", "--detach", "--resume", "-o", "out.jsonl"),
        ("timeline", "{clip}", "--frames"),
        ("classify", "{clip}", "--resume", "-o", "out.txt", "--format", "table"),
        ("watch", "{clip}"),
        ("watch", "{folder}", "--timeline", "--frames"),
        ("jobs", "remove"),
        ("jobs", "remove", "--ended", "some"),
    ],
    ids=" ".join,
)
def test_wrong_command_line_exits_2(
    run: Run, service: RecordedService, clip: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    words = [argument.format(clip=clip, folder=tmp_path) for argument in arguments]
    assert run(*words).exit_code == 2
    assert service.received == []


def test_timeline_options_reach_the_service(run: Run, service: RecordedService, clip: Path) -> None:
    run("timeline", clip, "--hop", "0.5", "--window", "2", "--margin", "0.3", "--model", "camera_motion")
    query = {"hop_s": "0.5", "window_s": "2.0", "margin": "0.3", "model": "camera_motion"}
    assert service.received[0].query == query


def test_detached_job_is_found_shown_and_removed(run: Run, service: RecordedService, clip: Path) -> None:
    service.jobs.held = True
    assert "queued, number 2 in line" in run("timeline", "--detach", clip).stdout
    id = str(service.jobs.records(1)[0]["id"])
    assert [word in run("jobs").stdout for word in (id[:8], "queued", "clip.mp4")] == [True] * 3
    assert json.loads(run("jobs", "--json", "--limit", "1").stdout)["id"] == id
    assert "cancel" in run("jobs", "--help").stdout
    assert "0:00.0  0:02.0" in run("jobs", "show", id[:8]).stdout
    assert json.loads(run("jobs", "show", "--json", id).stdout)["id"] == id
    assert run("jobs", "cancel", id[:8]).stdout == f"{id[:8]}  cancelled\n"
    assert id[:8] in run("jobs", "--state", "cancelled").stdout
    assert "no jobs" in run("jobs", "--state", "done").stderr
    assert run("jobs", "remove", "--ended").stdout == f"{id}  removed\n"
    assert "no jobs" in run("jobs", "list").stderr
    gone = run("jobs", "show", id)
    assert (gone.exit_code, "job_not_found" in gone.stderr) == (1, True)


def test_show_follow_waits_for_the_end(run: Run, service: RecordedService, clip: Path) -> None:
    run("timeline", "--detach", clip)
    id = str(service.jobs.records(1)[0]["id"])
    assert "zoom_in" in run("jobs", "show", "--follow", id).stdout


def test_file_matched_twice_is_sent_once(run: Run, films: Path) -> None:
    stdout = run("classify", "--json", f"{films}/*.mp4", films).stdout
    assert [Path(json.loads(line)["file"]).name for line in stdout.splitlines()] == ["a.mp4", "c.mp4", "b.mkv"]


def watched(*more: str | Path) -> tuple[str | Path, ...]:
    return ("watch", *more, "--once", "--every", "0.05", "--settle", "0.1")


def test_restarted_watch_repeats_no_file(run: Run, service: RecordedService, films: Path, tmp_path: Path) -> None:
    out = tmp_path / "seen.jsonl"
    assert run(*watched(films), "-o", out, "--resume").stderr.endswith("3 classified\n")
    assert run(*watched(films), "-o", out, "--resume").stderr == "nothing to do\n"
    (films / "late.mp4").write_bytes(MP4)
    assert run(*watched(films), "-o", out, "--resume").stderr == "1 classified\n"
    assert uploads(service) == len(lines_of(out)) == 4


def test_watch_follows_videos_from_start_to_end(run: Run, films: Path) -> None:
    result = run(*watched(films), "--timeline", "--json")
    states = {json.loads(line).get("state", "no answer") for line in result.stdout.splitlines()}
    assert (states, result.exit_code) == ({"done", "no answer"}, 1)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("with_signal", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupt_cancels_the_jobs_and_leaves_whole_lines(
    service: RecordedService, films: Path, tmp_path: Path, with_signal: int, code: int
) -> None:
    out = tmp_path / "out.jsonl"
    (films / "0.mp4").write_bytes(b"text")
    service.jobs.held = True
    running = Running(service, "timeline", films, "-o", out, "-j", "2")
    running.until(
        lambda: [job["state"] for job in service.jobs.records(5)] == ["running"] * 2 and out.stat().st_size > 0
    )
    ended, err = running.end(with_signal)
    assert (ended, err.splitlines()[-1]) == (code, "1 failed")
    assert [line["file"] for line in lines_of(out)] == [str(films / "0.mp4")]
    assert [job["state"] for job in service.jobs.records(5)] == ["cancelled"] * 2


def test_busy_service_is_retried_within_patience(run: Run, service: RecordedService, clip: Path) -> None:
    service.replies = [refusal(503, "overloaded", ("Retry-After", "0"))]
    assert run("timeline", clip).exit_code == 0
    service.replies = [refusal(503, "overloaded", ("Retry-After", "0"))]
    assert run("timeline", clip, "--patience", "0").exit_code == 3
