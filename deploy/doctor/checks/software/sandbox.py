"""Check of the sandbox layers around decoder processes, by a trial process."""

from collections.abc import Iterator

from deploy.doctor.check import Checks, Finding, KnownIssue, known_warning, ok
from deploy.doctor.context import Context
from deploy.stack import preflight

TIMEOUT_S = 14.0

LAYER_REQUIRED = KnownIssue(
    name="required sandbox layer missing",
    symptom="`make up` refuses CLIPSTACK_SANDBOX=required.",
    message="CLIPSTACK_SANDBOX is required, but {user}'s decoders cannot have the layer {layer}: {reason}.",
    fix="Use a newer kernel, or a container that allows the layer (docs/security.md), or set CLIPSTACK_SANDBOX=best.",
)
LAYER_MISSING = known_warning(
    name="sandbox layer missing",
    symptom="web's log says that decoders run without a layer of the sandbox.",
    message="{user}'s decoders run without the sandbox layer {layer}: {reason}.",
    fix="Use a newer kernel, or a container that allows the layer. docs/security.md lists what each layer needs.",
)
SANDBOX_OFF = known_warning(
    name="sandbox off",
    symptom="None. But a hostile file could reach everything that the service can.",
    message="CLIPSTACK_SANDBOX is off, so a vulnerability of a decoder is a vulnerability of the service.",
    fix="Unset CLIPSTACK_SANDBOX, then run `make down` and `make up`.",
)

CHECKS = Checks()


@CHECKS.add("sandbox", LAYER_REQUIRED, LAYER_MISSING, SANDBOX_OFF, timeout_s=TIMEOUT_S)
def layers(context: Context) -> Iterator[Finding]:
    """Run a trial process and report the sandbox layers that it lacks."""
    context.require_web()
    mode, user = context.settings.sandbox, context.user
    if mode == "off":
        yield SANDBOX_OFF.finding()
        return
    if context.settings.decoder_device == "cuda":
        yield ok("decoders on a GPU have few layers (docs/security.md)")
        return
    completed = preflight.try_layers("best", user, TIMEOUT_S)
    rows = [line.split(maxsplit=2) for line in completed.stdout.splitlines()]
    for name, _, reason in (row for row in rows if row[1] == "MISSING"):
        issue = LAYER_REQUIRED if mode == "required" else LAYER_MISSING
        yield issue.finding(user=user.name, layer=name, reason=reason)
    if not rows:
        raise RuntimeError(completed.stderr.strip().rpartition("\n")[2] or f"status {completed.returncode}")
    yield ok(f"all {len(rows)} layers work: {', '.join(row[0] for row in rows)}")
