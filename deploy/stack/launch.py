"""Launcher of the stack's programs: prepares folders and environment, then executes the program.

Usage: python -m deploy.stack.launch nginx|web|jobs|triton|watchdog|fetch|webhooks

Supervisor runs it; the settings come from the environment.
"""

import mmap
import os
import resource
import shutil
import sys
import sysconfig
import time
from pathlib import Path

from app.metrics import multiprocess
from app.pipeline.readiness import expect
from app.settings import CHECKOUT, GRPC_SOCKET, METRICS_SOCKET, Settings
from deploy.gpu import discovery, driver_link, placement
from deploy.stack import fetcher, paths, processes

TRITON = CHECKOUT / ".runtime" / "triton"
# nginx and web run at the highest priority: their work per request is short, and a refusal must not wait for an
# inference. Triton has the priority of the decoders of requests (app/decoding/worker.py); decoders of jobs are niced
# twice as far, because no client waits for them.
NICE = {"triton": 5, "jobs": 5, "fetch": 5}
# Limit glibc's per-thread arenas and caches in web and jobs, which have dozens of threads. The defaults (8 arenas per
# CPU, 7 cached chunks per size) let a worker's memory grow for an hour (docs/reliability.md), and under the GIL they
# save no time.
MALLOC_LIMITS = {"MALLOC_ARENA_MAX": "2", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
# Descriptors of one nginx worker: two per connection (nginx/nginx.conf), because an upload opens a file too.
NGINX_DESCRIPTORS = 2 * 8192 + 256
OTLP_PATH = "/v1/traces"
EXIT_TIMEOUT_S = 10  # Triton waits this long for running inferences; Supervisor waits longer
# Longest delay of the programs that have nothing to do before Triton answers. Without it they would take the CPU from
# Triton and web, and the first answer would come half a second later on two cores.
TRITON_WAIT_S, TRITON_POLL_S = 5.0, 0.05


def nginx(settings: Settings) -> list[str]:
    """Return the command for nginx in the foreground.

    First it kills the workers that a killed master left behind, and removes unfinished uploads.
    """
    processes.end(processes.of_nginx(settings.run_dir), 2)  # workers outlive a killed master and keep the port
    for upload in (settings.run_dir / "uploads").iterdir():
        upload.unlink(missing_ok=True)  # web may remove its own at the same time
    user = os.environ["CLIPSTACK_RUN_AS"]
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors = NGINX_DESCRIPTORS if limit == resource.RLIM_INFINITY else min(limit, NGINX_DESCRIPTORS)
    directives = f"daemon off; worker_rlimit_nofile {descriptors};"
    directives += f" user {user};" if os.geteuid() == 0 else ""
    # -e: otherwise nginx opens Debian's log file before it reads our configuration.
    config = settings.run_dir / "nginx" / "nginx.conf"
    return [paths.program("nginx"), "-e", "stderr", "-c", str(config), "-g", directives]


def web(settings: Settings) -> list[str]:
    """Return the command for gunicorn's master, after removing the leftovers of killed workers.

    All other options are in deploy/gunicorn/config.py.
    """
    for folder in (settings.run_dir / paths.TEMPORARY_FOLDER).glob("pymp-*"):
        shutil.rmtree(folder, ignore_errors=True)
    for upload in (settings.run_dir / "uploads").glob("body-*"):  # nginx's own files have numeric names
        upload.unlink(missing_ok=True)
    expect(settings.run_dir / paths.WORKER_STATUS, settings.web_workers)
    _reset_metrics("web", settings)
    os.chdir(CHECKOUT)
    config = CHECKOUT / "deploy" / "gunicorn" / "config.py"
    return [sys.executable, "-m", "gunicorn", "-c", str(config), "app.wsgi:application"]


def jobs(settings: Settings) -> list[str]:
    """Return the command for the job worker, after removing the leftovers of a killed one and waiting for Triton."""
    folder = settings.run_dir / paths.JOBS_TEMPORARY_FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.environ["TMPDIR"] = str(folder)
    _reset_metrics("jobs", settings)
    os.chdir(CHECKOUT)
    _wait_for_triton(settings)
    return [sys.executable, "-m", "app.job_worker"]


def watchdog(settings: Settings) -> list[str]:
    """Return the command for the watchdog, after waiting for Triton."""
    _wait_for_triton(settings)
    return [sys.executable, "-m", "deploy.watchdog"]


def _wait_for_triton(settings: Settings) -> None:
    """Return when the socket of this machine's Triton exists, after `TRITON_WAIT_S` at the latest."""
    end = time.monotonic() + TRITON_WAIT_S
    while not settings.triton_address and time.monotonic() < end:
        if (settings.triton_sockets / GRPC_SOCKET).exists():
            return
        time.sleep(TRITON_POLL_S)


def webhooks(settings: Settings) -> list[str]:
    """Return the command for the program that sends webhooks, after creating their secret if there is none."""
    from app.jobs.webhooks import signing  # Triton's container does not have this module

    if not settings.webhook_secret_file:
        signing.create(settings.webhook_secret_path)
    os.chdir(CHECKOUT)
    return [sys.executable, "-m", "app.jobs.webhooks"]


def _reset_metrics(program: str, settings: Settings) -> None:
    """Reset the metrics of `program` when its master starts; workers continue their predecessors' counts."""
    folder = settings.run_dir / paths.METRICS_FOLDER
    multiprocess.clear(folder, program)
    os.environ[multiprocess.VARIABLE] = str(folder)


def triton(settings: Settings) -> list[str]:
    """Return the command for Triton's server.

    The server runs in its own folder, from which it reaches the models and the backends by relative paths.
    """
    libraries = (str(TRITON / "lib"), sysconfig.get_config_var("LIBDIR"), os.environ.get("LD_LIBRARY_PATH"))
    os.environ["LD_LIBRARY_PATH"] = ":".join(filter(None, libraries))
    repository = model_repository(settings)
    os.environ["CLIPSTACK_GPU_CACHE"] = str(settings.run_dir / "gpu")  # layouts that models chose on this GPU
    if placement.folder(settings.run_dir).exists():
        os.environ["LD_LIBRARY_PATH"] += f":{driver_link.make(settings.run_dir)}"
    # Relative paths: the server passes them to a shell without quotes, so a space would break them.
    os.chdir(settings.run_dir / "triton")
    regions = paths.triton_regions(settings.run_dir)
    for file in processes.unused(Path("/dev/shm").glob(f"{regions}*")):
        file.unlink(missing_ok=True)  # left by a server that was killed together with its backend
    server = TRITON / "bin" / "tritonserver"
    return [
        str(server),
        f"--model-repository={repository}",
        "--backend-directory=backends",
        "--model-control-mode=explicit",
        "--load-model=*",
        "--exit-on-error=false",  # one broken model must not stop the others
        "--disable-auto-complete-config",  # auto-complete would start each backend twice
        "--allow-http=false",
        *_grpc_flags(settings),
        *_metrics_flags(settings),
        *_trace_flags(settings),
        "--allow-gpu-metrics=false",
        # Clips do not go through these pools. That on the GPUs keeps its default size: 0 would disable it.
        "--pinned-memory-pool-byte-size=0",
        "--enable-peer-access=false",
        f"--exit-timeout-secs={EXIT_TIMEOUT_S}",
        *(["--allow-client-shm=true"] if mentions(server, "allow-client-shm") else []),  # off by default from 26.05 on
        f"--backend-config=python,shm-region-prefix-name={regions}",
    ]


def _grpc_flags(settings: Settings) -> list[str]:
    """Return the flags for the address on which Triton takes calls.

    The default is a socket in a folder that other users cannot enter. A client that may call Triton can make it run
    code (`load_model` takes files), so on TCP every call needs this installation's key.
    """
    if not settings.triton_address:
        return [f"--grpc-address={_socket(settings, GRPC_SOCKET).removesuffix(':1')}", "--grpc-port=1"]
    key = settings.triton_key
    if not key:
        raise SystemExit(f"Triton must not listen on TCP without a key: write one to {settings.triton_key_path}")
    from app.inference.channel import server_flags  # imports gRPC, which is slow and needed only here

    host, _, port = settings.triton_address.rpartition(":")
    return [f"--grpc-address={host}", f"--grpc-port={port}", *server_flags(key, settings.triton_tls)]


def _metrics_flags(settings: Settings) -> list[str]:
    """Return the flags for Triton's metrics: a socket next to the gRPC one, or the configured port."""
    if not settings.triton_metrics_port:
        address, port = _socket(settings, METRICS_SOCKET), 1  # unlike for gRPC, Triton does not append this number
    else:
        address, port = settings.triton_address.rpartition(":")[0] or "127.0.0.1", settings.triton_metrics_port
    return ["--allow-metrics=true", f"--metrics-address={address}", f"--metrics-port={port}"]


def _trace_flags(settings: Settings) -> list[str]:
    """Return the flags for Triton's own spans: of the requests whose headers pass a span on, and of no others."""
    if not settings.otel_endpoint:
        return []
    url = settings.otel_endpoint.rstrip("/") + OTLP_PATH
    values = ("mode=opentelemetry", "level=TIMESTAMPS", "rate=0", f"opentelemetry,url={url}")
    return [f"--trace-config={value}" for value in (*values, "opentelemetry,resource=service.name=clipstack-triton")]


def _socket(settings: Settings, name: str) -> str:
    """Return the address of a socket relative to Triton's folder, and remove the file that a killed Triton left."""
    settings.triton_sockets.mkdir(exist_ok=True)
    settings.triton_sockets.chmod(0o700)
    (settings.triton_sockets / name).unlink(missing_ok=True)
    return f"unix:../{settings.triton_sockets.name}/{name}"


def mentions(program: Path, text: str) -> bool:
    """Return whether the binary `program` contains `text`.

    This tells whether a server knows a flag faster than parsing its many pages of help.
    """
    with program.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(text.encode()) >= 0


def model_repository(settings: Settings, driver: discovery.Driver | None = None) -> str:
    """Return the path of Triton's model repository relative to its folder, and print where models run.

    With GPUs it is the folder of placed models, otherwise the model folder itself.
    """
    placement.remove_all(settings.run_dir)
    try:
        gpus = discovery.usable(driver)
    except discovery.NoGpu as reason:
        print(f"no GPU, models run on the CPU: {reason}", flush=True)
        return "models"
    gpu_placement = placement.GpuPlacement(
        gpus=tuple(gpu.number for gpu in gpus),
        processes=settings.max_processes_per_gpu,
        precision=settings.gpu_precision,
        batch=settings.gpu_batch,
    )
    lines = placement.write_all(settings.model_dir, settings.run_dir, gpu_placement)
    print("\n".join([*map(str, gpus), *lines]), flush=True)
    return os.path.relpath(placement.folder(settings.run_dir), settings.run_dir / "triton")


def main() -> None:
    """Prepare the program named on the command line and replace this process with it."""
    name = sys.argv[1]
    programs = {
        "nginx": nginx,
        "web": web,
        "jobs": jobs,
        "triton": triton,
        "watchdog": watchdog,
        "fetch": fetcher.prepare,
        "webhooks": webhooks,
    }
    command = programs[name](Settings.from_environment())
    if name != "fetch":
        fetcher.forget_credentials()
    os.nice(NICE.get(name, 0))
    if name in ("web", "jobs"):
        for variable, value in MALLOC_LIMITS.items():
            os.environ.setdefault(variable, value)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
