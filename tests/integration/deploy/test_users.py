import os
import pwd
import shutil
import tempfile
from pathlib import Path

import pytest

from deploy.stack.users import UnusableUser, User, choose, first_blocked

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask on behalf of another user")


@pytest.fixture
def open_folder():
    """A folder that every user can enter; tmp_path is private."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@as_root
def test_root_becomes_default_user_where_it_can_reach_everything(open_folder):
    user, warning = choose("", [open_folder])

    assert (user.name, warning) == ("www-data", None)


@as_root
def test_root_that_cannot_drop_warns_once(open_folder):
    inner = open_folder / "inner"
    (inner / "deep").mkdir(parents=True)
    inner.chmod(0o700)

    user, warning = choose("", [inner / "deep"])

    assert user.uid == 0 and warning and str(inner) in warning and "deep" not in warning


@as_root
def test_user_that_was_asked_for_is_not_replaced(open_folder):
    open_folder.chmod(0o700)

    with pytest.raises(UnusableUser, match=f"nobody may not enter or execute {open_folder}"):
        choose("nobody", [open_folder])


@as_root
def test_requested_root_needs_no_warning(open_folder):
    assert choose("root", [open_folder]) == (User.named("root"), None)


@as_root
def test_link_into_closed_folder_is_obstacle(open_folder):
    closed, link = open_folder / "closed", open_folder / "link"
    (closed / "inner").mkdir(parents=True)
    closed.chmod(0o700)
    link.symlink_to(closed / "inner")

    assert first_blocked(User.named("www-data"), [link]) == closed


def test_a_user_that_does_not_exist_is_refused():
    with pytest.raises(UnusableUser, match="no user 'nobody-of-that-name'" if os.geteuid() == 0 else "only root"):
        choose("nobody-of-that-name", [])


def test_current_user_is_that_of_this_process():
    assert User.current().name == pwd.getpwuid(os.geteuid()).pw_name
