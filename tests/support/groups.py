"""Distribute tests to processes (`-n 2`): by file, or by folder where its files share a stack."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

SHARING = ("docker", "http_edge", "operations", "configured")  # one Docker engine, or one stack


def group(nodeid: str) -> str:
    """Return the file of a test, or its folder."""
    file = PurePosixPath(nodeid.split("::", 1)[0])
    return str(file.parent if file.parent.name in SHARING else file)


def longest_first(items: list[pytest.Item]) -> None:
    """Sort files of unit tests by their number of tests; folders stay in the order of pyproject.toml.

    Only for unit tests, which are all short, does the number of tests say how long a file takes.
    """
    folders = list(dict.fromkeys(item.path.parent for item in items))
    tests = Counter(item.path for item in items if "unit" in item.path.parts)
    items.sort(key=lambda item: (folders.index(item.path.parent), -tests[item.path]))


class Groups(LoadScopeScheduling):
    """Assign whole groups in the order of collection.

    xdist's own `--dist loadgroup` does not work with pytest 9.2 (pytest-xdist issue 1386).
    """

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        config.option.loadscopereorder = False  # by the number of tests, which says nothing about their length
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)
