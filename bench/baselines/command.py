"""Command line that all baselines share."""

import argparse
import os
import sys

CORES = len(os.sched_getaffinity(0))


def parse(about: str | None) -> argparse.Namespace:
    """Parse the command line and export its values as environment variables for the workers."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--model", default="x3d_m", help="folder of .runtime/bench/networks")
    parser.add_argument("--workers", type=int, default=CORES)
    parser.add_argument("--precision", default="", help="of the engine; by default the library's own choice")
    parser.add_argument("--triton", default="127.0.0.1:8000", help="Triton's address, where it is used")
    arguments = parser.parse_args()
    os.environ |= {
        "BASELINE_MODEL": arguments.model,
        "BASELINE_PRECISION": arguments.precision,
        "BASELINE_TRITON": arguments.triton,
    }
    return arguments


def gunicorn(arguments: argparse.Namespace, application: str, *words: str) -> None:
    """Replace this process by gunicorn with the application, on loopback."""
    command = [sys.executable, "-m", "gunicorn", "--workers", str(arguments.workers), "--timeout", "300"]
    command += ["--bind", f"127.0.0.1:{arguments.port}", "--worker-tmp-dir", "/dev/shm", "--no-control-socket", *words]
    os.execv(sys.executable, [*command, application])
