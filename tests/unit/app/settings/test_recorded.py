"""Commands beside a stack use the settings of the running one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.settings import Settings
from app.settings import recorded as recorded_settings
from triton_repo.zoo.repository.server import running


@pytest.fixture
def stack(tmp_path: Path) -> Settings:
    """Settings of a stack that was started in `tmp_path` on its own port."""
    settings = Settings.from_environment({"CLIPSTACK_RUN_DIR": str(tmp_path), "CLIPSTACK_PORT": "9090"})
    recorded_settings.write(settings)
    return settings


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[socket.socket]:
    """A listener on Supervisor's socket, as while the stack runs."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "supervisor.sock"))
        listener.listen()
        yield listener


def test_running_stack_is_found_by_its_run_folder(stack: Settings, supervisor: socket.socket) -> None:
    environment = {"CLIPSTACK_RUN_DIR": str(stack.run_dir)}
    assert recorded_settings.current(environment) == stack
    assert recorded_settings.current(environment | {"CLIPSTACK_PORT": "9191"}) == stack


def test_other_folders_in_the_environment_are_another_stack(stack: Settings, supervisor: socket.socket) -> None:
    environment = {"CLIPSTACK_RUN_DIR": str(stack.run_dir), "CLIPSTACK_DATA_DIR": "/elsewhere"}
    assert recorded_settings.current(environment) == Settings.from_environment(environment)


def test_record_of_a_stopped_stack_is_ignored(stack: Settings) -> None:
    assert recorded_settings.current({"CLIPSTACK_RUN_DIR": str(stack.run_dir)}).port != stack.port


def test_record_of_a_killed_stack_is_ignored(stack: Settings, supervisor: socket.socket) -> None:
    supervisor.close()
    assert (stack.run_dir / "supervisor.sock").exists()
    assert recorded_settings.running_stack(stack.run_dir) is None


def test_record_of_another_run_folder_is_ignored(stack: Settings, supervisor: socket.socket) -> None:
    original = replace(stack, run_dir=stack.run_dir / "original")
    original.run_dir.mkdir()
    recorded_settings.write(original)
    (original.run_dir / recorded_settings.RECORD).replace(stack.run_dir / recorded_settings.RECORD)
    assert recorded_settings.running_stack(stack.run_dir) is None


def test_old_address_of_a_stopped_stack_is_not_called(stack: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        recorded_settings.write(replace(stack, triton_address=address))
        with running(stack, stack.model_dir) as server:
            assert server is None
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()
