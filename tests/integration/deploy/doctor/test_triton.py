"""Planted faults of Triton, codecs and the sandbox."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from app.settings import CHECKOUT
from deploy.doctor import codec_trial
from deploy.doctor.checks.service import triton
from deploy.doctor.checks.software import codecs, sandbox
from deploy.doctor.context import Context
from tests.support.confined import LACKS
from tests.support.doctor import found, healthy, program, running, words
from tests.support.films import numbered, write_video

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can")


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return healthy(tmp_path)


# --- Triton


@pytest.mark.parametrize("file", ["bin/tritonserver", "backends/python/libtriton_python.so", "backends/clip/model.py"])
def test_triton_not_unpacked(context, file: str) -> None:
    assert found(context, triton.CHECKS[:1]) == set()
    (context.triton / file).unlink()
    assert found(context, triton.CHECKS[:1]) == {triton.NOT_UNPACKED.name}


def test_a_stub_of_another_python(context) -> None:
    assert found(context, triton.CHECKS[1:2]) == set()
    (context.triton / "backends/python/triton_python_backend_stub").write_bytes(b"\0libpython3.10.so.1.0\0")
    assert found(context, triton.CHECKS[1:2]) == {triton.STUB_OF_OTHER_PYTHON.name}


def test_no_libpython(context) -> None:
    (context.checkout / ".venv" / "pyvenv.cfg").write_text("version = 3.97.1\n")
    (context.triton / "backends/python/triton_python_backend_stub").write_bytes(b"\0libpython3.97.so.1.0\0")
    assert found(context, triton.CHECKS[1:2]) == {triton.NO_LIBPYTHON.name}


@pytest.mark.parametrize(
    ("code", "fault"),
    [("__version__ = '2.1.0'", triton.NUMPY_2), ("raise ImportError('broken')", triton.NO_NUMPY)],
    ids=["2", "broken"],
)
def test_numpy_beside_triton(context, tmp_path, code: str, fault) -> None:
    # Found before the right one on the PYTHONPATH of the running server
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text(code)
    environment = {"PATH": f"{context.python.parent}:/usr/bin:/bin", "PYTHONPATH": str(tmp_path)}
    assert found(context, triton.CHECKS[2:3]) == set()
    with program("sleep", 60, env=environment) as pid:
        assert found(running(context, triton=pid), triton.CHECKS[2:3]) == {fault.name}


RIGHT = [f"{flag}={value}" for flag, value in triton.FLAGS.items()]


@pytest.mark.parametrize(
    ("flags", "knows", "fault"),
    [
        (RIGHT, b"", None),
        (["--allow-http=true", *RIGHT[1:]], b"", triton.WRONG_FLAGS),
        ([*RIGHT[:1], *RIGHT[2:]], b"", triton.WRONG_FLAGS),
        (RIGHT, b"\0allow-client-shm\0", triton.SHM_REFUSED),
        ([*RIGHT, "--allow-client-shm=true"], b"\0allow-client-shm\0", None),
    ],
    ids=["right", "http", "no model control", "shm unknown to it", "shm"],
)
def test_flags_of_triton(context, tmp_path, flags: list[str], knows: bytes, fault) -> None:
    # A shell with the server's name and flags
    server = tmp_path / "tritonserver"
    server.write_bytes(Path("/bin/sh").resolve().read_bytes() + knows)
    server.chmod(0o755)
    with program(server, "-c", "sleep 60; :", "x", *flags, start_new_session=True) as pid:
        result = found(running(context, triton=pid), triton.CHECKS[3:4])
        os.killpg(pid, 9)
    assert result == ({fault.name} if fault else set())


@AS_ROOT
def test_web_and_triton_in_other_namespaces(context) -> None:
    apart = ("unshare", "--ipc", "--mount", "sh", "-c", "mount -t tmpfs tmpfs /dev/shm && echo && exec sleep 60")
    with program("sleep", 60) as web_pid, subprocess.Popen(apart, stdout=subprocess.PIPE) as other:
        if not other.stdout or not other.stdout.readline():
            pytest.skip("no namespace can be made here")
        pair = running(context, web=web_pid, triton=other.pid)
        result = words(pair, triton.CHECKS[4:], triton.OTHER_NAMESPACES)
        other.kill()
    assert "different ipc namespaces" in result and "different mnt namespaces" in result
    assert found(running(context, web=os.getpid(), triton=os.getpid()), triton.CHECKS[4:]) == set()


# --- files: codecs and the sandbox


def test_a_codec_that_cannot_be_opened(context) -> None:
    # A decord without codecs comes first on the path
    (context.checkout / "decord").mkdir()
    (context.checkout / "decord" / "__init__.py").write_text(
        "class logging:\n    QUIET, set_level = 0, staticmethod(lambda level: None)\n"
        "def VideoReader(*_, **__): raise RuntimeError('cannot find the decoder')\n"
    )
    result = words(context, codecs.CHECKS, codecs.CODEC_UNREADABLE)
    assert "decord cannot open AV1: RuntimeError: cannot find the decoder" in result


def test_decoders_that_die(context) -> None:
    (context.checkout / "av").mkdir()
    (context.checkout / "av" / "__init__.py").write_text("import os; os.abort()")
    assert "SIGABRT" in words(context, codecs.CHECKS, codecs.DECODER_CRASHES)


def test_damaged_test_film_is_reported(tmp_path) -> None:
    path = write_video(tmp_path / "film.mp4", [numbered(number) for number in range(codec_trial.FRAMES)])
    assert [
        codec_trial.error_of(read, path) for read in (codec_trial.decode_with_pyav, codec_trial.decode_with_decord)
    ] == ["", ""]
    path.write_bytes(path.read_bytes()[:100])
    assert all(
        codec_trial.error_of(read, path) for read in (codec_trial.decode_with_pyav, codec_trial.decode_with_decord)
    )


@pytest.mark.parametrize("mode", ["best", "required"])
def test_missing_sandbox_layer(context, mode: str) -> None:
    script = (
        "import json; from app.sandbox.seccomp import block; from tests.support.confined import LACKS;"
        "from deploy.doctor.checks.software import sandbox; from deploy.doctor.context import Context;"
        "block(LACKS['landlock']); print(*[each.issue for each in sandbox.layers(Context.current())])"
    )
    environment = {**os.environ, "CLIPSTACK_SANDBOX": mode}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=CHECKOUT, env=environment, capture_output=True, timeout=60
    )
    assert LACKS["landlock"]
    fault = sandbox.LAYER_REQUIRED if mode == "required" else sandbox.LAYER_MISSING
    assert fault.name in done.stdout.decode(), done.stderr


def test_the_sandbox_off(context) -> None:
    off = replace(context, settings=replace(context.settings, sandbox="off"))
    assert found(off, sandbox.CHECKS) == {sandbox.SANDBOX_OFF.name}
