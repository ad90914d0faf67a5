"""The service, its client and its images name one licence, and the images the service's version."""

import re
import tomllib
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
PROJECT, CLIENT = (
    tomllib.loads((CHECKOUT / name).read_text())["project"] for name in ("pyproject.toml", "client/pyproject.toml")
)
LABELS = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', (CHECKOUT / "deploy/Dockerfile").read_text()))


def test_one_licence_everywhere() -> None:
    assert PROJECT["license"] == CLIENT["license"] == LABELS["licenses"] == "Apache-2.0"
    assert "Apache License" in (CHECKOUT / "LICENSE").read_text() == (CHECKOUT / "client" / "LICENSE").read_text()


def test_images_carry_the_version_of_the_service() -> None:
    assert LABELS["version"] == PROJECT["version"]


def test_tags_of_images_are_the_version() -> None:
    files = [
        CHECKOUT / "docker-compose.yml",
        *(CHECKOUT / "deploy").glob("*.yml"),
        *(CHECKOUT / "deploy").glob("kubernetes/**/*.yaml"),
    ]
    texts = {file.name: file.read_text() for file in files}
    tags = {name: re.findall(r"(?:clipstack-[\w-]+:|newTag: )(\d[\w.]*)", text) for name, text in texts.items()}
    assert {name for name, versions in tags.items() if versions} >= {
        "docker-compose.yml",
        "compose.gpu.yml",
        "kustomization.yaml",
    }
    assert {tag for versions in tags.values() for tag in versions} == {PROJECT["version"]}
