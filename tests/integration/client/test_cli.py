"""The command line: what is printed where, the exit codes, and what a terminal shows meanwhile."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from clipstack_client.cli import main
from tests.support.client_process import CHECKOUT
from tests.support.client_service import MP4, SCORES, RecordedService, recorded_service, refusal

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
def note(tmp_path: Path) -> Path:
    path = tmp_path / "note.txt"
    path.write_text("no video")
    return path


@pytest.fixture
def unused_url() -> Iterator[str]:
    """The URL of a port that nobody listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


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


def test_several_files_are_a_row_each(run: Run, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("width", [60, 80, 120])
def test_rows_fit_the_terminal(service: RecordedService, tmp_path: Path, width: int) -> None:
    for name in ("a.mp4", "a film with a very long name that says everything about it " * 3 + ".mp4"):
        (tmp_path / name).write_bytes(MP4)
    for command in (["classify", "--quiet"], ["timeline", "--quiet"], ["jobs"]):
        paths = [] if command == ["jobs"] else sorted(tmp_path.glob("*.mp4"))
        shown = on_a_terminal([*command, *paths], service.url, columns=width, colours=False)
        lines = shown.replace("\r", "").splitlines()
        assert 2 <= len(lines) <= 3
        assert max(map(len, lines)) <= width


@pytest.mark.parametrize("options", [(), ("--verbose",), ("--json",), ("--format", "csv")])
def test_broken_pipe_ends_silently(service: RecordedService, clip: Path, options: tuple[str, ...]) -> None:
    environment = {**os.environ, "CLIPSTACK_URL": service.url}
    command = [*COMMAND, "classify", *options, "-j", "1", *[str(clip)] * 30]
    with subprocess.Popen(
        command, env=environment, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert (process.stderr.read(), process.wait(30)) == ("", 141)


def test_help_lists_the_connection_apart(run: Run) -> None:
    options, connection = run("classify", "--help").stdout.split("Connection:")
    assert "--top-k" in options and "--url" not in options
    assert "--url" in connection and "--key-file" in connection


def test_json_is_answer_of_service_with_file(run: Run, clip: Path) -> None:
    result = run("classify", "--json", "--top-k", "2", clip)
    answer = json.loads(result.stdout)
    assert answer["file"] == str(clip)
    assert [prediction["label"] for prediction in answer["predictions"]] == list(SCORES)[:2]
    assert (answer["transport"], result.stderr, result.exit_code) == ("system_shared_memory", "", 0)


def test_files_come_in_their_order_whatever_the_jobs(run: Run, tmp_path: Path) -> None:
    clips = [tmp_path / f"{number}.mp4" for number in range(12)]
    for number, clip in enumerate(clips):
        clip.write_bytes(MP4 + bytes(number))
    answers = [json.loads(line) for line in run("classify", "--json", "-j", "4", *clips).stdout.splitlines()]
    assert [answer["file"] for answer in answers] == [str(clip) for clip in clips]
    assert [answer["media"]["bytes"] for answer in answers] == [len(MP4) + number for number in range(12)]


def test_refused_file_leaves_others_alone_and_exits_1(run: Run, clip: Path, note: Path) -> None:
    result = run("classify", note, clip)
    assert result.exit_code == 1
    assert "pan_left" in result.stdout
    assert "note.txt: this is neither a video nor a picture" in result.stderr
    assert "unsupported_media · HTTP 415 · request 7c0ffee7" in result.stderr
    assert "1 classified, 1 failed" in result.stderr


def test_refused_file_is_a_line_of_json_too(run: Run, note: Path) -> None:
    result = run("classify", "--json", note)
    assert json.loads(result.stdout)["error"] == {
        "code": "unsupported_media",
        "message": "this is neither a video nor a picture",
        "request_id": "7c0ffee7",
        "status": 415,
    }
    assert "neither a video nor a picture" in result.stderr
    assert result.exit_code == 1


def test_unreachable_service_ends_sending(run: Run, clip: Path, unused_url: str) -> None:
    result = run("classify", "-j", "1", "--patience", "0", "--url", unused_url, clip, clip, clip)
    assert result.exit_code == 3
    assert f"no connection to {unused_url}" in result.stderr
    assert "make up" in result.stderr
    assert "1 failed, 2 not sent" in result.stderr


def test_files_not_sent_are_lines_of_json_too(run: Run, clip: Path, unused_url: str) -> None:
    lines = run("classify", "--json", "-j", "1", "--patience", "0", "--url", unused_url, clip, clip).stdout.splitlines()
    assert [json.loads(line)["error"]["code"] for line in lines] == ["connect_failed", "not_sent"]


def test_unavailable_service_exits_3(run: Run, service: RecordedService, clip: Path) -> None:
    service.replies = [refusal(503, "not_ready", ("Retry-After", "600"), message="the models are starting")]
    result = run("classify", clip)
    assert result.exit_code == 3
    assert "the models are starting" in result.stderr


def test_failure_of_service_exits_3_but_not_before_rest(run: Run, service: RecordedService, clip: Path) -> None:
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


def test_models_of_service_out_of_reach_exit_3(run: Run, unused_url: str) -> None:
    result = run("models", "--patience", "0", "--url", unused_url)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "no connection to" in result.stderr


def test_names_cannot_steer_the_terminal(run: Run, service: RecordedService, tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[2J[red]b.mp4"
    path.write_bytes(MP4)
    service.replies = [refusal(415, "unsupported_media", message="\x1b]0;owned\x07no")]
    result = run("classify", path, path)
    assert "\x1b" not in result.stdout + result.stderr
    assert "[2J[red]b.mp4" in result.stdout


def test_output_that_knows_only_ascii_gets_ascii_bars(service: RecordedService, clip: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "classify", clip],
        env={**os.environ, "CLIPSTACK_URL": service.url, "PYTHONIOENCODING": "ascii"},
        cwd=CHECKOUT,
        capture_output=True,
        timeout=30,
    )
    assert done.returncode == 0
    assert b"#" * 39 in done.stdout
    assert done.stdout.isascii()


def test_terminal_shows_the_upload_and_keeps_the_results(service: RecordedService, clip: Path, note: Path) -> None:
    output = on_a_terminal(["classify", "-j", "2", clip, note, clip], service.url)
    assert "\x1b[?25l" in output  # the cursor is hidden while lines are redrawn
    assert output.rstrip().endswith("2 classified, 1 failed\x1b[0m")
    assert output.count("pan_left") == 2
    assert "\x1b[?25h" in output


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Programs started by the test can be interrupted, also where a shell started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_interrupt_ends_at_once_with_its_own_code(clip: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = {**os.environ, "CLIPSTACK_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        with subprocess.Popen([*COMMAND, "classify", clip], env=environment, cwd=CHECKOUT) as process:
            silent.settimeout(30)
            connection, _ = silent.accept()
            with connection:
                process.send_signal(signal.SIGINT)
                assert process.wait(timeout=10) == 130


def on_a_terminal(arguments: list[str | Path], url: str, *, columns: int = 80, colours: bool = True) -> str:
    """What `clipstack ...` writes to a terminal."""
    master, slave = pty.openpty()
    environment = {**os.environ, "CLIPSTACK_URL": url, "COLUMNS": str(columns), "LINES": "40"}
    environment["TERM"] = "xterm-256color" if colours else "dumb"
    with subprocess.Popen(
        [*COMMAND, *arguments], env=environment, cwd=CHECKOUT, stdin=slave, stdout=slave, stderr=slave
    ):
        os.close(slave)
        output = b""
        while chunk := read_terminal(master):
            output += chunk
    os.close(master)
    return output.decode()


def read_terminal(master: int) -> bytes:
    """Some bytes, or none at the end, which Linux tells by EIO."""
    try:
        return os.read(master, 4096)
    except OSError:
        return b""


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("clipstack cl", "plain,classify"), ("clipstack jobs sh", "plain,show"), ("clipstack classify x", "file,x")],
)
def test_shell_completes_commands_and_files(typed: str, completed: str) -> None:
    environment = {"_CLIPSTACK_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    done = subprocess.run(
        COMMAND, env={**os.environ, **environment}, cwd=CHECKOUT, capture_output=True, text=True, timeout=30
    )
    assert done.stdout.splitlines() == [completed]
