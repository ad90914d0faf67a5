"""Checks of the web side: nginx's and gunicorn's configuration, timeouts, and responses of the page and the service."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from deploy.doctor import probes
from deploy.doctor.check import Check, Finding, KnownIssue, fine
from deploy.doctor.context import Context, Skipped
from deploy.nginx.config import render
from deploy.stack import run_dir
from deploy.stack.places import program
from deploy.stack.stack import Stack

NO_NGINX = KnownIssue(
    "nginx not installed", "wrong", "`make up` says that nginx is not installed",
    "{why}",
    "`make setup`, or apt-get install nginx-light",
)  # fmt: skip
OLD_CONFIGURATION = KnownIssue(
    "nginx with another configuration", "warning", "a change in nginx/ has no effect",
    "nginx was started with another {files} than the checkout and the settings have now",
    "`make down` and `make up`",
)  # fmt: skip
NGINX_GIVES_UP = KnownIssue(
    "nginx gives up too soon", "wrong", "503 for long or many files, while web goes on with them",
    "nginx waits {waits} s for an answer, and web's own limits add up to {takes} s (gunicorn's timeout is none)",
    "put proxy_read_timeout in nginx/snippets/web.conf back to ${{CLIPSTACK_ANSWER_TIMEOUT_S}}s, or lower "
    "CLIPSTACK_QUEUE_TIMEOUT_S, CLIPSTACK_DECODE_TIMEOUT_S or CLIPSTACK_INFER_TIMEOUT_S",
)  # fmt: skip
GUNICORN_SETTING = KnownIssue(
    "gunicorn's settings", "wrong", "others reach web past nginx; or a worker that hangs stays",
    "deploy/gunicorn/config.py has {found}: {why}",
    "put {wanted} back into deploy/gunicorn/config.py and restart web",
)  # fmt: skip
CONTROL_SOCKET = KnownIssue(
    "gunicorn's control socket", "wrong", "nobody notices; whoever can connect commands gunicorn",
    "gunicorn has opened a control socket: {path}",
    "put control_socket_disable = True back into deploy/gunicorn/config.py, restart web, and remove the socket",
)  # fmt: skip
NOT_READY = KnownIssue(
    "not ready", "wrong", "503 for every request",
    "/readyz answers {status}: {body}",
    "mend what stands above; `make logs` says more",
)  # fmt: skip
NO_ANSWER = KnownIssue(
    "no answer", "wrong", "connection refused, or a page that does not load",
    "nginx does not answer at {url}: {why}",
    "see ports and programs; `make logs` says more",
)  # fmt: skip
PAGE_FORBIDDEN = KnownIssue(
    "page forbidden", "wrong", "the page has no style, or 403",
    "nginx answers {status} for the page's own files: its user cannot read {folder}",
    "open each parent folder and the files: chmod -R o+rX {folder}; see parent folders",
)  # fmt: skip

# By setting: pattern of unwanted values, the right value, and the reason
UNWANTED = {
    "control_socket_disable": ("False", "True", "it opens a socket by which it can be commanded, in the home folder"),
    "umask": ("0|0o?[0-7]*[0-6]", "0o117", "as root its socket is open to everybody"),
    "timeout": ("0", "20", "0 means that a worker that hangs is never replaced"),
    "worker_class": ('"sync"', "one with threads", "a slow client holds a whole worker"),
}


def nginx(patient: Context) -> Iterator[Finding]:
    """Check that nginx is installed."""
    _here(patient)
    try:
        path = program("nginx")
    except FileNotFoundError as error:
        yield NO_NGINX.found(why=error)
        return
    yield fine(path)


def configuration(patient: Context) -> Iterator[Finding]:
    """Check that nginx runs with the configuration that the checkout and settings give now."""
    _here(patient)
    patient.running()
    source = patient.checkout / "nginx"
    with tempfile.TemporaryDirectory(prefix="clipstack-doctor-") as folder:
        render(source, Path(folder), run_dir.nginx_values(patient.settings, patient.checkout))
        names = [str(path.relative_to(folder)) for path in sorted(Path(folder).rglob("*.conf"))]
        other = [name for name in names if _read(Path(folder, name)) != _read(patient.run_dir / "nginx" / name)]
    if other:
        yield OLD_CONFIGURATION.found(files=", ".join(other))
    yield fine("nginx runs with what stands in the checkout")


def limits(patient: Context) -> Iterator[Finding]:
    """Check that nginx waits longer than web's own limits."""
    _here(patient)
    values = run_dir.nginx_values(patient.settings, patient.checkout)
    takes = int(values["CLIPSTACK_ANSWER_TIMEOUT_S"]) - run_dir.ANSWER_SLACK_S
    rendered = patient.run_dir / "nginx" / "snippets" / "web.conf"
    text = _read(rendered if patient.programs else patient.checkout / "nginx" / "snippets" / "web.conf")
    match = re.search(r"^\s*proxy_read_timeout\s+(\S+?)s?;", text, re.M)
    waits = values.get(match[1].strip("${}"), match[1]) if match else "60"  # nginx's default
    if int(waits) <= takes:
        yield NGINX_GIVES_UP.found(waits=waits, takes=takes)
    yield fine(f"web's stages take {takes} s at most, nginx waits {waits} s")


def gunicorn(patient: Context) -> Iterator[Finding]:
    """Check gunicorn's critical settings, and that no control socket exists."""
    _here(patient)
    text = _read(patient.checkout / "deploy" / "gunicorn" / "config.py")
    for name, (unwanted, meant, why) in UNWANTED.items():
        match = re.search(rf"^{name} *= *(\S+)", text, re.M)
        if not match or re.fullmatch(unwanted, match[1]):
            current = f"{name} = {match[1]}" if match else f"no {name}"
            yield GUNICORN_SETTING.found(found=current, why=why, wanted=f"{name} = {meant}")
    for path in (patient.run_dir / "web" / ".gunicorn" / "gunicorn.ctl", patient.run_dir / "web" / "gunicorn.ctl"):
        if path.exists():
            yield CONTROL_SOCKET.found(path=path)
    yield fine("no control socket, its socket for nginx alone, workers that hang are replaced")


def answers(patient: Context) -> Iterator[Finding]:
    """Check that /readyz and a static file are answered with 200."""
    _here(patient)
    patient.running()
    url = address(patient)
    try:
        ready = probes.page(f"{url}/readyz")
        style = probes.page(f"{url}/static/page.css")
    except OSError as error:
        yield NO_ANSWER.found(url=url, why=error)
        return
    if ready.status != 200:
        yield NOT_READY.found(status=ready.status, body=" ".join(ready.body.split())[:200])
    if style.status != 200:
        yield PAGE_FORBIDDEN.found(status=style.status, folder=patient.checkout / "app" / "static")
    yield fine(f"{url} is ready")


def address(patient: Context) -> str:
    """Return the URL at which this machine reaches nginx."""
    return Stack(patient.checkout, patient.settings.environment()).url


def _here(patient: Context) -> None:
    if not patient.has_web:
        raise Skipped("nginx and web are in another container")


def _read(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


CHECKS = (
    Check("nginx", nginx, (NO_NGINX,)),
    Check("nginx's settings", configuration, (OLD_CONFIGURATION,)),
    Check("limits of time", limits, (NGINX_GIVES_UP,)),
    Check("gunicorn's settings", gunicorn, (GUNICORN_SETTING, CONTROL_SOCKET)),
    Check("answers", answers, (NOT_READY, NO_ANSWER, PAGE_FORBIDDEN)),
)
