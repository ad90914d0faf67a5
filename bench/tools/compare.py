"""Compare this checkout with another one: both stacks run at once, and ApacheBench loads them in alternating turns.

python -m bench.tools.compare CHECKOUT [--clients 1,4,16] [--turns 5] [--seconds 8] [--own-models] [--output FILE]

Only `make up`, `make down`, the HTTP API and the programs' names of the other checkout are used, so it may be much
older. Both serve X3D-M in f32 from the same files; with --own-models each serves the models and the precision that its
users get. `--set NAME=VALUE` changes a setting of this side, `--set-other` one of the other side. An old checkout's
Triton listens on fixed TCP ports: `--set-other CLIPSTACK_TRITON_ADDRESS=127.0.0.1:9001` moves it.

Printed for each number of clients: medians of both sides, the ratio turn by turn with its smallest and largest value,
and the processor time of one clip by part of the stack. Takes about seven minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from app.settings import CHECKOUT
from bench import processes
from bench.environment import described
from bench.fixtures import networks, servers, videos
from bench.load import ab
from bench.profile import in_turns
from bench.stats import compared
from deploy.stack.ports import free_ports

START_S = 900  # an old checkout may have to be set up first
IDLE_S = 10.0
FIGURES = {"per_s": "clips/s", "p50_ms": "p50, ms", "p99_ms": "p99, ms"}


@dataclass
class RunningCheckout:
    """A running stack of a checkout, and the load to send to it."""

    service: servers.Service
    supervisord: int
    turns: list[ab.LoadResult] = field(default_factory=list)
    cpu_ms: list[Counter[str]] = field(default_factory=list)  # of one clip, by part

    def run_turn(self, load: ab.Load, clients: int, requests: int) -> None:
        """Send the requests and keep the result and the processor time of a clip."""
        before = processes.ticks_of_session(self.supervisord)
        result = ab.run(load, clients, requests)
        used = processes.cpu_seconds_by_part(self.supervisord, before)
        self.turns.append(result)
        if result.answered:
            self.cpu_ms.append(Counter({part: 1e3 * used_s / result.answered for part, used_s in used.items()}))


@contextmanager
def running(checkout: Path, name: str, settings: dict[str, str]) -> Iterator[RunningCheckout]:
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
            members = partial(processes.session_members, supervisord)
            service = servers.Service(name, f"http://127.0.0.1:{port}/v1/classify", members)
            yield RunningCheckout(service, supervisord)
        finally:
            make(["make", "--silent", "down"], stdout=subprocess.DEVNULL)


@contextmanager
def same_models() -> Iterator[dict[str, str]]:
    """Yield settings that serve a copy of X3D-M in f32, which every version of the engine knows."""
    with tempfile.TemporaryDirectory(prefix="clipstack-compare-") as folder:
        Path(folder).chmod(0o755)
        models = shutil.copytree(networks.repository(networks.VIDEO), Path(folder, "models"))
        config = models / networks.VIDEO / "config.pbtxt"
        pinned = re.sub(r'(key: "precision" value: \{ string_value: )"\w+"', r'\1"f32"', config.read_text())
        config.write_text(pinned)
        yield {"CLIPSTACK_MODEL_DIR": str(models), "CLIPSTACK_MODEL": networks.VIDEO}


def measured(sides: list[RunningCheckout], clip: Path, clients: int, turns: int, seconds: float) -> dict[str, Any]:
    """Measure both sides in turns and return the figures."""
    loads = [side.service.load(clip) for side in sides]
    trials = [ab.run(load, clients, 2 * clients).per_s for load in loads]
    requests = max(2 * clients, round(seconds * min(trials)))
    for side in sides:
        side.turns.clear()
        side.cpu_ms.clear()
    in_turns(turns, *(partial(side.run_turn, load, clients, requests) for side, load in zip(sides, loads, strict=True)))
    labels = [{"clip": side.service.label(clip)} for side in sides]
    this, other = ({figure: [getattr(turn, figure) for turn in side.turns] for figure in FIGURES} for side in sides)
    result: dict[str, Any] = {figure: compared(this[figure], other[figure], labels) for figure in FIGURES}
    result["requests_a_turn"] = requests
    result["failed"] = {side.service.name: sum(turn.failed for turn in side.turns) for side in sides}
    result["cpu_ms_per_clip"] = {side.service.name: medians(side.cpu_ms) for side in sides}
    return result


def medians(rows: list[Counter[str]]) -> dict[str, float]:
    """Return the median of each part over the turns, and of their sum as "all"."""
    parts = sorted({part for row in rows for part in row})
    by_part = {part: round(median(row[part] for row in rows), 2) for part in parts}
    return by_part | {"all": round(median(row.total() for row in rows), 2)}


def idle(sides: list[RunningCheckout]) -> dict[str, dict[str, float]]:
    """Return the share of one core, in per cent, that each part uses without requests, and of all."""
    before = [processes.ticks_of_session(side.supervisord) for side in sides]
    time.sleep(IDLE_S)
    used = [processes.cpu_seconds_by_part(side.supervisord, ticks) for side, ticks in zip(sides, before, strict=True)]
    shares = [Counter({part: 100 * used_s / IDLE_S for part, used_s in by_part.items()}) for by_part in used]
    return {side.service.name: medians([share]) for side, share in zip(sides, shares, strict=True)}


def table(result: dict[str, Any]) -> str:
    """Return all figures as two Markdown tables."""
    lines = ["| clients | what | this checkout | the other | ratio | |", "|--:|---|--:|--:|--:|---|"]
    for clients, row in result["clients"].items():
        for figure, words in FIGURES.items():
            cells = [f"{row[figure][side]['median']:.4g}" if row[figure][side] else "–" for side in ("ours", "theirs")]
            ratio = row[figure].get("ratio")
            cells += [f"{ratio['median']:.3f}", f"{ratio['least']:.3f}–{ratio['most']:.3f}"] if ratio else ["–", ""]
            lines.append(f"| {clients} | {words} | {' | '.join(cells)} |")
    costs = {clients: row["cpu_ms_per_clip"] for clients, row in result["clients"].items()}
    parts = sorted({part for row in costs.values() for side in row.values() for part in side} - {"all"})
    lines += ["", f"| CPU, this checkout / the other | {' | '.join(f'ms a clip, {count} clients' for count in costs)} "]
    lines[-1] += "| idle, % of a core |"
    lines.append(f"|---|{'--:|' * (len(costs) + 1)}")
    for part in (*parts, "all"):
        pairs = [[row[side].get(part, 0.0) for side in ("this", "other")] for row in (*costs.values(), result["idle"])]
        lines.append(f"| {part} | {' | '.join(f'{ours:.1f} / {theirs:.1f}' for ours, theirs in pairs)} |")
    return "\n".join(lines) + "\n"


def settings(words: list[str]) -> dict[str, str]:
    """Return the settings written as NAME=VALUE."""
    return dict(word.split("=", 1) for word in words)


def main() -> None:
    """Start both stacks, measure, and print the tables."""
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
    clip = arguments.clip or videos.reference().path
    result: dict[str, Any] = {"machine": described(), "clip": clip.name, "load_before": os.getloadavg()[0]}
    with ExitStack() as stacks:
        common = {} if arguments.own_models else stacks.enter_context(same_models())
        checkouts = (CHECKOUT, "this", arguments.set), (arguments.checkout, "other", arguments.set_other)
        sides = [stacks.enter_context(running(path, name, common | settings(own))) for path, name, own in checkouts]
        result["precision"] = {side.service.name: side.service.precision() for side in sides}
        print(f"precision: {result['precision']}", flush=True)
        result["idle"] = idle(sides)
        result["clients"] = {}
        for clients in arguments.clients:
            row = measured(sides, clip, clients, arguments.turns, arguments.seconds)
            result["clients"][str(clients)] = row
            print(f"{clients} clients: {row['requests_a_turn']} requests a turn, failed: {row['failed']}", flush=True)
    print("\n" + table(result))
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
