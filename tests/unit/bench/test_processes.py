"""Processes of a stack by part, and their processor time."""

import os
from collections import Counter

import pytest

from bench.fixtures.service import Service
from bench.load.ab import LoadResult
from bench.processes import cpu_of_session, cpu_seconds_by_part, part_of
from bench.turns import Turns


@pytest.mark.parametrize(
    ("command", "part"),
    [
        ("/x/.venv/bin/python -m gunicorn -c gunicorn.conf.py app.wsgi:application", "web"),
        (
            "/x/.venv/bin/python -c from multiprocessing.forkserver import main; main(7, 8, ['app.job_worker'])",
            "decoders",
        ),
        ("backends/python/triton_python_backend_stub models/x3d_m/1/model.py triton-8001-", "model process"),
        ("/x/.runtime/triton/bin/tritonserver --model-repository=models", "triton"),
        ("/x/.venv/bin/python -m app.job_worker", "jobs"),
        ("/x/.venv/bin/python -m deploy.watchdog", "watchdog"),
        ("/x/.venv/bin/python -m supervisor.supervisord -c /x/supervisor/supervisord.conf", "supervisord"),
        ("nginx: worker process", "nginx"),
        ("sleep 5", "other"),
    ],
)
def test_part_of_a_command_line(command: str, part: str) -> None:
    assert part_of(command) == part


def test_processor_time_of_this_session_grows_with_work() -> None:
    session = os.getsid(0)
    before = cpu_of_session(session)
    started = os.times().user
    while os.times().user < started + 0.1:
        sum(range(10_000))
    assert os.getpid() in before
    assert cpu_seconds_by_part(session, before).total() >= 0.09


def test_processor_time_of_answer_is_that_of_all_turns() -> None:
    results = [LoadResult(1.0, None, None, answered, 0) for answered in (10, 30)]
    turns = Turns(Service("clipstack", "", 0), results, Counter({"web": 0.4, "decoders": 2.0}))
    assert turns.cpu_ms() == {"web": 10.0, "decoders": 50.0, "all": 60.0}
    assert Turns(Service("clipstack", "", 0)).cpu_ms() == {}
