"""The lock files match pyproject.toml, and every file has a hash."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]


def locked(name: str) -> dict[str, str]:
    """Package -> version, from a file whose every requirement must carry a hash."""
    text = (CHECKOUT / "deploy" / "locks" / f"{name}.txt").read_text()
    entries = re.split(r"\n(?=\S)", text)
    versions = {}
    for entry in entries:
        if match := re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;]+)", entry):
            assert "--hash=sha256:" in entry, entry
            versions[match[1].lower()] = match[2]
    assert versions
    return versions


def named(extra: str) -> dict[str, str]:
    requirements = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"][extra]]
    pins = (re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(\S+)", line) for line in requirements)
    return {pin[1].lower(): pin[2] for pin in pins if pin}


@pytest.mark.parametrize(
    ("lock", "extra"),
    [
        ("web", "web"),
        ("web-gpu", "web"),
        ("web", "otel"),
        ("web-gpu", "cuda"),
        ("web-gpu", "otel"),
        ("triton", "triton"),
        ("triton-gpu", "gpu"),
        ("triton-gpu", "cuda"),
    ],
)
def test_locks_hold_the_versions_that_the_project_names(lock: str, extra: str) -> None:
    have, wanted = locked(lock), named(extra)
    assert wanted and {name: have.get(name) for name in wanted} == wanted, "run `make lock`"


def test_images_hold_no_needless_engines() -> None:
    assert "torch" not in locked("triton")
    assert not {"torch", "openvino"} & (locked("web").keys() | locked("web-gpu").keys())
    assert locked("triton")["numpy"].startswith("1.")


def test_third_party_script_matches_its_lock() -> None:
    text = (CHECKOUT / "deploy" / "page-scripts.txt").read_text()
    content = (CHECKOUT / "app" / "static" / "tus.min.js").read_bytes()
    assert f"--hash=sha256:{hashlib.sha256(content).hexdigest()}" in text
