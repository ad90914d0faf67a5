"""Links of all pages, and the Makefile targets that pages name."""

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
TEXTS = sorted({*CHECKOUT.glob("*.md"), *CHECKOUT.glob(".github/*.md"), *CHECKOUT.glob("docs/**/*.md")})
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
VERB = re.compile(r"`make ([a-z][a-z-]*)")


def headings(text: Path) -> set[str]:
    """Return the anchors of a file's headings, as GitHub makes them."""
    lines = FENCED.sub("", text.read_text()).splitlines()
    titles = (line.lstrip("# ").strip().lower() for line in lines if line.startswith("#"))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: str(text.relative_to(CHECKOUT)))
def test_every_link_has_a_target(text: Path) -> None:
    lost = []
    for link in LINK.findall(FENCED.sub("", text.read_text())):
        place, _, anchor = link.partition("#")
        if "://" in place or place.startswith("mailto:"):
            continue
        target = text.parent / place if place else text
        if not target.exists() or (anchor and anchor not in headings(target)):
            lost.append(link)
    assert lost == []


def test_every_named_make_target_exists() -> None:
    verbs = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    named = {verb for text in TEXTS for verb in VERB.findall(text.read_text())}
    assert named - verbs == set()
