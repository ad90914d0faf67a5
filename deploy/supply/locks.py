"""The packages that the images install, from deploy/locks."""

import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "locks"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)


def locks() -> list[Path]:
    return sorted(FOLDER.glob("*.txt"))


def pins(lock: Path) -> dict[str, str]:
    """Package -> version; names as the index writes them, with dashes and in lower case."""
    found = _PIN.findall(lock.read_text())
    return {name.lower().replace("_", "-").replace(".", "-"): version for name, version in found}


def all_pins() -> set[tuple[str, str]]:
    """Every package and version of any image."""
    return {pin for lock in locks() for pin in pins(lock).items()}
