"""Compare this checkout with another one: both stacks run at once, and ApacheBench loads them in alternating turns.

python -m bench.tools.compare CHECKOUT [--clients 1,4,16] [--turns 5] [--seconds 8] [--own-models] [--output FILE]

Only `make up`, `make down`, the HTTP API and the programs' names of the other checkout are used, so it may be much
older. Both serve X3D-M in f32 from the same files; with --own-models each serves the models and the precision that its
users get. `--set NAME=VALUE` changes a setting of this side, `--set-other` one of the other side. An old checkout's
Triton listens on fixed TCP ports: `--set-other CLIPSTACK_TRITON_ADDRESS=127.0.0.1:9001` moves it.

Printed for each number of clients: medians of both sides, the ratio turn by turn with its smallest and largest value,
and the processor time of one clip by part of the stack. Takes about seven minutes.
"""

import argparse
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from app.settings import CHECKOUT
from bench import pages, processes, turns
from bench.environment import describe_machine
from bench.fixtures import networks, videos
from bench.fixtures.service import Service
from bench.profile import QUICK
from bench.stats import reasons
from deploy.stack.ports import free_ports

START_S = 900  # an old checkout may have to be set up first
IDLE_S = 10.0
FIGURES = {"per_s": "clips/s", "p50_ms": "p50, ms", "p99_ms": "p99, ms"}


@contextmanager
def running(checkout: Path, name: str, settings: dict[str, str]) -> Iterator[Service]:
    """Run the checkout's stack by `make up` in a temporary run folder, and stop it at the end."""
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="clipstack-compare-") as folder:
        Path(folder).chmod(0o755)  # the users of nginx and Triton must be able to pass through
        run_dir = Path(folder, "run")
        own = {"CLIPSTACK_PORT": str(port), "CLIPSTACK_RUN_DIR": str(run_dir)}
        make = partial(subprocess.run, cwd=checkout, env=os.environ | own | settings, check=True, timeout=START_S)
        try:
            make(["make", "--silent", "up"], stdout=subprocess.DEVNULL)
            supervisord = int((run_dir / "supervisord.pid").read_text())
            yield Service(name, f"http://127.0.0.1:{port}/v1/classify", supervisord)
        finally:
            make(["make", "--silent", "down"], stdout=subprocess.DEVNULL)


def idle(sides: list[Service]) -> dict[str, dict[str, float]]:
    """Return the share of one core, in per cent, that each part uses without requests, and all."""
    before = [processes.cpu_of_session(side.session) for side in sides]
    time.sleep(IDLE_S)
    used = [processes.cpu_seconds_by_part(side.session, used) for side, used in zip(sides, before, strict=True)]
    return {
        name: {part: 100 * used_s / IDLE_S for part, used_s in (*by_part.items(), ("all", by_part.total()))}
        for name, by_part in zip(("ours", "theirs"), used, strict=True)
    }


def table(result: dict[str, Any]) -> str:
    """Return all figures as two Markdown tables."""
    rows = []
    for clients, row in result["clients"].items():
        for figure, words in FIGURES.items():
            cells = [f"{row[figure][side]['median']:.4g}" if row[figure][side] else "–" for side in ("ours", "theirs")]
            ratio = row[figure].get("ratio")
            cells += [f"{ratio['median']:.3f}", f"{ratio['least']:.3f}–{ratio['most']:.3f}"] if ratio else ["–", ""]
            rows.append([clients, words, *cells])
    costs = {clients: row["cpu_ms"] for clients, row in result["clients"].items()}
    parts = sorted({part for row in costs.values() for side in row.values() for part in side} - {"all"})
    head = ["CPU, this checkout / the other", *(f"ms a clip, {count} clients" for count in costs), "idle, % of a core"]
    cpu = []
    for part in (*parts, "all"):
        pairs = [[row[side].get(part, 0.0) for side in ("ours", "theirs")] for row in (*costs.values(), result["idle"])]
        cpu.append([part, *(f"{ours:.1f} / {theirs:.1f}" for ours, theirs in pairs)])
    figures = pages.table(("clients", "what", "this checkout", "the other", "ratio", ""), "rlrrrl", rows)
    return f"{figures}\n{pages.table(head, 'l' + 'r' * (len(costs) + 1), cpu)}"


def pinned() -> dict[str, str]:
    """Return settings that serve X3D-M in f32, which every version of the engine knows."""
    networks.remove_outdated()
    models = networks.repository(networks.VIDEO, "f32")
    return {"CLIPSTACK_MODEL_DIR": str(models), "CLIPSTACK_MODEL": networks.VIDEO}


def settings(words: list[str]) -> dict[str, str]:
    """Return the settings written as NAME=VALUE."""
    return dict(word.split("=", 1) for word in words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="the other checkout")
    parser.add_argument("--clients", type=lambda text: [int(word) for word in text.split(",")], default=[1, 4, 16])
    parser.add_argument("--turns", type=int, default=5, help="of each side with each number of clients")
    parser.add_argument("--seconds", type=float, default=8, help="of a turn")
    parser.add_argument("--clip", type=Path, default=None)
    parser.add_argument("--own-models", action="store_true", help="each checkout's default model and precision")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--set-other", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--output", type=Path, help="file for all figures as JSON")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops the services, as Ctrl-C does
    clip = arguments.clip or videos.reference().path
    result: dict[str, Any] = {"machine": describe_machine(), "clip": clip.name, "load_before": os.getloadavg()[0]}
    profile = QUICK._replace(turns=arguments.turns, seconds=arguments.seconds)
    with ExitStack() as stacks:
        common = {} if arguments.own_models else pinned()
        checkouts = (CHECKOUT, "this", arguments.set), (arguments.checkout, "other", arguments.set_other)
        sides = [stacks.enter_context(running(path, name, common | settings(own))) for path, name, own in checkouts]
        result["precision"] = {side.name: side.answer(clip).precision or "not reported" for side in sides}
        print(f"precision: {result['precision']}", flush=True)
        result["idle"] = idle(sides)
        result["clients"] = {}
        for clients in arguments.clients:
            both = turns.measure(sides, clip, clients, profile)
            if both is None:
                print(f"{clients} clients: left out, a turn would be longer than {turns.LONGEST_TURN_S:.0f} s")
                continue
            row = turns.comparison(both[sides[0]], both[sides[1]], clip)
            result["clients"][str(clients)] = row
            print(f"{clients} clients: measured, failed: {row['failed']}", *reasons(row), flush=True)
    print("\n" + table(result))
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
