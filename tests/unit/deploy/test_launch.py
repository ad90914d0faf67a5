import ctypes
import os
import time

from app.settings import GRPC_SOCKET, Settings
from deploy.gpu import driver_link
from deploy.stack import launch
from deploy.stack.run_dir import nginx_values


def test_web_removes_only_leftovers_of_killed_workers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # launching changes the folder
    for name in ("uploads", "web/tmp/pymp-abc"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("body-abc", "0000000001"):
        (tmp_path / "uploads" / name).touch()

    launch.web(Settings.from_environment({"CLIPSTACK_RUN_DIR": str(tmp_path)}))

    assert [path.name for path in (tmp_path / "uploads").iterdir()] == ["0000000001"]
    assert list((tmp_path / "web" / "tmp").iterdir()) == []


def test_watchdog_waits_for_a_local_triton_for_a_limited_time(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "TRITON_WAIT_S", 0.2)
    settings = Settings.from_environment({"CLIPSTACK_RUN_DIR": str(tmp_path)})

    def seconds(settings):
        began = time.monotonic()
        assert launch.watchdog(settings)[-1] == "deploy.watchdog"
        return time.monotonic() - began

    assert seconds(settings) >= 0.2
    settings.triton_sockets.mkdir()
    (settings.triton_sockets / GRPC_SOCKET).touch()
    listening_s = seconds(settings)
    remote = Settings.from_environment(
        {"CLIPSTACK_RUN_DIR": str(tmp_path / "other"), "CLIPSTACK_TRITON_ADDRESS": "10.0.0.2:8001"}
    )
    assert max(listening_s, seconds(remote)) < 0.2


def test_nginx_waits_longer_than_all_stages_may_take(tmp_path):
    settings = Settings.from_environment({})
    admission = slots = settings.queue_timeout_s
    probe = decode = settings.decode_timeout_s

    waits_s = int(nginx_values(settings, tmp_path)["CLIPSTACK_ANSWER_TIMEOUT_S"])

    assert waits_s > admission + probe + slots + decode + settings.infer_timeout_s


def test_triton_is_started_with_its_own_gpu_pool(tmp_path, monkeypatch):
    for name in ("bin", "run/triton", "run/gpu", "models"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "bin" / "tritonserver").write_bytes(b"\x7fELF")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launch, "TRITON", tmp_path)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/elsewhere")
    monkeypatch.setenv("CLIPSTACK_GPU_CACHE", "")

    command = launch.triton(Settings.from_environment({"CLIPSTACK_RUN_DIR": str(tmp_path / "run")}))

    assert not [flag for flag in command if "cuda-memory-pool" in flag]
    assert "--pinned-memory-pool-byte-size=0" in command
    assert os.environ["CLIPSTACK_GPU_CACHE"] == str(tmp_path / "run" / "gpu")
    assert "/elsewhere" in os.environ["LD_LIBRARY_PATH"].split(":")


def test_driver_is_linked_under_the_name_triton_loads(tmp_path):
    (tmp_path / "gpu").mkdir()

    for _ in range(2):  # a restart makes it again
        folder = driver_link.make(tmp_path, "libc.so.6")

    assert (folder / "libcuda.so").resolve() == driver_link.find("libc.so.6").resolve()
    assert ctypes.CDLL(str(folder / "libcuda.so")).getpid() == os.getpid()


def test_missing_driver_library_is_named(tmp_path, capsys):
    (tmp_path / "gpu").mkdir()
    (tmp_path / "gpu" / "lib").mkdir()
    (tmp_path / "gpu" / "lib" / "libcuda.so").symlink_to("libcuda.so.of.an.earlier.driver")

    folder = driver_link.make(tmp_path, "libno-such-driver.so.1")

    assert list(folder.iterdir()) == []
    assert "no link to the GPU driver's library: libno-such-driver.so.1" in capsys.readouterr().err


def test_a_program_mentions_the_flags_that_it_knows(tmp_path):
    (tmp_path / "server").write_bytes(b"\x7fELF\0\xff--allow-client-shm\0")

    assert launch.mentions(tmp_path / "server", "allow-client-shm")
    assert not launch.mentions(tmp_path / "server", "allow-sagemaker")
