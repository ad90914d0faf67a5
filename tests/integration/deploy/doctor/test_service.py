"""Faults of how the service is set, planted: settings, packages, versions."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.doctor.checks.software import config, packages, versions
from deploy.doctor.context import Context
from tests.support.patients import altered, distribution, found, healthy, named, running, words


@pytest.fixture
def patient(tmp_path: Path) -> Context:
    return healthy(tmp_path)


# --- settings


def test_a_setting_that_is_refused_is_said_and_the_rest_is_looked_at() -> None:
    patient = Context.here({"CLIPSTACK_PORT": "http", "CLIPSTACK_RUN_DIR": "/nowhere/run"})
    assert patient.run_dir == Path("/nowhere/run")
    assert "CLIPSTACK_PORT='http'" in words(patient, config.CHECKS, config.SETTING_REFUSED)


def test_a_name_that_is_no_setting(patient) -> None:
    wrong = replace(patient, environment={"CLIPSTACK_WEB_WORKER": "3"})
    assert "did you mean CLIPSTACK_WEB_WORKERS?" in words(wrong, config.CHECKS, config.SETTING_UNKNOWN)


def test_settings_that_are_not_in_force(patient) -> None:
    started = {**patient.settings.environment(), "CLIPSTACK_SLOTS": "32"}
    runs = replace(running(patient, web=os.getpid()), started_with=started, environment={"CLIPSTACK_SLOTS": "16"})
    told = words(runs, config.CHECKS, config.SETTING_NOT_IN_FORCE)
    assert told.startswith("CLIPSTACK_SLOTS is 16 here, and the stack was started with 32")


def test_settings_at_odds(patient) -> None:
    odd = replace(patient.settings, queue_timeout_s=40, data_dir=patient.run_dir / "uploads" / "data")
    told = found(replace(patient, settings=odd), config.CHECKS)
    assert told == {config.WAIT_OUTLIVES_DEADLINE.name, config.DATA_IN_UPLOADS.name}


def test_a_queue_that_is_away(patient) -> None:
    away = replace(
        patient, settings=replace(patient.settings, queue=f"redis://:secret@127.0.0.1:{patient.settings.port}")
    )
    told = words(away, config.CHECKS, config.QUEUE_AWAY)
    assert "Connection refused" in told and "secret" not in told


# --- packages


def test_packages_that_fit(patient) -> None:
    distribution(patient, "torch", "2.13.0+cpu")
    distribution(patient, "torchvision", "0.28.0", "torch (==2.13.0)")
    assert found(patient, [*packages.CHECKS[:1], *packages.CHECKS[2:]]) == set()


def test_the_checkouts_own_packages_have_the_versions_wanted() -> None:
    assert found(Context.here({}), named("packages", packages)) == set()


def test_a_package_of_another_version(patient) -> None:
    distribution(patient, "flask", "2.0.0")
    told = words(patient, named("packages", packages), packages.OTHER_VERSION)
    assert "flask is 2.0.0, and the project was tried with 3." in told and "gunicorn is missing" in told


def test_another_python(patient) -> None:
    (patient.checkout / ".venv" / "pyvenv.cfg").write_text("version = 3.12.1\n")
    assert found(patient, packages.CHECKS[:1]) == {packages.OTHER_PYTHON.name}


def test_torchvision_for_another_torch_and_without_its_operators(patient) -> None:
    distribution(patient, "torch", "2.12.0+cpu")
    distribution(patient, "torchvision", "0.28.0", "torch (==2.13.0)")
    altered(patient.checkout / "triton_repo/zoo/architectures/torchvision_cpu.py", '"qnms(', '"other(')
    told = found(patient, named("torchvision", packages))
    assert told == {packages.TORCHVISION_MISFIT.name, packages.NO_OPERATORS.name}


def test_cuda_for_nothing(patient) -> None:
    distribution(patient, "torch", "2.13.0")
    distribution(patient, "nvidia-cublas-cu12", "12.8.4.1")
    told = found(patient, named("CUDA packages", packages))
    assert told == (set() if Path("/proc/driver/nvidia/version").exists() else {packages.CUDA_FOR_NOTHING.name})


def test_pytriton_installed(patient) -> None:
    distribution(patient, "nvidia_pytriton", "0.7.0")
    assert found(patient, named("pytriton", packages)) == {packages.PYTRITON_INSTALLED.name}


# --- versions with known holes


@pytest.mark.parametrize(("package", "old", "new"), [("gunicorn", "21.2.0", "22.0.0"), ("Werkzeug", "3.0.5", "3.1.9")])
def test_a_hole_in_a_package(patient, package: str, old: str, new: str) -> None:
    folder = distribution(patient, package, old)
    assert f"{package.lower()} {old} has CVE-" in words(patient, versions.CHECKS, versions.PACKAGE_HOLE)
    shutil.rmtree(folder)
    distribution(patient, package, new)
    assert words(patient, versions.CHECKS, versions.PACKAGE_HOLE) == ""


@pytest.mark.parametrize(
    ("library", "told"), [("libavformat-12ab.so.58.29.100", True), ("libavformat-1.so.62.12.101", False)]
)
def test_a_hole_in_what_a_wheel_brings(patient, library: str, told: bool) -> None:
    (patient.packages / "decord2.libs").mkdir()
    (patient.packages / "decord2.libs" / library).touch()
    assert bool(words(patient, versions.CHECKS, versions.PACKAGE_HOLE)) == told


def test_a_hole_in_triton_matters_where_others_reach_it(patient) -> None:
    assert words(patient, versions.CHECKS, versions.TRITON_HOLE) == ""
    public = replace(patient, settings=replace(patient.settings, triton_address="0.0.0.0:8001"))
    assert "Triton 2.51.0 has CVE-2025-23319" in words(public, versions.CHECKS, versions.TRITON_HOLE)


@pytest.mark.parametrize(
    ("version", "holes"),
    [("1.22.1", 2), ("1.30.2", 0), ("1.22.1-9+deb12u6", 3), ("1.22.1-9+deb12u8", 1), ("1.22.1-9+deb12u10", 0)],
)
def test_holes_in_nginx_as_debian_mends_them(version: str, holes: int) -> None:
    of_nginx = [each for each in versions.ADVISORIES if each.component == "nginx"]
    assert sum(versions.concerns(each, version) for each in of_nginx) == holes
    assert versions.FAULTS["nginx"] is versions.NGINX_HOLE


def test_every_advisory_says_where_it_has_it_from() -> None:
    for advisory in versions.ADVISORIES:
        assert advisory.source and advisory.date <= versions.AS_OF and advisory.ids.startswith("CVE-")
