"""The software version of cached answers."""

from __future__ import annotations

import shutil
from pathlib import Path

import app
from app.software import digest_of, software_digest


def test_changed_modules_change_the_software_version(tmp_path: Path) -> None:
    folder = tmp_path / "app"
    shutil.copytree(Path(app.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__", "static"))
    digests = [software_digest(), digest_of(folder)]
    assert digests[0] == digests[1], "its path does not matter"
    with (folder / "sampling.py").open("a") as file:
        file.write("# changed\n")
    digests.append(digest_of(folder))
    (folder / "timeline" / "scan.py").rename(folder / "timeline" / "swept.py")
    digests.append(digest_of(folder))
    (folder / "new.py").write_text("")
    digests.append(digest_of(folder))
    assert len(set(digests)) == len(digests) - 1
