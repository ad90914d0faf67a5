"""Renderer of nginx's configuration: the files of nginx/ with the values of one stack filled in."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

_NAME = re.compile(r"\$\{(CLIPSTACK_[A-Z_]+)\}")  # does not match nginx's own $variables


def render(source: Path, target: Path, values: Mapping[str, str]) -> None:
    """Render every .conf file below `source` to the same path below `target`, which is emptied first.

    Raise KeyError for a placeholder without a value, ValueError for a value that nginx would parse as syntax.
    """
    shutil.rmtree(target, ignore_errors=True)
    for path in sorted(source.rglob("*.conf")):
        rendered = target / path.relative_to(source)
        rendered.parent.mkdir(parents=True, exist_ok=True)
        rendered.write_text(_NAME.sub(lambda match: checked(values[match[1]]), path.read_text()))


def checked(value: str) -> str:
    """Return `value`; raise ValueError if nginx would parse it as syntax."""
    if bad := set(value) & set("\"'\\;{}$\n"):
        raise ValueError(f"nginx cannot use the value {value!r}: remove {' '.join(sorted(bad))}")
    return value
