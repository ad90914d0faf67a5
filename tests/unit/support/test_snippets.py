"""Nothing in README.md and docs/ is told to be typed that no test runs, or that is not said to be run elsewhere."""

import pytest

from tests.support.snippets import BEGINS_A_COMMAND, NOT_HERE, RUN, SHOWN, matches, pages, steps
from tests.support.snippets import blocks as blocks_of

BLOCKS = [block for page in pages() for block in blocks_of(page)]
STEPS = [step for page in pages() for step in steps(page)]


def test_every_block_is_run_or_holds_no_command() -> None:
    assert {block.language for block in BLOCKS} <= {*RUN, *SHOWN}
    assert [block for block in BLOCKS if block.language in SHOWN and BEGINS_A_COMMAND.search(block.text)] == []


def test_every_exception_is_needed_and_has_a_reason() -> None:
    for (page, begins), reason in NOT_HERE.items():
        assert reason, begins
        assert any(page in ("", step.page) and step.text.startswith(begins) for step in STEPS), (page, begins)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("ready at http://127.0.0.1:8080\n", "ready at http://127.0.0.1:41233\n"),
        ("jobs      RUNNING   pid 47, uptime 0:05:26\n", "jobs   RUNNING   pid 1234, uptime 1:00:00\n"),
        ('{"id":"240ce65abd05837ba09eb488","score":0.96}', '{"id":"340ce65abd05837ba09eb48a","score":1}'),
        ("a\n…\nz\n", "a\nb\nc\nz\n"),
        ("a\n…\n", "a\n"),
        ("a\n…\n", "a\nb\n"),
        ("  shake   0.9%  ╸\n", "  shake   1.1%\n"),
        ("{…}\n", '{"many": "things"}\n'),
    ],
)
def test_what_changes_may_differ(shown: str, printed: str) -> None:
    assert matches(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("pan_left  0.98\n", "pan_right  0.98\n"),
        ("a\n…\nz\n", "a\nb\n"),
        ("a\n", "a\nb\n"),
        ("web: stopped\nweb: started\n", "web: stopped\n"),
        ("pid 47\n", "pid none\n"),
    ],
)
def test_what_does_not_change_may_not(shown: str, printed: str) -> None:
    assert not matches(shown, printed)


def test_comments_and_broken_lines_are_no_part_of_a_command() -> None:
    told = [step.text for step in STEPS if step.page == "docs/models.md"]
    assert ".venv/bin/clipstack-models list" in told
    assert any("--onnx model.onnx" in text and text.endswith("--std 0.225") for text in told)
