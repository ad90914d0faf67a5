"""What runs in one process when tests run in several (`-n 2`): a file's tests, or a folder's that share one thing."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

SHARING = ("docker", "http_edge", "operations", "configured")  # an engine, or one stack


def group(nodeid: str) -> str:
    """The file of a test, or its folder."""
    file = PurePosixPath(nodeid.split("::", 1)[0])
    return str(file.parent if file.parent.name in SHARING else file)


def longest_first(items: list[pytest.Item]) -> None:
    """Put unit tests' files with many tests before those with few; folders stay in the order of pyproject.toml.

    Only of unit tests, which are all short, does their number say how long a file takes.
    """
    folders = list(dict.fromkeys(item.path.parent for item in items))
    tests = Counter(item.path for item in items if "unit" in item.path.parts)
    items.sort(key=lambda item: (folders.index(item.path.parent), -tests[item.path]))


class Groups(LoadScopeScheduling):
    """Hands out whole groups in the order in which they are collected.

    xdist's own `--dist loadgroup` writes the group into the test's id, which pytest 9.2 no longer looks at: every test
    went its own way, and what a file sets up was set up in each process (pytest-xdist issue 1386).
    """

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        config.option.loadscopereorder = False  # by the number of tests, which says nothing about their length
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)
