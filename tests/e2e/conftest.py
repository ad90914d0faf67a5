from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.stack.stack import Stack
from tests.support.stacks import running_stack

LISTED_ORIGIN = "http://app.example"  # web pages of this origin may call the API of the stack with keys


@pytest.fixture(scope="session")
def configured_stack() -> Iterator[Stack]:
    """A stack with API keys, a result cache of 1 MiB and a model for pictures, `resnet18`, of random weights."""

    def add_models(folder: Path) -> None:
        from tests.support.networks import served_picture, write_f32_model

        write_f32_model(served_picture(), "resnet18", folder)

    with running_stack(
        wait=False, add_models=add_models, keys="required", origins=LISTED_ORIGIN, results_mb="1", web_workers="2"
    ) as stack:
        yield stack


@pytest.fixture(scope="session")
def feedback_stack() -> Iterator[Stack]:
    """A stack with API keys that keeps feedback, and treats every answer as unsure."""
    models = ("camera_motion", "frame_quality")
    with running_stack(
        wait=False,
        models=models,
        keys="required",
        feedback="on",
        unsure_below="1",
        max_unsure="6",
        picture_model="frame_quality",
    ) as stack:
        yield stack
