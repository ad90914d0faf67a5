"""Checks of the web side: nginx's and gunicorn's configuration, timeouts, and responses of the page and the service."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from deploy.doctor import probes
from deploy.doctor.check import Checks, Finding, KnownIssue, known_warning, ok
from deploy.doctor.context import Context
from deploy.nginx.config import render
from deploy.stack import run_dir
from deploy.stack.stack import Stack

OLD_CONFIGURATION = known_warning(
    name="nginx's configuration is old",
    symptom="A change in nginx/ has no effect.",
    message="The checkout and the settings have changed since nginx was started. Its {files} is old.",
    fix="Run `make down` and `make up`.",
)
PROXY_TIMEOUT_TOO_SHORT = KnownIssue(
    name="nginx's timeout too short",
    symptom="503 for long or many files, while web still works on them.",
    message="nginx waits {waits} s for a response, but web's limits add up to {takes} s.",
    fix="Set proxy_read_timeout in nginx/snippets/web.conf to ${{CLIPSTACK_ANSWER_TIMEOUT_S}}s again, or lower "
    "CLIPSTACK_QUEUE_TIMEOUT_S, CLIPSTACK_DECODE_TIMEOUT_S or CLIPSTACK_INFER_TIMEOUT_S.",
)
GUNICORN_SETTING = KnownIssue(
    name="gunicorn's settings",
    symptom="Other users reach web without nginx, or a worker that hangs is not replaced.",
    message="deploy/gunicorn/config.py has {actual}: {reason}.",
    fix="Set {expected} in deploy/gunicorn/config.py and restart web.",
)
CONTROL_SOCKET = KnownIssue(
    name="gunicorn's control socket",
    symptom="None. But everybody who can connect to the socket controls gunicorn.",
    message="gunicorn has opened a control socket: {path}.",
    fix="Set control_socket_disable = True in deploy/gunicorn/config.py, restart web, and remove the socket.",
)
NOT_READY = KnownIssue(
    name="not ready",
    symptom="503 for every request.",
    message="/readyz answers {status}: {body}",
    fix="Fix the other problems in this list first. `make logs` shows more.",
)
NO_ANSWER = KnownIssue(
    name="no answer",
    symptom="Connections are refused, or the page does not load.",
    message="nginx does not answer at {url}: {reason}.",
    fix="See the checks of ports and programs. `make logs` shows more.",
)
PAGE_FORBIDDEN = KnownIssue(
    name="page forbidden",
    symptom="403, or a page without its style.",
    message="nginx answers {status} for the page's own files, because its user cannot read {folder}.",
    fix="Run `chmod -R o+rX {folder}`, and see the check of parent folders.",
)


# Setting, pattern of wrong values, right value, and what is wrong with the others
GUNICORN = (
    ("control_socket_disable", "False", "True", "a socket in the home folder would control gunicorn"),
    ("umask", "0|0o?[0-7]*[0-6]", "0o117", "when started by root, its socket is open to everybody"),
    ("timeout", "0", "20", "a worker that hangs would never be replaced"),
    ("worker_class", '"sync"', "a class with threads", "a slow client would block a whole worker"),
)

CHECKS = Checks()


@CHECKS.add("nginx's configuration", OLD_CONFIGURATION)
def configuration(context: Context) -> Iterator[Finding]:
    """Check that nginx runs with the configuration that the checkout and settings give now."""
    context.require_web()
    context.require_running()
    with tempfile.TemporaryDirectory(prefix="clipstack-doctor-") as folder:
        values = run_dir.nginx_values(context.settings, context.checkout)
        render(context.checkout / "nginx", Path(folder), values)
        names = [str(path.relative_to(folder)) for path in sorted(Path(folder).rglob("*.conf"))]
        changed = [name for name in names if _read(Path(folder, name)) != _read(context.run_dir / "nginx" / name)]
    if changed:
        yield OLD_CONFIGURATION.finding(files=", ".join(changed))
    yield ok("nginx runs with the configuration of the checkout")


@CHECKS.add("timeouts", PROXY_TIMEOUT_TOO_SHORT)
def timeouts(context: Context) -> Iterator[Finding]:
    """Check that nginx waits longer than web's own limits."""
    context.require_web()
    values = run_dir.nginx_values(context.settings, context.checkout)
    takes = int(values["CLIPSTACK_ANSWER_TIMEOUT_S"]) - run_dir.ANSWER_SLACK_S
    rendered = context.run_dir / "nginx" / "snippets" / "web.conf"
    text = _read(rendered if context.programs else context.checkout / "nginx" / "snippets" / "web.conf")
    match = re.search(r"^\s*proxy_read_timeout\s+(\S+?)s?;", text, re.M)
    waits = values.get(match[1].strip("${}"), match[1]) if match else "60"  # nginx's default
    if int(waits) <= takes:
        yield PROXY_TIMEOUT_TOO_SHORT.finding(waits=waits, takes=takes)
    yield ok(f"web answers within {takes} s, nginx waits {waits} s")


@CHECKS.add("gunicorn's settings", GUNICORN_SETTING, CONTROL_SOCKET)
def gunicorn(context: Context) -> Iterator[Finding]:
    """Check gunicorn's critical settings, and that no control socket exists."""
    context.require_web()
    text = _read(context.checkout / "deploy" / "gunicorn" / "config.py")
    for setting, bad, value, reason in GUNICORN:
        match = re.search(rf"^{setting} *= *(\S+)", text, re.M)
        if not match or re.fullmatch(bad, match[1]):
            actual = f"{setting} = {match[1]}" if match else f"no {setting}"
            yield GUNICORN_SETTING.finding(actual=actual, reason=reason, expected=f"{setting} = {value}")
    for path in (context.run_dir / "web" / ".gunicorn" / "gunicorn.ctl", context.run_dir / "web" / "gunicorn.ctl"):
        if path.exists():
            yield CONTROL_SOCKET.finding(path=path)
    yield ok("its socket is for nginx only, and workers that hang are replaced")


@CHECKS.add("readiness", NOT_READY, NO_ANSWER, PAGE_FORBIDDEN)
def readiness(context: Context) -> Iterator[Finding]:
    """Check that /readyz and a static file are answered with 200."""
    context.require_web()
    context.require_running()
    url = address(context)
    try:
        ready = probes.page(f"{url}/readyz")
        style = probes.page(f"{url}/static/page.css")
    except OSError as error:
        yield NO_ANSWER.finding(url=url, reason=error)
        return
    if ready.status != 200:
        yield NOT_READY.finding(status=ready.status, body=" ".join(ready.body.split())[:200])
    if style.status != 200:
        yield PAGE_FORBIDDEN.finding(status=style.status, folder=context.checkout / "app" / "static")
    yield ok(f"ready at {url}")


def address(context: Context) -> str:
    """Return the URL at which this machine reaches nginx."""
    return Stack(context.checkout, context.settings.environment()).url


def _read(path: Path) -> str:
    return path.read_text() if path.is_file() else ""
