"""Measure the scaling of `clipstack bulk` and write bench/results/bulk.json.

python -m bench.bulk [--part 0.1] [-o FILE]
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from bench.bulk import measure, page
from bench.environment import describe_machine


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.bulk")
    parser.add_argument("--part", type=float, default=1.0, help="of the files, for a trial")
    parser.add_argument("-o", "--output", type=Path, default=page.RESULTS)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stacks and clusters end with the blocks that started them
    header = {"machine": describe_machine(), "load_before": round(os.getloadavg()[0], 2)}
    with tempfile.TemporaryDirectory(prefix="bulk-") as folder:
        figures = measure.measure(Path(folder), options.part)
    options.output.write_text(json.dumps(header | figures, indent=1) + "\n")
    print(f"{options.output} is written: python -m bench.bulk.page", file=sys.stderr)


if __name__ == "__main__":
    main()
