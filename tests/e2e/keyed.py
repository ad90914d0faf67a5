"""A stack that asks for keys, and the people who have some."""

from __future__ import annotations

import httpx

from app.auth import store
from app.auth.keys import Key
from deploy.stack.stack import Stack


def new_key(stack: Stack, name: str, **limits: object) -> str:
    """The text of a new key."""
    wanted = Key("", name, "", "", **limits)  # type: ignore[arg-type]
    return store.create(stack.settings.keys_file, wanted)[1]


def with_key(stack: Stack, key: str) -> httpx.Client:
    return httpx.Client(base_url=stack.url, headers={"Authorization": f"Bearer {key}"}, timeout=60)
