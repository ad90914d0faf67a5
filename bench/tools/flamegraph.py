"""A flame graph of a process of the running stack, under load: where does its time go? Nothing is restarted for it.

python -m bench.tools.flamegraph web|decoder|triton [--seconds 20] [--output .runtime/profile-web.svg] [--clients 4]

Needs `make up` before, and the right to look into other processes (root, or the same user where ptrace is allowed).
The load is ApacheBench with a clip; py-spy reads the process's memory from outside and stops it for each
look, about a millisecond.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from app.settings import CHECKOUT
from bench.fixtures import servers, videos
from bench.load.ab import command
from bench.processes import command_line, cpu_s, part_of
from deploy.stack.stack import Stack

PARTS = {"web": "web", "decoder": "decoders", "triton": "model process"}
RATE = 100  # samples a second
LOOK_S = 1.5
MANY = 1_000_000  # requests: more than can be answered meanwhile


def busiest_first(pids: list[int], part: str) -> list[int]:
    """Return the processes of a part, the busiest first; masters were busy only at the start."""
    candidates = [pid for pid in pids if part_of(command_line(pid)) == part]
    before = {pid: cpu_s(pid) for pid in candidates}
    time.sleep(LOOK_S)
    return sorted(candidates, key=lambda pid: cpu_s(pid) - before[pid], reverse=True)


def record(pid: int, seconds: int, output: Path, gil: bool) -> None:
    """Write the flame graph of one process, with `gil` of Python code only; raise CalledProcessError on failure."""
    output.parent.mkdir(parents=True, exist_ok=True)
    spy = Path(sys.executable).with_name("py-spy")
    words = ["record", "--pid", str(pid), "--duration", str(seconds), "--rate", str(RATE)]
    subprocess.run(
        [str(spy), *words, "--threads", *(["--gil"] if gil else []), "--format", "flamegraph", "--output", str(output)],
        check=True,
    )


def main() -> int | str:
    """Record a flame graph under load; return 0 or an error message."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=PARTS, nargs="?", default="web")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--gil", action="store_true", help="Python code alone, not what it calls or waits for")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    output = arguments.output or CHECKOUT / ".runtime" / f"profile-{arguments.kind}.svg"
    stack = Stack()
    ready, status = stack.status()
    if not ready:
        return f"the stack does not run: `make up` first ({status.splitlines()[-1]})"
    side = servers.ours(stack)
    clip = videos.reference().path
    side.ask(clip)
    with subprocess.Popen(command(side.load(clip), arguments.clients, MANY), stdout=subprocess.DEVNULL) as ab:
        try:
            busiest = busiest_first(list(stack.processes()), PARTS[arguments.kind])
            if not busiest:
                return f"the stack has no process of {arguments.kind}"
            record(busiest[0], arguments.seconds, output, arguments.gil)
        except subprocess.CalledProcessError as error:
            return f"py-spy ended with status {error.returncode}; what it said stands above"
        finally:
            ab.terminate()
    print(f"{output}: process {busiest[0]}, {arguments.seconds} s under the load of {arguments.clients} clients")
    return 0


if __name__ == "__main__":
    sys.exit(main())
