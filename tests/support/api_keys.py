"""API keys of a running stack."""

from __future__ import annotations

import httpx

from app.auth import store
from app.auth.keys import Key
from deploy.stack.stack import Stack


def new_key(stack: Stack, name: str, **limits: object) -> str:
    """Create a key and return its text."""
    wanted = Key("", name, "", "", **limits)  # type: ignore[arg-type]
    return store.create(stack.settings.keys_file, wanted)[1]


def with_key(stack: Stack, key: str) -> httpx.Client:
    return httpx.Client(base_url=stack.url, headers={"Authorization": f"Bearer {key}"}, timeout=60)
