"""The table of faults says of each row what was measured, and passes none that was not run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.http_edge.promise import INPUTS, Input, Line
from tests.nightly.faults import table
from tests.nightly.faults.promise import LOADS, PROMISES, Row, kept

ROWS = len(PROMISES)


def last_cells(folder: Path) -> dict[str, tuple[str, str]]:
    told = [*table.lines(kept(folder), LOADS), *table.lines(kept(folder))]
    lines = [line.split("|") for line in told if line.startswith("| ")]
    return {cells[1].strip(): (cells[4].strip(), cells[5].strip()) for cells in lines if cells[1].strip()}


def test_without_measurements_every_row_says_that_it_was_not_run(tmp_path: Path) -> None:
    assert last_cells(tmp_path) == {str(number): ("", "not run") for number in LOADS | PROMISES}


def test_rows_say_what_was_measured_and_what_was_broken(tmp_path: Path) -> None:
    good, bad, skipped = Row(1), Row(2), Row(3)
    good.within("replaced after", 1.23, 5)
    bad.within("replaced after", 9.0, 5)
    bad.holds("no orphan", True)
    bad.holds("the same workers", True)
    good.judge()
    with pytest.raises(AssertionError, match=r"replaced after 9.0 s"):
        bad.judge()
    for row, verdict, why in ((good, "passed", ""), (bad, "failed", "it broke"), (skipped, "skipped", "no GPU")):
        row.write(verdict, why, tmp_path)
    cells = last_cells(tmp_path)
    assert [cells[number] for number in "1234"] == [
        ("replaced after 1.2 s", "pass"),
        ("**replaced after 9.0 s**; the same workers", "**fail**"),
        ("no GPU", "not run"),
        ("", "not run"),
    ]
    assert f"{ROWS} rows: 1 pass, 1 fail, {ROWS - 2} not run." in table.lines(kept(tmp_path))[0]


def test_rows_that_were_not_measured_here_stay_as_they_stand(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, number, seconds in ((first, 1, 1.0), (first, 2, 2.0), (second, 2, 9.0)):
        row = Row(number)
        row.within("replaced after", seconds, 5)
        row.write("failed" if seconds > 5 else "passed", "", folder)
    page = "\n".join(table.lines(kept(first))).replace("Measured on ", "Measured on 2026-01-01 on an older one; ")
    promises = PROMISES | {1: (PROMISES[1][0], "something else")}
    there, changed = (table.lines(kept(second), promised, page=page) for promised in (PROMISES, promises))
    assert there[0].startswith("Measured on 2026-01-01 on an older one; ")
    assert f"{ROWS} rows: 1 pass, 1 fail, {ROWS - 2} not run." in there[0]
    assert f"{ROWS} rows: {ROWS - 1} not run, 1 fail." in changed[0]
    assert there[4].endswith("| replaced after 1.0 s | pass |") and changed[4].endswith(
        "| something else |  | not run |"
    )
    assert there[5].endswith("| **replaced after 9.0 s** | **fail** |")


def test_other_tables_have_rows_and_promises_of_their_own(tmp_path: Path) -> None:
    row = Input(17)
    row.holds("200", False)
    with pytest.raises(AssertionError, match="promised: 400 bad_request; measured: 200"):
        row.judge()
    row.write("failed", "", tmp_path)
    told = table.lines(kept(tmp_path), INPUTS, "input")
    assert "83 rows: 82 not run, 1 fail." in told[0] and told[2] == "| | input | promised | measured | |"
    assert "| 17 | HTTP/0.9 | 400 bad_request | **200** | **fail** |" in told


def test_what_is_deliberately_otherwise_is_no_pass(tmp_path: Path) -> None:
    row = Line(17)
    row.tell("explicit")
    row.otherwise("models are added while it runs")
    row.judge()
    row.write("otherwise", row.deliberately, tmp_path)
    (line,) = [line for line in table.lines(kept(tmp_path), Line.promises) if line.startswith("| 17 |")]
    assert line.endswith("| explicit; models are added while it runs | otherwise |")


def test_every_table_has_its_place_in_the_page() -> None:
    page = table.PAGE.read_text()
    assert all(page.count(begin) == 1 for begin in table.TABLES)
    assert page.count(table.END) == len(table.TABLES)
