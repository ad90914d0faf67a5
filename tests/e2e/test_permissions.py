import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import httpx
import pytest

from deploy.demo import film
from deploy.stack.stack import Stack
from deploy.stack.users import User
from tests.e2e.checkout_copy import copy_checkout
from tests.support.other_users import connect_as, owner_of
from tests.support.stacks import own_environment

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start programs as another user")


@pytest.fixture(scope="module")
def user() -> User:
    return User.named("www-data")


@pytest.fixture(scope="module")
def checkout(user):
    """A checkout that `user` can reach, in a folder with a space in its name."""
    folder = Path(tempfile.mkdtemp(prefix="other "))
    folder.chmod(0o755)
    yield copy_checkout(folder / "check out", user)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def place(checkout, user):
    """A folder that `user` owns, for models and run folders."""
    folder = checkout.parent / "of the user"
    model = "camera_motion"
    shutil.copytree(checkout / "triton_repo" / "models" / model, folder / "models" / model)
    subprocess.run(["chown", "-R", user.name, folder], check=True, timeout=10)
    return folder


def owners(stack: Stack) -> set[int]:
    """Return the user ids of the stack's processes."""
    return {owner_of(pid) for pid in stack.processes()}


def of_decoders(stack: Stack) -> list[str]:
    """Return the user ids of each decoder, the only program with a seccomp filter."""
    statuses = [Path(f"/proc/{pid}/status").read_text() for pid in stack.processes()]
    lines = [line.split(":\t") for status in statuses if "\nSeccomp:\t2\n" in status for line in status.splitlines()]
    return [value for name, value in lines if name == "Uid"]


def classify(stack: Stack, folder: Path) -> httpx.Response:
    film(folder / "clip.mp4")
    return httpx.post(f"{stack.url}/v1/classify", content=(folder / "clip.mp4").read_bytes(), timeout=60)


@pytest.fixture(scope="module")
def dropped(checkout, place):
    """A stack started by root from a checkout with a space in its path: its programs should drop root's rights."""
    stack = Stack(checkout, own_environment(place, web_workers="1"))
    stack.up()
    yield stack
    stack.down()
    shutil.rmtree(stack.run_dir)


def test_started_by_root_programs_run_as_user(dropped, user):
    masters = {int((dropped.run_dir / name).read_text()) for name in ("supervisord.pid", "nginx.pid")}
    owner = {pid: owner_of(pid) for pid in dropped.processes()}

    assert dropped.warnings == []
    assert {owner.pop(pid) for pid in masters} == {0}  # Supervisor starts the others, nginx may bind a low port
    assert set(owner.values()) == {user.uid}


def test_started_by_root_uploads_and_shared_memory_work_for_user(dropped, user, tmp_path):
    answer = classify(dropped, tmp_path)

    assert answer.status_code == 200, answer.text
    assert answer.json()["transport"] == "system_shared_memory"
    assert set(of_decoders(dropped)) == {"\t".join([str(user.uid)] * 4)}
    assert "confined without" not in (dropped.run_dir / "logs" / "web.log").read_text()


def test_static_files_can_be_read_by_the_user(dropped):
    assert httpx.get(f"{dropped.url}/static/page.css", timeout=10).status_code == 200


def test_other_users_cannot_enter_private_folders(dropped):
    run_dir = dropped.run_dir
    modes = {name: stat.S_IMODE((run_dir / name).stat().st_mode) for name in (".", "uploads", "web", "logs")}

    assert modes == {".": 0o750, "uploads": 0o700, "web": 0o700, "logs": 0o750}
    assert stat.S_IMODE((run_dir / "web" / "web.sock").stat().st_mode) == 0o660
    assert stat.S_IMODE((run_dir / "supervisor.sock").stat().st_mode) == 0o700
    for name in ("web/web.sock", "supervisor.sock"):
        assert connect_as("nobody", run_dir / name) == "PermissionError"


def test_started_by_plain_user_everything_runs_as_that_user(checkout, place, user, tmp_path):
    environment = own_environment(place, web_workers="1", run_dir=str(place / "own"))
    stack = Stack(checkout, environment)

    def command(word: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [stack.python, "-m", "deploy.stack", word],
            user=user.uid,
            group=user.gid,
            extra_groups=[],
            cwd=checkout,
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
        )

    started = command("up")
    try:
        assert started.returncode == 0, started.stderr
        assert started.stderr == ""
        assert owners(stack) == {user.uid}
        assert classify(stack, tmp_path).status_code == 200
    finally:
        assert command("down").returncode == 0
    assert stack.processes() == {}


def test_unreachable_checkout_runs_as_root_with_a_warning(checkout, place, tmp_path):
    stack = Stack(checkout, own_environment(place, web_workers="1", run_dir=str(place / "closed")))
    checkout.chmod(0o700)
    try:
        stack.up()
        assert len(stack.warnings) == 1 and str(checkout) in stack.warnings[0]
        nobody = User.named("nobody").uid
        assert owners(stack) == {0, nobody}  # only decoders need no rights of root
        assert classify(stack, tmp_path).status_code == 200
        assert set(of_decoders(stack)) == {"\t".join([str(nobody)] * 4)}
    finally:
        stack.down()
        checkout.chmod(0o755)
    assert stack.processes() == {}
