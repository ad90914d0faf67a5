"""The best labels of scores."""

import numpy as np

from app.inference.model import average, top

LABELS = ("a", "b", "c")
ALL = np.arange(3)


def test_the_best_come_first() -> None:
    scores = np.array([0.2, 0.7, 0.1], np.float32)
    assert top(scores, LABELS, 2, ALL) == [{"label": "b", "score": 0.7}, {"label": "a", "score": 0.2}]


def test_large_top_k_returns_all_labels() -> None:
    assert [p["label"] for p in top(np.array([0.1, 0.2, 0.7], np.float32), LABELS, 99, ALL)] == ["c", "b", "a"]


def test_equal_scores_keep_the_models_order() -> None:
    assert [p["label"] for p in top(np.zeros(3, np.float32), LABELS, 3, ALL)] == ["a", "b", "c"]


def test_clips_count_equally() -> None:
    mean = average([np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)])
    assert mean.tolist() == [0.5, 0.5]
    assert mean.dtype == np.float32


def test_selected_labels_keep_their_scores() -> None:
    scores = np.array([0.2, 0.7, 0.1], np.float32)
    assert top(scores, LABELS, 5, np.array([0, 2])) == [{"label": "a", "score": 0.2}, {"label": "c", "score": 0.1}]
