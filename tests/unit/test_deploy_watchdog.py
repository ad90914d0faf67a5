"""When a model is stuck: after what canaries, and what else it answered meanwhile."""

from deploy.watchdog.canaries import Told
from deploy.watchdog.judge import Judge, Limit

GOOD = "camera_motion@1"


def judged(*told: tuple[str | None, int]) -> list[list[str]]:
    judge = Judge()
    return [judge.stuck({GOOD: Told(fault, answered)}) for fault, answered in told]


def test_two_failed_canaries_in_a_row_are_enough() -> None:
    assert judged((None, 1), ("dead", 1), ("dead", 1), ("dead", 1)) == [[], [], [GOOD], [GOOD]]


def test_one_failed_canary_is_not() -> None:
    assert judged((None, 1), ("slow", 1), (None, 2), ("slow", 2), (None, 3)) == [[]] * 5


def test_a_model_that_answers_others_is_only_busy() -> None:
    assert judged((None, 1), ("slow", 9), ("slow", 17), ("slow", 30)) == [[]] * 4


def test_a_model_that_never_answered_is_not_restarted_for_ever() -> None:
    assert judged(("broken", 0), ("broken", 0), ("broken", 0)) == [[]] * 3


def test_one_stuck_model_among_good_ones_is_named_and_a_new_one_starts_afresh() -> None:
    judge = Judge()
    judge.stuck({"a@1": Told(None, 1), "b@1": Told(None, 1)})
    judge.stuck({"a@1": Told(None, 2), "b@1": Told("dead", 1)})
    assert judge.stuck({"a@1": Told(None, 3), "b@1": Told("dead", 1), "c@1": Told("new", 0)}) == ["b@1"]
    assert judge.stuck({"a@1": Told(None, 4)}) == []
    judge.forget()
    assert judge.stuck({"b@1": Told("dead", 1)}) == []


def test_a_limit_forgets_what_is_long_ago() -> None:
    limit = Limit(2, 10.0)
    assert [limit.allows(now) for now in (0.0, 1.0, 2.0, 10.5, 10.6, 11.5)] == [True, True, False, True, False, True]
