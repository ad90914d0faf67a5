"""All checks in display order: causes come before their consequences."""

from deploy.doctor.checks.machine import clock, folders, gpu, memory, ports, storage
from deploy.doctor.checks.service import models, programs, tls, triton, watchdog, web, weights
from deploy.doctor.checks.software import codecs, config, packages, sandbox, versions
from deploy.doctor.runner import RUNNER_ISSUES

SECTIONS = {
    "settings": config.CHECKS,
    "ports": ports.CHECKS,
    "folders": folders.CHECKS,
    "disks": storage.CHECKS,
    "memory": memory.CHECKS,
    "packages": packages.CHECKS,
    "versions": versions.CHECKS,
    "models": (*models.CHECKS, *weights.CHECKS),
    "Triton": triton.CHECKS,
    "GPU": gpu.CHECKS,
    "files": (*codecs.CHECKS, *sandbox.CHECKS),
    "web": web.CHECKS,
    "TLS": tls.CHECKS,
    "programs": (*programs.CHECKS, *watchdog.CHECKS),
    "clocks": clock.CHECKS,
}
CHECKS = tuple(check for checks in SECTIONS.values() for check in checks)
ISSUES = (*(issue for check in CHECKS for issue in check.issues), *RUNNER_ISSUES)
