"""Send every case to the real stack and compare the answers with the right ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.stack.stack import Stack
from tests.conftest import CHECKOUT
from tests.e2e.field.case import FIXTURES, committed
from tests.e2e.field.compare import Entry, as_text, faults, job_faults, send, summary
from tests.e2e.field.make_cases import collect, write
from tests.support.job_requests import submit_job, wait_for_job

RESULTS = CHECKOUT / "build" / "field.json"  # read by tests/e2e/field/table.py
ENTRIES: list[Entry] = [*committed(), *(case.to_json() for case in collect())]


JOBS = [entry for entry in ENTRIES if entry.get("job_label") or entry.get("job_changes_s")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of all cases but the committed ones."""
    folder = tmp_path_factory.mktemp("field")
    write(folder)
    return folder


@pytest.fixture(scope="module")
def answers(stack: Stack, folder: Path) -> Iterator[dict[str, tuple[int, dict[str, Any]]]]:
    """The answers to all cases by the names of their files; two are sent at a time."""
    with httpx.Client(base_url=stack.url, timeout=60) as client, ThreadPoolExecutor(2) as pool:
        replies = pool.map(lambda entry: send(client, entry, _path(folder, entry)), ENTRIES)
        answers = {entry["file"]: reply for entry, reply in zip(ENTRIES, replies, strict=True)}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {**entry, "came": summary(*answers[entry["file"]]), "faults": faults(entry, *answers[entry["file"]])}
        for entry in ENTRIES
    ]
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    yield answers


def _path(folder: Path, entry: Entry) -> Path:
    made = folder / entry["file"]
    return made if made.exists() else FIXTURES / entry["file"]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["file"])
def test_answer_is_right(answers: dict[str, tuple[int, dict[str, Any]]], entry: Entry) -> None:
    wrong = faults(entry, *answers[entry["file"]])
    assert not wrong, f"{'; '.join(wrong)} ({entry['why']}: {as_text(entry)})"


@pytest.mark.parametrize("entry", JOBS, ids=lambda entry: entry["file"])
def test_timeline_is_right(stack: Stack, folder: Path, entry: Entry) -> None:
    with httpx.Client(base_url=stack.url, timeout=60) as client:
        job = submit_job(client, _path(folder, entry), model=entry["model"])
        assert not job_faults(entry, wait_for_job(client, job["id"]))
