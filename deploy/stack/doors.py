"""Who can come in, in words for whoever starts the stack."""

from __future__ import annotations

import json

from app.settings import Settings
from deploy.nginx import tls

COMMAND = ".venv/bin/clipstack-keys"


def told(settings: Settings, command: str = COMMAND) -> list[str]:
    """What is asked of who wants to use the service, and what to do about it; warnings among it."""
    where = settings.published or f"{settings.host}:{settings.port}"
    lines = []
    if settings.asks_for_keys:
        why = "CLIPSTACK_KEYS" if settings.keys == "required" else f"it is reached at {where}"
        count = _count(settings)
        known = f"{count} known" if count else f"none made yet. The first: {command} create NAME"
        lines.append(f"keys are asked for ({why}); {known}")
    elif settings.public:
        lines.append(f"warning: anybody who reaches {where} may use it (CLIPSTACK_KEYS=off)")
    else:
        lines.append(f"no keys are asked for: it is reached from this machine alone, at {where}")
    if settings.tls:
        soon = tls.warning(settings.tls_cert, settings.tls_key)
        lines += [f"warning: {soon}"] if soon else []
    elif settings.asks_for_keys and settings.public:
        lines.append("warning: without TLS (CLIPSTACK_TLS_CERT) keys and files can be read on the way")
    return lines


def _count(settings: Settings) -> int:
    try:
        return len(json.loads(settings.keys_file.read_bytes())["keys"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
