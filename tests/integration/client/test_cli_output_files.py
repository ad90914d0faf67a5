"""Files that the command line writes: JSON lines, CSV and exports, and `--resume`."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from clipstack_client.exchange.csv_cells import escape_formula, unescape_formula
from tests.support.client_process import Run, lines_of, uploads
from tests.support.client_service import MP4, RecordedService, refusal


def test_folder_is_written_to_one_json_lines_file(run: Run, films: Path, tmp_path: Path) -> None:
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


def test_truncated_line_is_rewritten(run: Run, clip: Path, tmp_path: Path) -> None:
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


def test_resume_repeats_jobs_that_had_not_ended(run: Run, service: RecordedService, clip: Path, tmp_path: Path) -> None:
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


def test_existing_output_is_not_overwritten(run: Run, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("precious\n")
    result = run("classify", clip, "-o", out)
    assert (result.exit_code, out.read_text()) == (2, "precious\n")
    assert "continue it with --resume" in result.stderr
    assert run("classify", clip, "-o", tmp_path / "no" / "folder.csv").exit_code == 2


FORMULAS = ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "'=1", "''+1", "＝1"]  # noqa: RUF001
TEXTS = ["clip.mp4", "a=b", "'quoted'", "-", "", "pan_left", " =1"]


@pytest.mark.parametrize("text", [*FORMULAS, *TEXTS])
def test_csv_cells_escape_formulas_and_round_trip(text: str) -> None:
    cell = escape_formula(text)
    assert cell == (f"'{text}" if text in FORMULAS else text)
    assert unescape_formula(cell) == text


def test_csv_escapes_formulas_in_file_names(
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


def test_csv_has_a_row_for_each_file_or_segment(run: Run, clip: Path) -> None:
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
def test_suffix_of_output_chooses_the_format(run: Run, clip: Path, tmp_path: Path, format: str, start: bytes) -> None:
    out = tmp_path / f"clip.{format}"
    result = run("timeline", clip, "-o", out)
    assert (result.exit_code, result.stdout) == (0, "")
    assert out.read_bytes().startswith(start)
    out.write_bytes(b"mine")
    refused = run("timeline", clip, "-o", out)
    assert (refused.exit_code, "--force" in refused.stderr, out.read_bytes()) == (2, True, b"mine")
    assert run("timeline", clip, "-o", out, "--force").exit_code == 0
    assert out.read_bytes().startswith(start)


def test_exports_go_to_standard_output_or_into_a_folder(run: Run, clip: Path, films: Path, tmp_path: Path) -> None:
    assert run("timeline", clip, "--format", "vtt").stdout.startswith("WEBVTT")
    assert run("timeline", films, "--format", "vtt").exit_code == 2
    result = run("timeline", films, "--format", "vtt", "-o", tmp_path / "subtitles")
    assert sorted(path.name for path in (tmp_path / "subtitles").iterdir()) == ["a.vtt", "b.vtt"]
    assert f"{films / 'a.mp4'} → {tmp_path / 'subtitles' / 'a.vtt'}" in result.stderr
