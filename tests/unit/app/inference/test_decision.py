import numpy as np
import pytest

from app.errors import InvalidParameter
from app.inference.decision import Selection, decision_json, decision_rule

LABELS = ("snare", "kick", "hat")
SCORES = np.array([0.2, 0.7, 0.1], np.float32)


def decide(kind: str, thresholds: tuple[float, ...] = (), scores: object = SCORES, **selection: object) -> list[str]:
    rule = decision_rule(LABELS, kind, thresholds, Selection(**selection))  # type: ignore[arg-type]
    return rule.decide(np.array(scores, np.float32))


def test_softmax_without_thresholds_decides_for_the_best() -> None:
    assert decide("softmax") == ["kick"]
    assert decide("softmax", scores=[0.01, 0.005, 0.02]) == ["hat"]


def test_sigmoid_without_thresholds_decides_at_half() -> None:
    assert decide("sigmoid", scores=[0.5, 0.9, 0.49]) == ["kick", "snare"]
    assert decide("sigmoid", scores=[0.1, 0.2, 0.49]) == []


def test_thresholds_of_the_version_decide_label_by_label() -> None:
    assert decide("softmax", (0.2, 0.8, 0.05)) == ["snare", "hat"]
    assert decide("sigmoid", (0.3, 0.8, 0.2)) == []


def test_min_score_replaces_the_thresholds_of_the_version() -> None:
    assert decide("softmax", (0.9, 0.9, 0.9), min_score=0.2) == ["kick", "snare"]
    assert decide("softmax", min_score=0.9) == []
    assert decide("sigmoid", min_score=0.0) == ["kick", "snare", "hat"]


def test_rounded_score_is_compared() -> None:
    assert decide("softmax", scores=[0.0, np.nextafter(np.float32(0.7), 0), 0.0], min_score=0.7) == ["kick"]


def test_only_selected_labels_are_decided_on() -> None:
    assert decide("softmax", labels=("snare", "hat")) == ["snare"]
    assert decide("softmax", exclude=("kick",)) == ["snare"]
    assert decide("softmax", labels=("kick", "hat"), exclude=("kick",)) == ["hat"]
    assert decide("sigmoid", exclude=("kick",)) == []


def test_equal_names_are_selected_together() -> None:
    assert Selection(labels=("crane",)).indices(("crane", "dog", "crane")).tolist() == [0, 2]


def test_unknown_label_is_refused_with_similar_ones() -> None:
    for selection in (Selection(labels=("Snair",)), Selection(exclude=("Snair",))):
        with pytest.raises(InvalidParameter, match="did you mean 'snare'") as caught:
            selection.indices(LABELS)
        assert caught.value.status == 400
    with pytest.raises(InvalidParameter, match="no such label; /v1/models"):
        Selection(labels=("zzzzzz",)).indices(LABELS)


def test_selection_must_leave_a_label() -> None:
    with pytest.raises(InvalidParameter, match="leave no label"):
        Selection(labels=("kick",), exclude=("kick",)).indices(LABELS)


def test_decision_without_labels_is_none() -> None:
    assert (decision_json([]), decision_json(["kick"])) == ("none", ["kick"])


@pytest.mark.parametrize(
    ("kind", "selection", "most"),
    [
        ("softmax", Selection(), 1),
        ("softmax", Selection(0.6), 2),
        ("softmax", Selection(0.0), 3),
        ("sigmoid", Selection(0.9), 3),
        ("sigmoid", Selection(exclude=("hat",)), 2),
    ],
)
def test_most_labels_that_can_pass(kind: str, selection: Selection, most: int) -> None:
    assert decision_rule(LABELS, kind, None, selection).max_passing == most
