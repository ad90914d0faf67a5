"""`clipstack timeline`, `jobs` and `watch`: what is printed and written, what a second run leaves out, how they end."""

from __future__ import annotations

import csv
import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from clipstack_client.cli import main
from clipstack_client.exchange.csv_cells import escape_formula, unescape_formula
from tests.support.client_jobs import BROKEN
from tests.support.client_process import Running
from tests.support.client_service import MP4, RecordedService, recorded_service, refusal

COMMAND = [sys.executable, "-c", "from clipstack_client.cli import main; main(prog_name='clipstack')"]
Run = Callable[..., Result]


@pytest.fixture
def service() -> Iterator[RecordedService]:
    with recorded_service() as service:
        yield service


@pytest.fixture
def run(service: RecordedService) -> Run:
    """Runs `clipstack ...` against the recorded service."""

    def run(*arguments: str | Path, **options: object) -> Result:
        environment = {"CLIPSTACK_URL": service.url}
        return CliRunner(env=environment).invoke(main, [str(argument) for argument in arguments], **options)

    return run


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(MP4)
    return path


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """A folder with two films, one of them further down, a damaged one, and what is none of a client's business."""
    folder = tmp_path / "films"
    (folder / "more").mkdir(parents=True)
    for name, content in (("a.mp4", MP4), ("more/b.mkv", MP4), ("c.mp4", MP4 + BROKEN), ("notes.txt", b"no film")):
        (folder / name).write_bytes(content)
    (folder / ".hidden.mp4").write_bytes(MP4)
    return folder


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def uploads(service: RecordedService) -> int:
    return sum(request.method == "POST" for request in service.received)


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


def test_folder_goes_into_one_file_of_json_lines(run: Run, films: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    result = run("timeline", films, "-o", out)
    lines = {Path(str(line["file"])).name: line for line in lines_of(out)}
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == "2 analysed, 1 failed"
    assert set(lines) == {"a.mp4", "b.mkv", "c.mp4"}
    assert lines["a.mp4"]["size"] == len(MP4)
    assert lines["a.mp4"]["mtime_ns"] == (films / "a.mp4").stat().st_mtime_ns
    assert [segment["label"] for segment in lines["b.mkv"]["timeline"]["segments"]] == ["static", "pan_left", "zoom_in"]  # type: ignore[index]
    assert lines["c.mp4"]["error"]["code"] == "undecodable"  # type: ignore[index]


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
@pytest.mark.parametrize("command", ["timeline", "classify"])
def test_resume_skips_done_and_repeats_changed_files(
    run: Run, service: RecordedService, films: Path, tmp_path: Path, command: str, name: str
) -> None:
    out = tmp_path / name
    (films / "c.mp4").write_bytes(MP4)
    assert run(command, films, "-o", out).exit_code == 0
    first = out.read_bytes()
    again = run(command, films, "-o", out, "--resume")
    assert (again.exit_code, again.stderr, out.read_bytes(), uploads(service)) == (0, "3 done before\n", first, 3)
    (films / "a.mp4").write_bytes(MP4 + b"more")
    (films / "new.mp4").write_bytes(MP4)
    assert run(command, films, "-o", out, "--resume").stderr.endswith(", 2 done before\n")
    assert uploads(service) == 5
    assert out.read_bytes().startswith(first)


def test_resume_retries_service_failures_only(run: Run, service: RecordedService, films: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    (films / "d.mp4").write_bytes(b"text")
    service.replies = [refusal(500, "internal")]
    run("classify", films, "-o", out, "-j", "1")
    assert [("error" in line) for line in lines_of(out)] == [True, False, True, False]
    result = run("classify", films, "-o", out, "-j", "1", "--resume")
    assert result.stderr == "1 classified, 3 done before\n"
    assert sorted(Path(str(line["file"])).name for line in lines_of(out)) == ["a.mp4", "b.mkv", "c.mp4", "d.mp4"]


def test_line_that_was_cut_short_is_written_anew(run: Run, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run("classify", clip, "-o", out)
    whole = out.read_bytes()
    for cut in (1, 20, len(whole) - 5):
        out.write_bytes(whole[:-cut])
        run("classify", clip, "-o", out, "--resume")
        assert out.read_bytes() == whole


@pytest.mark.parametrize("damage", [b"a,b\n", b"a.mp4,many,1,camera_motion,static,1,,,,,,,,,\n", b"a.mp4,1\n"])
def test_damaged_rows_of_a_csv_are_dropped(run: Run, clip: Path, tmp_path: Path, damage: bytes) -> None:
    out = tmp_path / "out.csv"
    run("classify", clip, "-o", out)
    whole = out.read_bytes()
    out.write_bytes(whole + damage)
    assert run("classify", clip, "-o", out, "--resume").stderr == "1 done before\n"
    assert out.read_bytes() == whole


def test_job_that_had_only_begun_is_no_answer(run: Run, service: RecordedService, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    service.jobs.held = True
    run("timeline", clip, "--detach", "-o", out)
    service.jobs.held = False
    assert run("timeline", clip, "-o", out, "--resume").exit_code == 0
    assert [line["state"] for line in lines_of(out)] == ["done"]


def test_answers_of_another_model_or_command_are_ignored(run: Run, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run("classify", clip, "-o", out)
    run("timeline", clip, "-o", out, "--resume")
    (line,) = lines_of(out)
    assert line["state"] == "done"
    out.write_text(out.read_text().replace("camera_motion", "another"))
    run("timeline", clip, "-o", out, "--resume", "--model", "camera_motion")
    assert [line["model"] for line in lines_of(out)] == ["camera_motion"]


def test_output_with_something_in_it_is_not_overwritten(run: Run, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("precious\n")
    result = run("classify", clip, "-o", out)
    assert (result.exit_code, out.read_text()) == (2, "precious\n")
    assert "continue it with --resume" in result.stderr
    assert run("classify", clip, "-o", tmp_path / "no" / "folder.csv").exit_code == 2


FORMULAS = ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "'=1", "''+1", "＝1"]  # noqa: RUF001
TEXTS = ["clip.mp4", "a=b", "'quoted'", "-", "", "pan_left", " =1"]


@pytest.mark.parametrize("text", [*FORMULAS, *TEXTS])
def test_csv_cell_is_no_formula_and_gives_its_text_back(text: str) -> None:
    cell = escape_formula(text)
    assert cell == (f"'{text}" if text in FORMULAS else text)
    assert unescape_formula(cell) == text


def test_csv_escapes_file_names_like_formulas(
    run: Run, service: RecordedService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("=cmd|' !A0.mp4").write_bytes(MP4)
    assert run("classify", "=cmd|' !A0.mp4", "-o", "out.csv", "--top-k", "1").exit_code == 0
    first = Path("out.csv").read_text()
    row = list(csv.reader(first.splitlines()))[1]
    assert row[0] == "'=cmd|' !A0.mp4"
    assert not row[5].startswith("'")
    again = run("classify", "=cmd|' !A0.mp4", "-o", "out.csv", "--top-k", "1", "--resume")
    assert (again.stderr, Path("out.csv").read_text(), uploads(service)) == ("1 done before\n", first, 1)


def test_csv_has_row_file_or_segment(run: Run, clip: Path) -> None:
    classified = list(csv.DictReader(run("classify", "--format", "csv", "--top-k", "2", clip).stdout.splitlines()))
    assert [(row["label_1"], row["score_1"], row["label_2"]) for row in classified] == [
        ("pan_left", "0.9714", "static")
    ]
    segments = list(csv.DictReader(run("timeline", "--format", "csv", clip).stdout.splitlines()))
    assert [(row["start_s"], row["end_s"], row["label"]) for row in segments] == [
        ("0", "3.25", "static"),
        ("3.25", "7.5", "pan_left"),
        ("7.5", "10", "zoom_in"),
    ]


@pytest.mark.parametrize(
    ("format", "start"), [("vtt", b"WEBVTT"), ("csv", b"file,"), ("svg", b"<svg"), ("png", b"\x89PNG")]
)
def test_timeline_is_written_as_what_its_name_says(
    run: Run, clip: Path, tmp_path: Path, format: str, start: bytes
) -> None:
    out = tmp_path / f"clip.{format}"
    result = run("timeline", clip, "-o", out)
    assert (result.exit_code, result.stdout) == (0, "")
    assert out.read_bytes().startswith(start)
    out.write_bytes(b"mine")
    refused = run("timeline", clip, "-o", out)
    assert (refused.exit_code, "--force" in refused.stderr, out.read_bytes()) == (2, True, b"mine")
    assert run("timeline", clip, "-o", out, "--force").exit_code == 0
    assert out.read_bytes().startswith(start)


def test_one_export_goes_to_standard_output_many_into_folder(run: Run, clip: Path, films: Path, tmp_path: Path) -> None:
    assert run("timeline", clip, "--format", "vtt").stdout.startswith("WEBVTT")
    assert run("timeline", films, "--format", "vtt").exit_code == 2
    result = run("timeline", films, "--format", "vtt", "-o", tmp_path / "subtitles")
    assert sorted(path.name for path in (tmp_path / "subtitles").iterdir()) == ["a.vtt", "b.vtt"]
    assert f"{films / 'a.mp4'} → {tmp_path / 'subtitles' / 'a.vtt'}" in result.stderr


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


def test_parameters_of_a_timeline_reach_the_service(run: Run, service: RecordedService, clip: Path) -> None:
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


def test_job_is_followed_to_its_end(run: Run, service: RecordedService, clip: Path) -> None:
    run("timeline", "--detach", clip)
    id = str(service.jobs.records(1)[0]["id"])
    assert "zoom_in" in run("jobs", "show", "--follow", id).stdout


def test_pattern_and_folder_mean_each_file_once(run: Run, films: Path) -> None:
    stdout = run("classify", "--json", f"{films}/*.mp4", films).stdout
    assert [Path(json.loads(line)["file"]).name for line in stdout.splitlines()] == ["a.mp4", "c.mp4", "b.mkv"]


def watched(*more: str | Path) -> tuple[str | Path, ...]:
    return ("watch", *more, "--once", "--every", "0.05", "--settle", "0.1")


def test_watch_repeats_nothing_after_restart(run: Run, service: RecordedService, films: Path, tmp_path: Path) -> None:
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


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Programs started by the test can be interrupted, also where a shell started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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


def test_busy_service_is_waited_for_within_patience(run: Run, service: RecordedService, clip: Path) -> None:
    service.replies = [refusal(503, "overloaded", ("Retry-After", "0"))]
    assert run("timeline", clip).exit_code == 0
    service.replies = [refusal(503, "overloaded", ("Retry-After", "0"))]
    assert run("timeline", clip, "--patience", "0").exit_code == 3
