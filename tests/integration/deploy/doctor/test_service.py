"""Planted faults of settings, packages and versions."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.doctor.checks.software import config, packages, versions
from deploy.doctor.context import Context
from tests.support.doctor import altered, distribution, found, healthy, named, running, words


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return healthy(tmp_path)


# --- settings


def test_invalid_setting_does_not_stop_other_checks() -> None:
    context = Context.current({"CLIPSTACK_PORT": "http", "CLIPSTACK_RUN_DIR": "/nowhere/run"})
    assert context.run_dir == Path("/nowhere/run")
    assert "CLIPSTACK_PORT='http'" in words(context, config.CHECKS, config.INVALID_SETTING)


def test_unknown_setting(context) -> None:
    wrong = replace(context, environment={"CLIPSTACK_WEB_WORKER": "3"})
    assert "Did you mean CLIPSTACK_WEB_WORKERS?" in words(wrong, config.CHECKS, config.UNKNOWN_SETTING)


def test_settings_that_are_not_in_force(context) -> None:
    started = {**context.settings.environment(), "CLIPSTACK_SLOTS": "32"}
    runs = replace(running(context, web=os.getpid()), started_settings=started, environment={"CLIPSTACK_SLOTS": "16"})
    result = words(runs, config.CHECKS, config.SETTING_NOT_IN_FORCE)
    assert result.startswith("CLIPSTACK_SLOTS is 16 here, but the stack was started with 32")


def test_setting_conflict(context) -> None:
    odd = replace(context.settings, queue_timeout_s=40, data_dir=context.run_dir / "uploads" / "data")
    result = found(replace(context, settings=odd), config.CHECKS)
    assert result == {config.QUEUE_TIMEOUT_TOO_LONG.name, config.DATA_IN_UPLOADS.name}


def test_unreachable_queue(context) -> None:
    away = replace(
        context, settings=replace(context.settings, queue=f"redis://:secret@127.0.0.1:{context.settings.port}")
    )
    result = words(away, config.CHECKS, config.QUEUE_UNREACHABLE)
    assert "Connection refused" in result and "secret" not in result


def test_a_shared_redis_that_is_away(context) -> None:
    address = f"redis://:secret@127.0.0.1:{context.settings.port}"
    away = replace(context, settings=replace(context.settings, redis_url=address))
    result = words(away, config.CHECKS, config.SHARED_REDIS_UNREACHABLE)
    assert "Connection refused" in result and "secret" not in result


# --- packages


def test_right_packages_have_no_finding(context) -> None:
    distribution(context, "torch", "2.13.0+cpu")
    distribution(context, "torchvision", "0.28.0", "torch (==2.13.0)")
    assert found(context, [*packages.CHECKS[:1], *packages.CHECKS[2:]]) == set()


def test_the_checkouts_own_packages_have_the_versions_wanted() -> None:
    assert found(Context.current({}), named("packages", packages)) == set()


def test_a_package_of_another_version(context) -> None:
    distribution(context, "flask", "2.0.0")
    result = words(context, named("packages", packages), packages.OTHER_VERSION)
    assert "flask is 2.0.0, but the tested version is 3." in result and "gunicorn is missing" in result


def test_another_python(context) -> None:
    (context.checkout / ".venv" / "pyvenv.cfg").write_text("version = 3.12.1\n")
    assert found(context, packages.CHECKS[:1]) == {packages.OTHER_PYTHON.name}


def test_torchvision_for_another_torch_and_without_its_operators(context) -> None:
    distribution(context, "torch", "2.12.0+cpu")
    distribution(context, "torchvision", "0.28.0", "torch (==2.13.0)")
    altered(context.checkout / "triton_repo/zoo/architectures/torchvision_cpu.py", '"qnms(', '"other(')
    result = found(context, named("torchvision", packages))
    assert result == {packages.TORCHVISION_MISMATCH.name, packages.NO_OPERATORS.name}


def test_cuda_packages_without_a_gpu(context) -> None:
    distribution(context, "torch", "2.13.0")
    distribution(context, "nvidia-cublas-cu12", "12.8.4.1")
    result = found(context, named("CUDA packages", packages))
    assert result == (set() if Path("/proc/driver/nvidia/version").exists() else {packages.UNUSED_CUDA.name})


def test_pytriton_installed(context) -> None:
    distribution(context, "nvidia_pytriton", "0.7.0")
    assert found(context, named("pytriton", packages)) == {packages.PYTRITON_INSTALLED.name}


# --- versions with known vulnerabilities


@pytest.mark.parametrize(("package", "old", "new"), [("gunicorn", "21.2.0", "22.0.0"), ("Werkzeug", "3.0.5", "3.1.9")])
def test_vulnerable_package(context, package: str, old: str, new: str) -> None:
    folder = distribution(context, package, old)
    assert f"{package.lower()} {old} has CVE-" in words(context, versions.CHECKS, versions.PACKAGE_VULNERABLE)
    shutil.rmtree(folder)
    distribution(context, package, new)
    assert words(context, versions.CHECKS, versions.PACKAGE_VULNERABLE) == ""


@pytest.mark.parametrize(
    ("library", "vulnerable"), [("libavformat-12ab.so.58.29.100", True), ("libavformat-1.so.62.12.101", False)]
)
def test_vulnerable_library_of_a_wheel(context, library: str, vulnerable: bool) -> None:
    (context.packages / "decord2.libs").mkdir()
    (context.packages / "decord2.libs" / library).touch()
    assert bool(words(context, versions.CHECKS, versions.PACKAGE_VULNERABLE)) == vulnerable


def test_vulnerable_triton_is_reported_on_public_addresses(context) -> None:
    assert words(context, versions.CHECKS, versions.TRITON_VULNERABLE) == ""
    public = replace(context, settings=replace(context.settings, triton_address="0.0.0.0:8001"))
    assert "Triton 2.51.0 has CVE-2025-23319" in words(public, versions.CHECKS, versions.TRITON_VULNERABLE)


@pytest.mark.parametrize(
    ("version", "count"),
    [("1.22.1", 2), ("1.30.2", 0), ("1.22.1-9+deb12u6", 3), ("1.22.1-9+deb12u8", 1), ("1.22.1-9+deb12u10", 0)],
)
def test_vulnerabilities_of_nginx_by_debian_version(version: str, count: int) -> None:
    of_nginx = [item for item in versions.ADVISORIES if item.component == "nginx"]
    assert sum(versions.concerns(item, version) for item in of_nginx) == count
    assert versions.ISSUES["nginx"] is versions.NGINX_VULNERABLE


def test_every_advisory_names_its_source() -> None:
    for advisory in versions.ADVISORIES:
        assert advisory.source and advisory.date <= versions.AS_OF and advisory.ids.startswith("CVE-")
