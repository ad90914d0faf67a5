"""Licences of every package that the images install."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

LOCKS = Path(__file__).resolve().parents[1] / "locks"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)
TABLE = Path(__file__).with_name("licences.toml")
UNKNOWN = "unknown"


def locks() -> list[Path]:
    """Return all lock files."""
    return sorted(LOCKS.glob("*.txt"))


def pins(lock: Path) -> dict[str, str]:
    """Return the pinned version of each package; names are normalised as on the index: lower case with dashes."""
    matches = _PIN.findall(lock.read_text())
    return {name.lower().replace("_", "-").replace(".", "-"): version for name, version in matches}


def all_pins() -> set[tuple[str, str]]:
    """Return every (package, version) of any image."""
    return {pin for lock in locks() for pin in pins(lock).items()}


def read_table() -> tuple[set[str], dict[str, str]]:
    """Return the licences allowed in an image, and the licences entered by hand, by package."""
    document = tomllib.loads(TABLE.read_text())
    return {licence for kind in document["allowed"].values() for licence in kind}, document["packages"]


def licence_of(package: str, by_hand: dict[str, str]) -> str:
    """Return the SPDX licence of `package`: entered by hand, otherwise from the installed package's metadata."""
    if package in by_hand:
        return by_hand[package]
    try:
        package_metadata = metadata(package)
    except PackageNotFoundError:
        return UNKNOWN
    return str((package_metadata.get_all("License-Expression") or [UNKNOWN])[0])


def licences() -> dict[str, str]:
    """Return the licence of every package in any image."""
    by_hand = read_table()[1]
    packages = sorted({name for lock in locks() for name in pins(lock)})
    return {package: licence_of(package, by_hand) for package in packages}


def table() -> list[str]:
    """Return the packages grouped by licence, as lines of a Markdown table."""
    by_licence: dict[str, list[str]] = {}
    for package, licence in licences().items():
        by_licence.setdefault(licence, []).append(package)
    lines = ["| licence | packages |", "|---|---|"]
    return lines + [f"| {licence} | {', '.join(by_licence[licence])} |" for licence in sorted(by_licence)]
