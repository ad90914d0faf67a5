import os
import zipfile
from pathlib import Path

import pytest

from deploy.unpack_triton import STUB, unpack

MEMBERS = [
    "pytriton/__init__.py",
    "pytriton/tritonserver/bin/tritonserver",
    "pytriton/tritonserver/backends/python/libtriton_python.so",
    f"pytriton/tritonserver/python_backend_stubs/3.11/{STUB}",
    f"pytriton/tritonserver/python_backend_stubs/3.13/{STUB}",
    "nvidia_pytriton.libs/libz.so",
]


@pytest.fixture
def wheel(tmp_path) -> Path:
    """A wheel with the members of the real one, each with its name as content."""
    path = tmp_path / "triton.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in MEMBERS:
            archive.writestr(name, name)
    return path


def test_server_libraries_and_matching_stub_are_unpacked(wheel, tmp_path):
    target = tmp_path / "with a space" / "triton"

    unpack(wheel, target, "3.11")

    files = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert files - {"backends/clip/model.py"} >= {
        "bin/tritonserver",
        "lib/libz.so",
        "backends/python/libtriton_python.so",
        f"backends/python/{STUB}",
    }
    assert "3.11" in (target / "backends" / "python" / STUB).read_text()
    assert not any("pytriton" in name for name in files)


def test_only_programs_are_executable(wheel, tmp_path):
    unpack(wheel, tmp_path / "triton", "3.11")

    assert os.access(tmp_path / "triton/bin/tritonserver", os.X_OK)
    assert os.access(tmp_path / "triton/backends/python" / STUB, os.X_OK)
    assert (tmp_path / "triton/lib/libz.so").stat().st_mode & 0o777 == 0o644


def test_our_backend_is_linked_beside_triton_s(wheel, tmp_path):
    unpack(wheel, tmp_path / "triton", "3.11")

    assert (tmp_path / "triton/backends/clip/model.py").is_file()


def test_an_earlier_server_is_replaced(wheel, tmp_path):
    (tmp_path / "triton" / "bin").mkdir(parents=True)
    (tmp_path / "triton" / "bin" / "old").touch()

    unpack(wheel, tmp_path / "triton", "3.11")

    assert not (tmp_path / "triton" / "bin" / "old").exists()


def test_python_without_stub_is_refused(wheel, tmp_path):
    with pytest.raises(ValueError, match="no stub for Python 3.7"):
        unpack(wheel, tmp_path / "triton", "3.7")

    assert [path.name for path in tmp_path.iterdir()] == ["triton.whl"]
