"""Access summary that is printed when the stack starts: keys, TLS and warnings."""

from __future__ import annotations

import json

from app.settings import Settings
from deploy.nginx import tls

COMMAND = ".venv/bin/clipstack-keys"


def told(settings: Settings, command: str = COMMAND) -> list[str]:
    """Return lines that say who may use the service, and warnings with their remedy."""
    where = settings.published or f"{settings.host}:{settings.port}"
    lines = []
    if settings.asks_for_keys:
        why = "CLIPSTACK_KEYS" if settings.keys == "required" else f"it is reached at {where}"
        count = _count(settings)
        key_state = f"{count} known" if count else f"none made yet. The first: {command} create NAME"
        lines.append(f"keys are asked for ({why}); {key_state}")
    elif settings.public:
        lines.append(f"warning: anybody who reaches {where} may use it (CLIPSTACK_KEYS=off)")
    else:
        lines.append(f"no keys are asked for: it is reached from this machine alone, at {where}")
    if settings.tls:
        expiry_warning = tls.warning(settings.tls_cert, settings.tls_key)
        lines += [f"warning: {expiry_warning}"] if expiry_warning else []
    elif settings.asks_for_keys and settings.public:
        lines.append("warning: without TLS (CLIPSTACK_TLS_CERT) keys and files can be read on the way")
    return lines


def _count(settings: Settings) -> int:
    try:
        return len(json.loads(settings.keys_file.read_bytes())["keys"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
