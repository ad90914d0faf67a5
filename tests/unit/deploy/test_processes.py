"""Detection of files that a process has open or mapped."""

from __future__ import annotations

import mmap
from pathlib import Path

from deploy.stack.processes import unused


def test_files_that_are_open_or_mapped_are_in_use(tmp_path: Path) -> None:
    opened, mapped, left = (tmp_path / name for name in ("opened", "mapped", "left behind"))
    for path in (opened, mapped, left):
        path.write_bytes(bytes(4096))
    with mapped.open("rb") as file:
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with opened.open("rb"), memory:
        assert unused([opened, mapped, left]) == [left]
    assert unused([opened, mapped, left]) == [opened, mapped, left]
