"""Triton in one network namespace, web in another, each with a /dev/shm of its own, and a link between them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from app.settings import CHECKOUT
from deploy.stack.supervisor import SupervisorClient
from deploy.stack.users import DEFAULT, User
from tests.nightly.remote.slow_link import SlowLink, door, slow_link, unavailable
from tests.support.movements import film_movement
from tests.support.photographs import photograph_file
from tests.support.stacks import until

WEB, TRITON = 0, 1
READY_S, STOP_S = 120.0, 60.0
PORT = 8001
PYTHON = Path(sys.executable)
# A model of large clips: 16 frames of 224 x 224 pixels, its scores are the brightness of the clip and what is missing
LARGE_SHAPE = (16, 224, 224, 3)
LARGE = """
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(pb_utils.get_input_tensor_by_name(request, "CLIP").as_numpy()) for request in requests]

    def answer(self, clip):
        brightness = clip.mean() / 255
        scores = np.array([[brightness, 1 - brightness]], np.float32)
        return pb_utils.InferenceResponse([pb_utils.Tensor("SCORES", scores)])
"""
LARGE_CONFIG = f"""
backend: "python"
max_batch_size: 1
input [ {{ name: "CLIP" data_type: TYPE_UINT8 dims: {list(LARGE_SHAPE)} }} ]
output [ {{ name: "SCORES" data_type: TYPE_FP32 dims: [ 2 ] label_filename: "labels.txt" }} ]
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
parameters [
  {{ key: "kind" value: {{ string_value: "video" }} }},
  {{ key: "frames" value: {{ string_value: "16" }} }},
  {{ key: "stride" value: {{ string_value: "2" }} }},
  {{ key: "fps" value: {{ string_value: "30" }} }},
  {{ key: "resize" value: {{ string_value: "256" }} }},
  {{ key: "crop" value: {{ string_value: "224" }} }}
]
"""


class Part:
    """One of the two machines: the entrypoint of its container, in its namespace, as the user of Debian's web servers."""

    def __init__(self, part: str, folder: Path, prefix: Sequence[str], **settings: object) -> None:
        user = User.named(DEFAULT)
        folder.mkdir()
        self.part, self.run_dir, self.log = part, folder / "run", folder / "log"
        for path in (self.run_dir, folder / "models"):
            path.mkdir()
            os.chown(path, user.uid, user.gid)
        (folder / "models" / "large" / "1").mkdir(parents=True)
        for name, text in (("config.pbtxt", LARGE_CONFIG), ("labels.txt", "bright\ndark\n"), ("1/model.py", LARGE)):
            (folder / "models" / "large" / name).write_text(text)
        self.log.touch(mode=0o666)
        self.log.chmod(0o666)
        own = {"run_dir": self.run_dir, "model_dir": folder / "models", "results_mb": 0} | settings
        environment = os.environ | {f"CLIPSTACK_{name.upper()}": str(value) for name, value in own.items()}
        drop = ("setpriv", f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups")
        command = [*prefix, *drop, PYTHON, "-m", "deploy.container.entrypoint", part]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=log, stderr=log)

    def pids(self) -> dict[str, int]:
        """Return the pid of each program."""
        client = SupervisorClient(PYTHON, CHECKOUT / "supervisor" / "supervisord.conf", self.run_dir)
        return {name: program.pid for name, program in client.programs().items()}

    def is_running(self) -> bool:
        """Return whether it has not ended; fail the test with its log if it has."""
        if self._process.poll() is not None:
            pytest.fail(f"{self.part} ended with {self._process.returncode}: {self.log.read_text()[-3000:]}")
        return True

    def stop(self) -> None:
        """Stop all programs in order; do nothing if they have ended."""
        if self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            pytest.fail(f"{self.part} did not stop within {STOP_S} s: {self.log.read_text()[-3000:]}")


class Remote:
    """The service with Triton on the other side of a link."""

    def __init__(self, link: SlowLink, address: str, folder: Path) -> None:
        self.link, self.folder, self.url = link, folder, f"http://{address}:8080"
        self.key = folder / "key"
        self._held = ExitStack()
        self.triton: Part
        self.web: Part

    def start_triton(self, **settings: object) -> None:
        """Start Triton and wait until it answers."""
        own = {"triton_address": f"0.0.0.0:{PORT}", "triton_key_file": self.folder / "keys" / "key"}
        self.triton = Part("triton", self.folder / "triton", self.link.inside(TRITON), **own, **settings)
        self._held.callback(self.triton.stop)
        until(
            lambda: self.triton.is_running() and "Started GRPCInferenceService" in self.triton.log.read_text(), READY_S
        )

    @contextmanager
    def running_web(self, name: str = "web", **settings: object) -> Iterator[None]:
        """Run web; it is ready once it has reached Triton."""
        own = {
            "host": "0.0.0.0",
            "published": "127.0.0.1:8080",  # without keys
            "allowed_hosts": self.url.split("/")[2],
            "triton_address": f"{self.link.addresses[TRITON]}:{PORT}",
            "triton_key_file": self.folder / "keys" / "key",
            "port": 8080,
            "monitors": "127.0.0.1,10.206.0.0/16",
        }
        self.web = Part("web", self.folder / name, self.link.inside(WEB), **own, **settings)
        try:
            yield
        finally:
            self.web.stop()

    def wait_until_ready(self) -> None:
        """Wait until web classifies, and the job worker has its decoders."""
        until(lambda: self.web.is_running() and self.status("/readyz") == 200, READY_S)
        until(lambda: 'clipstack_decoders{program="jobs"' in self.metrics(), READY_S)

    def metrics(self) -> str:
        """Return the metrics of web and of the job worker."""
        response = httpx.get(f"{self.url}/metrics", timeout=30)
        assert response.status_code == 200, response.text
        return response.text

    def status(self, path: str) -> int:
        """Return the status of an address; 0 while there is no answer."""
        try:
            return httpx.get(f"{self.url}{path}", timeout=30).status_code
        except httpx.HTTPError:
            return 0

    def classify(self, content: bytes, model: str = "", deadline_ms: int = 0) -> httpx.Response:
        """Classify a file; it takes a minute at most, whatever happens."""
        params, headers = {"model": model} if model else {}, {"X-Deadline-Ms": str(deadline_ms)} if deadline_ms else {}
        return httpx.post(f"{self.url}/v1/classify", params=params, content=content, headers=headers, timeout=60)

    def close(self) -> None:
        self._held.close()


@contextmanager
def remote_service() -> Iterator[Remote]:
    """Yield the two sides and their link, neither of them started; stop and remove all of it afterwards."""
    if reason := unavailable():
        pytest.skip(reason)
    with ExitStack() as held:
        folder = Path(tempfile.mkdtemp(prefix="remote-"))
        held.callback(shutil.rmtree, folder)
        user = User.named(DEFAULT)
        (folder / "keys").mkdir()
        for path in (folder, folder / "keys"):
            path.chmod(0o755)
        os.chown(folder / "keys", user.uid, user.gid)
        link = held.enter_context(slow_link("web", "triton"))
        remote = Remote(link, held.enter_context(door(link.names[WEB])), folder)
        held.callback(remote.close)
        yield remote


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return film_movement(tmp_path_factory.mktemp("film") / "film.mp4", "pan_left").read_bytes()


@pytest.fixture(scope="session")
def picture() -> bytes:
    return photograph_file("coffee")
