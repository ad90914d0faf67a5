"""Writes labelled files for the tutorial docs/train.md; needs the extra `train`.

.venv/bin/python -m triton_repo.zoo.training.examples digits FOLDER     handwritten digits, scanned, by 43 people
.venv/bin/python -m triton_repo.zoo.training.examples chalk FOLDER      other digits in white on black: new/ and check/
.venv/bin/python -m triton_repo.zoo.training.examples shapes FOLDER     rendered films: a shape bounces, spins, ...
"""

import argparse
from pathlib import Path

from triton_repo.zoo.training.examples.digits import write_chalk, write_digits
from triton_repo.zoo.training.examples.shapes import write_shapes

COUNTS = {"digits": 60, "chalk": 30, "shapes": 60}  # files of each label


def main() -> None:
    """Write the files that the command line names."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("what", choices=COUNTS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, help="files of each label")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    count = arguments.count or COUNTS[arguments.what]
    write = {"digits": write_digits, "chalk": write_chalk, "shapes": write_shapes}[arguments.what]
    print(f"{write(arguments.folder, count, arguments.seed)} files in {arguments.folder}")


if __name__ == "__main__":
    main()
