"""Another user of the machine cannot steer Triton, and a Triton on TCP refuses calls without the key."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tritonclient.grpc import InferenceServerClient, InferenceServerException

from app.inference.channel import connect
from app.settings import CHECKOUT, GRPC_SOCKET, METRICS_SOCKET
from deploy.stack.ports import free_ports, listeners
from deploy.stack.stack import Stack
from tests.support import failing_model
from tests.support.other_users import connect_as
from tests.support.stack_state import pid_of
from tests.support.triton_server import running_triton

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start programs as another user")
STRANGER = "nobody"
LOAD_A_PROGRAM = """
import sys
from tritonclient.grpc import InferenceServerClient
with InferenceServerClient(sys.argv[1]) as triton:
    triton.load_model("evil", config='{"backend": "python"}', files={"file:1/model.py": b"raise SystemExit"})
"""


@AS_ROOT
@pytest.mark.parametrize("name", [GRPC_SOCKET, METRICS_SOCKET])
def test_another_user_cannot_connect_to_triton(stack: Stack, name: str) -> None:
    assert connect_as(STRANGER, stack.settings.triton_sockets / name) == "PermissionError"


@AS_ROOT
def test_another_user_cannot_load_a_model(stack: Stack) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOAD_A_PROGRAM, stack.settings.triton_target],
        cwd="/",
        env={"HOME": "/"},
        user=STRANGER,
        group="nogroup",
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0 and "Permission denied" in done.stderr
    with connect(stack.settings.triton_target) as triton:
        names = {model.name for model in triton.get_model_repository_index().models}
    assert names and "evil" not in names


def test_triton_listens_on_no_port(stack: Stack) -> None:
    assert [listener for listener in listeners() if listener.pid == pid_of(stack, "triton")] == []


@pytest.fixture(scope="module")
def on_tcp() -> Iterator[tuple[InferenceServerClient, str]]:
    """A Triton on TCP with one model: a client with its key, and its address."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    with tempfile.TemporaryDirectory(prefix="triton-") as folder:
        failing_model.write_model(Path(folder, "models", "failing"))
        with running_triton(Path(folder, "models"), Path(folder), address) as client:
            yield client, address


@pytest.mark.parametrize(
    "call",
    [
        lambda triton: triton.is_server_live(),
        lambda triton: triton.get_server_metadata(),
        lambda triton: triton.get_model_repository_index(),
        lambda triton: triton.load_model("failing"),
        lambda triton: triton.get_model_config("failing"),
        lambda triton: triton.get_inference_statistics(),
        lambda triton: triton.get_system_shared_memory_status(),
        lambda triton: triton.get_trace_settings(),
        lambda triton: triton.get_log_settings(),
    ],
    ids=["live", "metadata", "index", "load", "config", "statistics", "shared memory", "trace", "log"],
)
def test_triton_on_tcp_requires_the_key(on_tcp, call) -> None:
    friend, address = on_tcp
    call(friend)
    for key in ("", "0" * 64):
        with connect(address, key) as stranger, pytest.raises(InferenceServerException, match="protocol is restricted"):
            call(stranger)


def test_key_file_is_private(on_tcp, tmp_path) -> None:
    environment = os.environ | {"CLIPSTACK_RUN_DIR": str(tmp_path), "CLIPSTACK_TRITON_ADDRESS": "0.0.0.0:8001"}
    make = (
        "from app.settings import Settings; from deploy.stack.run_dir import make_triton_key as make;"
        "settings = Settings.from_environment(); make(settings); first = settings.triton_key; make(settings);"
        "assert settings.triton_key == first; print(first)"
    )
    keys = set()
    for name in ("one", "two"):
        environment["CLIPSTACK_TRITON_KEY_FILE"] = str(tmp_path / name / "key")
        done = subprocess.run(
            [sys.executable, "-c", make],
            cwd=CHECKOUT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        keys.add(done.stdout.strip())
        assert (tmp_path / name / "key").stat().st_mode & 0o777 == 0o600
    assert len(keys) == 2 and {len(key) for key in keys} == {64}
