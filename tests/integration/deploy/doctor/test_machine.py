"""Faults of the machine, planted: ports, folders, disks, shared memory, clocks."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from app.shm.pool import PREFIX, SHM
from deploy.doctor.checks.machine import clock, folders, memory, ports, storage
from deploy.doctor.checks.software import config
from deploy.doctor.context import Context, Skipped
from deploy.stack.paths import triton_regions
from deploy.stack.ports import listeners
from deploy.stack.supervisor import Program
from tests.support.doctor import altered, file_system, found, healthy, named, program, running, words

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can")


@pytest.fixture
def context() -> Iterator[Context]:
    with tempfile.TemporaryDirectory(prefix="d-") as folder:  # a path of pytest's may be too long for sockets
        yield healthy(Path(folder))


@contextmanager
def small(options: str) -> Iterator[Path]:
    try:
        with file_system(options) as folder:
            yield folder
    except OSError as error:
        pytest.skip(f"no file system can be mounted here: {error}")


# --- ports


def test_listener_is_known_by_pid_and_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (mine,) = [listener for listener in listeners() if listener.port == taken.getsockname()[1]]
    assert (mine.host, mine.pid) == ("127.0.0.1", os.getpid())


def test_a_listener_on_every_address_is_seen(context) -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as taken:
        hosts = {listener.host for listener in listeners() if listener.port == taken.getsockname()[1]}
    assert hosts == {"::"}


def test_port_taken(context) -> None:
    assert found(context, ports.CHECKS) == set()
    with socket.create_server(("127.0.0.1", context.settings.port)):
        result = words(context, ports.CHECKS, ports.PORT_TAKEN)
    assert f"(pid {os.getpid()})" in result and "CLIPSTACK_PORT" in result


def test_port_of_running_stack_taken_by_another_program(context) -> None:
    with socket.create_server(("127.0.0.1", context.settings.port)), program("sleep", 60) as pid:
        result = found(running(context, nginx=pid), ports.CHECKS[:1])
    assert result == {ports.PORT_TAKEN.name, ports.NOT_LISTENING.name}


def test_addresses_beyond_this_machine(context) -> None:
    open_to_all = replace(
        context, settings=replace(context.settings, host="0.0.0.0", triton_address="0.0.0.0:8001", keys="off")
    )
    assert found(open_to_all, ports.CHECKS[1:2]) == {ports.NO_KEYS_IN_PUBLIC.name}
    assert "CLIPSTACK_TRITON_ADDRESS" in words(open_to_all, named("start", config), config.CANNOT_START)


def test_triton_in_public(context) -> None:
    triton = running(context, triton=os.getpid())
    with socket.create_server(("127.0.0.1", 0)):
        assert found(triton, ports.CHECKS[2:]) == set()
    with socket.create_server(("0.0.0.0", 0)):
        result = words(triton, ports.CHECKS[2:], ports.TRITON_EXPOSED)
    assert "0.0.0.0:" in result


# --- folders


def start(context: Context) -> None:
    """Create the folders that a start creates."""
    for name in (*folders.STARTER_FOLDERS, *folders.USER_FOLDERS):
        (context.run_dir / name).mkdir(parents=True, exist_ok=True)
        (context.run_dir / name).chmod(folders.MODES[name])
    context.run_dir.chmod(0o750)
    (context.settings.data_dir / "jobs").mkdir(parents=True)
    (context.run_dir / "settings.json").write_text("{}")


@AS_ROOT
def test_a_parent_folder_that_the_user_cannot_enter(context) -> None:
    # pytest's own folders are closed to other users
    wanted = replace(context, settings=replace(context.settings, user="www-data"))
    assert "www-data may not enter" in words(wanted, folders.CHECKS[:1], folders.PARENT_CLOSED)
    assert "www-data may not enter" in words(context, folders.CHECKS[:1], folders.RUNS_AS_ROOT)


@AS_ROOT
def test_reachable_checkout_has_no_finding() -> None:
    folder = Path(tempfile.mkdtemp(prefix="reached-"))
    folder.chmod(0o755)
    try:
        assert found(healthy(folder), folders.CHECKS[:1]) <= {folders.RUNS_AS_ROOT.name}
    finally:
        shutil.rmtree(folder)


@AS_ROOT
def test_folder_of_another_user(context) -> None:
    start(context)
    assert found(context, folders.CHECKS[1:2]) == set()
    os.chown(context.run_dir / "uploads", 65534, 65534)
    assert f"{context.run_dir}/uploads belongs to nobody" in words(context, folders.CHECKS[1:2], folders.WRONG_OWNER)


@pytest.mark.parametrize(("name", "mode"), [("uploads", 0o755), ("supervisor.sock", 0o770), ("web/web.sock", 0o777)])
def test_a_folder_or_socket_that_is_too_open(context, name: str, mode: int) -> None:
    start(context)
    assert found(context, folders.CHECKS[2:3]) == set()
    path = context.run_dir / name
    path.exists() or path.touch()
    path.chmod(mode)
    assert f"{path} has mode 0{mode:o}" in words(context, folders.CHECKS[2:3], folders.WRONG_MODE)


def test_a_run_folder_too_deep_for_sockets(context) -> None:
    deep = replace(context, settings=replace(context.settings, run_dir=Path("/tmp/".ljust(100, "d"))))
    assert found(deep, named("start", config)) == {config.CANNOT_START.name}


def test_uploads_that_nginx_writes_elsewhere(context) -> None:
    assert found(context, folders.CHECKS[3:]) == set()
    altered(context.checkout / "nginx/conf.d/limits.conf", '"${CLIPSTACK_RUN_DIR}/uploads"', "/var/tmp/uploads")
    assert "/var/tmp/uploads" in words(context, folders.CHECKS[3:], folders.UPLOADS_ELSEWHERE)


# --- disks


def on(context: Context, folder: Path) -> Context:
    return replace(context, settings=replace(context.settings, run_dir=folder, data_dir=folder / "data"))


@pytest.mark.parametrize(
    ("options", "filled_mb", "fault"),
    [
        ("size=100m", 60, storage.DISK_FULL),
        ("size=40m", 38, storage.DISK_LOW),
        ("size=100m,nr_inodes=500", 0, storage.NO_INODES),
        ("size=100m,ro", 0, storage.READ_ONLY),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_disk_without_room(context, options: str, filled_mb: int, fault) -> None:
    with small(options) as folder:
        if filled_mb:
            with (folder / "filling").open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, filled_mb << 20)
        assert found(on(context, folder), storage.CHECKS[:2]) == {fault.name}


def test_disk_too_small_for_upload_and_for_jobs(context) -> None:
    with small("size=100m") as folder:
        result = found(on(context, folder), storage.CHECKS)
        assert "(tmpfs)" in words(on(context, folder), storage.CHECKS, storage.UPLOADS_TOO_SMALL)
    assert result == {storage.UPLOADS_TOO_SMALL.name, storage.JOBS_TOO_SMALL.name}


def test_damaged_records_and_keys(context) -> None:
    check = named("records", storage)
    data = context.settings.data_dir
    assert found(context, check) == set()
    (data / "damaged" / "job-1-2").mkdir(parents=True)
    context.settings.keys_file.parent.mkdir()
    context.settings.keys_file.write_text("{")
    assert found(context, check) == {storage.DAMAGED.name, storage.DAMAGED_KEYS.name}
    assert "1 of kind job" in words(context, check, storage.DAMAGED)


# --- shared memory


def test_shared_memory_too_small(context) -> None:
    huge = replace(context, settings=replace(context.settings, slots=1024, slot_mb=1024, web_workers=256))
    assert "CLIPSTACK_SLOTS" in words(huge, memory.CHECKS[:1], memory.SHM_TOO_SMALL)


def test_shared_memory_full_names_what_fills_it(context) -> None:
    few = replace(context.settings, web_workers=1, slots=1, slot_mb=1, max_clips=1)
    with small("size=70m") as folder:
        (folder / "torch_1234").write_bytes(bytes(10 << 20))
        result = words(replace(context, settings=few, shm=folder), memory.CHECKS[:1], memory.SHM_FULL)
    assert "60 MiB free, but 66 MiB are needed. It holds 10 MiB of torch_1234*" in result


def test_stale_regions(context) -> None:
    abandoned = SHM / f"{PREFIX}-1-{secrets.token_hex(8)}"
    abandoned.write_bytes(bytes(4096))
    try:
        assert "regions" in words(context, memory.CHECKS[1:2], memory.STALE_REGIONS)
    finally:
        abandoned.unlink(missing_ok=True)


def test_memory_left_by_triton(context, tmp_path) -> None:
    region = tmp_path / f"{triton_regions(context.run_dir)}1234"
    region.write_bytes(bytes(4096))
    left = replace(context, shm=tmp_path)
    assert found(left, memory.CHECKS[2:3]) == {memory.STALE_TRITON_MEMORY.name}
    with region.open("rb"):
        assert found(left, memory.CHECKS[2:3]) == set()


# --- clocks


class Late(BaseHTTPRequestHandler):
    """A server whose clock is an hour late."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(time.time() - 3600)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_clock_skew(context) -> None:
    with HTTPServer(("127.0.0.1", context.settings.port), Late) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        result = words(running(context, nginx=os.getpid()), clock.CHECKS[1:2], clock.CLOCK_SKEW)
        server.shutdown()
        thread.join()
    assert "-3600 s" in result or "-3601 s" in result


@pytest.mark.parametrize(("off_s", "faults"), [(0, set()), (3600, {clock.CLOCK_JUMPED.name})])
def test_clock_jumped(context, off_s: int, faults: set[str]) -> None:
    with program("sleep", 60) as pid:
        began = int(time.time()) - off_s
        result = replace(context, programs={"web": Program("RUNNING", pid, 0, began)})
        assert found(result, clock.CHECKS[:1]) == faults


def test_files_from_the_future(context) -> None:
    path = context.run_dir / "settings.json"
    path.touch()
    assert found(context, clock.CHECKS[2:]) == set()
    os.utime(path, (time.time() + 7200,) * 2)
    assert found(context, clock.CHECKS[2:]) == {clock.FUTURE_FILE.name}


def test_regions_of_a_triton_elsewhere_are_not_checked(context: Context) -> None:
    elsewhere = replace(context, settings=replace(context.settings, triton_address="10.0.0.2:8001"))
    with pytest.raises(Skipped, match="elsewhere"):
        list(memory.registered(elsewhere))
