"""Run all benchmark suites, or those named; then print the summary and write docs/performance.md.

python -m bench [--quick] [--results FOLDER] [SUITE...]          (`make bench`, `make bench QUICK=1`)

Exit status: 0 all was measured; 1 a suite failed, or two sides gave one clip different labels. A missed target is
printed, and is no failure. Progress goes to stderr, the summary to stdout.
"""

import argparse
import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from bench import report
from bench.environment import describe_machine
from bench.fixtures import networks
from bench.profile import FULL, QUICK, Profile
from bench.report.sections import SECTIONS
from bench.stats import reasons

QUICK_SUITES = ("throughput", "startup", "transport")  # of --quick, unless others are named


def run(suite: str, profile: Profile, results: Path) -> bool:
    """Run one suite and write its file; return False, after printing the reason, if that failed."""
    say(f"--- {suite}")
    began = time.monotonic()
    try:
        figures: dict[str, Any] = importlib.import_module(f"bench.suites.{suite}").measure(profile)
    except Exception:
        traceback.print_exc()
        return False
    header = {"machine": describe_machine(), "quick": profile is QUICK, "load_before": round(os.getloadavg()[0], 2)}
    took = {"took_s": round(time.monotonic() - began, 1)}
    (results / f"{suite}.json").write_text(json.dumps(header | took | figures, indent=1) + "\n")
    say(f"    {took['took_s']} s")
    problems = reasons(figures)
    for reason in problems:
        say(f"    {reason}")
    return not problems


def say(line: str) -> None:
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(SECTIONS))
    parser.add_argument("--quick", action="store_true", help=f"less of everything: {', '.join(QUICK_SUITES)}")
    parser.add_argument("--results", type=Path, default=report.RESULTS)
    arguments = parser.parse_args()
    if unknown := set(arguments.suites) - set(SECTIONS):
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops the services, as Ctrl-C does
    arguments.results.mkdir(parents=True, exist_ok=True)
    networks.remove_outdated()
    profile = QUICK if arguments.quick else FULL
    suites = arguments.suites or (QUICK_SUITES if arguments.quick else tuple(SECTIONS))
    done = [run(suite, profile, arguments.results) for suite in suites]
    figures = report.read(arguments.results)
    print(report.summary(figures))
    if arguments.results == report.RESULTS:
        report.write(figures)
        say(f"written: {report.PAGE}")
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
