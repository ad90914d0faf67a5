"""Check of codecs: a process that may crash makes a tiny video per codec and opens it with PyAV and decord."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec

from deploy.doctor import probes
from deploy.doctor.check import Check, Finding, KnownIssue, fine
from deploy.doctor.context import Context, Skipped

CODEC_UNREADABLE = KnownIssue(
    "codec cannot be opened", "wrong", "415 unsupported_media or 422 undecodable for good files of one kind",
    "{reader} cannot open {codec}: {why}",
    "another build of av, decord2, pillow or pi-heif was installed: `make setup`, or .venv/bin/pip install -e '.[web]'",
)  # fmt: skip
DECODER_DIES = KnownIssue(
    "decoder dies", "wrong", "422 for every video, and decoder processes end by a signal",
    "opening tiny films ended {how}",
    "reinstall the decoders: .venv/bin/pip install --force-reinstall --no-deps av decord2 (versions in pyproject.toml)",
)  # fmt: skip


def codecs(patient: Context) -> Iterator[Finding]:
    """Make and open a tiny file per codec in a child process."""
    if not patient.has_web:
        raise Skipped("files are opened in another container")
    if not find_spec("av") or not find_spec("decord"):
        yield DECODER_DIES.found(how="before it began: av or decord is not installed")
        return
    with tempfile.TemporaryDirectory(prefix="clipstack-doctor-") as folder:
        words = [sys.executable, "-m", "deploy.doctor.codec_films", folder]
        completed = probes.output(words, {"PATH": "/usr/bin", "PYTHONPATH": str(patient.checkout)}, limit_s=LIMIT_S)
    if completed.returncode:
        yield DECODER_DIES.found(how=_end(completed.returncode, completed.stderr))
        return
    outcomes: dict[str, dict[str, str]] = json.loads(completed.stdout)
    for codec, readers in outcomes.items():
        for reader, why in readers.items():
            if why and reader != "encoder":
                yield CODEC_UNREADABLE.found(reader=reader, codec=codec, why=why)
    opened = [codec for codec, readers in outcomes.items() if "encoder" not in readers]
    unmade = [codec for codec, readers in outcomes.items() if "encoder" in readers]
    yield fine(f"{', '.join(opened)}" + (f"; no film could be made of {', '.join(unmade)}" if unmade else ""))


def _end(code: int, said: str) -> str:
    if code < 0:
        return f"by {signal.Signals(-code).name}"
    return f"with status {code}: {said.strip().rpartition(chr(10))[2]}"


LIMIT_S = 14.0
CHECKS = (Check("codecs", codecs, (CODEC_UNREADABLE, DECODER_DIES), LIMIT_S),)
