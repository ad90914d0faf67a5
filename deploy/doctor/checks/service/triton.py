"""Checks of Triton: complete, started with the right flags, in web's namespaces, with a matching Python and NumPy."""

from __future__ import annotations

import ctypes
import os
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from deploy.doctor import probes
from deploy.doctor.check import Check, Finding, KnownIssue, fine
from deploy.doctor.context import Context, Skipped
from deploy.stack import launch
from deploy.unpack_triton import STUB

NOT_UNPACKED = KnownIssue(
    "Triton not unpacked", "wrong", "`make up` says that Triton is not unpacked",
    "{file} is missing or cannot be executed",
    "rm -r .runtime/triton .runtime/stamps/triton, then `make setup`",
)  # fmt: skip
STUB_OF_OTHER_PYTHON = KnownIssue(
    "stub of another Python", "wrong", "no model loads: \"failed to initialize Python stub\" in Triton's log",
    "Triton's stub is made for Python {stub}, and .venv has Python {venv}",
    "rm -r .runtime/triton .runtime/stamps/triton, then `make setup`, which takes the stub of .venv's Python",
)  # fmt: skip
NO_LIBPYTHON = KnownIssue(
    "no libpython", "wrong", "no model loads: \"error while loading shared libraries: libpython\" in Triton's log",
    "{library}, which Triton's stub needs, cannot be loaded: {why}",
    "apt-get install libpython{version}; or make .venv with a Python that has its shared library",
)  # fmt: skip
NUMPY_2 = KnownIssue(
    "NumPy 2 beside Triton", "wrong", "every model answers with empty scores, and nobody reports an error",
    "Triton's backend takes NumPy {version} ({place}): with NumPy 2 its outputs have the right shape and no bytes",
    ".venv/bin/pip install numpy==1.26.4, and take another NumPy off PYTHONPATH; then restart triton",
)  # fmt: skip
NO_NUMPY = KnownIssue(
    "no NumPy beside Triton", "wrong", "no model loads",
    "the Python that Triton's backend takes cannot import NumPy: {why}",
    "`make setup`, then restart triton",
)  # fmt: skip
WRONG_FLAGS = KnownIssue(
    "Triton's flags", "wrong", "others exchange models; or a broken one takes all others away",
    "Triton runs with {found}, and {wanted} is wanted",
    "restart triton with supervisorctl: deploy/stack/launch.py gives it its flags; let nobody else start it",
)  # fmt: skip
SHM_REFUSED = KnownIssue(
    "client memory refused", "wrong", "answers say \"transport\": \"inline\" and take longer",
    "this Triton takes no memory of its clients unless it is started with --allow-client-shm=true",
    "restart triton with supervisorctl: deploy/stack/launch.py gives that flag to a server which knows it",
)  # fmt: skip
OTHER_NAMESPACES = KnownIssue(
    "other namespaces", "wrong", "answers say \"transport\": \"inline\" and take longer",
    "web and Triton are in different {kinds} namespaces: {meaning}",
    "start both by one `make up`; in containers give both `ipc: service:memory`, and with a GPU `pid: service:memory`",
)  # fmt: skip
MEANING = {
    "ipc": "they share no memory",
    "mnt": "each has a /dev/shm of its own, so they share no memory",
    "pid": "CUDA cannot tell their processes apart, so they share no memory of a GPU",
}
# HTTP is off so that no browser can reach Triton. With explicit control, only a load by name changes the served models.
FLAGS = {
    "--allow-http": "false",
    "--model-control-mode": "explicit",
    "--exit-on-error": "false",
}


def server(patient: Context) -> Iterator[Finding]:
    """Check that Triton's files are complete."""
    _here(patient)
    for name in ("bin/tritonserver", f"backends/python/{STUB}"):
        if not os.access(patient.triton / name, os.X_OK):
            yield NOT_UNPACKED.found(file=patient.triton / name)
    for name in ("backends/python/libtriton_python.so", "backends/clip/model.py"):
        if not (patient.triton / name).is_file():
            yield NOT_UNPACKED.found(file=patient.triton / name)
    yield fine("the server, its Python backend and the backend `clip` are there")


def stub(patient: Context) -> Iterator[Finding]:
    """Check that Triton's stub and libpython match the Python of .venv."""
    _here(patient)
    path, version = patient.triton / "backends" / "python" / STUB, _python_of(patient)
    if not path.is_file():
        raise Skipped("there is no stub")
    match = re.search(rb"libpython(3\.\d+)\.so", path.read_bytes())
    if match and match[1].decode() != version:
        yield STUB_OF_OTHER_PYTHON.found(stub=match[1].decode(), venv=version)
    library = f"libpython{version}.so.1.0"
    own = Path(str(sysconfig.get_config_var("LIBDIR")), library)
    try:
        ctypes.CDLL(str(own) if own.exists() else library)
    except OSError as error:
        yield NO_LIBPYTHON.found(library=library, why=error, version=version)
    yield fine(f"stub, libpython and .venv are Python {version}")


def numpy(patient: Context) -> Iterator[Finding]:
    """Check the NumPy of the first python3 on Triton's PATH, whose packages the backend imports."""
    _here(patient)
    environment = _environment_of_triton(patient)
    completed = probes.output(
        ["python3", "-c", "import numpy; print(numpy.__version__, numpy.__file__)"], environment, limit_s=8
    )
    version, _, path = completed.stdout.strip().partition(" ")
    if not version:
        yield NO_NUMPY.found(why=completed.stderr.strip().rpartition("\n")[2])
    elif int(version.split(".")[0]) >= 2:
        yield NUMPY_2.found(version=version, place=path)
    yield fine(f"NumPy {version}")


def flags(patient: Context) -> Iterator[Finding]:
    """Check the flags of the running Triton."""
    words = Path(f"/proc/{patient.pid('triton')}/cmdline").read_text().split("\0")
    flags_given = dict(word.partition("=")[::2] for word in words if word.startswith("--"))
    for flag, value in FLAGS.items():
        if flags_given.get(flag) != value:
            current = f"{flag}={flags_given[flag]}" if flag in flags_given else f"no {flag}"
            yield WRONG_FLAGS.found(found=current, wanted=f"{flag}={value}")
    flag = "--allow-client-shm"
    if flags_given.get(flag) != "true" and launch.mentions(Path(words[0]), flag.removeprefix("--")):
        yield SHM_REFUSED.found()
    yield fine("no HTTP, explicit model control, memory of its clients is taken")


def namespaces(patient: Context) -> Iterator[Finding]:
    """Check that web and Triton share the IPC and pid namespaces and one /dev/shm."""
    web, triton = patient.pid("web"), patient.pid("triton")
    by_kind = {
        kind: [os.readlink(f"/proc/{pid}/ns/{kind}") for pid in (web, triton)] for kind in ("ipc", "pid")
    }  # fmt: skip
    by_kind["mnt"] = [str(Path(f"/proc/{pid}/root/dev/shm").stat().st_dev) for pid in (web, triton)]
    for kind, (one, other) in by_kind.items():
        if one != other:
            yield OTHER_NAMESPACES.found(kinds=kind, meaning=MEANING[kind])
    yield fine("web and Triton share IPC and process numbers, and one /dev/shm")


def _here(patient: Context) -> None:
    if not patient.has_triton:
        raise Skipped("Triton is in another container")


def _python_of(patient: Context) -> str:
    """Return the Python version of .venv, for example "3.11"; it may differ from the running Python."""
    match = re.search(r"^version\S* *= *(3\.\d+)", (patient.checkout / ".venv" / "pyvenv.cfg").read_text(), re.M)
    if not match:
        raise Skipped(".venv does not say which Python it has")
    return match[1]


def _environment_of_triton(patient: Context) -> dict[str, str]:
    """Return the relevant environment of the running Triton, or the one it would start with."""
    try:
        pairs = Path(f"/proc/{patient.pid('triton')}/environ").read_text().split("\0")
    except (Skipped, PermissionError):
        path = f"{patient.python.parent}:{patient.environment.get('PATH', os.defpath)}"
        return {"PATH": path}
    variables = dict(pair.partition("=")[::2] for pair in pairs if "=" in pair)
    return {name: value for name, value in variables.items() if name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")}


CHECKS = (
    Check("Triton's files", server, (NOT_UNPACKED,)),
    Check("Triton's Python", stub, (STUB_OF_OTHER_PYTHON, NO_LIBPYTHON)),
    Check("NumPy", numpy, (NUMPY_2, NO_NUMPY)),
    Check("Triton's flags", flags, (WRONG_FLAGS, SHM_REFUSED)),
    Check("namespaces", namespaces, (OTHER_NAMESPACES,)),
)
