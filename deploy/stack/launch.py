"""The last step before a program of the stack runs: its folder, its environment, its command line.

python -m deploy.stack.launch nginx|web|jobs|triton       (Supervisor does; settings come from the environment)
"""

from __future__ import annotations

import mmap
import os
import resource
import shutil
import sys
import sysconfig
from pathlib import Path

from app.metrics import multiprocess
from app.pipeline.readiness import expect
from app.settings import CHECKOUT, GRPC_SOCKET, METRICS_SOCKET, Settings
from deploy.gpu import discovery, placement
from deploy.stack import processes
from deploy.stack.places import crew, jobs_temporary, metrics, program, temporary, triton_regions

TRITON = CHECKOUT / ".runtime" / "triton"
# nginx and web go first: what they do for a request is short, and a refusal must not wait for an inference. Triton as
# the decoders of requests (app/decoding/worker.py); the decoders of jobs, for which nobody waits, twice as far behind.
NICE = {"triton": 5, "jobs": 5}
# Of web and jobs, which have dozens of threads: glibc gives each memory of its own (eight times as many pools as there
# are processors, of which none is taken back) and lets it keep seven freed pieces of each size. With that a worker's
# memory grew for an hour without a leak (docs/reliability.md); as Python's threads take turns, none of it saves time.
THREADS_MEMORY = {"MALLOC_ARENA_MAX": "2", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
# Of each of nginx's workers: twice its connections (nginx/nginx.conf), because an upload is a file too
NGINX_DESCRIPTORS = 2 * 8192 + 256
EXIT_TIMEOUT_S = 10  # Triton waits this long for inferences under way; Supervisor waits longer


def nginx(settings: Settings) -> list[str]:
    """nginx in the foreground, after a killed predecessor's workers and unfinished uploads are gone."""
    if groups := processes.nginx_groups(settings.run_dir):
        # workers outlive a killed master and keep the port
        processes.end([pid for pid in processes.of_stack(settings.run_dir) if processes.group_of(pid) in groups], 2)
    for upload in (settings.run_dir / "uploads").iterdir():
        upload.unlink(missing_ok=True)  # web removes its own meanwhile
    user = os.environ["CLIPSTACK_RUN_AS"]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors = NGINX_DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, NGINX_DESCRIPTORS)
    directives = f"daemon off; worker_rlimit_nofile {descriptors};"
    directives += f" user {user};" if os.geteuid() == 0 else ""
    # -e: else nginx opens Debian's log file before it reads where ours is
    config = settings.run_dir / "nginx" / "nginx.conf"
    return [program("nginx"), "-e", "stderr", "-c", str(config), "-g", directives]


def web(settings: Settings) -> list[str]:
    """Gunicorn's master, after what killed workers left is gone; the rest stands in deploy/gunicorn/config.py."""
    for left in temporary(settings.run_dir).glob("pymp-*"):
        shutil.rmtree(left, ignore_errors=True)
    for upload in (settings.run_dir / "uploads").glob("body-*"):  # nginx's own have numbers as names
        upload.unlink(missing_ok=True)
    expect(crew(settings.run_dir), settings.web_workers)
    _count_anew("web", settings)
    os.chdir(CHECKOUT)
    config = CHECKOUT / "deploy" / "gunicorn" / "config.py"
    return [sys.executable, "-m", "gunicorn", "-c", str(config), "app.wsgi:application"]


def jobs(settings: Settings) -> list[str]:
    """The job worker, after what a killed one left is gone."""
    folder = jobs_temporary(settings.run_dir)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.environ["TMPDIR"] = str(folder)
    _count_anew("jobs", settings)
    os.chdir(CHECKOUT)
    return [sys.executable, "-m", "app.jobs"]


def _count_anew(program: str, settings: Settings) -> None:
    """Only here, at the start of a master: its workers go on with the numbers of those before them."""
    multiprocess.clear(metrics(settings.run_dir), program)
    os.environ[multiprocess.VARIABLE] = str(metrics(settings.run_dir))


def triton(settings: Settings) -> list[str]:
    """Triton's server, started in a folder of its own from which the models and the backend are reached."""
    libraries = (str(TRITON / "lib"), sysconfig.get_config_var("LIBDIR"), os.environ.get("LD_LIBRARY_PATH"))
    os.environ["LD_LIBRARY_PATH"] = ":".join(filter(None, libraries))
    repository = model_repository(settings)
    # Relative paths: this server hands them to a shell without quotes, so a space in one would break it
    os.chdir(settings.run_dir / "triton")
    regions = triton_regions(settings.run_dir)
    for left in processes.unused(Path("/dev/shm").glob(f"{regions}*")):
        left.unlink(missing_ok=True)  # of a server that was killed together with its backend
    server = TRITON / "bin" / "tritonserver"
    return [
        str(server),
        f"--model-repository={repository}",
        "--backend-directory=backends",
        "--model-control-mode=explicit",
        "--load-model=*",
        "--exit-on-error=false",  # one broken model must not take the others away
        "--disable-auto-complete-config",  # it would start each backend twice
        "--allow-http=false",
        *_grpc_flags(settings),
        *_metrics_flags(settings),
        "--allow-gpu-metrics=false",
        "--pinned-memory-pool-byte-size=0",  # of use to a GPU only
        "--enable-peer-access=false",
        f"--exit-timeout-secs={EXIT_TIMEOUT_S}",
        *(["--allow-client-shm=true"] if mentions(server, "allow-client-shm") else []),  # off by default from 26.05 on
        f"--backend-config=python,shm-region-prefix-name={regions}",
    ]


def _grpc_flags(settings: Settings) -> list[str]:
    """Return the flags for where Triton takes calls.

    By default a socket in a folder that other users cannot enter. Whoever may call Triton can have it run code
    (`load_model` takes files), so on TCP every call needs the key of this installation.
    """
    if not settings.triton_address:
        return [f"--grpc-address={_socket(settings, GRPC_SOCKET).removesuffix(':1')}", "--grpc-port=1"]
    key = settings.triton_key
    if not key:
        raise SystemExit(f"there is no key in {settings.triton_key_path}, and Triton is to listen on TCP without one")
    from app.inference.channel import restriction  # with gRPC, which takes long to import and nobody else needs here

    host, _, port = settings.triton_address.rpartition(":")
    return [f"--grpc-address={host}", f"--grpc-port={port}", restriction(key)]


def _metrics_flags(settings: Settings) -> list[str]:
    """Return the flags for where Triton tells its numbers: a socket beside the other, or the port that was set."""
    if not settings.triton_metrics_port:
        address, port = _socket(settings, METRICS_SOCKET), 1  # which Triton does not add to this one's name
    else:
        address, port = settings.triton_address.rpartition(":")[0] or "127.0.0.1", settings.triton_metrics_port
    return ["--allow-metrics=true", f"--metrics-address={address}", f"--metrics-port={port}"]


def _socket(settings: Settings, name: str) -> str:
    """Return the address of a socket, seen from Triton's folder; a killed Triton's file of that name is removed."""
    settings.triton_sockets.mkdir(exist_ok=True)
    settings.triton_sockets.chmod(0o700)
    (settings.triton_sockets / name).unlink(missing_ok=True)
    return f"unix:../{settings.triton_sockets.name}/{name}"


def mentions(program: Path, words: str) -> bool:
    """Whether `words` are in a program: which flags it knows it says otherwise only in a text of many pages."""
    with program.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return text.find(words.encode()) >= 0


def model_repository(settings: Settings, driver: discovery.Driver | None = None) -> str:
    """Where Triton finds its models, seen from its folder: placed on the GPUs where there are any. Says which, once."""
    placement.remove_all(settings.run_dir)
    try:
        found = discovery.usable(driver)
    except discovery.NoGpu as reason:
        print(f"no GPU, models run on the CPU: {reason}", flush=True)
        return "models"
    numbers = tuple(gpu.number for gpu in found)
    placing = placement.GpuPlacement(
        numbers, settings.max_processes_per_gpu, settings.gpu_precision, settings.gpu_batch
    )  # fmt: skip
    print(
        "\n".join([*map(str, found), *placement.write_all(settings.model_dir, settings.run_dir, placing)]), flush=True
    )
    return os.path.relpath(placement.folder(settings.run_dir), settings.run_dir / "triton")


def main() -> None:
    name = sys.argv[1]
    command = {"nginx": nginx, "web": web, "jobs": jobs, "triton": triton}[name](Settings.from_environment())
    os.nice(NICE.get(name, 0))
    if name in ("web", "jobs"):
        for variable, value in THREADS_MEMORY.items():
            os.environ.setdefault(variable, value)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
