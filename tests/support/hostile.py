"""Attempts of a hijacked decoder; each returns a word on its success, or raises."""

from __future__ import annotations

import contextlib
import mmap
import os
import resource
import signal
import socket
import sys
import threading
from pathlib import Path

import av
import decord
import numpy as np

from app.decoding.worker import probe, run_limited
from app.errors import ClipstackError
from app.media.formats import HEAD_BYTES, recognise
from app.media.handles import region
from app.media.types import Limits, Source
from app.timeline.scan import ScanSpec, scan
from app.timeline.windows import Grid
from app.video.readers import open_reader


def connect(port: str) -> str:
    with socket.create_connection(("127.0.0.1", int(port)), timeout=5):
        return "connected"


def connect_to_path(path: str) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        return "connected"


def read(path: str) -> str:
    return Path(path).read_text()


def create(path: str) -> str:
    with open(path, "x"):
        return "created"


def append(path: str) -> str:
    with open(path, "ab", buffering=0) as file:
        file.write(b"more")
        return "written"


def shorten(path: str) -> str:
    os.truncate(path, 0)
    return "shortened"


def remove(path: str) -> str:
    os.unlink(path)
    return "removed"


def write_region(path: str) -> str:
    """Write into the region as a decoder does: through a map."""
    with mmap.mmap(region(path).fileno(), 0) as memory:
        memory[:4] = b"seen"
    return "written"


def lengthen_region(path: str) -> str:
    file = region(path)
    return f"written {os.pwrite(file.fileno(), b'more', os.fstat(file.fileno()).st_size)}"


def shorten_region(path: str) -> str:
    os.ftruncate(region(path).fileno(), 0)
    return "shortened"


def execute() -> str:
    os.execv("/bin/sh", ["sh", "-c", "exit 7"])


def fork(most: str) -> str:
    """Start a fork bomb of at most `most` processes, which wait for its end."""
    born: list[int] = []
    try:
        while len(born) < int(most):
            child = os.fork()
            if child == 0:
                signal.pause()
            born.append(child)
        return f"all {len(born)}"
    except OSError as error:
        return f"{len(born)}, then {type(error).__name__}"
    finally:
        for child in born:
            with contextlib.suppress(PermissionError):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)


def start_threads(most: str) -> str:
    threading.stack_size(1 << 16)
    end, started = threading.Event(), 0
    try:
        while started < int(most):
            threading.Thread(target=end.wait, daemon=True).start()
            started += 1
        return f"all {started}"
    except RuntimeError:
        return f"{started}"
    finally:
        end.set()


def open_many() -> str:
    files = []
    try:
        while len(files) < 100_000:
            files.append(os.dup(0))
        return "100000"
    except OSError:
        return f"{len(files)}"
    finally:
        for file in files:
            os.close(file)


def allocate(size: str) -> str:
    return str(len(bytearray(int(size))))


def spin() -> str:
    """Spin as a task with a CPU limit of a tenth of a second."""
    run_limited(0.1, _turn)
    return "went on"


def _turn() -> None:
    while True:
        pass


def signal_to(pid: str) -> str:
    os.kill(int(pid), 0)
    return "signalled"


def read_memory(pid: str) -> str:
    with open(f"/proc/{pid}/mem", "rb"):
        return "open"


def lower_limits_of(pid: str) -> str:
    resource.prlimit(int(pid), resource.RLIMIT_CORE, resource.prlimit(int(pid), resource.RLIMIT_CORE))
    return "set"


def load_late(*paths: str) -> str:
    """Return the modules that probing and decoding import and the fork server had not (not hostile)."""
    before = set(sys.modules)
    for path in paths:
        source = Source(path, 0, os.path.getsize(path))
        with contextlib.suppress(ClipstackError):
            media = probe(source, Limits(36_000_000, 500_000, 14_400))
            if media.kind == "video":
                open_reader(source, media, recognise(source.read(HEAD_BYTES)).name, (64, 48))
                slot = np.zeros((4, 48, 48, 3), np.uint8)
                for _ in scan(source, media, ScanSpec(Grid(4, 0.1, 0.5), 0, 48, 48, 100), lambda slot=slot: slot):
                    pass
    return " ".join(sorted(set(sys.modules) - before - {"tests.support.hostile", "tests"}))


def become_root() -> str:
    os.setresuid(0, 0, 0)
    return "root"


def numbers() -> str:
    """Return the real, effective and saved user, and the groups, outside this process's user namespace."""
    status = Path("/proc/self/status").read_text()
    return " ".join(line.split()[1] for line in status.splitlines() if line.startswith(("Uid", "Gid", "CapEff")))


def demux(url: str, demuxer: str = "") -> str:
    """Open an address by PyAV, with every protocol of FFmpeg."""
    protocols = {"protocol_whitelist": "file,http,tcp,udp,rtp,unix,crypto,subfile"}
    options = {**protocols, "safe": "0", "timeout": "3000000", "listen_timeout": "1"}
    with av.open(url, format=demuxer or None, options=options, timeout=5) as container:
        return f"{sum(1 for _ in container.demux())} packets"


def decode(url: str) -> str:
    """Open an address by decord."""
    return f"{len(decord.VideoReader(url))} frames"
