"""The tutorial of docs/train.md with few files: serve, correct five mistakes, train again, get better."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from deploy.stack.stack import Stack
from tests.conftest import CHECKOUT
from tests.support.stacks import running_stack, until
from triton_repo.zoo.training.examples.digits import write_digits

COUNT = 30  # of each digit; the page has 60
FOLLOWED_S = 15.0


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running_stack(models=("objects",), model="objects", feedback="on", unsure_below="0") as stack:
        yield stack


def blocks() -> list[tuple[str, str]]:
    """Return language and text of each block of the section."""
    page = (CHECKOUT / "docs" / "train.md").read_text()
    section = page.partition("\n## Corrections\n")[2].partition("\n## ")[0]
    return re.findall(r"^```(sh|python)\n(.*?)^```", section, re.M | re.S)


@pytest.mark.timeout(600)
def test_corrected_mistakes_make_a_better_version(stack: Stack, tmp_path: Path) -> None:
    places = f"--cache {tmp_path}/cache --report {tmp_path}/report"
    environment = os.environ | stack.settings.environment()

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def in_small(text: str) -> str:
        """Return the command for this folder, with fewer files and JSON output, and without the start of the stack."""
        text = text.replace(".runtime/", f"{tmp_path}/").replace("CLIPSTACK_FEEDBACK=on make up\n", "")
        text = text.replace("Client()", f"Client({stack.url!r})")
        text = re.sub("(examples chalk .*)", rf"\1 --count {COUNT}", text)
        text = re.sub("(models train .*)", rf"\1 {places}", text)
        return re.sub("(models evaluate .*)", r"\1 --json", text)

    def served(version: str) -> bool:
        answer = httpx.post(f"{stack.url}/v1/classify?model=digits", content=picture.read_bytes(), timeout=60)
        return bool(answer.json().get("model_version") == version)

    write_digits(tmp_path / "digits", COUNT, seed=0)
    picture = next((tmp_path / "digits").rglob("*.png"))
    run("bash", "-ec", f".venv/bin/clipstack-models train digits {tmp_path}/digits {places}")
    until(partial(served, "1"), FOLLOWED_S)
    outputs = [
        run(*(("bash", "-ec") if language == "sh" else (".venv/bin/python", "-c")), in_small(text))
        for language, text in blocks()
    ]
    assert "5 mistakes corrected" in outputs[1]
    before, after = (json.loads(output[output.index("{") :])["accuracy"] for output in (outputs[0], outputs[2]))
    print(f"accuracy before {before:.3f}, after {after:.3f}")
    assert after > before
    until(partial(served, "2"), FOLLOWED_S)
