"""Models are added, updated and removed under load; every request is answered by the model that it names."""

from __future__ import annotations

import io
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from deploy.stack.stack import Stack
from tests.support.checkpoints import labels_file, onnx_file
from tests.support.films import texture
from tests.support.movements import film_movement
from tests.support.stack_state import pid_of
from tests.support.stacks import until
from triton_repo.zoo.cli.main import main
from triton_repo.zoo.repository.server import running

FOLLOWED_S = 15.0  # until every worker uses it; two seconds on an idle machine


@pytest.fixture
def invoke(stack: Stack) -> Callable[..., Result]:
    """Run `clipstack-models ...` beside this stack."""

    def run(*words: object) -> Result:
        return CliRunner(env=stack.settings.environment()).invoke(main, [str(word) for word in words])

    return run


@pytest.fixture
def add(invoke: Callable[..., Result], tmp_path: Path) -> Callable[..., Result]:
    """Add a model for pictures of 8 x 8 pixels."""

    def run(name: str, classes: int, *more: object) -> Result:
        file = onnx_file(tmp_path / f"{classes}.onnx", (1, 3, 8, 8), classes)
        labels = labels_file(tmp_path / f"{classes}.txt", classes)
        return invoke("add", name, "--onnx", file, "--labels", labels, "--frames", 1, "--size", 8, *more)

    return run


@pytest.fixture(scope="module")
def picture() -> bytes:
    file = io.BytesIO()
    Image.fromarray(texture(64, 48)).save(file, "PNG")
    return file.getvalue()


def ask(stack: Stack, model: str, content: bytes) -> httpx.Response:
    return httpx.post(f"{stack.url}/v1/classify", params={"model": model, "top_k": 20}, content=content, timeout=60)


def followed(stack: Stack, model: str, content: bytes, status: int, version: str = "") -> Callable[[], bool]:
    """Return whether sixteen requests, eight at a time so that they reach both workers, get this answer."""

    def holds() -> bool:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: ask(stack, model, content), range(16)))
        if {answer.status_code for answer in answers} != {status}:
            return False
        return not version or {answer.json()["model_version"] for answer in answers} == {version}

    return holds


class Clients:
    """Two clients of the default model and two of `mine`, without pause; `wrong` has unexpected answers."""

    def __init__(self, stack: Stack, film: bytes, picture: bytes) -> None:
        self._stack = stack
        self._stop = threading.Event()
        self.wrong: list[str] = []
        self.answered: Counter[str] = Counter()
        targets = [("camera_motion", film)] * 2 + [("mine", picture)] * 2
        self._threads = [threading.Thread(target=self._ask, args=target) for target in targets]

    def _ask(self, model: str, content: bytes) -> None:
        while not self._stop.is_set():
            response = ask(self._stack, model, content)
            if response.status_code != 200:
                self.wrong.append(f"{model}: {response.status_code} {response.text}")
                continue
            answer = response.json()
            source = f"{model}@{answer['model_version']}"
            self.answered[source] += 1
            # Odd versions of `mine` know three classes, even ones four.
            classes = 10 if model == "camera_motion" else 4 - int(answer["model_version"]) % 2
            if len(answer["predictions"]) != classes:
                self.wrong.append(f"{source} gave {answer['predictions']}")

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.timeout(900)
def test_no_request_fails_while_models_change(
    stack: Stack,
    add: Callable[..., Result],
    invoke: Callable[..., Result],
    picture: bytes,
    tmp_path: Path,
    repeats: int,
) -> None:
    film_movement(tmp_path / "film.mp4", "pan_left")
    assert add("mine", 3).exit_code == 0
    until(followed(stack, "mine", picture, 200), FOLLOWED_S)
    with Clients(stack, (tmp_path / "film.mp4").read_bytes(), picture) as clients:
        for number in range(repeats):
            version = number + 2
            for done in (
                add("guest", 5),
                add("mine", 4 - version % 2),
                invoke("remove", f"mine@{version - 1}"),
                invoke("remove", "guest"),
            ):
                assert done.exit_code == 0, done.output
            answer = ask(stack, "mine", picture)
            assert answer.status_code == 200, answer.text
            assert answer.json()["model_version"] == str(version)
    assert clients.wrong == []
    assert len(clients.answered) == 1 + repeats + 1, clients.answered
    print(f"{clients.answered.total()} requests while models came and went {repeats} times: {dict(clients.answered)}")
    assert invoke("remove", "mine").exit_code == 0
    until(followed(stack, "mine", picture, 404), FOLLOWED_S)


def test_versions_side_by_side(
    stack: Stack, add: Callable[..., Result], invoke: Callable[..., Result], picture: bytes
) -> None:
    assert "served now, as pair and pair@1" in add("pair", 3).stderr
    assert add("pair", 3, "--mean", 0.5).exit_code == 0
    until(followed(stack, "pair", picture, 200, version="2"), FOLLOWED_S)
    scores = {}
    for name in ("pair", "pair@2", "pair@1"):
        answer = ask(stack, name, picture).json()
        scores[name] = answer["predictions"]
        assert (answer["model"], answer["model_version"]) == ("pair", name[5:] or "2")
    assert scores["pair"] == scores["pair@2"] != scores["pair@1"]
    (listed,) = [m for m in httpx.get(f"{stack.url}/v1/models").json()["models"] if m["name"] == "pair"]
    assert (listed["version"], listed["versions"]) == ("2", ["2", "1"])
    assert ask(stack, "pair@3", picture).status_code == 404
    assert invoke("remove", "pair@2").exit_code == 0
    until(followed(stack, "pair", picture, 200, version="1"), FOLLOWED_S)
    assert invoke("remove", "pair").exit_code == 0


def test_engine_is_changed_on_the_running_stack(
    stack: Stack, add: Callable[..., Result], invoke: Callable[..., Result], picture: bytes
) -> None:
    pytest.importorskip("onnxruntime")
    assert add("changed", 3, "--precision", "f32").exit_code == 0
    until(followed(stack, "changed", picture, 200), FOLLOWED_S)
    before = ask(stack, "changed", picture).json()["predictions"]
    applied = invoke("bench", "changed", "--engine", "onnxruntime", "--seconds", 1, "--apply")
    assert applied.exit_code == 0, applied.output
    assert '"onnxruntime"' in (stack.model_dir / "changed" / "config.pbtxt").read_text()
    after = ask(stack, "changed", picture)
    assert after.status_code == 200, after.text
    for old, new in zip(before, after.json()["predictions"], strict=True):
        assert (old["label"], old["score"]) == (new["label"], pytest.approx(new["score"], abs=1e-4))
    assert invoke("remove", "changed").exit_code == 0


def test_model_that_triton_refuses_is_not_installed(
    stack: Stack, add: Callable[..., Result], invoke: Callable[..., Result], picture: bytes, monkeypatch
) -> None:
    assert add("good", 3).exit_code == 0
    folder = stack.model_dir / "good"
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    from triton_repo.zoo.operations import add as adding

    # A description that no engine can follow, as a hand-made file could be
    original = adding.config_text
    monkeypatch.setattr(
        adding, "config_text", lambda *arguments: original(*arguments).replace('"openvino"', '"abacus"')
    )
    refused = add("good", 4)
    assert refused.exit_code == 1
    assert "engine is 'abacus'" in refused.stderr
    assert "Traceback" not in refused.stderr and refused.stderr.count("\n") == 1
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["1"]
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    assert add("new", 3).exit_code == 1
    assert not (stack.model_dir / "new").exists()
    until(followed(stack, "good", picture, 200, version="1"), FOLLOWED_S)
    assert invoke("remove", "good").exit_code == 0


def test_model_too_large_for_slot_leaves_service_ready(
    stack: Stack, invoke: Callable[..., Result], tmp_path: Path
) -> None:
    file = onnx_file(tmp_path / "large.onnx", (1, 3, 40, 224, 224), 2)
    labels = labels_file(tmp_path / "large.txt", 2)
    clip = ("--frames", 40, "--size", 224)
    assert "CLIPSTACK_SLOT_MB=6" in invoke("add", "large", "--onnx", file, "--labels", labels, *clip).stderr

    def left_out() -> bool:
        answer = httpx.get(f"{stack.url}/readyz", timeout=30)
        assert answer.status_code == 200, answer.text
        return "large@1" in answer.json()["left_out"]

    until(left_out, FOLLOWED_S)
    assert invoke("remove", "large").exit_code == 0


def test_model_is_loaded_over_a_crash_of_triton(stack: Stack, add: Callable[..., Result]) -> None:
    assert add("steady", 3).exit_code == 0
    before = pid_of(stack, "triton")
    with running(stack.settings, stack.settings.model_dir) as server:
        assert server

        def kill(name: str) -> None:
            if pid_of(stack, "triton") == before:
                os.kill(before, signal.SIGKILL)
                until(lambda: pid_of(stack, "triton") != before, FOLLOWED_S)

        replace(server, follow=kill).load("steady", 1)
        assert server.client.is_model_ready("steady", "1")
    assert pid_of(stack, "triton") not in (0, before)
