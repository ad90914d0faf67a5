"""Decodes are counted by device, and each reason for the CPU is logged once."""

from __future__ import annotations

import pytest

from app.decoding.stats import REASONS, DecodeStats
from app.media.types import DecodeResult

GPU = DecodeResult(((0,),), ((0.0,),), (False,), truncated=False, on_gpu=True)


def on_cpu(reason: str) -> DecodeResult:
    return DecodeResult(((0,),), ((0.0,),), (False,), truncated=False, not_on_gpu=reason)


def test_each_reason_has_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    decodings = DecodeStats("cuda")
    for decoded in (GPU, on_cpu("no NVDEC\nfor GIF"), GPU, on_cpu("no NVDEC\nfor GIF"), on_cpu("")):
        decodings.count(decoded)
    assert decodings.facts() == {
        "device": "cuda",
        "videos": {"cuda": 2, "cpu": 3},
        "not_on_gpu": {"no NVDEC\nfor GIF": 2},
    }
    assert len(caplog.messages) == 1 and "no NVDEC\\nfor GIF" in caplog.messages[0]


def test_files_cannot_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    decodings = DecodeStats("cuda")
    for number in range(REASONS + 5):
        decodings.count(on_cpu(f"reason {number}"))
    assert len(caplog.messages) == len(decodings.facts()["not_on_gpu"]) == REASONS
