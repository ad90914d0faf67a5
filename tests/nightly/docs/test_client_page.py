"""The commands of docs/client.md work."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clipstack_client.cli import main
from tests.nightly.docs.page_commands import ADDRESS, CHECKOUT, run
from tests.support.movements import film_movement

if TYPE_CHECKING:
    from deploy.stack.stack import Stack

PAGE = (CHECKOUT / "docs" / "client.md").read_text()
WRITTEN = {"-o answers.jsonl": "answers.jsonl", "-o clip.vtt": "clip.vtt", "-o seen.jsonl": "seen.jsonl"}


def blocks(language: str) -> list[str]:
    programs = re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)
    assert programs
    return programs


@pytest.fixture
def folder(stack: Stack, tmp_path: Path) -> Iterator[Path]:
    """The files that the page uses; all jobs are removed after the test."""
    film_movement(tmp_path / "clip.mp4", "pan_left", width=1280, height=720)
    for name, label in (("clips/a.mp4", "pan_left"), ("clips/b.mp4", "zoom_in"), ("more/by/far/c.mp4", "tilt_up")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        film_movement(tmp_path / name, label)
    yield tmp_path
    run(stack, "clipstack jobs remove --ended", tmp_path)


@pytest.mark.parametrize("block", blocks("sh"), ids=lambda block: " ".join(block.split()[:2]))
def test_commands_in_their_order(stack: Stack, folder: Path, block: str) -> None:
    for command in block.splitlines():
        out = run(stack, command, folder)
        target = next((name for option, name in WRITTEN.items() if option in command), None)
        if target is not None:
            assert (out, (folder / target).stat().st_size > 0) == ("", True), command
        elif "--detach" not in command and command.split()[1] in ("classify", "watch", "models"):
            assert "pan_left" in out, command
    if "pictures" in block:
        assert sorted(path.name for path in (folder / "pictures").iterdir()) == ["a.svg", "b.svg"]
        assert (folder / "timelines.csv").read_text().count("pan_left") >= 1
    if "answers.jsonl" in block:
        lines = (folder / "answers.jsonl").read_text().splitlines()
        assert sorted(Path(json.loads(line)["file"]).name for line in lines) == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize("program", blocks("python"), ids=["blocking", "asyncio"])
def test_programs(stack: Stack, folder: Path, program: str) -> None:
    words = [sys.executable, "-c", program.replace(ADDRESS, stack.url)]
    environment = {"PYTHONPATH": str(CHECKOUT), "PYTHONWARNINGS": "error"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "pan_left" in done.stdout


def test_table_lists_every_command() -> None:
    assert set(re.findall(r"^\| `clipstack (\w+)", PAGE, re.M)) == set(main.commands)
