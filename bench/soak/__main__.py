"""Does anything grow when the service works for long, and a tenth of what it gets is rubbish?

python -m bench.soak [--minutes 30] [--share 0.6]      (`make soak MINUTES=30`; starts a stack of its own)

Videos and pictures come at a steady rate, `share` of what the stack was measured to answer; every tenth file is one
that no decoder can read, or that kills it; beside them jobs, each removed when it is done. All parts are looked at
every few seconds. The first half of the time is for caches, pools and allocators to fill; of the second half
bench/soak/slope.py says whether anything still grows. Writes bench/results/soak.json, docs/soak.svg and the section of
docs/reliability.md.
"""

import argparse
import asyncio
import json
import math
import signal
import sys
import time
from pathlib import Path
from typing import Any

from bench.environment import describe_machine
from bench.load.client import closed_loop
from bench.processes import sampling
from bench.soak import report
from bench.soak.resources import ResourceSnapshot, take_snapshot
from bench.soak.slope import BLOCKS
from bench.soak.verdict import find_problems, judge, left_over, series
from bench.soak.work import mix, run_work
from deploy.stack.stack import Stack

RESULTS = Path(__file__).parents[1] / "results" / "soak.json"
CLIENTS, CAPACITY_S = 8, 10.0
# samples in the second half, and the longest and shortest interval between samples
SAMPLES, EVERY_S, LEAST_S = 4 * BLOCKS, 5.0, 1.0
QUIET_S = 30.0  # everything that belongs to requests must be gone this long after the end


def measure(stack: Stack, minutes: float, share: float) -> dict[str, Any]:
    """Run the soak and return its results."""
    seconds = minutes * 60
    targets, bad = mix(stack)
    outcomes = asyncio.run(closed_loop(targets, CLIENTS, min(CAPACITY_S, seconds / 4)))
    spent_s = max(outcome.ended_s for outcome in outcomes) - min(outcome.sent_s for outcome in outcomes)
    rate = share * len(outcomes) / spent_s
    before = _quiet(stack, None)
    snapshots: list[ResourceSnapshot] = []
    every_s = max(LEAST_S, min(EVERY_S, seconds / 2 / SAMPLES))
    with sampling(every_s, lambda: snapshots.append(take_snapshot(stack))):
        answers = asyncio.run(run_work(stack, targets, rate, seconds))
    after = _quiet(stack, before)
    times_s = [round(snapshot.at_s - snapshots[0].at_s, 1) for snapshot in snapshots]
    values = series(snapshots)
    result = {
        "machine": describe_machine(),
        "minutes": minutes,
        "per_s": round(rate, 2),
        "share": share,
        "bad_files": bad,
        "answers": answers,
        "slopes": judge(times_s, values),
        "left_over": left_over(before, after),
        "times_s": times_s,
        "series": values,
    }
    return result | {"complaints": find_problems(result)}


def _quiet(stack: Stack, before: ResourceSnapshot | None) -> ResourceSnapshot:
    """Return a snapshot of the idle stack, after waiting for the resources of requests to be released."""
    began = time.monotonic()
    while True:
        snapshot = take_snapshot(stack)
        if time.monotonic() > began + QUIET_S or (
            not snapshot.places["uploads"] and (before is None or not left_over(before, snapshot))
        ):
            return snapshot
        time.sleep(0.5)


def main() -> None:
    """Run the soak, write its results, and exit with 1 if something grew or failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long")
    parser.add_argument("--share", type=float, default=0.6, help="of the capacity that is used")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS, help="where the results go")
    arguments = parser.parse_args()
    if not 0.5 <= arguments.minutes <= 48 * 60 or not math.isfinite(arguments.share):
        parser.error("from half a minute to two days")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM stops the stack like Ctrl-C
    from tests.support.stacks import running_stack

    with running_stack(results_mb="256") as stack:
        result = measure(stack, arguments.minutes, arguments.share)
    arguments.output.write_text(json.dumps(result) + "\n")
    if arguments.output == RESULTS:
        report.write(result)
    print("\n".join(report.lines(result)))
    sys.exit(bool(result["complaints"]))


if __name__ == "__main__":
    main()
