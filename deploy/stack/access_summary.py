"""Access summary that is printed when the stack starts: keys, TLS and warnings."""

import json

from app.settings import Settings
from deploy.nginx import tls

KEYS_COMMAND = ".venv/bin/clipstack-keys"


def access_summary(settings: Settings, keys_command: str = KEYS_COMMAND) -> list[str]:
    """Return lines that say who may use the service, and warnings with their fix."""
    address = settings.published or f"{settings.host}:{settings.port}"
    lines = []
    if settings.asks_for_keys:
        reason = "CLIPSTACK_KEYS" if settings.keys == "required" else f"reachable at {address}"
        count = _count_keys(settings)
        keys = f"{count} exist" if count else f"none exists yet. Create the first: {keys_command} create NAME"
        lines.append(f"API keys are required ({reason}); {keys}")
    elif settings.public:
        lines.append(f"warning: everybody who can reach {address} may use the service (CLIPSTACK_KEYS=off)")
    else:
        lines.append(f"No API keys are required: only this machine can reach {address}")
    if settings.tls:
        expiry = tls.expiry_warning(settings.tls_cert, settings.tls_key)
        lines += [f"warning: {expiry}"] if expiry else []
    elif settings.asks_for_keys and settings.public:
        lines.append("warning: without TLS, keys and files can be read on the network: set CLIPSTACK_TLS_CERT")
    return lines


def _count_keys(settings: Settings) -> int:
    try:
        return len(json.loads(settings.keys_file.read_bytes())["keys"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
