"""The licence of every package that the images install.

python -m deploy.supply.licences      the table of docs/supply.md
"""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from deploy.supply.locks import locks, pins

TABLE = Path(__file__).with_name("licences.toml")
UNKNOWN = "unknown"


def read() -> tuple[set[str], dict[str, str]]:
    """Licences that may be in an image, and those of packages that do not say it well themselves."""
    told = tomllib.loads(TABLE.read_text())
    return {licence for kind in told["allowed"].values() for licence in kind}, told["packages"]


def licence_of(package: str, by_hand: dict[str, str]) -> str:
    """As SPDX writes it: what was looked up, else what the installed package's metadata say."""
    if package in by_hand:
        return by_hand[package]
    try:
        told = metadata(package)
    except PackageNotFoundError:
        return UNKNOWN
    return str((told.get_all("License-Expression") or [UNKNOWN])[0])


def licences() -> dict[str, str]:
    """Package -> licence, of all images."""
    by_hand = read()[1]
    packages = sorted({name for lock in locks() for name in pins(lock)})
    return {package: licence_of(package, by_hand) for package in packages}


def parts_of(expression: str) -> set[str]:
    """The licences that an SPDX expression joins by AND or OR, all of which are looked at."""
    return {part.strip("() ") for part in expression.replace(" OR ", " AND ").split(" AND ")}


def unexpected() -> dict[str, str]:
    """Packages whose licence is unknown or not on the list."""
    allowed = read()[0]
    return {package: licence for package, licence in licences().items() if not parts_of(licence) <= allowed}


def table() -> list[str]:
    """Packages by licence, as Markdown."""
    found: dict[str, list[str]] = {}
    for package, licence in licences().items():
        found.setdefault(licence, []).append(package)
    lines = ["| licence | packages |", "|---|---|"]
    return lines + [f"| {licence} | {', '.join(found[licence])} |" for licence in sorted(found)]


if __name__ == "__main__":
    print("\n".join(table()))
