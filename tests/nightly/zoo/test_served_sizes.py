"""The larger X3D and ResNet sizes in one real Triton server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tritonclient import grpc

from tests.e2e.test_zoo_engines import SMALL, compare_with_source, served
from triton_repo.zoo.names import RESNETS, X3D

LARGE = [name for name in X3D + RESNETS if name not in SMALL]


@pytest.fixture(scope="module")
def triton() -> Iterator[tuple[grpc.InferenceServerClient, Path]]:
    with served(LARGE) as server:
        yield server


@pytest.mark.timeout(900)  # the first one waits for all to be exported and loaded
@pytest.mark.parametrize("name", LARGE)
def test_scores_from_server_are_those_of_source(triton: tuple[grpc.InferenceServerClient, Path], name: str) -> None:
    compare_with_source(*triton, name)
