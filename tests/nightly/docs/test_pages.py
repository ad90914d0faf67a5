"""Run the commands of the README in its order, in a fresh clone, then those of every other page.

The output is compared with what the pages show. tests/nightly/docs/snippets.py lists commands that are not run.
"""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from deploy.stack.paths import program
from deploy.stack.ports import free_ports
from tests.nightly.docs.clone import PYTHON, Clone, clone
from tests.nightly.docs.snippets import (
    ADDRESS,
    BEGINS_A_COMMAND,
    CHECKOUT,
    NOT_HERE,
    RUN,
    SHOWN,
    Step,
    blocks,
    matches,
    pages,
    steps,
)
from tests.support.checkpoints import labels_file, official_x3d, onnx_file
from tests.support.movements import film_movement
from tests.support.stacks import until

README, *OTHERS = pages()
API = CHECKOUT / "docs" / "api.md"
pytestmark = pytest.mark.timeout(600)

# Replacements that avoid the network and shorten exports and comparisons; the first match counts
INSTEAD = {
    "add x3d_m --from-file X3D_M.pyth": " --frames 2 --size 32",
    "add x3d_m": " --from-file X3D_M.pyth --frames 2 --size 32",
    "add my_model": " --frames 2 --size 32",
    "-models verify": " --clips 2",
}
MAY_WARN = ("make doctor", ".venv/bin/clipstack doctor")  # they warn on a busy or small machine


@pytest.fixture(scope="module")
def newcomer() -> Iterator[tuple[Clone, str]]:
    """The clone with the files that pages use, and the output of its first command, `make demo`."""
    for needed in ("curl", "make", "git", "unzip"):
        if not shutil.which(needed):
            pytest.skip(f"{needed} is not installed")
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON} is not installed")
    folder = Path(tempfile.mkdtemp(prefix="clone-"))
    folder.chmod(0o755)  # www-data runs the service in it
    try:
        with clone(folder) as made:
            first = _first_step()
            done = made.run(first.text)
            assert (first.text, done.returncode) == ("make demo", 0), done.stderr
            _files(folder)
            yield made, done.stdout
    finally:
        shutil.rmtree(folder)


def _first_step() -> Step:
    """Return the first command of the README that runs in a clone."""
    return next(step for step in steps(README) if step.why_not_here is None)


def _files(folder: Path) -> None:
    shutil.copy(folder / ".runtime" / "demo" / "pan_left.mp4", folder / "clip.mp4")
    for name, label in (("film.mp4", "zoom_in"), ("clips/a.mp4", "pan_left"), ("clips/b.mp4", "tilt_up")):
        (folder / name).parent.mkdir(exist_ok=True)
        film_movement(folder / name, label)
    Image.effect_noise((320, 240), 60).convert("RGB").save(folder / "photo.jpg")
    official_x3d(folder / "X3D_M.pyth", variant="x3d_m")
    official_x3d(folder / "best.pth", classes=3, variant="x3d_m")
    onnx_file(folder / "model.onnx", (1, 3, 16, 224, 224), 3)
    labels_file(folder / "labels.txt", 3)
    names = {
        str(number): ["n0", label] for number, label in enumerate((folder / "labels.txt").read_text().splitlines())
    }
    with zipfile.ZipFile(folder / "my_model.mar", "w") as archive:
        archive.write(folder / "best.pth", "best.pth")
        archive.writestr("index_to_name.json", json.dumps(names))


@pytest.fixture(scope="module")
def typed_before() -> set[str]:
    """Commands that have succeeded: a command on several pages runs once."""
    return set()


def follow(newcomer: Clone, page: Path, typed_before: set[str]) -> int:
    """Run all steps of the page, compare their output, and return their number."""
    done = 0
    for step in steps(page):
        if step.why_not_here is None:
            done += 1
            if step.text not in typed_before:
                _do(newcomer, step)
                typed_before.add(step.text)
    return done


def _do(newcomer: Clone, step: Step) -> str:
    if step.language == "python":
        (newcomer.path / "example.py").write_text(step.text.replace(ADDRESS, newcomer.url))
        command = ".venv/bin/python -W error example.py"
    else:
        command = step.text.replace("FOLDER", "clips")
        command += next((more for words, more in INSTEAD.items() if words in command), "")
    result = newcomer.run(command)
    allowed = (0, 2) if step.text.startswith(MAY_WARN) else (0,)
    assert result.returncode in allowed, f"{step.page}: {command}\n{result.stdout}{result.stderr}"
    if step.shown is not None:
        assert matches(step.shown, result.stdout), f"{step.page}: {command}\nprinted:\n{result.stdout}"
    return result.stdout


def test_a_new_user_s_path(newcomer: tuple[Clone, str], typed_before: set[str]) -> None:
    clone, printed = newcomer
    first = _first_step()
    assert first.shown and matches(first.shown, printed), printed
    typed_before.add(first.text)
    assert follow(clone, README, typed_before) >= 6
    page = httpx.get(clone.url, timeout=20)
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")


def test_the_answer_that_the_api_page_explains(newcomer: tuple[Clone, str]) -> None:
    (shortened,) = [json.loads(block.text) for block in blocks(API) if block.language == "json"]
    output = (
        newcomer[0].run(f'curl -sS -H "Cache-Control: no-cache" -T clip.mp4 -X POST "{ADDRESS}/v1/classify"').stdout
    )
    answer = json.loads(output)
    assert shortened.keys() <= answer.keys()
    assert shortened["predictions"][0]["label"] == answer["predictions"][0]["label"]
    assert shortened["media"].items() <= answer["media"].items()
    assert shortened["clips"][0]["frames"] == answer["clips"][0]["frames"][:3]
    assert shortened["timing_ms"].keys() <= answer["timing_ms"].keys()


@pytest.mark.parametrize("page", OTHERS, ids=lambda page: page.stem)
def test_page(newcomer: tuple[Clone, str], typed_before: set[str], page: Path) -> None:
    clone, _ = newcomer
    if follow(clone, page, typed_before) == 0:
        assert all(step.why_not_here for step in steps(page))
    until(lambda: httpx.get(f"{clone.url}/readyz", timeout=20).status_code == 200, patience_s=60)


def test_another_proxy_before_it(newcomer: tuple[Clone, str], tmp_path: Path) -> None:
    clone, _ = newcomer
    (location,) = [block.text for page in OTHERS for block in blocks(page) if block.language == "nginx"]
    (port,) = free_ports(1)
    folders = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.geteuid() == 0 else ""
    (tmp_path / "nginx.conf").write_text(
        f"{user}daemon off;\npid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{folders}"
        f"server {{\nlisten 127.0.0.1:{port};\n{location.replace(ADDRESS, clone.url)}}}\n}}\n"
    )
    words = [program("nginx"), "-e", "stderr", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    proxy = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            until(lambda: _answers(client), patience_s=10)
            content = (clone.path / "clip.mp4").read_bytes()
            answer = client.post("/v1/classify", content=content)
            assert answer.status_code == 200, answer.text
            assert answer.json()["predictions"][0]["label"] == "pan_left"
            assert [client.get(path).status_code for path in ("/status", "/metrics", "/status.json")] == [404] * 3
    finally:
        proxy.terminate()
        proxy.wait(10)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_every_block_is_run_or_holds_no_command() -> None:
    every_block = [block for page in pages() for block in blocks(page)]
    assert {block.language for block in every_block} <= {*RUN, *SHOWN}
    assert [block for block in every_block if block.language in SHOWN and BEGINS_A_COMMAND.search(block.text)] == []


def test_every_exception_is_needed_and_has_a_reason() -> None:
    every = [step for page in pages() for step in steps(page)]
    for (page, begins), reason in NOT_HERE.items():
        assert reason, begins
        assert any(page in ("", step.page) and step.text.startswith(begins) for step in every), (page, begins)


def test_systemd_unit_starts_and_stops_the_service(newcomer: tuple[Clone, str]) -> None:
    clone, _ = newcomer
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string((CHECKOUT / "deploy" / "systemd" / "clipstack.service").read_text())
    service = {name: value.replace("/opt/clipstack", str(clone.path)) for name, value in unit["Service"].items()}
    for name in ("ExecStart", "ExecReload", "ExecStop"):
        assert service["WorkingDirectory"] == str(clone.path)
        done = clone.run(service[name])
        assert done.returncode == 0, (name, done.stdout, done.stderr)
        pid = Path(service["PIDFile"])
        assert pid.exists() == (name != "ExecStop"), name
        if pid.exists():
            assert "supervisord" in Path(f"/proc/{int(pid.read_text())}/cmdline").read_text()
    if shutil.which("systemd-analyze"):
        (clone.path / "clipstack.service").write_text(_moved(clone))
        checked = subprocess.run(
            ["systemd-analyze", "verify", clone.path / "clipstack.service"], capture_output=True, text=True, timeout=60
        )
        assert (checked.returncode, checked.stderr) == (0, "")


def _moved(clone: Clone) -> str:
    text = (CHECKOUT / "deploy" / "systemd" / "clipstack.service").read_text()
    return text.replace("/opt/clipstack", str(clone.path))
