"""The sandbox holds a hijacked decoder: each layer alone, all together, and with layers missing."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

from app.media import handles
from app.sandbox import Layer, SandboxConfig, SandboxError, available, current_layers, missing, report_missing, table
from tests.support.confined import attempts
from tests.support.films import numbered, write_video

LAYERS = {"limits", "files", "user", "processes", "network", "calls"}
REFUSED = {"EPERM", "EACCES", "ENETUNREACH"}
KERNELS = {
    "all": ((), set()),
    "without seccomp": (("seccomp",), {"calls"}),
    "without Landlock": (("landlock",), {"files"}),
    "in a container": (("namespaces",), {"processes", "network"}),
}
ROOT = os.geteuid() == 0


class Listening:
    """A server on loopback that closes every connection at once, and counts them."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port, self.met = str(self._server.getsockname()[1]), 0
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            connection, _ = self._server.accept()
            with connection:
                if connection.recv(1) == b"\0":  # sent by `close` only
                    return
            self.met += 1

    def close(self) -> None:
        with socket.create_connection(("127.0.0.1", int(self.port))) as last:
            last.sendall(b"\0")
        self._thread.join()
        self._server.close()


@pytest.fixture
def listening() -> Iterator[Listening]:
    server = Listening()
    yield server
    server.close()


@dataclass
class Place:
    """Files around a decoder: its folder, its region, and files that it must not reach."""

    folder: Path
    outside: Path
    paths: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path, text, mode in (
            (self.folder / "film", "film", 0o600),
            (self.folder / "free", "free", 0o666),
            (self.folder / "region", "\0" * 4096, 0o600),
            (self.outside / "public", "public", 0o644),
            (self.outside / "secret", "secret", 0o600),
        ):
            path.write_text(text)
            path.chmod(mode)
            self.paths[path.name] = str(path)
        self.folder.chmod(0o777)  # only a sandbox layer prevents a new file

    def confinement(self, **more: object) -> dict[str, object]:
        return {"readable": [str(self.folder)], "writable": [self.paths["region"]], **more}


@pytest.fixture
def place(tmp_path) -> Iterator[Place]:
    """A folder that every user can enter; pytest's own is private."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        made = [Path(folder, name) for name in ("media", "outside")]
        for path in made:
            path.mkdir()
        yield Place(*made)


def test_every_sandbox_layer_works_or_says_why():
    layers = available(SandboxConfig(()))
    assert {layer.name for layer in layers} == LAYERS
    assert all(layer.note for layer in layers)
    assert table(layers).count("\n") == len(layers) - 1
    assert current_layers() == ()  # this process has no layer


@pytest.mark.parametrize(("lacking", "lost"), KERNELS.values(), ids=KERNELS)
def test_missing_kernel_feature_drops_only_its_layer(lacking, lost, place):
    free, region, service = place.paths["free"], place.paths["region"], str(os.getpid())
    actions = [
        ("write_region", region), ("signal_to", service), ("read_memory", service),
        ("create", str(place.folder / "new")), ("append", free), ("shorten", free), ("remove", free),
        ("shorten_region", region), ("append", place.paths["public"]), ("execute",),
    ]  # fmt: skip
    layers, (written, signalled, read, *changes) = attempts(actions, lacking, **place.confinement())
    assert {name for name, (holds, _) in layers.items() if not holds} == lost
    assert all(note for _, note in layers.values())
    assert written == "written"
    assert Path(region).read_bytes()[:4] == b"seen"
    assert {signalled, read} <= {"EPERM", "EACCES"}
    assert set(changes) <= REFUSED, dict(zip(actions[3:], changes, strict=True))
    assert Path(free).read_text() == "free"
    assert os.path.getsize(region) == 4096


def test_files_outside_cannot_be_read_with_landlock(place):
    names = ("public", "secret", "film")
    _, results = attempts([("read", place.paths[name]) for name in names], **place.confinement(own_user=False))
    assert results == ["EACCES", "EACCES", "film"]


@pytest.mark.skipif(not ROOT, reason="only root has other users")
def test_decoders_of_a_root_service_drop_root(place):
    actions = [("numbers",), ("become_root",), ("read", place.paths["secret"]), ("read", place.paths["public"])]
    layers, results = attempts(actions, ["landlock", "seccomp"], **place.confinement())
    assert layers["user"][0]
    numbers, root, secret, public = results
    assert numbers.split() == ["65534", "65534", "0" * 16]
    assert (root, secret, public) == ("EINVAL", "EACCES", "public")


@pytest.mark.skipif(not ROOT, reason="only root has other users")
def test_root_without_capabilities_warns_about_root_decoders(place):
    found, (result,) = attempts([("read", place.paths["film"])], ["setuid"], **place.confinement())
    assert not found["user"][0]
    assert result == "film"


@pytest.mark.skipif(not ROOT, reason="only root has other users")
def test_file_of_root_is_opened_for_decoders(tmp_path):
    inner = tmp_path / "jobs" / "one"
    inner.mkdir(parents=True, mode=0o700)
    for path in (tmp_path, inner.parent):
        path.chmod(0o700)
    film = inner / "source"
    film.write_text("film")
    film.chmod(0o600)
    readable = (str(tmp_path / "jobs"),)
    assert attempts([("read", str(film))], readable=readable)[1] == ["EACCES"]
    SandboxConfig(readable).admit(str(film))
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (film, inner, inner.parent, tmp_path)]
    assert modes == [0o640, 0o710, 0o710, 0o700]
    results = attempts([("read", str(film))], user=33, readable=[], own_user=False)[1]
    assert results == ["EACCES"]


def test_file_outside_the_readable_folders_stays_closed(place):
    SandboxConfig((str(place.folder),)).admit(place.paths["secret"])
    assert stat.S_IMODE(os.stat(place.paths["secret"]).st_mode) == 0o600


def test_unconfined_process_opens_the_source_by_its_path(place):
    assert handles.region(place.paths["region"]) == Path(place.paths["region"])
    assert handles.region_bytes(place.paths["region"]) == 4096


NETWORK = {
    "all": (),
    "namespace alone": ("seccomp", "landlock"),
    "Landlock alone": ("seccomp", "namespaces"),
    "seccomp alone": ("landlock", "namespaces"),
}


@pytest.mark.parametrize("lacking", NETWORK.values(), ids=NETWORK)
def test_hostile_files_make_no_connection(lacking, place, listening):
    # app/media/formats.py refuses most of these before they are opened
    at = f"127.0.0.1:{listening.port}"
    playlist, segments, description = (place.folder / name for name in ("list.m3u8", "list.ffconcat", "session.sdp"))
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://{at}/a.ts\n#EXT-X-ENDLIST\n")
    segments.write_text(f"ffconcat version 1.0\nfile http://{at}/a.ts\n")
    description.write_text(
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {listening.port} RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n"
    )
    actions = [
        ("connect", listening.port),
        ("demux", f"http://{at}/a.mp4"), ("demux", f"tcp://{at}"), ("decode", f"http://{at}/a.mp4"),
        ("demux", str(playlist), "hls"), ("demux", str(segments), "concat"), ("demux", str(description), "sdp"),
        ("decode", str(playlist)), ("decode", str(segments)), ("decode", str(description)),
    ]  # fmt: skip
    _, results = attempts(actions, lacking, **place.confinement())
    assert listening.met == 0, dict(zip(actions, results, strict=True))
    assert set(results[:1]) <= REFUSED
    assert not any(word.endswith(("packets", "frames")) for word in results), results


def test_connections_are_made_without_the_layers(place, listening):
    at = f"127.0.0.1:{listening.port}"
    actions = [("connect", listening.port), ("demux", f"http://{at}/a.mp4")]
    _, results = attempts(actions, mode="off", **place.confinement())
    assert results[0] == "connected"
    assert listening.met >= 2


def test_a_playlist_cannot_open_another_file(place):
    film = write_video(place.outside / "other.mp4", map(numbered, range(5)))
    film.chmod(0o644)
    inside = write_video(place.folder / "own.mp4", map(numbered, range(5)))
    inside.chmod(0o644)
    actions = []
    for target in (film, inside):
        (place.folder / f"{target.stem}.ffconcat").write_text(f"ffconcat version 1.0\nfile {target}\n")
        actions.append(("demux", str(place.folder / f"{target.stem}.ffconcat"), "concat"))
    _, results = attempts(actions, **place.confinement())
    assert results[1].endswith("packets")
    assert not results[0].endswith("packets")


@pytest.mark.parametrize(
    ("lacking", "forks"), [((), "0, then PermissionError"), (("seccomp",), "BlockingIOError")], ids=["calls", "limits"]
)
def test_a_fork_bomb_is_bounded(lacking, forks, place):
    _, (born, threads) = attempts([("fork", "300"), ("start_threads", "400")], lacking, **place.confinement())
    assert born.endswith(forks)
    assert int(born.split(",")[0]) < 256
    assert int(threads) < 256


@pytest.mark.parametrize("mode", ["best", "off"])
def test_limits_hold_in_every_mode(mode, place):
    region = place.paths["region"]
    actions = [
        ("allocate", str(600 << 20)),
        ("allocate", "1000"),
        ("open_many",),
        ("lengthen_region", region),
        ("spin",),
    ]
    _, results = attempts(actions, mode=mode, memory_bytes=500 << 20, **place.confinement())
    assert results[:2] == ["MemoryError", "1000"]
    assert 64 < int(results[2]) < 128
    assert results[3:] == ["EFBIG", "ended -24"]  # SIGXCPU


def test_all_modules_are_preloaded(place):
    # In a checkout that only root can read, decoders cannot import modules later
    paths = [
        *(write_video(place.folder / f"film.{end}", map(numbered, range(30))) for end in ("mp4", "ts", "mkv")),
        *(place.folder / f"picture.{end}" for end in ("png", "jpg", "webp", "gif")),
        place.folder / "damaged.mp4",
    ]
    for path in paths[3:7]:
        Image.fromarray(numbered(1)).save(path)
    paths[7].write_bytes(b"\0\0\0\x18ftypisom" + bytes(100))
    for path in paths:
        path.chmod(0o644)
    _, results = attempts([("load_late", *map(str, paths))], **place.confinement())
    assert results == [""]


def test_disabled_sandbox_is_logged(place):
    found, _ = attempts([], mode="off", **place.confinement())
    assert found.keys() == {"limits", "all others"}
    assert not found["all others"][0]


def test_missing_layer_is_logged_once_or_prevents_start(caplog):
    layers = (Layer("files", True, "Landlock 7"), Layer("network", False, "Operation not permitted"))
    assert missing(layers[:1]) == ""
    report_missing(layers[:1], SandboxConfig((), mode="required"))
    assert not caplog.records
    report_missing(layers, SandboxConfig(()))
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == ["Operation not permitted"]
    with pytest.raises(SandboxError, match="network: Operation not permitted"):
        report_missing(layers, SandboxConfig((), mode="required"))
