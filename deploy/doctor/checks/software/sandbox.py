"""Check of the sandbox layers around decoder processes, by a trial process."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.doctor.check import Check, Finding, KnownIssue, fine
from deploy.doctor.context import Context, Skipped
from deploy.stack import preflight

LAYER_REFUSED = KnownIssue(
    "layer missing and required", "wrong", "`make up` refuses CLIPSTACK_SANDBOX=required",
    "CLIPSTACK_SANDBOX is required, and decoders of {user} cannot have {layer}: {why}",
    "a newer kernel, or a container that allows it (docs/security.md); or CLIPSTACK_SANDBOX=best",
)  # fmt: skip
LAYER_MISSING = KnownIssue(
    "layer missing", "warning", "web's log says that decoders are confined without something",
    "decoders of {user} run without {layer}: {why}",
    "a newer kernel, or a container that allows it: docs/security.md says what each layer needs",
)  # fmt: skip
SANDBOX_OFF = KnownIssue(
    "sandbox off", "warning", "nobody notices; a hostile file could reach what the service can",
    "CLIPSTACK_SANDBOX is off: a hole in a decoder is a hole in the service",
    "unset CLIPSTACK_SANDBOX, then `make down` and `make up`",
)  # fmt: skip


def layers(patient: Context) -> Iterator[Finding]:
    """Run a trial process and report the sandbox layers that it lacks."""
    if not patient.has_web:
        raise Skipped("files are opened in another container")
    mode = patient.settings.sandbox
    if mode == "off":
        yield SANDBOX_OFF.found()
        return
    if patient.settings.decoder_device == "cuda":
        yield fine("decoders on a GPU have few layers (docs/security.md)")
        return
    completed = preflight.try_layers("best", patient.user, LIMIT_S)
    rows = [line.split(maxsplit=2) for line in completed.stdout.splitlines()]
    for name, _, why in (row for row in rows if row[1] == "MISSING"):
        fault = LAYER_REFUSED if mode == "required" else LAYER_MISSING
        yield fault.found(user=patient.user.name, layer=name, why=why)
    if not rows:
        raise RuntimeError(completed.stderr.strip().rpartition("\n")[2] or f"status {completed.returncode}")
    yield fine(f"all {len(rows)} hold: {', '.join(row[0] for row in rows)}")


LIMIT_S = 14.0
CHECKS = (Check("sandbox", layers, (LAYER_REFUSED, LAYER_MISSING, SANDBOX_OFF), LIMIT_S),)
