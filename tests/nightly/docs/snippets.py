"""Commands of README.md and docs/, and the output that the pages show.

A block is `console` (commands after `$ `, each with what it prints), `sh` (commands alone) or `python`. All of them are
run by tests/nightly/docs/test_pages.py, but for what NOT_HERE lists with the reason; other blocks hold no commands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.nightly.docs.page_commands import ADDRESS, CHECKOUT

__all__ = ["ADDRESS", "CHECKOUT"]

PORT = "8080"
RUN, SHOWN = ("console", "sh", "python"), ("", "js", "json", "nginx", "py", "yaml")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
BEGINS_A_COMMAND = re.compile(r"^(\$ |make |curl |docker |sudo |git |pip |python|\.venv/|clipstack[ -])", re.M)

# Commands that this machine cannot or should not run: page, start of the command ("" for all), and the reason
NOT_HERE = {
    ("README.md", "git clone"): "the tests run in a clone",
    ("README.md", ".venv/bin/clipstack-models train"): "minutes; tests/integration/zoo/training/test_train.py",
    ("", "docker compose"): "tests/docker runs them, where there is Docker",
    (
        "docs/access.md",
        "CLIPSTACK_HOST=0.0.0.0",
    ): "port 443, and files in /etc: tests/e2e/test_tls.py",
    ("docs/access.md", "curl -H"): "needs a stack with keys: tests/nightly/docs/test_access_page.py",
    ("docs/access.md", "CLIPSTACK_KEY=clipstack_..."): "the same",
    ("docs/access.md", ".venv/bin/clipstack models --key-file"): "the same",
    ("docs/bulk.md", ""): "needs an archive, buckets and a cluster: tests/integration/client/bulk, tests/nightly/bulk",
    ("docs/client.md", "clipstack"): "tests/nightly/docs/test_client_page.py",
    ("docs/deploy.md", "sudo"): "changes this machine; test_pages.py runs what the unit does",
    (
        "docs/deploy.md",
        "git clone",
    ): "a second installation: minutes, and a network",
    ("docs/deploy.md", "make -C"): "the same",
    ("docs/deploy.md", "cp -a"): "the same",
    ("docs/deploy.md", "CLIPSTACK_"): "a second stack: tests/nightly/faults/test_two_stacks.py",
    ("docs/deploy.md", "make down"): "the same; others on this stack go on",
    ("docs/docker.md", ".venv/bin/clipstack-models add"): "a package index",
    ("docs/docker.md", "REVISION="): "tests/docker builds the images and looks at their labels",
    ("docs/docker.md", "docker image inspect"): "the same",
    ("docs/docker.md", "tar"): "tests/nightly/docker/test_models.py imports a model so",
    ("docs/feedback.md", ""): "needs a stack that keeps feedback: tests/e2e/test_feedback.py",
    ("docs/fetch.md", ""): "needs another server; tests/e2e/fetch",
    ("docs/formats.md", "make formats"): "tests/e2e/field sends the same files",
    ("docs/fuzzing.md", "make fuzz"): "ten minutes and more; make test-nightly runs it",
    ("docs/fuzzing.md", ".venv/bin/python -m tests.nightly.fuzz"): "make test-nightly runs it",
    (
        "docs/gpu.md",
        "",
    ): "needs a GPU, or packs what is measured on one; tests/gpu and tests/integration/bench",
    ("docs/nodes.md", ""): "needs several machines; tests/nightly/nodes, tests/integration/deploy/test_edge.py",
    ("docs/install.md", "python3.11 -m pip download"): "hundreds of megabytes from a package index",
    (
        "docs/jobs.md",
        ".venv/bin/python -m triton_repo.zoo.training.camera_motion.evaluate_timeline",
    ): "minutes, and real footage",
    ("docs/kubernetes.md", ""): "needs a cluster; tests/integration/deploy/test_kubernetes.py validates the manifests",
    (
        "docs/migrating.md",
        ".venv/bin/clipstack-models add my_model --arch x3d_m --weights x3d_m.pth",
    ): "the page adds the same model from an archive",
    ("docs/models.md", ".venv/bin/pip install"): "a package index",
    (
        "docs/models.md",
        ".venv/bin/clipstack-models bench",
    ): "measures for a minute; tests/integration/zoo/command/test_bench.py",
    ("docs/models.md", "deploy/setup quantize"): "a package index",
    (
        "docs/models.md",
        ".venv/bin/clipstack-models quantize",
    ): "hundreds of files; tests/integration/zoo/command/test_quantize.py",
    ("docs/models.md", ".venv/bin/clipstack-models verify x3d_m --engine"): "minutes; tests/e2e/test_zoo_engines.py",
    ("docs/model-accuracy.md", ".venv/bin/python -m tests."): "hours of every network in every engine",
    ("docs/remote-triton.md", ""): "needs a second machine; tests/nightly/remote has two namespaces",
    ("docs/scores.md", ".venv/bin/clipstack-models"): "tests/e2e/test_sigmoid.py adds such models",
    ("docs/objects.md", ".venv/bin/clipstack-models add"): "a package index",
    ("docs/monitoring.md", "prometheus"): "runs until it is stopped; tests/e2e/operations/test_monitoring.py starts it",
    (
        "docs/supply.md",
        "make",
    ): "an advisory service, and files of the checkout; tests/nightly/docs/test_supply_page.py",
    ("docs/swarm.md", ""): "needs a swarm; tests/nightly/docker/test_swarm.py",
    ("docs/tracing.md", ""): "needs a collector; tests/e2e/test_tracing.py has one",
    ("docs/train.md", ""): "minutes; tests/integration/zoo/training/test_train.py trains with fewer files",
    ("docs/webhooks.md", ""): "need a receiver; tests/e2e/test_webhooks.py has one, that of the page",
    ("docs/upload.md", ""): "minutes over slow links; tests/integration/bench/test_upload.py",
}


class Block(NamedTuple):
    """A fenced block of `page`, a path in the checkout."""

    page: str
    language: str
    text: str


class Step(NamedTuple):
    """A command, or a program of `language` python; `shown` is what it prints, if the page says so."""

    page: str
    language: str
    text: str
    shown: str | None = None

    @property
    def why_not_here(self) -> str | None:
        for (page, begins), reason in NOT_HERE.items():
            if page in ("", self.page) and self.text.startswith(begins):
                return reason
        return None


def pages() -> list[Path]:
    return [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("**/*.md"))]


def blocks(page: Path) -> list[Block]:
    name = str(page.relative_to(CHECKOUT))
    return [Block(name, *match) for match in BLOCK.findall(page.read_text())]


def steps(page: Path) -> list[Step]:
    """Return all commands of the page in order."""
    return [step for block in blocks(page) if block.language in RUN for step in _steps(block)]


def _steps(block: Block) -> Iterator[Step]:
    if block.language == "python":
        yield Step(block.page, "python", block.text)
    elif block.language == "sh":
        for line in block.text.replace("\\\n", " ").splitlines():
            command = re.sub(r"\s+# .*|\s{2,}", lambda match: "" if "#" in match[0] else " ", line).strip()
            if command:
                yield Step(block.page, "sh", command)
    else:
        for part in re.split(r"^\$ ", block.text, flags=re.M)[1:]:
            command, _, shown = part.partition("\n")
            yield Step(block.page, "console", command, shown or None)


def matches(shown: str, printed: str) -> bool:
    """Return whether the page shows the output, except for parts that vary.

    `…` is anything, a line of it any lines; a number is any number, an id any id, a bar or a gap of any length.
    """
    lines = [".*?" if line == "…" else _line(line) for line in shown.rstrip("\n").split("\n")]
    pattern = r"\s*" + r"\n".join(lines) + r"\s*"
    return re.fullmatch(pattern.replace(r"\n.*?", r"(?s:\n.*?|)"), printed) is not None


_CHANGING = re.compile(
    r"(?P<any>…)|(?P<id>\b[0-9a-f]{24,32}\b)|(?P<number>\d+(?:[.:]\d+)*)|(?P<bar> *[━╸]+)|(?P<gap>[ -]{2,})"
)
_ANY = {"any": "(?s:.*?)", "id": "[0-9a-f]{24,32}", "number": r"\d+(?:[.:]\d+)*", "bar": "[ ━╸]*", "gap": "[ -]+"}


def _line(text: str) -> str:
    """Return a pattern for one line; bars and the text after the last number are optional."""
    parts, end = [], 0
    for match in _CHANGING.finditer(text):
        parts += [re.escape(text[end : match.start()]), _ANY[str(match.lastgroup)]]
        end = match.end()
    return "".join([*parts, re.escape(text[end:])]) + " *"
