"""The record of a version's accuracy in bf16, and the precision that `auto` stands for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from triton_repo.backends.clip.clip_engines.accuracy import Agreement, compare_scores
from triton_repo.backends.clip.clip_engines.precision import (
    FILE,
    PrecisionRecord,
    agree,
    automatic_precision,
    read_record,
)

CLOSE = Agreement(clips=32, ties=1, largest=0.02, mean=0.005, same=1.0, top_1=1.0)
BOTH, F32 = ("f32", "bf16"), ("f32",)


def test_record_is_read_as_written(tmp_path: Path) -> None:
    record = PrecisionRecord(CLOSE, is_native=False)
    record.write(tmp_path)
    assert read_record(tmp_path) == record
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("content", ["", "{", "{}", '{"bf16": {"clips": 3}}', "[1]", '{"bf16": 5}'])
def test_damaged_record_counts_as_missing(content: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(content)
    assert read_record(tmp_path) is None
    assert automatic_precision("openvino", BOTH, tmp_path) == "f32"


@pytest.mark.parametrize(
    ("agreement", "precision"),
    [
        (CLOSE, "bf16"),
        (CLOSE._replace(top_1=0.98), "f32"),
        (CLOSE._replace(largest=0.11), "f32"),
        (CLOSE._replace(mean=0.021), "f32"),
        (CLOSE._replace(largest=float("nan")), "f32"),
        (CLOSE._replace(ties=32), "f32"),
    ],
)
def test_auto_is_bf16_only_with_close_scores_and_labels(agreement: Agreement, precision: str, tmp_path: Path) -> None:
    PrecisionRecord(agreement, is_native=True).write(tmp_path)
    assert automatic_precision("openvino", BOTH, tmp_path) == precision
    assert automatic_precision("openvino", F32, tmp_path) == "f32", "this CPU has no bf16"
    assert automatic_precision("torch", BOTH, tmp_path) == "f32", "the record is of OpenVINO"


def test_version_without_record_stays_f32(tmp_path: Path) -> None:
    assert automatic_precision("openvino", BOTH, tmp_path) == "f32"


def test_near_ties_count_for_scores_and_not_for_labels() -> None:
    reference = np.array([[0.7, 0.3], [0.51, 0.49]], np.float32)
    swapped = np.array([[0.7, 0.3], [0.49, 0.51]], np.float32)
    agreement = compare_scores(swapped, reference)
    assert (agreement.clips, agreement.ties, agreement.same, agreement.top_1) == (2, 1, 0.5, 1.0)
    assert agreement.largest == pytest.approx(0.02, abs=1e-6)


class _Engine:
    clip_shape = (1, 8, 8, 3)

    def __init__(self, gain: float) -> None:
        self._gain = gain

    def infer(self, clips: np.ndarray) -> np.ndarray:
        best = np.float32(0.7 + self._gain * clips.mean() / 255)
        return np.array([[best, 1 - best]], np.float32)


@pytest.mark.parametrize(("gain", "expected"), [(0.0, True), (0.01, True), (-0.9, False)])
def test_engines_agree_only_within_the_bounds(gain: float, expected: bool) -> None:
    assert agree(_Engine(gain), _Engine(0.0)) is expected  # type: ignore[arg-type]


def test_sigmoids_agree_on_all_true_labels() -> None:
    reference = np.array([[0.9, 0.8, 0.1], [0.9, 0.1, 0.51], [0.5, 0.49, 0.51]], np.float32)
    assert compare_scores(reference, reference, is_independent=True).top_1 == 1.0
    nearly = np.array([[0.9, 0.8, 0.1], [0.9, 0.1, 0.49], [0.49, 0.51, 0.49]], np.float32)
    agreement = compare_scores(nearly, reference, is_independent=True)
    assert (agreement.ties, agreement.same, agreement.top_1) == (1, pytest.approx(1 / 3), 1.0)
    other_second = np.array([[0.9, 0.1, 0.1], *reference[1:]], np.float32)
    assert compare_scores(other_second, reference, is_independent=True).top_1 == 0.5
    assert compare_scores(other_second, reference).top_1 == 1.0
