"""Parsing of ApacheBench's report."""

from bench.load.ab import parse_report

REPORT = """\
Time taken for tests:   2.500 seconds
Complete requests:      20
Failed requests:        2
   (Connect: 0, Receive: 0, Length: 0, Exceptions: 2)
Non-2xx responses:      3
"""


def test_only_good_answers_count() -> None:
    turn = parse_report(REPORT, "Percentage served,Time in ms\n50,12.5\n99,0.257\n100,80.25\n", clients=4)
    assert (turn.per_s, turn.answered, turn.failed, turn.p50_ms, turn.p99_ms) == (6.0, 15, 5, 12.5, 80.25)


def test_99th_of_many_requests_is_not_longest() -> None:
    many = REPORT.replace("requests:      20", "requests:      200")
    assert parse_report(many, "50,12.5\n99,80.25\n100,99.0\n", clients=4).p99_ms == 80.25


def test_few_requests_have_no_latency() -> None:
    turn = parse_report(REPORT, "50,12.5\n99,80.25\n", clients=11)
    assert (turn.per_s, turn.p50_ms, turn.p99_ms) == (6.0, None, None)
