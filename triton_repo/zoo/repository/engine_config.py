"""Reading and atomic replacement of the engine in a model's `config.pbtxt`."""

import re
from pathlib import Path

from app.files import write_file
from triton_repo.zoo import ModelError

USUAL = ("openvino", "f32")  # of a configuration that names none


def engine_of(text: str) -> tuple[str, str]:
    """Return the engine and precision that a configuration names."""
    engine, precision = (
        match[2] if (match := _entry(name).search(text)) else default
        for name, default in zip(("engine", "precision"), USUAL, strict=True)
    )
    return engine, precision


def with_engine(text: str, engine: str, precision: str) -> str:
    """Return the configuration with another engine and precision; raise ModelError if it was written by hand."""
    for name, value in (("engine", engine), ("precision", precision)):
        text, count = _entry(name).subn(rf"\g<1>{value}\g<3>", text)
        if count != 1:
            raise ModelError(
                f'its config.pbtxt was written by hand: set "{name}" to "{value}" in its parameters there.'
            )
    return text


def write(path: Path, text: str) -> None:
    """Write the text atomically; an unchanged file is not touched."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    write_file(path, text.encode())


def _entry(name: str) -> re.Pattern[str]:
    return re.compile(rf'(key:\s*"{name}"\s*value:?\s*\{{\s*string_value:\s*")([^"]*)(")')
