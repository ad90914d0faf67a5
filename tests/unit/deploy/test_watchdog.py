"""The watchdog's decisions: when a model needs a restart, backoff, and metrics."""

from __future__ import annotations

from pathlib import Path

from app.inference.repository_index import unready
from deploy.stack import paths
from deploy.stack.restarts import MANY, WINDOW_S, RestartHistory, warnings
from deploy.watchdog.health import LOST_S, Backoff, HealthTracker, Observation, Outcome
from deploy.watchdog.metrics import WatchdogMetrics
from deploy.watchdog.prober import Canary, unloaded
from deploy.watchdog.watchdog import LOAD_LIMIT_S, STUCK_S, Load

GOOD = "camera_motion@1"
LOOK_S = 4.0


def decisions(*checks: tuple[Outcome, int, float], look_s: float = LOOK_S) -> list[bool]:
    """Return for each check whether it demands a restart; a check has outcome, answers so far, and CPU seconds."""
    tracker = HealthTracker()
    return [
        GOOD in tracker.failed({GOOD: Observation(outcome, "why", answers, cpu_s)}, look * look_s)
        for look, (outcome, answers, cpu_s) in enumerate(checks)
    ]


def test_two_silent_canaries_of_an_idle_process_are_a_hang() -> None:
    assert decisions(("answered", 1, 5.0), ("silent", 1, 5.0), ("silent", 1, 5.01)) == [False, False, True]


def test_single_silent_canary_is_no_hang() -> None:
    checks: list[tuple[Outcome, int, float]] = [("answered", 1, 5.0), ("silent", 1, 5.0), ("answered", 2, 5.1)]
    assert decisions(*checks, ("silent", 2, 5.1), ("answered", 3, 5.2)) == [False] * 5


def test_a_model_that_answers_others_is_only_busy() -> None:
    assert decisions(("answered", 1, 5.0), *[("silent", 1 + look, 5.0) for look in range(1, 60)]) == [False] * 60


def test_a_model_that_calculates_is_only_slow() -> None:
    checks: list[tuple[Outcome, int, float]] = [("silent", 1, 5.0 + look * LOOK_S / 10) for look in range(1, 25)]
    assert decisions(("answered", 1, 5.0), *checks) == [False] * 25


def test_endless_calculation_ends_when_no_client_waits() -> None:
    checks: list[tuple[Outcome, int, float]] = [("silent", 1, 5.0 + look * LOOK_S) for look in range(1, 40)]
    result = decisions(("answered", 1, 5.0), *checks)
    assert result.index(True) == LOST_S // LOOK_S + 1


def test_errors_lead_to_a_restart_after_the_limit() -> None:
    checks: list[tuple[Outcome, int, float]] = [("failed", 1, 5.0)] * 40
    result = decisions(("answered", 1, 5.0), *checks)
    assert result.index(True) == LOST_S // LOOK_S + 1


def test_model_that_never_answered_is_not_restarted() -> None:
    assert decisions(*[("silent", 0, 0.0)] * 60) == [False] * 60  # type: ignore[list-item]


def test_time_without_checks_does_not_count() -> None:
    assert decisions(("answered", 1, 5.0), ("failed", 1, 5.0), look_s=10 * LOST_S) == [False, False]


def test_failing_model_is_named_and_reload_resets_it() -> None:
    tracker = HealthTracker()
    good, hangs = Observation("answered", "", 1, 1.0), Observation("silent", "not healthy", 1, 1.0)
    for look in range(3):
        result = tracker.failed({"a@1": good, "b@1": hangs if look else good}, look * LOOK_S)
    assert result == {"b@1": "hangs: not healthy"}
    assert tracker.failed({"a@1": good}, 3 * LOOK_S) == {}
    assert tracker.failed({"a@1": good, "b@1": hangs}, 4 * LOOK_S) == {}


def test_restarts_count_for_five_minutes() -> None:
    history = RestartHistory()
    starts = ((0, 0.0), (7, 2.0), (7, 4.0), (9, 6.0), (12, 9.0))
    counts = [history.update({"web": start, "jobs": 1}, now)["web"] for start, now in starts]
    assert counts == [0, 0, 0, 1, 2]
    assert history.update({"web": 12, "jobs": 1}, 6 + WINDOW_S) == {"web": 1, "jobs": 0}


def test_restarts_are_a_metric_and_a_warning(tmp_path: Path) -> None:
    numbers = tmp_path / paths.WATCHDOG_METRICS
    numbers.parent.mkdir()
    metrics = WatchdogMetrics(numbers)
    metrics.restarts({"web": MANY, "jobs": MANY - 1})
    metrics.write()
    assert 'clipstack_program_restarts{program="web"} 3' in numbers.read_text()
    (words,) = warnings(tmp_path)
    assert words.startswith("web was restarted 3 times")


def test_backoff_doubles_and_resets_after_a_quiet_time() -> None:
    backoff = Backoff(10.0, 40.0)
    tried = [now for now in range(0, 200) if backoff.allows(now)]
    assert tried == [0, 10, 30, 70, 110, 150, 190]
    assert backoff.allows(300.0) and not backoff.allows(309.0) and backoff.allows(310.0)


def test_unloadable_models_differ_from_unloaded_ones() -> None:
    index = [
        {"name": "good", "version": "1", "state": "READY"},
        {"name": "good", "version": "2", "state": "UNAVAILABLE", "reason": "damaged"},
        {"name": "bad", "version": "1", "state": "UNAVAILABLE", "reason": "Internal:\n no such file\nAt:\n model.py"},
        {"name": "removed", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"},
        {"name": "coming", "version": "1", "state": "LOADING"},
        {"name": "never"},
    ]
    assert unloaded(index) == {"bad": "Internal: no such file"}
    assert unready(index) == {"bad", "coming"}
    assert unready(index, frozenset(("good", "never"))) == {"bad", "coming", "never"}


def test_numbers_are_in_prometheus_format(tmp_path: Path) -> None:
    metrics = WatchdogMetrics(tmp_path / "watchdog.prom")
    metrics.canaries({"a@1": Canary("answered", "", 3), "b@1": Canary("silent", "not healthy", 0)}, {"c": "damaged"})
    metrics.canaries({"a@1": Canary("answered", "", 4)}, {})
    metrics.restarted("dead")
    metrics.started("web")
    metrics.loaded("c")
    metrics.write()

    lines = (tmp_path / "watchdog.prom").read_text().splitlines()

    assert [line for line in lines if not line.startswith("#")] == [
        'clipstack_canaries_total{model="a@1",outcome="answered"} 2',
        'clipstack_canaries_total{model="b@1",outcome="silent"} 1',
        'clipstack_model_restarts_total{cause="dead"} 1',
        'clipstack_program_starts_total{program="web"} 1',
        'clipstack_model_loads_total{model="c"} 1',
        'clipstack_model_answers{model="a@1"} 1',
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["watchdog.prom"]


def test_load_without_cpu_use_is_stuck() -> None:
    load = Load(started=0.0)
    assert [load.problem(None, now) for now in (0.0, 2 * STUCK_S)] == ["", ""]
    assert [load.problem(3.0, now) for now in (2 * STUCK_S + 1, 3 * STUCK_S)] == ["", ""]
    assert load.problem(3.0, 3 * STUCK_S + 1) == "has used no CPU for 20 s"


def test_a_load_that_spins_ends_at_the_limit() -> None:
    load = Load(started=100.0)
    problems = [load.problem(now, 100.0 + now) for now in range(0, int(LOAD_LIMIT_S) + 1, 2)]
    assert not any(problems[:-1])
    assert problems[-1] == "has not finished after 30 minutes"
