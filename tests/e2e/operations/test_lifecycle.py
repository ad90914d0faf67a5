import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from deploy.stack.processes import MARK
from deploy.stack.stack import STOP_S, Stack, StackError
from tests.support.stacks import CHECKOUT, own_environment


def command(stack: Stack, *words: str) -> subprocess.CompletedProcess:
    """Run a command with the settings of `stack`."""
    return subprocess.run(
        [stack.python, "-m", "deploy.stack", *words],
        cwd=CHECKOUT,
        env=os.environ | stack.settings.environment(),
        capture_output=True,
        text=True,
        timeout=180,
    )


def test_second_up_keeps_the_stack(stack):
    before, started = stack.processes(), time.monotonic()

    stack.up()

    assert stack.processes().keys() >= {pid for pid, name in before.items() if name in ("nginx", "tritonserver")}
    assert time.monotonic() - started < 10


def test_status_names_the_programs_and_the_address(stack):
    answer = command(stack, "status")

    assert answer.returncode == 0
    assert all(word in answer.stdout for word in ("nginx", "web", "triton", "RUNNING", stack.url))


def test_commands_use_the_settings_of_the_running_stack(stack):
    shell = {name: value for name, value in os.environ.items() if not name.startswith("CLIPSTACK_")}
    shell["CLIPSTACK_RUN_DIR"] = str(stack.run_dir)
    outputs = {}
    status, url = "python -m deploy.stack status", "python -m deploy.stack url"
    models, keys = "clipstack models", "clipstack-keys list"
    for words in (status, url, models, keys):
        program, *arguments = words.split()
        command = [CHECKOUT / ".venv" / "bin" / program, *arguments]
        done = subprocess.run(command, cwd=CHECKOUT, env=shell, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        outputs[words] = done.stdout

    assert f"ready at {stack.url}" in outputs[status]
    assert outputs[url] == f"{stack.url}\n"
    assert "camera_motion" in outputs[models]


def test_up_with_other_settings_names_them(stack):
    other = Stack(CHECKOUT, os.environ | stack.settings.environment() | {"CLIPSTACK_MAX_QUEUE": "3"})

    with pytest.raises(StackError, match="runs with other values of CLIPSTACK_MAX_QUEUE"):
        other.up()

    assert stack.status()[0]


def test_second_stack_on_the_port_is_refused(stack):
    taken = {"CLIPSTACK_PORT": str(stack.settings.port), "CLIPSTACK_MODEL_DIR": str(stack.model_dir)}
    with tempfile.TemporaryDirectory() as folder:
        second = Stack(CHECKOUT, own_environment(Path(folder)) | taken)

        with pytest.raises(StackError, match="CLIPSTACK_PORT"):
            second.up()

        assert not second.processes()


def test_down_ends_every_process_and_up_starts_it_again(stack, monkeypatch):
    monkeypatch.setattr("deploy.stack.stack.ORPHANS_STOP_S", 1.0)
    # A process of the stack that Supervisor does not know and that ignores SIGTERM
    mark = {MARK: str(stack.run_dir)}
    stubborn = ["sh", "-c", "trap '' TERM; echo; while :; do sleep 1; done"]
    with subprocess.Popen(stubborn, env=os.environ | mark, stdout=subprocess.PIPE) as orphan:
        orphan.stdout.readline()
        assert orphan.pid in stack.processes()
        started = time.monotonic()

        stack.down()

        assert orphan.wait(5) == -signal.SIGKILL
        assert time.monotonic() - started < STOP_S / 2
    assert stack.processes() == {}
    assert command(stack, "status").returncode == 3
    stack.down()  # a second `down` changes nothing

    stack.up()

    assert stack.status()[0]


def test_failed_start_shows_logs_and_stops():
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(CHECKOUT / "triton_repo" / "models", f"{folder}/models")
        for weights in Path(folder).glob("models/camera_motion/*/model.xml"):
            weights.write_text("this is no network")
        broken = Stack(CHECKOUT, own_environment(Path(folder), web_workers="1"))

        with pytest.raises(StackError, match="(?s)not ready after 5 s.*supervisord.log"):
            broken.up(timeout_s=5)

        assert broken.processes() == {}


def test_a_wrong_setting_is_named_before_anything_starts():
    answer = subprocess.run(
        [CHECKOUT / ".venv/bin/python", "-m", "deploy.stack", "up"],
        cwd=CHECKOUT,
        env=os.environ | {"CLIPSTACK_PORT": "eighty"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert answer.returncode == 1 and "CLIPSTACK_PORT='eighty'" in answer.stderr


def test_settings_of_start_are_kept_beside_it(stack):
    kept = json.loads((stack.run_dir / "settings.json").read_text())

    assert kept == stack.settings.environment()
