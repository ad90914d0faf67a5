"""Packages that the images install, read from deploy/locks."""

import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "locks"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)


def locks() -> list[Path]:
    """Return all lock files."""
    return sorted(FOLDER.glob("*.txt"))


def pins(lock: Path) -> dict[str, str]:
    """Return the pinned version of each package; names are normalised as on the index: lower case with dashes."""
    matches = _PIN.findall(lock.read_text())
    return {name.lower().replace("_", "-").replace(".", "-"): version for name, version in matches}


def all_pins() -> set[tuple[str, str]]:
    """Return every (package, version) of any image."""
    return {pin for lock in locks() for pin in pins(lock).items()}
