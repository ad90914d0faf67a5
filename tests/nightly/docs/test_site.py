"""The documentation as a site."""

import subprocess

from tests.support.stacks import CHECKOUT


def test_site_is_built_without_broken_links() -> None:
    result = subprocess.run(["make", "docs"], cwd=CHECKOUT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    page = (CHECKOUT / "build" / "docs" / "index.html").read_text()
    assert 'href="train.html"' in page
