"""Send mutants to a stack, as `make fuzz` does, or write one of them to a file.

python -m tests.nightly.fuzz [--minutes 10] [--count N] [--seed 1]
python -m tests.nightly.fuzz --seed 1 --write 4711 mutant.bin
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.nightly.fuzz.run import SETTINGS, fuzz, reproduced
from tests.support.stacks import CHECKOUT, running_stack

RESULT = CHECKOUT / "bench" / "results" / "fuzz.json"
FULL = 10_000  # mutants of a run whose result is kept


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--write", nargs=2, metavar=("NUMBER", "FILE"))
    options = parser.parse_args()
    if options.write:
        print(reproduced(options.seed, int(options.write[0]), Path(options.write[1])))
        return 0
    with running_stack(**SETTINGS) as stack:
        result = fuzz(stack, options.seed, options.first, options.count, 60 * options.minutes)
    print(json.dumps(result, indent=1))
    if result["sent"] >= FULL:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    wrong = len(result["findings"]) + len(result["faults"])
    print(f"{result['sent']} mutants in {result['seconds']} s, {wrong} things not as promised", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
