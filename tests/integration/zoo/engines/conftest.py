"""The engines that run on this machine, and a model folder for each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.zoo.engines.engine_model import SERVED
from triton_repo.backends.clip.clip_engines import ENGINES, EngineError, engine_class
from triton_repo.zoo.export import engine_files
from triton_repo.zoo.export.openvino import write_model


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine that runs here; skipped with its error where it does not."""
    try:
        engine_class(request.param).precisions()
    except EngineError as error:
        pytest.skip(str(error))
    return str(request.param)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(SERVED, "tiny", tmp_path_factory.mktemp("models")) / "1"


@pytest.fixture
def version(engine: str, exported: Path) -> Path:
    """A version's folder with the engine's files in each precision of this machine."""
    for precision in engine_class(engine).precisions():
        if not (exported / engine_class(engine).file(precision)).exists():
            engine_files.make(engine, precision, SERVED, exported)
    return exported
