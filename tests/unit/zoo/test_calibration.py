import numpy as np
import pytest

from triton_repo.zoo.calibration import MAX_TEMPERATURE, MIN_TEMPERATURE, fit_temperature, label_thresholds

RNG = np.random.default_rng(0)


def test_softmax_temperature_undoes_the_scale_of_the_logits() -> None:
    logits = RNG.normal(0, 2, (20_000, 5))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = (RNG.random((len(logits), 1)) > chances.cumsum(axis=1)).sum(axis=1)
    assert fit_temperature(3 * logits, targets) == pytest.approx(3, rel=0.03)
    assert fit_temperature(0.5 * logits, targets) == pytest.approx(0.5, rel=0.03)


def test_sigmoid_temperature_undoes_the_scale_of_the_logits() -> None:
    logits = RNG.normal(0, 2, (20_000, 3))
    targets = RNG.random(logits.shape) < 1 / (1 + np.exp(-logits))
    assert fit_temperature(3 * logits, targets) == pytest.approx(3, rel=0.03)


def test_temperature_stays_within_its_bounds() -> None:
    right, wrong = [[4.0, 0.0]] * 3, [[0.0, 4.0]] * 3
    assert fit_temperature(right, [0, 0, 0]) == pytest.approx(MIN_TEMPERATURE)
    assert fit_temperature(wrong, [0, 0, 0]) == pytest.approx(MAX_TEMPERATURE)
    assert fit_temperature([[1000.0, -1000.0]], [[1, 0]]) > 0


def test_threshold_has_the_highest_f1() -> None:
    scores = np.array([[0.9], [0.8], [0.6], [0.4], [0.2]])
    assert label_thresholds(scores, [[1], [1], [1], [0], [0]]) == [pytest.approx(0.5)]
    # F1 of the first two 0.8, of all four with one wrong 6 / 7
    assert label_thresholds(scores, [[1], [1], [0], [1], [0]]) == [pytest.approx(0.3)]


def test_threshold_of_each_label_from_class_indices() -> None:
    scores = [[0.7, 0.3], [0.6, 0.4], [0.2, 0.8]]
    assert label_thresholds(scores, [0, 0, 1]) == [pytest.approx(0.4), pytest.approx(0.6)]


def test_label_without_a_file_gets_the_default() -> None:
    assert label_thresholds([[0.7, 0.1], [0.6, 0.2]], [[1, 0], [1, 0]]) == [pytest.approx(0.3), 0.5]


def test_equal_scores_pass_together() -> None:
    assert label_thresholds([[0.5], [0.5], [0.1]], [[1], [0], [0]]) == [pytest.approx(0.3)]


@pytest.mark.parametrize(
    ("scores", "targets"),
    [
        ([0.5], [0]),
        ([[0.5, 0.5]], [0, 1]),
        ([[np.nan, 0.5]], [0]),
        ([[0.5, 0.5]], [2]),
        ([[0.5, 0.5]], [-1]),
        ([[0.5, 0.5]], [0.5]),
        ([[0.5, 0.5]], [[0.5, 1]]),
        (np.empty((0, 2)), np.empty(0, int)),
    ],
)
def test_unfit_input_is_refused(scores: object, targets: object) -> None:
    for call in (fit_temperature, label_thresholds):
        with pytest.raises(ValueError):
            call(scores, targets)
