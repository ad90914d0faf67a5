"""Distribute tests to processes (`-n 2`): by file, or by folder where its files share a stack."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from typing import Any

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

SHARING = ("docker", "http_edge", "operations", "configured")  # one Docker engine, or one stack
# Files that share a stack with files elsewhere
WITH = {
    "tests/e2e/browser/test_cors.py": "tests/e2e/configured",
    "tests/e2e/browser/test_login.py": "tests/e2e/configured",
    "tests/e2e/browser/test_feedback.py": "tests/e2e/test_feedback.py",
}
STACKS = ("stack", "configured_stack", "feedback_stack", "edge")  # fixtures; those of the session end with their use
_started: list[pytest.FixtureDef[Any]] = []


def group(nodeid: str) -> str:
    """Return the file of a test, or its folder."""
    file = PurePosixPath(nodeid.split("::", 1)[0])
    return WITH.get(str(file)) or str(file.parent if file.parent.name in SHARING else file)


def in_order(items: list[pytest.Item]) -> None:
    """Sort the groups of tests, so that each process starts a stack once and none waits for the other at the end.

    Folders stay in the order of pyproject.toml, but tests with stacks of their own come before those of the default
    stack. Files of unit tests are sorted by their number of tests, because only they are all short.
    """
    folders = list(dict.fromkeys(item.path.parent for item in items))
    tests = Counter(item.path for item in items if "unit" in item.path.parts)
    groups: dict[str, tuple[int, int]] = {}
    for item in items:
        groups.setdefault(group(item.nodeid), (folders.index(item.path.parent), len(groups)))
    own = {group(item.nodeid) for item in items if {"e2e", "http_edge"} & {*item.path.parts}}
    own -= {group(item.nodeid) for item in items if (stack := _fixture(item, "stack")) and stack.baseid == "tests"}

    def place(item: pytest.Item) -> tuple[int, ...]:
        name = group(item.nodeid)
        folder, first = groups[name]
        return (name not in own, folder, -tests[item.path], first)

    items.sort(key=place)


def note_stack(fixture: pytest.FixtureDef[Any]) -> None:
    """Remember the fixture if it is a stack of the session."""
    if fixture.argname in STACKS and fixture.scope == "session":
        _started.append(fixture)


def end_stacks(item: pytest.Item, following: pytest.Item | None) -> None:
    """Finish the session's stacks that the next group of tests does not use: an idle stack uses CPU until the end."""
    if following is None or group(item.nodeid) == group(following.nodeid):
        return
    used = {id(_fixture(following, name)) for name in STACKS}
    for fixture in [fixture for fixture in _started if id(fixture) not in used]:
        _started.remove(fixture)
        fixture.finish(item._request)  # type: ignore[attr-defined]


def _fixture(item: pytest.Item, name: str) -> pytest.FixtureDef[Any] | None:
    """Return the fixture of this name that the test uses, itself or by another fixture."""
    info = getattr(item, "_fixtureinfo", None)
    fixtures = info.name2fixturedefs.get(name) if info else None
    return fixtures[-1] if fixtures else None


class Groups(LoadScopeScheduling):
    """Assign whole groups in the order of collection.

    xdist's own `--dist loadgroup` does not work with pytest 9.2 (pytest-xdist issue 1386).
    """

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        config.option.loadscopereorder = False  # by the number of tests, which says nothing about their length
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)
