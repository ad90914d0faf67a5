"""What the README tells people to type really works."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.stack import Stack
from tests.checkpoints import labels_file, official_x3d, onnx_file
from tests.movements import film_movement

CHECKOUT = Path(__file__).resolve().parents[2]
README = (CHECKOUT / "README.md").read_text()
ADDRESS = "http://127.0.0.1:8080"


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def commands(program: str) -> list[str]:
    lines = [line for block in snippets("sh") for line in block.splitlines() if line.startswith(program)]
    assert lines
    return lines


def run(stack: Stack, command: str, folder: Path, **more: str) -> str:
    """The command's output, run in `folder` where its files lie, against the test's own stack."""
    environment = {
        "CLIPSTACK_URL": stack.url,
        "PATH": f"{stack.python.parent}:/usr/bin:/bin",
        "PYTHONPATH": str(CHECKOUT),
        **more,
    }
    words = command.replace(ADDRESS, stack.url).replace(".venv/bin/", f"'{stack.python.parent}'/")
    done = subprocess.run(
        words, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    film_movement(folder / "clip.mp4", "pan_left")
    return folder


@pytest.mark.parametrize("command", commands("curl"))
def test_curl(stack: Stack, folder: Path, command: str) -> None:
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    assert json.loads(run(stack, command, folder))["predictions"][0]["label"] == "pan_left"


@pytest.mark.parametrize("command", commands(".venv/bin/clipstack "))
def test_command_line(stack: Stack, folder: Path, command: str) -> None:
    assert ("camera_motion" if "models" in command else "pan_left") in run(stack, command, folder)


def test_models_of_ones_own(stack: Stack, tmp_path: Path) -> None:
    """As they stand there, but for what the network would bring, and with clips that are soon exported."""
    official_x3d(tmp_path / "X3D_M.pyth", variant="x3d_m")
    official_x3d(tmp_path / "best.pth", classes=3, variant="x3d_m")
    onnx_file(tmp_path / "model.onnx", (1, 3, 16, 224, 224), 3)
    labels_file(tmp_path / "labels.txt", 3)
    small = " --frames 2 --size 32"
    more = {"add x3d_m": f" --from-file X3D_M.pyth{small}", "add my_model": small, "verify": " --clips 2"}
    for line in commands(".venv/bin/clipstack-models"):
        command = line.split("#")[0].rstrip()
        command += next((options for words, options in more.items() if f" {words}" in command), "")
        told = run(stack, command, tmp_path, CLIPSTACK_MODEL_DIR=str(tmp_path / "models"))
        assert "good" in told if " verify " in command else ", version 1: " in told


def test_python(stack: Stack, folder: Path) -> None:
    (code,) = snippets("python")
    (folder / "example.py").write_text(code.replace(ADDRESS, stack.url))
    assert "pan_left" in run(stack, ".venv/bin/python example.py", folder).splitlines()[0]


def test_supervisorctl(stack: Stack) -> None:
    config, default = "supervisor/supervisord.conf", "unix://%(here)s/../.runtime/run/supervisor.sock"
    for command in commands(".venv/bin/supervisorctl"):
        assert f"-c {config}" in command
    assert default in (CHECKOUT / config).read_text()
    assert "RUNNING" in stack.supervisorctl("status")


@pytest.mark.parametrize("link", re.findall(r"\]\(((?!http)[^)]+)\)", README))
def test_links_lead_somewhere(link: str) -> None:
    assert (CHECKOUT / link).exists()


def test_every_verb_named_is_one() -> None:
    makefile = (CHECKOUT / "Makefile").read_text()
    for verb in re.findall(r"`?make ([a-z-]+)", README):
        assert re.search(rf"^{verb}:", makefile, re.M), verb
