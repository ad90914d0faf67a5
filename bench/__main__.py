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
QUICKEST = ("throughput", "latency", "transport", "handoff")  # what --quick asks, unless told otherwise
RESULTS = Path(__file__).parent / "results"


def answer(question: str, effort: Profile, results: Path) -> bool:
    """Measures one question and writes its file; False, with the reason told, where that was not possible."""
    print(f"--- {question}", flush=True)
    began = time.monotonic()
    try:
        told: dict[str, Any] = importlib.import_module(f"bench.suites.{question}").measured(effort)
    except Exception:
        traceback.print_exc()
        return False
    facts = {"machine": described(), "quick": effort is QUICK, "load_before": round(os.getloadavg()[0], 2)}
    took = {"took_s": round(time.monotonic() - began, 1)}
    (results / f"{question}.json").write_text(json.dumps(facts | took | told, indent=1) + "\n")
    print(f"    {took['took_s']} s", flush=True)
    refused = reasons(told)
    for reason in refused:
        print(f"    {reason}", flush=True)
    return not refused


def reasons(told: Any) -> list[str]:
    """What failed, and why ratios were refused, wherever in the figures it stands; each reason once."""
    found: dict[str, None] = {}
    if isinstance(told, dict):
        if "error" in told:
            found[str(told["error"])] = None
        if "labels differ" in str(told.get("no_ratio", "")):
            found[str(told["no_ratio"])] = None
        for part in told.values():
            found |= dict.fromkeys(reasons(part))
    return list(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help=", ".join(QUESTIONS))
    parser.add_argument("--quick", action="store_true", help=f"less of everything: {', '.join(QUICKEST)}")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    if unknown := set(asked.questions) - set(QUESTIONS):
        parser.error(f"no such question: {', '.join(sorted(unknown))}")
    asked.results.mkdir(parents=True, exist_ok=True)
    networks.renew()
    effort = QUICK if asked.quick else FULL
    questions = asked.questions or (QUICKEST if asked.quick else QUESTIONS)
    done = [answer(question, effort, asked.results) for question in questions]
    found = report.read(asked.results)
    print(targets.table(targets.judged(found)))
    if asked.results == RESULTS:
        report.write(found)
        print(f"written: {report.PAGE}")
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
