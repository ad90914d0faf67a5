"""What runs first in a container: fills its run folder, then becomes Supervisor over the programs of its part.

python -m deploy.container.entrypoint web|triton       (settings: CLIPSTACK_* in the environment)
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from app.settings import CHECKOUT, InvalidSetting, Settings
from deploy.stack import doors, preflight, run_dir, users

PROGRAMS = {"web": ("nginx", "web", "jobs", "watchdog"), "triton": ("triton", "watchdog")}
LOGS = ("nginx-access", "nginx", "web", "jobs", "triton", "watchdog")
MODELS = CHECKOUT / "triton_repo" / "models"  # the default models inside the image


def prepare(part: str, settings: Settings) -> dict[str, str]:
    """Fill the run folder of `part` ("web" or "triton") and return the environment for Supervisor.

    Raises:
        SystemExit: A preflight check failed; the message lists every problem.
    """
    if part == "triton":
        bring_models(MODELS, settings.model_dir)
    checks = preflight.of_triton(settings) if part == "triton" else preflight.of_web(settings)
    if checks:
        raise SystemExit("\n".join(checks))
    user, python = users.User.current(), CHECKOUT / ".venv" / "bin" / "python"
    run_dir.fill(settings, CHECKOUT, user)
    if part == "triton" and settings.triton_address:
        run_dir.make_triton_key(settings)
    if part == "web":
        print("\n".join(doors.told(settings, "docker compose exec web python -m app.auth")), flush=True)
    for name in LOGS:
        # Docker keeps and rotates the container's output.
        log = settings.run_dir / "logs" / f"{name}.log"
        log.unlink(missing_ok=True)
        log.symlink_to("/proc/self/fd/1")
    own = {
        "CLIPSTACK_PROGRAMS": " ".join(f"programs/{name}.conf" for name in PROGRAMS[part]),
        "CLIPSTACK_LOG_BYTES": "0",
    }
    return run_dir.variables(settings, python, user, os.environ) | own


def bring_models(source: Path, target: Path) -> None:
    """Copy the image's models to `target`, a volume that outlives the image, where they differ."""
    for model in sorted(path for path in source.iterdir() if (path / "config.pbtxt").exists()):
        if not _same(model, target / model.name):
            fresh = target / f".making-{model.name}"
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.copytree(model, fresh)
            shutil.rmtree(target / model.name, ignore_errors=True)
            fresh.rename(target / model.name)


def _same(one: Path, other: Path) -> bool:
    """Return whether both folders hold the same files with the same content."""
    files = [path.relative_to(one) for path in one.rglob("*") if path.is_file()]
    present = [path.relative_to(other) for path in other.rglob("*") if path.is_file()]
    if sorted(files) != sorted(present):
        return False
    return all((one / file).read_bytes() == (other / file).read_bytes() for file in files)


def main(words: list[str]) -> None:
    """Prepare the part named in `words` and replace this process with Supervisor."""
    if len(words) != 1 or words[0] not in PROGRAMS:
        sys.exit(__doc__)
    try:
        environment = prepare(words[0], Settings.from_environment())
    except InvalidSetting as error:
        sys.exit(f"clipstack: {error}")
    python, config = environment["CLIPSTACK_PYTHON"], CHECKOUT / "supervisor" / "supervisord.conf"
    os.execve(python, [python, "-m", "supervisor.supervisord", "-n", "-c", str(config)], environment)


if __name__ == "__main__":
    main(sys.argv[1:])
