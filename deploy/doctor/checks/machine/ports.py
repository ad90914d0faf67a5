"""Checks of ports: each is free or held by the right program, and only nginx's is reachable from outside."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.doctor.check import Check, Finding, KnownIssue, fine
from deploy.doctor.context import Context, Skipped
from deploy.stack.ports import holder, listeners, on_loopback, why_not

PORT_TAKEN = KnownIssue(
    "port taken", "wrong", "`make up` says that it cannot listen; or another page than Clipstack's answers",
    "{host}:{port} is taken{by}",
    "stop what listens there, or set {variable} to another port",
)  # fmt: skip
NOBODY_LISTENS = KnownIssue(
    "nobody listens", "wrong", "connection refused",
    "nobody listens on port {port} ({variable}), and the stack runs",
    "`make logs` says why; then restart that program with supervisorctl",
)  # fmt: skip
TRITON_BY_TCP = KnownIssue(
    "Triton by TCP", "wrong", "`make up` refuses CLIPSTACK_TRITON_ADDRESS",
    "CLIPSTACK_TRITON_ADDRESS is {address}, and the Triton of `make up` listens on a socket in the run folder",
    "leave CLIPSTACK_TRITON_ADDRESS unset: it is for containers and for a Triton on another machine",
)  # fmt: skip
TRITON_IN_PUBLIC = KnownIssue(
    "Triton in public", "wrong", "somebody else can ask and change models",
    "Triton listens on {places}, where others than this machine can reach it",
    "start it by `make up`, which gives it a socket that only its user can reach, and let nobody else start it",
)  # fmt: skip
NGINX_IN_PUBLIC = KnownIssue(
    "nginx in public", "warning", "whoever can reach the machine can upload",
    "nginx listens on {host}, beyond this machine, and CLIPSTACK_KEYS=off lets everybody in",
    "leave CLIPSTACK_KEYS at auto (docs/access.md), or CLIPSTACK_HOST at 127.0.0.1",
)  # fmt: skip


def ports(patient: Context) -> Iterator[Finding]:
    """Check that listener port is free, or held by the stack when it runs."""
    patient.seen()
    listening = listeners()
    for variable, host, port in _wanted(patient):
        on_port = [listener for listener in listening if listener.port == port]
        if patient.programs:
            strangers = [listener for listener in on_port if listener.pid and listener.pid not in patient.processes]
            if not on_port:
                yield NOBODY_LISTENS.found(port=port, variable=variable)
            for listener in strangers:
                yield PORT_TAKEN.found(
                    host=host, port=port, by=f" by {listener.name} (pid {listener.pid})", variable=variable
                )
        elif reason := why_not(host, port):
            yield PORT_TAKEN.found(host=host, port=port, by=holder(port) or f" ({reason})", variable=variable)
    numbers = ", ".join(str(port) for _, _, port in _wanted(patient))
    yield fine(f"{numbers}: {'held by the stack' if patient.programs else 'free'}")


def addresses(patient: Context) -> Iterator[Finding]:
    """Check that the configured addresses expose neither Triton nor an nginx without keys."""
    settings = patient.settings
    if not patient.in_image and settings.triton_address:
        yield TRITON_BY_TCP.found(address=settings.triton_address)
    if not patient.in_image and settings.public and not settings.asks_for_keys:
        yield NGINX_IN_PUBLIC.found(host=settings.host)
    yield fine("as the containers' network has it" if patient.in_image else "none for strangers without a key")


def triton_listens(patient: Context) -> Iterator[Finding]:
    """Check that Triton listens on loopback only."""
    pid = patient.pid("triton")
    if patient.in_image:
        raise Skipped("in a container its network says who can reach it")
    held = [listener for listener in listeners() if listener.pid == pid]
    public = [listener for listener in held if not on_loopback(listener.host)]
    if public:
        yield TRITON_IN_PUBLIC.found(places=", ".join(f"{listener.host}:{listener.port}" for listener in public))
    on = f"on loopback alone: {', '.join(sorted({str(listener.port) for listener in held}))}"
    yield fine(on if held else "it listens on no port")


def _wanted(patient: Context) -> list[tuple[str, str, int]]:
    """Return variable, host and port of everything that should listen here."""
    settings = patient.settings
    web = [("CLIPSTACK_PORT", settings.host.strip("[]"), settings.port)] if patient.has_web else []
    if not patient.has_triton:
        return web
    host, _, grpc = (settings.triton_address or "127.0.0.1:0").rpartition(":")
    of_triton = (
        ("CLIPSTACK_TRITON_ADDRESS", host.strip("[]"), int(grpc)),
        ("CLIPSTACK_TRITON_METRICS_PORT", host.strip("[]"), settings.triton_metrics_port),
    )
    return [*web, *(entry for entry in of_triton if entry[2])]


CHECKS = (
    Check("ports", ports, (PORT_TAKEN, NOBODY_LISTENS)),
    Check("addresses", addresses, (TRITON_BY_TCP, NGINX_IN_PUBLIC)),
    Check("Triton's ports", triton_listens, (TRITON_IN_PUBLIC,)),
)
