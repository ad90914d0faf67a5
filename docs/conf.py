"""Sphinx's configuration: `make docs` builds the site from the Markdown pages of this folder."""

import re
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
PAGE = re.compile(r"\]\(([\w/-]+)\.md\)")
LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s]*)(?:#[^)]*)?\)")

project = "Clipstack"
version = release = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]["version"]
extensions = ["myst_parser"]
root_doc = "README"
exclude_patterns = ["conf.py"]
html_theme = "furo"
html_title = f"Clipstack {release}"
html_favicon = "../app/static/icon.svg"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
myst_heading_anchors = 4  # headings are link targets, named as on GitHub
suppress_warnings = ["misc.highlighting_failure"]  # JSON with "…" in it


def prepare(app: Sphinx, docname: str, source: list[str]) -> None:
    """Adapt a page to the site: no links to files outside this folder, and tables of contents for the sidebar."""
    folder = (HERE / docname).parent

    def plain_if_outside(link: re.Match[str]) -> str:
        outside = not link[2].startswith("http") and not (folder / link[2]).resolve().is_relative_to(HERE)
        return link[1] if outside else link[0]

    source[0] = LINK.sub(plain_if_outside, source[0])
    if docname == "README":
        for section in source[0].split("\n## ")[1:]:
            pages = "\n".join(dict.fromkeys(PAGE.findall(section)))
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {section.splitlines()[0]}\n\n{pages}\n```\n"
    if docname == "decisions/README":
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\n0*\n```\n"


def setup(app: Sphinx) -> None:
    """Register `prepare`; Sphinx calls this."""
    app.connect("source-read", prepare)
