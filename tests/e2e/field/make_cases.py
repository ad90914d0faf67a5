"""Write the files of all cases, and cases.json beside them.

python -m tests.e2e.field.make_cases FOLDER

Cases come from the modules `*_cases.py` in this folder: each has a function `cases()` that returns a list of Case.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

from tests.e2e.field.case import Case, committed


def collect() -> list[Case]:
    """Return the cases of all modules, in the order of the modules' names; raises ValueError for a name used twice."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("*_cases.py") if path.stem != "make_cases")
    cases = [case for name in names for case in import_module(f"tests.e2e.field.{name}").cases()]
    files = [*(entry["file"] for entry in committed()), *(case.file for case in cases)]
    if twice := sorted({file for file in files if files.count(file) > 1}):
        raise ValueError(f"two cases have the same file: {', '.join(twice)}")
    return cases


def write(folder: Path) -> list[Case]:
    """Write every case's file into `folder`, and cases.json; return the cases."""
    folder.mkdir(parents=True, exist_ok=True)
    cases = collect()
    for case in cases:
        case.make(folder / case.file)
    (folder / "cases.json").write_text(json.dumps([case.to_json() for case in cases], indent=1) + "\n")
    return cases


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(f"{len(write(Path(sys.argv[1])))} cases in {sys.argv[1]}")
