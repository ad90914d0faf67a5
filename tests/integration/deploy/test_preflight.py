import os
import re
import secrets
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import CHECKOUT, Settings
from app.shm.pool import PREFIX, SHM
from deploy.gpu import discovery
from deploy.stack.ports import bind_error, free_ports, on_loopback
from deploy.stack.preflight import SOCKET_PATH_LIMIT, stack_problems, triton_key_problems, triton_tls_problems
from tests.support.certificates import made


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A checkout in which the preflight finds no problem."""
    server = tmp_path / ".runtime" / "triton" / "bin" / "tritonserver"
    server.parent.mkdir(parents=True)
    server.touch(mode=0o755)
    model = tmp_path / "models" / "camera_motion"
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").touch()
    return tmp_path


def settings(checkout: Path, **changed: str) -> Settings:
    port, metrics = free_ports(2)
    values = {
        "port": str(port),
        "triton_metrics_port": str(metrics),
        "model_dir": str(checkout / "models"),
        "run_dir": "/tmp/run",
    } | changed
    return Settings.from_environment({f"CLIPSTACK_{name.upper()}": value for name, value in values.items()})


def test_complete_checkout_has_no_problem(checkout):
    assert stack_problems(settings(checkout), checkout) == []


@pytest.mark.parametrize("name", ["port", "triton_metrics_port"])
def test_port_in_use_is_named_with_its_variable(checkout, name):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        problems = stack_problems(settings(checkout, **{name: str(port)}), checkout)

    assert len(problems) == 1 and f":{port} " in problems[0].message and f"CLIPSTACK_{name.upper()}" in problems[0].fix


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_address_may_stand_in_brackets(checkout, host):
    if bind_error("::1", 0):
        pytest.skip("this machine has no IPv6")
    assert stack_problems(settings(checkout, host=host), checkout) == []


def test_decoding_on_a_gpu_needs_one(checkout):
    try:
        discovery.usable()
    except discovery.NoGpu as error:
        (problem,) = stack_problems(settings(checkout, decoder_device="cuda"), checkout)
        assert problem.message == f"CLIPSTACK_DECODER_DEVICE is cuda, but there is no GPU: {error}"
    else:
        assert stack_problems(settings(checkout, decoder_device="cuda"), checkout) == []


@pytest.mark.parametrize(("sandbox", "refused"), [("required", True), ("best", False), ("off", False)])
def test_missing_required_layer_is_named_before_the_start(sandbox, refused):
    # As on a kernel without Landlock
    script = (
        "from app.sandbox.seccomp import block; from app.settings import Settings;"
        "from deploy.stack import preflight, users; from tests.support.confined import LACKS; block(LACKS['landlock']);"
        "print(*preflight.sandbox_problems(Settings.from_environment(), users.User.current()))"
    )
    environment = {**os.environ, "CLIPSTACK_SANDBOX": sandbox}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=CHECKOUT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    message = "CLIPSTACK_SANDBOX is required, but .*'s decoders cannot have every layer: files: Landlock is not known"
    assert bool(re.match(message, done.stdout)) == refused
    assert bool(done.stdout.strip()) == refused


@pytest.mark.parametrize("address", ["0.0.0.0:8001", "127.0.0.1:8001"])
def test_a_local_triton_on_tcp_is_refused(checkout, address):
    assert (
        "Unset CLIPSTACK_TRITON_ADDRESS" in stack_problems(settings(checkout, triton_address=address), checkout)[0].fix
    )


@pytest.mark.parametrize(("content", "complaint"), [(None, "No such file"), ("", "it is empty"), ("0" * 64, "")])
def test_configured_key_file_must_hold_a_key(checkout, content, complaint):
    file = checkout / "key"
    if content is not None:
        file.write_text(content)
    problems = list(triton_key_problems(settings(checkout, triton_address="triton:8001", triton_key_file=str(file))))

    assert [complaint in problem.message for problem in problems] == [True] * bool(complaint)


def test_tls_files_for_triton_must_be_usable(checkout):
    own = made(checkout / "own")
    (checkout / "text").write_text("no certificate")

    def problems(needed: str, **files: object) -> list[str]:
        values = {f"triton_tls_{name}": str(file) for name, file in files.items()}
        with_address = settings(checkout, triton_address="triton:8001", **values)
        return [problem.message.partition(" ")[0] for problem in triton_tls_problems(with_address, needed)]

    assert problems("CA", ca=own.cert) == problems("CERT", cert=own.cert, key=own.key) == []
    assert problems("CA", cert=own.cert, key=own.key) == ["CLIPSTACK_TRITON_TLS_CA"]
    assert problems("CA", ca=checkout / "text") == [f"CLIPSTACK_TRITON_TLS_CA={checkout / 'text'}"]
    assert problems("CERT", cert=own.cert, key=checkout / "none") == [f"CLIPSTACK_TRITON_TLS_CERT={own.cert}"]
    locked = made(checkout / "locked", passphrase="secret")
    assert problems("CERT", cert=locked.cert, key=locked.key) == [f"CLIPSTACK_TRITON_TLS_CERT={locked.cert}"]


@pytest.mark.parametrize("room", [0, 1])
def test_depth_limit_of_the_run_folder(checkout, room):
    longest = "/web/jobs/pymp-12345678/listener-12345678"
    depth = SOCKET_PATH_LIMIT - len(longest) + 1 - room

    problems = stack_problems(settings(checkout, run_dir="/tmp/".ljust(depth, "d")), checkout)

    assert [("CLIPSTACK_RUN_DIR" in problem.fix) for problem in problems] == [True] * (1 - room)


def test_missing_triton_is_named(checkout):
    (checkout / ".runtime/triton/bin/tritonserver").unlink()

    assert "make setup" in stack_problems(settings(checkout), checkout)[0].fix


def test_default_model_that_is_missing_or_not_exported_is_named(checkout):
    assert "no model 'other'" in stack_problems(settings(checkout, model="other"), checkout)[0].message
    (checkout / "models/camera_motion/1").rmdir()
    assert "has not been exported" in stack_problems(settings(checkout), checkout)[0].message


def test_shared_memory_that_cannot_suffice_is_refused(checkout):
    huge = settings(checkout, slots="1024", slot_mb="1024", web_workers="256")

    assert "/dev/shm" in stack_problems(huge, checkout)[0].message


def test_memory_of_dead_processes_does_not_count(checkout):
    abandoned = SHM / f"{PREFIX}-1-{secrets.token_hex(8)}"
    abandoned.write_bytes(bytes(4096))

    stack_problems(settings(checkout), checkout)

    assert not abandoned.exists()


def test_free_ports_are_different_and_free():
    ports = free_ports(5)

    assert len(set(ports)) == 5
    assert [bind_error("127.0.0.1", port) for port in ports] == [None] * 5


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("[::1]", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("triton", False)],
)
def test_loopback_addresses(host, loopback):
    assert on_loopback(host) == loopback
