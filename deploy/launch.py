"""The last step before a program of the stack runs: its folder, its environment, its command line.

python -m deploy.launch nginx|web|jobs|triton       (Supervisor does; settings come from the environment)
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from app.settings import CHECKOUT, Settings
from deploy import gpu_models, gpus, processes
from deploy.places import program, temporary

TRITON = CHECKOUT / ".runtime" / "triton"
EXIT_TIMEOUT_S = 10  # Triton waits this long for inferences under way; Supervisor waits longer


def nginx(settings: Settings) -> list[str]:
    """nginx in the foreground, after a killed predecessor's workers and unfinished uploads are gone."""
    if group := processes.nginx_group(settings.run_dir):
        # workers outlive a killed master and keep the port
        processes.end([pid for pid in processes.of_stack(settings.run_dir) if processes.group_of(pid) == group], 2)
    for upload in (settings.run_dir / "uploads").iterdir():
        upload.unlink(missing_ok=True)  # web removes its own meanwhile
    user = os.environ["CLIPSTACK_RUN_AS"]
    directives = "daemon off;" + (f" user {user};" if os.geteuid() == 0 else "")
    # -e: else nginx opens Debian's log file before it reads where ours is
    config = settings.run_dir / "nginx" / "nginx.conf"
    return [program("nginx"), "-e", "stderr", "-c", str(config), "-g", directives]


def web(settings: Settings) -> list[str]:
    """Gunicorn's master, after what killed workers left is gone; the rest stands in deploy/gunicorn.conf.py."""
    for left in temporary(settings.run_dir).glob("pymp-*"):
        shutil.rmtree(left, ignore_errors=True)
    for upload in (settings.run_dir / "uploads").glob("body-*"):  # nginx's own have numbers as names
        upload.unlink(missing_ok=True)
    os.chdir(CHECKOUT)
    config = CHECKOUT / "deploy" / "gunicorn.conf.py"
    return [sys.executable, "-m", "gunicorn", "-c", str(config), "app.wsgi:application"]


def jobs(settings: Settings) -> list[str]:
    """The job worker."""
    os.chdir(CHECKOUT)
    return [sys.executable, "-m", "app.jobs"]


def triton(settings: Settings) -> list[str]:
    """Triton's server, started in a folder of its own from which the models and the backend are reached."""
    libraries = (str(TRITON / "lib"), sysconfig.get_config_var("LIBDIR"), os.environ.get("LD_LIBRARY_PATH"))
    os.environ["LD_LIBRARY_PATH"] = ":".join(filter(None, libraries))
    repository = model_repository(settings)
    # Relative paths: this server hands them to a shell without quotes, so a space in one would break it
    os.chdir(settings.run_dir / "triton")
    host, _, port = settings.triton_address.rpartition(":")
    for left in Path("/dev/shm").glob(f"triton-{port}-*"):
        left.unlink(missing_ok=True)  # of a server that was killed together with its backend
    return [
        str(TRITON / "bin" / "tritonserver"),
        f"--model-repository={repository}",
        "--backend-directory=backends",
        "--model-control-mode=explicit",
        "--load-model=*",
        "--exit-on-error=false",  # one broken model must not take the others away
        "--disable-auto-complete-config",  # it would start each backend twice
        "--allow-http=false",
        f"--grpc-address={host}",
        f"--grpc-port={port}",
        "--allow-metrics=true",
        "--metrics-address=127.0.0.1",
        f"--metrics-port={settings.triton_metrics_port}",
        "--allow-gpu-metrics=false",
        "--pinned-memory-pool-byte-size=0",  # of use to a GPU only
        "--enable-peer-access=false",
        f"--exit-timeout-secs={EXIT_TIMEOUT_S}",
        f"--backend-config=python,shm-region-prefix-name=triton-{port}-",
    ]


def model_repository(settings: Settings, driver: gpus.Driver | None = None) -> str:
    """Where Triton finds its models, seen from its folder: placed on the GPUs where there are any. Says which, once."""
    gpu_models.remove_all(settings.run_dir)
    try:
        found = gpus.usable(driver)
    except gpus.NoGpu as reason:
        print(f"no GPU, models run on the CPU: {reason}", flush=True)
        return "models"
    numbers = tuple(gpu.number for gpu in found)
    placing = gpu_models.Placing(
        numbers, settings.max_processes_per_gpu, settings.gpu_precision, settings.gpu_batch
    )  # fmt: skip
    print(
        "\n".join([*map(str, found), *gpu_models.write_all(settings.model_dir, settings.run_dir, placing)]), flush=True
    )
    return os.path.relpath(gpu_models.folder(settings.run_dir), settings.run_dir / "triton")


def main() -> None:
    command = {"nginx": nginx, "web": web, "jobs": jobs, "triton": triton}[sys.argv[1]](Settings.from_environment())
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
