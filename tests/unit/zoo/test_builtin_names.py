"""Every list of the built-in models names the same ones."""

import re
from pathlib import Path

from triton_repo.zoo.names import BUILT_IN

CHECKOUT = Path(__file__).parents[3]


def test_images_are_built_from_the_built_in_models() -> None:
    ignored = (CHECKOUT / ".dockerignore").read_text()
    assert re.findall(r"^!triton_repo/models/(\w+)$", ignored, re.M) == list(BUILT_IN)
    assert re.findall(r"^triton_repo/models/.*$", ignored, re.M) == [
        "triton_repo/models/*",
        "triton_repo/models/*/[0-9]*",
    ]


def test_setup_exports_and_clean_removes_the_built_in_models() -> None:
    setup = (CHECKOUT / "deploy" / "setup").read_text()
    assert re.findall(r"^for model in (.*); do export_model", setup, re.M) == [" ".join(BUILT_IN)]
    assert re.findall(r"triton_repo/models/(\w+)/\[0-9\]\*", (CHECKOUT / "Makefile").read_text()) == list(BUILT_IN)
