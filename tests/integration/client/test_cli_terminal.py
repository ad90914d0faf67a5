"""The command line as a process: on a terminal, in a pipe, interrupted, and completed by the shell."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.client_process import CHECKOUT, COMMAND
from tests.support.client_service import MP4, RecordedService


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


def test_ascii_output_has_ascii_bars(service: RecordedService, clip: Path) -> None:
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


@pytest.mark.usefixtures("interruptible")
def test_interrupt_exits_130_at_once(clip: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = {**os.environ, "CLIPSTACK_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        with subprocess.Popen([*COMMAND, "classify", clip], env=environment, cwd=CHECKOUT) as process:
            silent.settimeout(30)
            connection, _ = silent.accept()
            with connection:
                process.send_signal(signal.SIGINT)
                assert process.wait(timeout=10) == 130


def on_a_terminal(arguments: list[str | Path], url: str, *, columns: int = 80, colours: bool = True) -> str:
    """Return the output of `clipstack ...` on a terminal."""
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
    """Return some bytes, or none at the end, where Linux raises EIO."""
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
