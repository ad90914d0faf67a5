"""Check of codecs: a process that may crash makes a tiny video per codec and opens it with PyAV and decord."""

import json
import signal
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec

from deploy.doctor import probes
from deploy.doctor.check import Checks, Finding, KnownIssue, ok
from deploy.doctor.context import Context

TIMEOUT_S = 14.0

CODEC_UNREADABLE = KnownIssue(
    name="codec cannot be opened",
    symptom="415 unsupported_media or 422 undecodable for good files of one kind.",
    message="{reader} cannot open {codec}: {reason}.",
    fix="A different build of av, decord2, pillow or pi-heif is installed. Run `make setup`, or "
    "`.venv/bin/pip install -e '.[web]'`.",
)
DECODER_CRASHES = KnownIssue(
    name="decoder crashes",
    symptom="422 for every video. Decoder processes end by a signal.",
    message="The process that opens tiny test videos failed: {reason}.",
    fix="Install the decoders again: `.venv/bin/pip install --force-reinstall --no-deps av decord2` with the versions "
    "of pyproject.toml.",
)

CHECKS = Checks()


@CHECKS.add("codecs", CODEC_UNREADABLE, DECODER_CRASHES, timeout_s=TIMEOUT_S)
def codecs(context: Context) -> Iterator[Finding]:
    """Make and open a tiny file per codec in a child process."""
    context.require_web()
    if not find_spec("av") or not find_spec("decord"):
        yield DECODER_CRASHES.finding(reason="av or decord is not installed")
        return
    with tempfile.TemporaryDirectory(prefix="clipstack-doctor-") as folder:
        command = [sys.executable, "-m", "deploy.doctor.codec_trial", folder]
        environment = {"PATH": "/usr/bin", "PYTHONPATH": str(context.checkout)}
        completed = probes.output(command, environment, timeout_s=TIMEOUT_S)
    if completed.returncode:
        yield DECODER_CRASHES.finding(reason=_reason(completed.returncode, completed.stderr))
        return
    outcomes: dict[str, dict[str, str]] = json.loads(completed.stdout)
    for codec, errors in outcomes.items():
        for reader, error in errors.items():
            if error and reader != "encoder":
                yield CODEC_UNREADABLE.finding(reader=reader, codec=codec, reason=error)
    opened = [codec for codec, errors in outcomes.items() if "encoder" not in errors]
    untested = [codec for codec, errors in outcomes.items() if "encoder" in errors]
    yield ok(", ".join(opened) + (f"; not tested for lack of an encoder: {', '.join(untested)}" if untested else ""))


def _reason(code: int, stderr: str) -> str:
    if code < 0:
        return f"it ended by {signal.Signals(-code).name}"
    return f"it ended with status {code}: {stderr.strip().rpartition(chr(10))[2]}"
