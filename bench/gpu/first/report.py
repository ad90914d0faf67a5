"""Results of one step, on disk after every figure: a step that hangs or dies loses nothing."""

import json
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Report:
    """JSON file of one step's results."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.results: dict[str, Any] = {}
        self._began = time.monotonic()

    def add(self, name: str, value: Any) -> None:
        """Add one result, print it, and rewrite the file."""
        self.results[name] = value
        print(f"{time.monotonic() - self._began:6.1f} s  {name}: {json.dumps(value)[:600]}", flush=True)
        temporary = self._path.with_suffix(".part")
        temporary.write_text(json.dumps(self.results, indent=1) + "\n")
        temporary.replace(self._path)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Record what goes wrong inside as the result `name`, and go on."""
        try:
            yield
        except Exception as error:
            traceback.print_exc(limit=6)
            words = str(error).strip()
            self.add(name, {"error": f"{type(error).__name__}: {words[:300]}"})
