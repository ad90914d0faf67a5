"""The record of an int8 version, and the decision to keep it."""

from __future__ import annotations

from pathlib import Path

import pytest

from triton_repo.backends.clip.clip_engines.accuracy import Agreement
from triton_repo.zoo import ModelError
from triton_repo.zoo.repository.int8_record import FILE, Int8Record, read_int8_record

CLOSE = Agreement(clips=32, ties=1, largest=0.02, mean=0.005, same=1.0, top_1=1.0)
FAST = {"f32": 18.2, "bf16": 32.5, "int8": 60.8}


def test_int8_record_is_read_as_written(tmp_path: Path) -> None:
    record = Int8Record(CLOSE, 90, FAST)
    record.write(tmp_path)
    assert read_int8_record(tmp_path) == record


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"agreement": {}, "clips_per_s": {"f32": 1}}'])
def test_damaged_int8_record_counts_as_missing(content: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(content)
    assert read_int8_record(tmp_path) is None


def test_fast_and_close_int8_is_worth_it() -> None:
    record = Int8Record(CLOSE, 90, FAST)
    record.require_worth("mine")
    assert record.speed == "int8 60.8, bf16 32.5 and f32 18.2 clips/s"


@pytest.mark.parametrize(
    "changed", [{"top_1": 0.98}, {"largest": 0.11}, {"mean": 0.021}, {"mean": float("nan")}, {"ties": 32}]
)
def test_int8_with_other_scores_is_refused(changed: dict[str, float]) -> None:
    with pytest.raises(ModelError, match="changes the scores of mine too much.*--force"):
        Int8Record(CLOSE._replace(**changed), 90, FAST).require_worth("mine")  # type: ignore[arg-type]


def test_int8_that_is_slower_than_bf16_is_refused() -> None:
    with pytest.raises(ModelError, match="not worth it for mine.*int8 33, bf16 32.5 and f32 18.2 clips/s.*--force"):
        Int8Record(CLOSE, 90, FAST | {"int8": 33}).require_worth("mine")
