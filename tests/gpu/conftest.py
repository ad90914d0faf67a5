"""For tests that need a GPU: all are skipped, with the reason, where torch finds none."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def gpu() -> int:
    """CUDA's number of the GPU."""
    if not torch.cuda.is_available():
        pytest.skip(f"no GPU here: torch {torch.__version__} finds no CUDA device")
    return 0
