"""A short run of what `make fuzz` does for long."""

from __future__ import annotations

from deploy.stack.stack import Stack
from tests.nightly.fuzz.run import fuzz

MUTANTS, LONGEST_S = 240, 60.0


def test_damaged_files_get_the_answers_that_are_promised_and_take_nothing_with_them(fuzzed: Stack) -> None:
    result = fuzz(fuzzed, seed=20, first=0, count=MUTANTS, seconds=LONGEST_S)
    assert (result["findings"], result["faults"]) == ([], [])
    assert result["sent"] == MUTANTS
    assert result["answers"]["/v1/classify 200"] > MUTANTS / 10, "hardly a mutant was decoded"
    assert result["known_checks"] >= 2
