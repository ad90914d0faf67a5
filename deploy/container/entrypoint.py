"""Entrypoint of a container: fills its run folder, then becomes the Supervisor of its programs.

Usage: python -m deploy.container.entrypoint web|triton

The settings are CLIPSTACK_* in the environment.
"""

import os
import shutil
import sys
from pathlib import Path

from app.settings import CHECKOUT, InvalidSetting, Settings
from deploy.stack import preflight, run_dir, users
from deploy.stack.access_summary import access_summary

PROGRAMS = {"web": ("nginx", "web", "jobs", "watchdog"), "triton": ("triton", "watchdog")}
LOGS = ("nginx-access", "nginx", "web", "jobs", "triton", "watchdog", "fetch", "webhooks")
MODELS = CHECKOUT / "triton_repo" / "models"  # the default models inside the image


def prepare(part: str, settings: Settings) -> dict[str, str]:
    """Fill the run folder of `part` ("web" or "triton") and return the environment for Supervisor.

    Raise SystemExit with all problems of the preflight checks.
    """
    if part == "triton":
        update_models(MODELS, settings.model_dir)
    problems = preflight.triton_problems(settings) if part == "triton" else preflight.web_problems(settings)
    if problems:
        raise SystemExit("clipstack: cannot start:\n" + "\n".join(map(str, problems)))
    user, python = users.User.current(), CHECKOUT / ".venv" / "bin" / "python"
    settings.run_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
    run_dir.fill(settings, CHECKOUT, user)
    if part == "triton" and settings.triton_address:
        run_dir.make_triton_key(settings)
    if part == "web":
        print("\n".join(access_summary(settings, "docker compose exec web python -m app.auth")), flush=True)
    for name in LOGS:
        # Docker keeps and rotates the container's output.
        log = settings.run_dir / "logs" / f"{name}.log"
        log.unlink(missing_ok=True)
        log.symlink_to("/proc/self/fd/1")
    of_part = {
        "CLIPSTACK_PROGRAMS": run_dir.programs(settings, PROGRAMS[part]),
        "CLIPSTACK_LOG_BYTES": "0",
    }
    return run_dir.program_environment(settings, python, user, os.environ) | of_part


def update_models(source: Path, target: Path) -> None:
    """Copy the image's models to `target`, a volume that outlives the image, where they differ."""
    for model in sorted(path for path in source.iterdir() if (path / "config.pbtxt").exists()):
        if not _same_files(model, target / model.name):
            fresh = target / f".making-{model.name}"
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.copytree(model, fresh)
            shutil.rmtree(target / model.name, ignore_errors=True)
            fresh.rename(target / model.name)


def _same_files(one: Path, other: Path) -> bool:
    """Return whether both folders hold the same files with the same content."""
    files = [path.relative_to(one) for path in one.rglob("*") if path.is_file()]
    present = [path.relative_to(other) for path in other.rglob("*") if path.is_file()]
    if sorted(files) != sorted(present):
        return False
    return all((one / file).read_bytes() == (other / file).read_bytes() for file in files)


def main(arguments: list[str]) -> None:
    """Prepare the part named in `arguments` and replace this process with Supervisor."""
    if len(arguments) != 1 or arguments[0] not in PROGRAMS:
        sys.exit(__doc__)
    try:
        environment = prepare(arguments[0], Settings.from_environment())
    except InvalidSetting as error:
        sys.exit(f"clipstack: {error}")
    python, config = environment["CLIPSTACK_PYTHON"], CHECKOUT / "supervisor" / "supervisord.conf"
    os.execve(python, [python, "-m", "supervisor.supervisord", "-n", "-c", str(config)], environment)


if __name__ == "__main__":
    main(sys.argv[1:])
