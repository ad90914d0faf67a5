"""A model that is trained beside a running stack is served without a restart, also its next version."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import httpx
from click.testing import CliRunner, Result

from deploy.stack.stack import Stack
from tests.support.stacks import until
from triton_repo.zoo.cli.main import main
from triton_repo.zoo.training.examples.digits import write_digits

FOLLOWED_S = 15.0  # until every worker uses it; two seconds on an idle machine


def test_a_trained_model_answers_with_its_labels(stack: Stack, tmp_path: Path) -> None:
    def invoke(*words: object) -> Result:
        return CliRunner(env=stack.settings.environment()).invoke(main, [str(word) for word in words])

    def ask(file: Path) -> httpx.Response:
        return httpx.post(f"{stack.url}/v1/classify?model=digits", content=file.read_bytes(), timeout=60)

    def served(version: str) -> bool:
        return all(ask(files[0]).json().get("model_version") == version for _ in range(8))

    write_digits(tmp_path / "digits", 8, seed=3)
    places = ("--cache", tmp_path / "cache", "--report", tmp_path / "report")
    files = sorted((tmp_path / "digits").rglob("*.png"))
    try:
        for version in ("1", "2"):
            result = invoke("train", "digits", tmp_path / "digits", *places, "--seed", version, "--force")
            assert result.exit_code == 0, result.output
            assert "served now" in result.stderr
            until(partial(served, version), FOLLOWED_S)
        answers = [ask(file).json()["predictions"][0]["label"] for file in files]
        right = sum(answer == file.parent.name for answer, file in zip(answers, files, strict=True))
        assert right >= 0.8 * len(files)
        models = {model["name"]: model for model in httpx.get(f"{stack.url}/v1/models").json()["models"]}
        assert models["digits"]["versions"] == ["2", "1"]
        assert models["digits"]["description"].startswith("Trained on ")
    finally:
        assert invoke("remove", "digits").exit_code == 0
