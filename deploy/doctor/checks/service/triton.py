"""Checks of Triton: complete, started with the right flags, in web's namespaces, with a matching Python and NumPy."""

import ctypes
import os
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import psutil

from deploy.doctor import probes
from deploy.doctor.check import Checks, Finding, KnownIssue, ok
from deploy.doctor.context import Context, Skipped
from deploy.stack import launch
from deploy.unpack_triton import STUB

NOT_UNPACKED = KnownIssue(
    name="Triton not unpacked",
    symptom="`make up` says that Triton is not unpacked.",
    message="{file} is missing or not executable.",
    fix="Run `rm -r .runtime/triton .runtime/stamps/triton`, then `make setup`.",
)
STUB_OF_OTHER_PYTHON = KnownIssue(
    name="stub of another Python",
    symptom='No model loads: "failed to initialize Python stub" in Triton\'s log.',
    message="Triton's stub is built for Python {stub}, but .venv has Python {venv}.",
    fix="Run `rm -r .runtime/triton .runtime/stamps/triton`, then `make setup`, which installs the matching stub.",
)
NO_LIBPYTHON = KnownIssue(
    name="no libpython",
    symptom='No model loads: "error while loading shared libraries: libpython" in Triton\'s log.',
    message="Triton's stub needs {library}, which cannot be loaded: {reason}.",
    fix="Run `apt-get install libpython{version}`, or create .venv with a Python that has its shared library.",
)
NUMPY_2 = KnownIssue(
    name="NumPy 2 beside Triton",
    symptom="Every model answers with empty scores, without an error.",
    message="Triton's backend imports NumPy {version} ({path}). With NumPy 2 its outputs are empty.",
    fix="Run `.venv/bin/pip install numpy==1.26.4`, remove any other NumPy from PYTHONPATH, then restart triton.",
)
NO_NUMPY = KnownIssue(
    name="no NumPy beside Triton",
    symptom="No model loads.",
    message="The Python of Triton's backend cannot import NumPy: {reason}.",
    fix="Run `make setup`, then restart triton.",
)
WRONG_FLAGS = KnownIssue(
    name="Triton's flags",
    symptom="Other users can replace models, or one broken model stops all others.",
    message="Triton was started with {actual} instead of {expected}.",
    fix="Restart triton with supervisorctl, which sets the flags. Do not start it in another way.",
)
SHM_REFUSED = KnownIssue(
    name="client memory refused",
    symptom='Responses have "transport": "inline" and take longer.',
    message="Triton was started without --allow-client-shm=true, so it refuses its clients' shared memory.",
    fix="Restart triton with supervisorctl, which sets the flag.",
)
OTHER_NAMESPACES = KnownIssue(
    name="different namespaces",
    symptom='Responses have "transport": "inline" and take longer.',
    message="web and Triton are in different {kind} namespaces: {meaning}.",
    fix="Start both with one `make up`. In containers set `ipc: service:memory` for both, and with a GPU "
    "`pid: service:memory`.",
)
NAMESPACE_MEANINGS = {
    "ipc": "they share no memory",
    "mnt": "each has its own /dev/shm, so they share no memory",
    "pid": "CUDA cannot tell their processes apart, so they share no GPU memory",
}
# HTTP is off so that no browser can reach Triton. With explicit control, only a load by name changes the served models.
FLAGS = {
    "--allow-http": "false",
    "--model-control-mode": "explicit",
    "--exit-on-error": "false",
}

CHECKS = Checks()


@CHECKS.add("Triton's files", NOT_UNPACKED)
def files(context: Context) -> Iterator[Finding]:
    """Check that Triton's files are complete."""
    context.require_triton()
    for name in ("bin/tritonserver", f"backends/python/{STUB}"):
        if not os.access(context.triton / name, os.X_OK):
            yield NOT_UNPACKED.finding(file=context.triton / name)
    for name in ("backends/python/libtriton_python.so", "backends/clip/model.py"):
        if not (context.triton / name).is_file():
            yield NOT_UNPACKED.finding(file=context.triton / name)
    yield ok("server and backends are complete")


@CHECKS.add("Triton's Python", STUB_OF_OTHER_PYTHON, NO_LIBPYTHON)
def python(context: Context) -> Iterator[Finding]:
    """Check that Triton's stub and libpython match the Python of .venv."""
    context.require_triton()
    stub, version = context.triton / "backends" / "python" / STUB, context.python_version
    if not stub.is_file():
        raise Skipped("Triton is not unpacked")
    match = re.search(rb"libpython(3\.\d+)\.so", stub.read_bytes())
    if match and match[1].decode() != version:
        yield STUB_OF_OTHER_PYTHON.finding(stub=match[1].decode(), venv=version)
    library = f"libpython{version}.so.1.0"
    path = Path(str(sysconfig.get_config_var("LIBDIR")), library)
    try:
        ctypes.CDLL(str(path) if path.exists() else library)
    except OSError as error:
        yield NO_LIBPYTHON.finding(library=library, reason=error, version=version)
    yield ok(f"stub, libpython and .venv have Python {version}")


@CHECKS.add("NumPy", NUMPY_2, NO_NUMPY)
def numpy(context: Context) -> Iterator[Finding]:
    """Check the NumPy of the first python3 on Triton's PATH, whose packages the backend imports."""
    context.require_triton()
    script = "import numpy; print(numpy.__version__, numpy.__file__)"
    completed = probes.output(["python3", "-c", script], _environment(context))
    version, _, path = completed.stdout.strip().partition(" ")
    if not version:
        yield NO_NUMPY.finding(reason=completed.stderr.strip().rpartition("\n")[2])
    elif int(version.split(".")[0]) >= 2:
        yield NUMPY_2.finding(version=version, path=path)
    yield ok(f"NumPy {version}")


@CHECKS.add("Triton's flags", WRONG_FLAGS, SHM_REFUSED)
def flags(context: Context) -> Iterator[Finding]:
    """Check the flags of the running Triton."""
    command = psutil.Process(context.pid("triton")).cmdline()
    actual = dict(word.partition("=")[::2] for word in command if word.startswith("--"))
    for flag, value in FLAGS.items():
        if actual.get(flag) != value:
            current = f"{flag}={actual[flag]}" if flag in actual else f"no {flag}"
            yield WRONG_FLAGS.finding(actual=current, expected=f"{flag}={value}")
    if actual.get("--allow-client-shm") != "true" and launch.mentions(Path(command[0]), "allow-client-shm"):
        yield SHM_REFUSED.finding()
    yield ok("HTTP is off, model control is explicit, shared memory is accepted")


@CHECKS.add("namespaces", OTHER_NAMESPACES)
def namespaces(context: Context) -> Iterator[Finding]:
    """Check that web and Triton share the IPC and pid namespaces and one /dev/shm."""
    web, triton = (Path("/proc", str(context.pid(name))) for name in ("web", "triton"))
    for kind, meaning in NAMESPACE_MEANINGS.items():
        if _namespace(web, kind) != _namespace(triton, kind):
            yield OTHER_NAMESPACES.finding(kind=kind, meaning=meaning)
    yield ok("web and Triton share memory and process ids")


def _namespace(process: Path, kind: str) -> str:
    """Return an id of a process's namespace; only /dev/shm counts of its mounts."""
    return str((process / "root/dev/shm").stat().st_dev if kind == "mnt" else (process / "ns" / kind).readlink())


def _environment(context: Context) -> dict[str, str]:
    """Return the relevant environment of the running Triton, or the one it would start with."""
    try:
        variables = psutil.Process(context.pid("triton")).environ()
    except (Skipped, psutil.AccessDenied):
        return {"PATH": f"{context.python.parent}:{context.environment.get('PATH', os.defpath)}"}
    return {name: value for name, value in variables.items() if name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")}
