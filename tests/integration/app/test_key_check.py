"""The check of keys that nginx asks for before it reads an upload, over its own socket."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from flask import Flask

from app import create_app
from app.auth import store
from app.auth.key_check import KeyCheckServer
from app.auth.keys import Key
from app.settings import Settings


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    settings = Settings.from_environment({"CLIPSTACK_KEYS": "required", "CLIPSTACK_RUN_DIR": str(tmp_path)})
    (settings.data_dir / "jobs").mkdir(parents=True)
    return create_app(settings)


def ask(path: Path, head: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(f"GET /_key HTTP/1.1\r\n{head}\r\nX-Asked-Method: POST\r\n\r\n".encode())
        return connection.recv(4096)


def test_key_check_has_its_own_socket(app: Flask) -> None:
    key = store.create(app.extensions["Settings"].keys_file, Key("", "alice", "", ""))[1]
    path = app.extensions["Settings"].run_dir / "keys.sock"
    shown = (f"Authorization: Bearer {key}", "X-API-Key: clipstack_x", "Cookie: a=b")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        KeyCheckServer(listener, app.extensions["Authenticator"]).start()
        statuses = [ask(path, head).split()[1] for head in shown]
        listener.shutdown(socket.SHUT_RDWR)  # ends the thread
    assert statuses == [b"204", b"401", b"401"]
