"""Checks of ports: each is free or held by the right program, and only nginx's is reachable from outside."""

from collections.abc import Iterator
from typing import NamedTuple

from deploy.doctor.check import Checks, Finding, KnownIssue, known_warning, ok
from deploy.doctor.context import Context, Skipped
from deploy.stack.ports import bind_error, holders, listeners, on_loopback

PORT_TAKEN = KnownIssue(
    name="port taken",
    symptom="`make up` cannot listen, or a page of another program answers.",
    message="Port {port} on {host} is in use{by}.",
    fix="Stop that program, or set {setting} to a free port.",
)
NOT_LISTENING = KnownIssue(
    name="not listening",
    symptom="Connections are refused.",
    message="The stack runs, but no program listens on port {port} ({setting}).",
    fix="Find the reason with `make logs`, then restart that program with supervisorctl.",
)
TRITON_EXPOSED = KnownIssue(
    name="Triton exposed",
    symptom="Other machines can use and change the models.",
    message="Triton listens on {addresses}, which other machines can reach.",
    fix="Start Triton with `make up` only: it then listens on a socket that only its user can reach.",
)
NO_KEYS_IN_PUBLIC = known_warning(
    name="uploads without keys",
    symptom="Everybody who can reach the machine can upload.",
    message="nginx listens on {host}, which other machines can reach, and CLIPSTACK_KEYS=off lets everybody in.",
    fix="Set CLIPSTACK_KEYS to auto (docs/access.md), or CLIPSTACK_HOST to 127.0.0.1.",
)


class _Port(NamedTuple):
    setting: str
    host: str
    number: int


CHECKS = Checks()


@CHECKS.add("ports", PORT_TAKEN, NOT_LISTENING)
def ports(context: Context) -> Iterator[Finding]:
    """Check that each configured port is free, or held by the stack when it runs."""
    context.require_state()
    expected = _expected(context)
    for port in expected:
        yield from _of_running(port, context) if context.programs else _of_stopped(port)
    numbers = ", ".join(str(port.number) for port in expected)
    yield ok(f"{numbers}: {'held by the stack' if context.programs else 'free'}")


def _of_running(port: _Port, context: Context) -> Iterator[Finding]:
    on_port = [listener for listener in listeners() if listener.port == port.number]
    if not on_port:
        yield NOT_LISTENING.finding(port=port.number, setting=port.setting)
    for listener in on_port:
        if listener.pid and listener.pid not in context.processes:
            by = f" by {listener.name} (pid {listener.pid})"
            yield PORT_TAKEN.finding(host=port.host, port=port.number, by=by, setting=port.setting)


def _of_stopped(port: _Port) -> Iterator[Finding]:
    if reason := bind_error(port.host, port.number):
        by = holders(port.number) or f" ({reason})"
        yield PORT_TAKEN.finding(host=port.host, port=port.number, by=by, setting=port.setting)


@CHECKS.add("addresses", NO_KEYS_IN_PUBLIC)
def addresses(context: Context) -> Iterator[Finding]:
    """Check that nginx does not let other machines upload without keys."""
    settings = context.settings
    if context.in_image:
        raise Skipped("the container's network decides who can reach it")
    if settings.public and not settings.asks_for_keys:
        yield NO_KEYS_IN_PUBLIC.finding(host=settings.host)
    yield ok("nothing is reachable from outside without a key")


@CHECKS.add("Triton's ports", TRITON_EXPOSED)
def triton_ports(context: Context) -> Iterator[Finding]:
    """Check that Triton listens on loopback only."""
    pid = context.pid("triton")
    if context.in_image:
        raise Skipped("the container's network decides who can reach it")
    held = [listener for listener in listeners() if listener.pid == pid]
    exposed = [f"{listener.host}:{listener.port}" for listener in held if not on_loopback(listener.host)]
    if exposed:
        yield TRITON_EXPOSED.finding(addresses=", ".join(exposed))
    numbers = ", ".join(sorted({str(listener.port) for listener in held}))
    yield ok(f"only on loopback: {numbers}" if held else "none; Triton listens on a socket")


def _expected(context: Context) -> list[_Port]:
    """Return everything that should listen here."""
    settings = context.settings
    nginx = [_Port("CLIPSTACK_PORT", settings.host.strip("[]"), settings.port)] if context.has_web else []
    if not context.has_triton:
        return nginx
    host, _, grpc = (settings.triton_address or "127.0.0.1:0").rpartition(":")
    triton = [
        _Port("CLIPSTACK_TRITON_ADDRESS", host.strip("[]"), int(grpc)),
        _Port("CLIPSTACK_TRITON_METRICS_PORT", host.strip("[]"), settings.triton_metrics_port),
    ]
    return nginx + [port for port in triton if port.number]
