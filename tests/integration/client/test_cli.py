"""`clipstack classify` and `clipstack models`: output and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.client_process import Run
from tests.support.client_service import MP4, SCORES, RecordedService, refusal


def test_table_shows_labels_bars_facts_and_times(run: Run, clip: Path) -> None:
    result = run("classify", clip)
    lines = result.stdout.splitlines()
    assert (result.exit_code, result.stderr) == (0, "")
    assert lines == [
        f"{clip}  340×256 · h264 in mp4 · 28 fps · 10.0 s · 1.0 kB",
        "  pan_left    97.1%  " + "━" * 39,
        "  static       1.3%  ╸",
        "  tilt_down    0.5%",
        "  shake        0.5%",
        "  zoom_in      0.2%",
        "  camera_motion, 8 frames from 4.53 to 5.47 s",
        "  37 ms: receive 0.4, probe 5.1, decode 21, infer 9.8, answer 0.2",
    ]


def test_each_of_several_files_has_a_row(run: Run, tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    for name in ("a.mp4", "holiday at the sea.mp4"):
        (films / name).write_bytes(MP4)
    (films / "note.mp4").write_text("no video")
    result = run("classify", films)
    assert result.stdout.splitlines() == [
        "a.mp4                   pan_left                   97.1%  " + "━" * 23 + "╸    37 ms",
        "holiday at the sea.mp4  pan_left                   97.1%  " + "━" * 23 + "╸    37 ms",
    ]
    error = f"✗ {films / 'note.mp4'}: this is neither a video nor a picture"
    assert result.stderr.splitlines() == [
        error,
        "",
        "1 failed:",
        error,
        "  unsupported_media · HTTP 415 · request 7c0ffee7",
        "2 classified, 1 failed",
    ]
    assert "probe 5.1" in run("classify", "--verbose", films).stdout
    assert "2 classified" not in run("classify", "--quiet", films).stderr


def test_help_lists_connection_options_apart(run: Run) -> None:
    options, connection = run("classify", "--help").stdout.split("Connection:")
    assert "--top-k" in options and "--url" not in options
    assert "--url" in connection and "--key-file" in connection


def test_json_output_is_the_answer_with_the_file_name(run: Run, clip: Path) -> None:
    result = run("classify", "--json", "--top-k", "2", clip)
    answer = json.loads(result.stdout)
    assert answer["file"] == str(clip)
    assert [prediction["label"] for prediction in answer["predictions"]] == list(SCORES)[:2]
    assert (answer["transport"], result.stderr, result.exit_code) == ("system_shared_memory", "", 0)


def test_output_keeps_the_order_of_files(run: Run, tmp_path: Path) -> None:
    clips = [tmp_path / f"{number}.mp4" for number in range(12)]
    for number, clip in enumerate(clips):
        clip.write_bytes(MP4 + bytes(number))
    answers = [json.loads(line) for line in run("classify", "--json", "-j", "4", *clips).stdout.splitlines()]
    assert [answer["file"] for answer in answers] == [str(clip) for clip in clips]
    assert [answer["media"]["bytes"] for answer in answers] == [len(MP4) + number for number in range(12)]


def test_refused_file_fails_alone_and_exits_1(run: Run, clip: Path, note: Path) -> None:
    result = run("classify", note, clip)
    assert result.exit_code == 1
    assert "pan_left" in result.stdout
    assert "note.txt: this is neither a video nor a picture" in result.stderr
    assert "unsupported_media · HTTP 415 · request 7c0ffee7" in result.stderr
    assert "1 classified, 1 failed" in result.stderr


def test_refused_file_has_a_json_line(run: Run, note: Path) -> None:
    result = run("classify", "--json", note)
    assert json.loads(result.stdout)["error"] == {
        "code": "unsupported_media",
        "message": "this is neither a video nor a picture",
        "request_id": "7c0ffee7",
        "status": 415,
    }
    assert "neither a video nor a picture" in result.stderr
    assert result.exit_code == 1


def test_unreachable_service_stops_further_files(run: Run, clip: Path, unused_url: str) -> None:
    result = run("classify", "-j", "1", "--patience", "0", "--url", unused_url, clip, clip, clip)
    assert result.exit_code == 3
    assert f"no connection to {unused_url}" in result.stderr
    assert "make up" in result.stderr
    assert "1 failed, 2 not sent" in result.stderr


def test_files_not_sent_have_json_lines(run: Run, clip: Path, unused_url: str) -> None:
    lines = run("classify", "--json", "-j", "1", "--patience", "0", "--url", unused_url, clip, clip).stdout.splitlines()
    assert [json.loads(line)["error"]["code"] for line in lines] == ["connect_failed", "not_sent"]


def test_unavailable_service_exits_3(run: Run, service: RecordedService, clip: Path) -> None:
    service.replies = [refusal(503, "not_ready", ("Retry-After", "600"), message="the models are starting")]
    result = run("classify", clip)
    assert result.exit_code == 3
    assert "the models are starting" in result.stderr


def test_service_failure_exits_3_after_the_other_files(run: Run, service: RecordedService, clip: Path) -> None:
    service.replies = [refusal(500, "internal")]
    result = run("classify", clip, clip)
    assert result.exit_code == 3
    assert "1 classified, 1 failed" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("classify",),
        ("classify", "missing.mp4"),
        ("classify", "no*such*file"),
        ("classify", "--shrink", "--frames", "-"),
        ("classify", "--json", "--format", "csv", "-"),
        ("classify", "--resume", "-"),
        ("classify", "--top-k", "0", "-"),
        ("classify", "-j", "1000", "-"),
        ("classify", "--url", "localhost:8080", "-"),
        ("models", "extra"),
        ("frobnicate",),
    ],
    ids=" ".join,
)
def test_wrong_command_line_exits_2(run: Run, service: RecordedService, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2
    assert service.received == []


def test_dash_reads_standard_input(run: Run, service: RecordedService) -> None:
    result = run("classify", "-", input=MP4)
    assert result.stdout.startswith("standard input")
    assert service.received[0].body == MP4
    assert "x-file-name" not in service.received[0].headers


def test_models_are_listed_with_their_labels(run: Run) -> None:
    stdout = run("models").stdout
    assert "camera_motion  default  video · 8 frames over 0.93 s, 80×80 · version 1" in stdout
    assert all(label in stdout for label in SCORES)


def test_models_as_json(run: Run) -> None:
    (model,) = json.loads(run("models", "--json").stdout)["models"]
    assert (model["name"], model["labels"]) == ("camera_motion", list(SCORES))


def test_models_exits_3_when_service_is_unreachable(run: Run, unused_url: str) -> None:
    result = run("models", "--patience", "0", "--url", unused_url)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "no connection to" in result.stderr


def test_file_names_and_messages_have_no_terminal_escapes(run: Run, service: RecordedService, tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[2J[red]b.mp4"
    path.write_bytes(MP4)
    service.replies = [refusal(415, "unsupported_media", message="\x1b]0;owned\x07no")]
    result = run("classify", path, path)
    assert "\x1b" not in result.stdout + result.stderr
    assert "[2J[red]b.mp4" in result.stdout
