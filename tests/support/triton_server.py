"""Start Triton alone, with the stack's own command."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tritonclient.grpc import InferenceServerClient, InferenceServerException

from app.inference.channel import connect
from app.settings import Settings
from deploy.stack.run_dir import make_triton_key

CHECKOUT = Path(__file__).resolve().parents[2]
BACKENDS = CHECKOUT / ".runtime" / "triton" / "backends"
LIVE_S = 120.0  # a few seconds, unless the machine is very busy
LET_GO_S = 10.0


@contextmanager
def running_triton(
    models: Path, folder: Path, address: str = "", backends: Path = BACKENDS, **tls: object
) -> Iterator[InferenceServerClient]:
    """Serve the model folders in `models`; every model is loaded, or has failed to.

    Args:
        models: A model repository.
        folder: For its run folder and its log.
        address: `host:port` to listen on TCP with a key; by default it has sockets.
        backends: The folder of its backends.
        tls: Files and a name for TLS: `ca`, `cert`, `key`, `name`.
    """
    home = folder / "run" / "triton"
    home.mkdir(parents=True)
    (home / "models").symlink_to(models)
    (home / "backends").symlink_to(backends)
    environment = (
        os.environ
        | {
            "CLIPSTACK_RUN_DIR": str(folder / "run"),
            "CLIPSTACK_MODEL_DIR": str(models),
            "CLIPSTACK_TRITON_ADDRESS": address,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        | {f"CLIPSTACK_TRITON_TLS_{name.upper()}": str(value) for name, value in tls.items()}
    )
    settings = Settings.from_environment(environment)
    if address:
        make_triton_key(settings)
    with (folder / "triton.log").open("wb") as log:
        command = [sys.executable, "-m", "deploy.stack.launch", "triton"]
        server = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=log, stderr=log)
    try:
        with connect(settings.triton_target, settings.triton_key, settings.triton_tls) as client:
            wait_until_live(client, server, folder / "triton.log")
            yield client
    finally:
        server.terminate()
        server.wait(30)


def wait_until_live(client: InferenceServerClient, server: subprocess.Popen[bytes], log: Path) -> None:
    """It listens after the last model is loaded or has failed to."""
    deadline = time.monotonic() + LIVE_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if client.is_server_live():
                return
        except InferenceServerException:
            time.sleep(0.1)
    raise TimeoutError(f"Triton is not live:\n{log.read_text(errors='replace')[-3000:]}")


def forget_region(client: InferenceServerClient, name: str) -> None:
    """Unregister a region of shared memory. Triton answers a request before it has let go of the region; it says so."""
    deadline = time.monotonic() + LET_GO_S
    while True:
        try:
            client.unregister_system_shared_memory(name)
            return
        except InferenceServerException as error:
            if "in use" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.01)
