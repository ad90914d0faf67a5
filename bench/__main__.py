"""All benchmarks one after the other, or those named; then the targets, and docs/performance.md.

python -m bench [--quick] [--results FOLDER] [QUESTION...]          (`make bench`, `make bench QUICK=1`)

Exit status: 0 all was measured; 1 a question could not be, or two sides named different things. A missed target is
printed, and is no failure.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from bench import report, targets
from bench.environment import described
from bench.fixtures import networks
from bench.profile import FULL, QUICK, Profile

QUESTIONS = ("throughput", "latency", "transport", "handoff", "memory", "load_curve", "start", "pictures", "length")
QUICKEST = ("throughput", "latency", "transport", "handoff")  # the suites of --quick, unless others are named
RESULTS = Path(__file__).parent / "results"


def answer(question: str, effort: Profile, results: Path) -> bool:
    """Run one suite and write its file; return False, after printing the reason, if that failed."""
    print(f"--- {question}", flush=True)
    began = time.monotonic()
    try:
        figures: dict[str, Any] = importlib.import_module(f"bench.suites.{question}").measured(effort)
    except Exception:
        traceback.print_exc()
        return False
    header = {"machine": described(), "quick": effort is QUICK, "load_before": round(os.getloadavg()[0], 2)}
    took = {"took_s": round(time.monotonic() - began, 1)}
    (results / f"{question}.json").write_text(json.dumps(header | took | figures, indent=1) + "\n")
    print(f"    {took['took_s']} s", flush=True)
    refused = reasons(figures)
    for reason in refused:
        print(f"    {reason}", flush=True)
    return not refused


def reasons(told: Any) -> list[str]:
    """Return the errors and refused ratios anywhere in the figures, each reason once."""
    unique: dict[str, None] = {}
    if isinstance(told, dict):
        if "error" in told:
            unique[str(told["error"])] = None
        if "labels differ" in str(told.get("no_ratio", "")):
            unique[str(told["no_ratio"])] = None
        for part in told.values():
            unique |= dict.fromkeys(reasons(part))
    return list(unique)


def main() -> int:
    """Run the requested suites and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help=", ".join(QUESTIONS))
    parser.add_argument("--quick", action="store_true", help=f"less of everything: {', '.join(QUICKEST)}")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if unknown := set(arguments.questions) - set(QUESTIONS):
        parser.error(f"no such question: {', '.join(sorted(unknown))}")
    arguments.results.mkdir(parents=True, exist_ok=True)
    networks.renew()
    effort = QUICK if arguments.quick else FULL
    questions = arguments.questions or (QUICKEST if arguments.quick else QUESTIONS)
    done = [answer(question, effort, arguments.results) for question in questions]
    figures = report.read(arguments.results)
    print(targets.table(targets.judged(figures)))
    if arguments.results == RESULTS:
        report.write(figures)
        print(f"written: {report.PAGE}")
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
