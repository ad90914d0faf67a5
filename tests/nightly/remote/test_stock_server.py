"""The command of docs/remote-triton.md for NVIDIA's server image, with the server that is here."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from tritonclient.grpc import InferenceServerException

from app.inference.channel import connect
from deploy.stack.ports import free_ports
from deploy.watchdog.prober import send_canary
from tests.support.stacks import CHECKOUT
from tests.support.triton_server import wait_until_live

TRITON = CHECKOUT / ".runtime" / "triton"
MODEL = "camera_motion"


def command_of_the_page(models: Path, port: int, key: str) -> list[str]:
    page = (CHECKOUT / "docs" / "remote-triton.md").read_text()
    (text,) = re.findall(r"    (tritonserver --model-repository.*?)\n```", page, re.S)
    text = text.replace("\\\n", " ")
    here = {
        "/opt/tritonserver/backends": str(TRITON / "backends"),
        "=/models": f"={models}",
        "$KEY": key,
        "8001": str(port),
        "0.0.0.0": "127.0.0.1",
    }
    for there, value in here.items():
        assert there in text
        text = text.replace(there, value)
    return [str(TRITON / "bin" / "tritonserver"), *shlex.split(text)[1:]]


def test_backend_and_key_work_with_the_flags_of_the_page(tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "triton_repo" / "models" / MODEL, tmp_path / "models" / MODEL)
    (port,) = free_ports(1)
    environment = os.environ | {
        "LD_LIBRARY_PATH": f"{TRITON / 'lib'}:{sysconfig.get_config_var('LIBDIR')}",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    with (tmp_path / "log").open("wb") as log:
        command = command_of_the_page(tmp_path / "models", port, "secret")
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        with connect(f"127.0.0.1:{port}", "secret") as client:
            wait_until_live(client, server, tmp_path / "log")
            send_canary(client, MODEL, "", 20)
        with connect(f"127.0.0.1:{port}") as stranger, pytest.raises(InferenceServerException, match="restricted"):
            stranger.is_server_live()
    finally:
        server.terminate()
        server.wait(30)
