"""Triton for measurements, started by the stack's own command on free ports in its own run folder."""

import os
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes.util import find_library
from pathlib import Path

from app.settings import CHECKOUT, Settings
from deploy.stack.launch import TRITON

START_S = 400.0  # on a GPU every model measures its layouts at its first start
LIBPYTHON = TRITON.parent / "libpython"  # in a bundle, for a machine without its own


class ServerError(Exception):
    """Triton does not start or does not serve a model; the message ends with its log."""


def missing() -> str | None:
    """Return why Triton cannot be started here, or None."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not (TRITON / "bin" / "tritonserver").exists():
        return "there is no Triton in .runtime/triton: `make setup`, or unpack the bundle"
    library = f"libpython{python}.so.1.0"
    stub = (TRITON / "backends" / "python" / "triton_python_backend_stub").read_bytes()
    if library.encode() not in stub:
        return f"its stub is not one of Python {python}"
    if not _has_libpython(python) and not (LIBPYTHON / library).exists():
        return f"there is no {library} on this machine, and the stub needs it"
    return None


def _has_libpython(python: str) -> bool:
    own = Path(sysconfig.get_config_var("LIBDIR") or "/nowhere") / f"libpython{python}.so.1.0"
    return own.exists() or bool(find_library(f"python{python}"))


@contextmanager
def running_triton(
    models: Path, run_dir: Path, batch: int, precision: str, module: Sequence[str] = ("deploy.stack.launch", "triton")
) -> Iterator[str]:
    """Run Triton with all models loaded and yield its address; `module` starts it.

    Raises:
        ServerError: Triton does not start.
    """
    for name in ("triton", "gpu"):
        (run_dir / name).mkdir(parents=True, exist_ok=True)
    for name, target in (("models", models), ("backends", TRITON / "backends")):
        (run_dir / "triton" / name).symlink_to(target)
    environment = os.environ | {
        "CLIPSTACK_RUN_DIR": str(run_dir),
        "CLIPSTACK_MODEL_DIR": str(models),
        "CLIPSTACK_TRITON_ADDRESS": "",
        "CLIPSTACK_TRITON_METRICS_PORT": "",
        "CLIPSTACK_GPU_BATCH": str(batch),
        "CLIPSTACK_GPU_PRECISION": precision,
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "PATH": f"{python_for_stub(run_dir / 'python')}:{os.environ['PATH']}",
    }
    if not _has_libpython(f"{sys.version_info.major}.{sys.version_info.minor}"):
        paths = (environment.get("LD_LIBRARY_PATH"), str(LIBPYTHON))
        environment["LD_LIBRARY_PATH"] = ":".join(filter(None, paths))
    log = run_dir / "triton.log"
    with log.open("wb") as out:
        command = [sys.executable, "-m", *module]
        server = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=out, stderr=out)
    try:
        address = Settings.from_environment(environment).triton_target
        _wait(address, server, log)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def python_for_stub(folder: Path) -> Path:
    """Create a Python with the same import path as this one and return its folder.

    Triton's stub uses the first python3 on PATH with its packages, and ignores PYTHONPATH. Without this it would import
    the machine's NumPy instead of the bundle's.
    """
    venv.create(folder, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(folder)}))
    own = [path for path in sys.path if Path(path).is_dir() and "lib-dynload" not in path]
    packages.joinpath("clipstack.pth").write_text("".join(f"{path}\n" for path in own))
    return folder / "bin"


def _wait(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    from tritonclient.grpc import InferenceServerClient
    from tritonclient.utils import InferenceServerException

    deadline = time.monotonic() + START_S
    with InferenceServerClient(address) as client:
        while time.monotonic() < deadline and server.poll() is None:
            try:
                if client.is_server_live():  # the port opens once the last model has loaded or failed
                    if unready := [m.name for m in client.get_model_repository_index().models if m.state != "READY"]:
                        raise ServerError(f"Triton does not serve {unready}:\n{_tail(log)}")
                    return
            except InferenceServerException:
                time.sleep(0.2)
    raise ServerError(f"Triton does not start:\n{_tail(log)}")


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(line for line in lines if line[:1] not in "|+")[-4000:]  # without its tables


def placing(log: Path) -> str:
    """Return what the start printed about GPUs and models, before Triton's own lines."""
    return log.read_text(errors="replace").split("\nI")[0][:1500]
