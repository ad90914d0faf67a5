"""bench/gpu/run.py without a GPU: its verdicts, its first checks, and the files of its bundle."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.settings import CHECKOUT
from bench.gpu import bundle, server
from bench.gpu import targets as gpu_targets
from bench.gpu.memory import PAGE_BYTES

WITHOUT_GPU = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": ""}


def result(clips_per_s: float, ms: float, left: int) -> dict[str, Any]:
    return {
        "engine": {"x3d_m": {"speed": {"batches": {"1": {"clips_per_s": 1.0}, "16": {"clips_per_s": clips_per_s}}}}},
        "path": {
            "x3d_m": {"cuda": {"senders": {"1": {"p50_ms": ms}}}},
            "growth": {"cuda": {"requests": 1000, "growth_bytes": 0}},
            "killed": {"cuda": {"left_bytes": left}},
        },
    }


def test_good_figures_reach_all_targets() -> None:
    targets = gpu_targets.judge(result(1500.0, 3.6, PAGE_BYTES))
    assert len(targets) == 4 and all(target.met for target in targets)


@pytest.mark.parametrize(
    ("figures", "missed"),
    [
        ((1499.0, 1.0, 0), "X3D-M clips a second, in batches"),
        ((9999.0, 3.7, 0), "X3D-M one clip, slot to scores, ms"),
        ((9999.0, 1.0, PAGE_BYTES + 1), "bytes that a killed worker leaves, by cuda"),
    ],
)
def test_missed_target_is_named(figures: tuple[float, float, int], missed: str) -> None:
    facts = [target.as_dict() for target in gpu_targets.judge(result(*figures))]
    assert [fact["name"] for fact in facts if not fact["met"]] == [missed]


def test_missing_figures_have_no_verdict() -> None:
    assert gpu_targets.judge({"path": {"left_out": "no Triton"}}) == []
    refused = {"cuda": {"error": "refused"}}
    assert gpu_targets.judge({"path": {"x3d_m": refused, "growth": refused, "killed": refused}}) == []


def bench(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "bench" / "gpu" / "run.py"), *words]
    return subprocess.run(command, cwd=root, env=WITHOUT_GPU, capture_output=True, text=True)


def test_without_a_gpu_the_exit_status_is_3() -> None:
    done = bench(CHECKOUT)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("no CUDA device here: torch ")


def test_bundle_holds_every_module_of_the_benchmark(tmp_path: Path) -> None:
    bundle.copy_project(tmp_path)
    done = bench(tmp_path)
    assert done.returncode == 3, done.stderr
    # The other program that starts from the bundle
    elsewhere = WITHOUT_GPU | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", "from deploy.stack import launch; print(launch.__file__)"]
    started = subprocess.run(command, cwd=tmp_path, env=elsewhere, capture_output=True, text=True)
    assert started.stdout == f"{tmp_path / 'deploy' / 'stack' / 'launch.py'}\n", started.stderr


def test_the_bundle_s_packages_are_pinned() -> None:
    assert set(bundle.PACKAGES) <= bundle.pins().keys()


def test_triton_python_has_the_same_packages(tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "numpy").mkdir(parents=True)
    (own / "numpy" / "__init__.py").write_text("")
    make = "import sys, pathlib; from bench.gpu.server import python_for_stub as make; make(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", make, str(tmp_path / "python")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(own), str(CHECKOUT)])}
    subprocess.run(command, env=environment, check=True)
    find = "import importlib.util as u; print(*(u.find_spec(name).origin for name in ('numpy', 'torch')), sep='\\n')"
    bare = {"PATH": f"{tmp_path / 'python' / 'bin'}:/usr/bin:/bin"}
    done = subprocess.run(["python3", "-c", find], env=bare, cwd=tmp_path, capture_output=True, text=True, check=True)
    numpy, torch = done.stdout.splitlines()
    assert Path(numpy).is_relative_to(own)
    assert Path(torch).exists()


def test_checkout_that_is_set_up_can_start_triton() -> None:
    assert server.missing() is None
