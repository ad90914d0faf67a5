"""Faults of nginx, gunicorn, Supervisor and the watchdog, planted."""

from __future__ import annotations

import json
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from app.settings import CHECKOUT
from deploy.doctor.checks.service import programs, watchdog, web
from deploy.doctor.checks.software import config
from deploy.doctor.context import Context
from deploy.nginx.config import render
from deploy.stack import paths
from deploy.stack import run_dir as run_folder
from deploy.stack.restarts import MANY
from deploy.stack.supervisor import Program
from deploy.stack.users import User, first_blocked
from tests.support.doctor import altered, found, healthy, named, program, running, words

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can")


@pytest.fixture
def context() -> Iterator[Context]:
    with tempfile.TemporaryDirectory(prefix="d-") as folder:  # a path of pytest's may be too long for sockets
        yield healthy(Path(folder))


# --- web


@AS_ROOT
def test_no_nginx() -> None:
    hide = 'mount --bind /dev/null "$1" && exec "$2" -m deploy.doctor --json start'
    arguments = [paths.program("nginx"), sys.executable]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", hide, "sh", *arguments], cwd=CHECKOUT, capture_output=True, timeout=60
    )
    if b"unshare" in done.stderr or b"mount:" in done.stderr:
        pytest.skip("no namespace can be made here")
    body = json.loads(done.stdout)
    assert (done.returncode, body["checks"][0]["findings"][0]["fault"]) == (2, config.CANNOT_START.name)


def test_a_program_that_starts_again_and_again(context) -> None:
    runs = running(context, web=os.getpid())
    numbers = runs.run_dir / paths.WATCHDOG_METRICS
    numbers.parent.mkdir(exist_ok=True)
    for count, faults in ((MANY - 1, set()), (MANY, {programs.RESTARTS.name})):
        numbers.write_text(f'clipstack_program_restarts{{program="web"}} {count}\n')
        assert found(runs, named("programs", programs)) == faults


def test_an_old_configuration_of_nginx(context) -> None:
    runs = running(context, nginx=os.getpid())
    render(context.checkout / "nginx", runs.run_dir / "nginx", run_folder.nginx_values(runs.settings, runs.checkout))
    assert found(runs, named("nginx's configuration", web)) == set()
    altered(context.checkout / "nginx/conf.d/limits.conf", "30s", "31s")
    assert "conf.d/limits.conf" in words(runs, named("nginx's configuration", web), web.OLD_CONFIGURATION)


@pytest.mark.parametrize("instead", ["5s", None])
def test_nginx_that_gives_up_before_web_does(context, instead: str | None) -> None:
    assert found(context, named("timeouts", web)) == set()
    line = "proxy_read_timeout ${CLIPSTACK_ANSWER_TIMEOUT_S}s;"
    altered(context.checkout / "nginx/snippets/web.conf", line, f"proxy_read_timeout {instead};" if instead else "")
    assert found(context, named("timeouts", web)) == {web.PROXY_TIMEOUT_TOO_SHORT.name}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("umask", "0"),
        ("umask", "0o002"),
        ("control_socket_disable", None),
        ("timeout", "0"),
        ("worker_class", '"sync"'),
    ],
)
def test_settings_of_gunicorn(context, name: str, value: str | None) -> None:
    assert found(context, named("gunicorn's settings", web)) == set()
    path = context.checkout / "deploy/gunicorn/config.py"
    path.write_text(re.sub(rf"(?m)^{name} = .*$", "" if value is None else f"{name} = {value}", path.read_text()))
    assert found(context, named("gunicorn's settings", web)) == {web.GUNICORN_SETTING.name}


def test_a_control_socket_of_gunicorn(context) -> None:
    path = context.run_dir / "web" / ".gunicorn" / "gunicorn.ctl"
    path.parent.mkdir(parents=True)
    path.touch()
    assert found(context, named("gunicorn's settings", web)) == {web.CONTROL_SOCKET.name}


@contextmanager
def answering(port: int, statuses: dict[str, int]) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(statuses[self.path])
            self.end_headers()
            self.wfile.write(b"so it is")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", port), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("ready", "style", "faults"),
    [(200, 200, set()), (503, 200, {web.NOT_READY.name}), (200, 403, {web.PAGE_FORBIDDEN.name})],
)
def test_wrong_answers_of_nginx(context, ready: int, style: int, faults: set[str]) -> None:
    with answering(context.settings.port, {"/readyz": ready, "/static/page.css": style}):
        assert found(running(context, nginx=os.getpid()), named("readiness", web)) == faults


def test_nginx_that_does_not_answer(context) -> None:
    result = words(running(context, nginx=os.getpid()), named("readiness", web), web.NO_ANSWER)
    assert "Connection refused" in result


# --- programs


@pytest.mark.parametrize(
    ("state", "fault"), [("FATAL", programs.GIVEN_UP), ("STOPPED", programs.NOT_RUNNING), ("RUNNING", None)]
)
def test_states_of_programs(context, state: str, fault) -> None:
    result = found(replace(context, programs={"web": Program(state, 0, 0)}), named("programs", programs))
    assert result == ({fault.name} if fault else set())


def test_a_supervisor_that_does_not_answer(context, monkeypatch) -> None:
    monkeypatch.setattr("deploy.doctor.context.SUPERVISOR_TIMEOUT_S", 0.2)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(context.run_dir / "supervisor.sock"))
        listening.listen()
        again = Context.current(context.environment, context.checkout)
        result = found(again, [*named("programs", programs), *named("leftover processes", programs)])
    assert result == {programs.SUPERVISOR_SILENT.name}


def test_a_stack_of_another_user(context) -> None:
    assert found(replace(context, unknown="no access"), named("programs", programs)) == {programs.NO_ACCESS.name}


@AS_ROOT
def test_missing_permission_is_reported(tmp_path) -> None:
    # The run folder is root's; the command runs as nobody
    run_dir = Path(tempfile.mkdtemp(prefix="closed-"))
    environment = {"CLIPSTACK_RUN_DIR": str(run_dir), "PATH": os.environ["PATH"]}
    words = [CHECKOUT / ".venv" / "bin" / "python", "-m", "deploy.doctor", "--json", "programs"]
    if first_blocked(User.named("nobody"), [words[0], CHECKOUT]):
        pytest.skip("nobody cannot run this checkout's Python")
    done = subprocess.run(
        words, cwd=CHECKOUT, env=environment, capture_output=True, timeout=60, user=65534, group=65534, extra_groups=[]
    )
    run_dir.rmdir()
    assert json.loads(done.stdout)["checks"][0]["findings"][0]["fault"] == programs.NO_ACCESS.name, done.stderr


def test_processes_of_a_stack_that_was_killed(context) -> None:
    assert found(context, named("leftover processes", programs)) == set()
    again = replace(context)
    with program("sleep", 60, env={"CLIPSTACK_STACK": str(context.run_dir)}):
        result = words(again, named("leftover processes", programs), programs.LEFTOVER_PROCESSES)
    assert "1 processes" in result and "sleep" in result


@pytest.mark.parametrize(("name", "right"), [("web", "stopwaitsecs=40"), ("triton", "stopwaitsecs=20")])
def test_a_program_that_is_stopped_too_soon(context, name: str, right: str) -> None:
    assert found(context, named("stop timeouts", programs)) == set()
    altered(context.checkout / f"supervisor/programs/{name}.conf", right, "")
    result = words(context, named("stop timeouts", programs), programs.STOPPED_TOO_SOON)
    assert result.startswith(f"Supervisor waits 10 s for {name}")


def test_two_programs_with_one_log(context) -> None:
    assert found(context, named("logs", programs)) == set()
    altered(context.checkout / "supervisor/programs/jobs.conf", "logs/jobs.log", "logs/web.log")
    assert "jobs and web write to the same log" in words(context, named("logs", programs), programs.SHARED_LOG)


def test_few_open_files_at_the_start() -> None:
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000));"
        "from deploy.doctor.checks.service import programs; from deploy.doctor.context import Context;"
        "print(*[each.message for each in programs.open_files(Context.current())])"
    )
    environment = {**os.environ, "CLIPSTACK_RUN_DIR": "/nowhere/run"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=CHECKOUT, env=environment, capture_output=True, timeout=60
    )
    assert "The user that starts the stack may open 1000 files" in done.stdout.decode(), done.stderr


def test_few_open_files_of_a_program(context) -> None:
    with program("sh", "-c", "ulimit -n 100; exec sleep 60", stdout=subprocess.DEVNULL) as pid:
        deadline = time.monotonic() + 10
        while Path(f"/proc/{pid}/comm").read_text() != "sleep\n" and time.monotonic() < deadline:
            time.sleep(0.01)
        result = words(running(context, web=pid), named("open files", programs), programs.FEW_FILES)
    assert result.startswith("web may open 100 files")


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 4096, reason="few files may be opened here")
def test_open_files_used_up(context) -> None:
    code = (
        "import os, resource, time; resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096));"
        "held = [os.open('/dev/null', 0) for _ in range(3500)]; print(flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        assert holder.stdout and holder.stdout.readline()
        result = found(running(context, web=holder.pid), named("open files", programs))
        holder.kill()
    assert result == {programs.FILES_NEARLY_USED.name}


# --- watchdog


def test_watchdog_reports_idle_and_active(context) -> None:
    numbers = context.run_dir / paths.WATCHDOG_METRICS
    numbers.parent.mkdir()
    numbers.write_text('# HELP x\nclipstack_model_answers{model="camera@1"} 1\n')
    runs = running(context, watchdog=os.getpid())
    assert found(runs, watchdog.CHECKS) == set()

    numbers.write_text('clipstack_model_answers{model="a@1"} 0\nclipstack_model_restarts_total{cause="dead"} 2\n')
    assert "a@1 does not answer" in words(runs, watchdog.CHECKS, watchdog.MODEL_SILENT)
    assert "restarted Triton 2 times (dead)" in words(runs, watchdog.CHECKS, watchdog.REPAIRED)


def test_a_watchdog_that_is_silent(context) -> None:
    numbers = context.run_dir / paths.WATCHDOG_METRICS
    numbers.parent.mkdir()
    numbers.touch()
    os.utime(numbers, (time.time() - 100,) * 2)
    assert found(running(context, watchdog=os.getpid()), watchdog.CHECKS) == {watchdog.WATCHDOG_SILENT.name}
