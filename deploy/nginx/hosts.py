"""Nginx rules for the host names that reach this service and for the origins of its own pages.

They are entries of three maps in nginx/conf.d/origin.conf.
"""

import ipaddress
import re
import socket

from app.settings import Settings

ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104  compared with a setting; nothing listens here
LOOPBACK = ("localhost", "[::1]", r"~^127\.\d+\.\d+\.\d+$")
# DNS rebinding needs a name, so numeric addresses are safe.
ADDRESSES = (r"~^\d+\.\d+\.\d+\.\d+$", r"~^\[[0-9a-f:.]+\]$")


def host_rules(settings: Settings) -> str:
    """Return the entries of the map of known hosts.

    With keys every host is accepted; without keys only the names of this service are.
    """
    if settings.asks_for_keys:
        return "default 1;\n"
    names = [*LOOPBACK, ""]  # HTTP/1.0 has no Host header, and no browser uses it
    names += [_bracketed(host) for host in (settings.host, _host(settings.published)) if host not in ("", *ANY_ADDRESS)]
    if settings.public:
        names += [*ADDRESSES, socket.gethostname().lower()]
    names += [_host(name) for name in settings.allowed_hosts.split(",") if name]
    return "default 0;\n" + "".join(f'"{name}" 1;\n' for name in dict.fromkeys(names))


def origin_rules(settings: Settings) -> str:
    """Return the entries of the map of own origins, which CLIPSTACK_ALLOWED_HOSTS lists.

    A name without a port stands for the origin on its scheme's default port. It does not match a request to the same
    name on another port, where a different service answers.
    """
    listed = [name for name in settings.allowed_hosts.split(",") if name]
    with_port = [name for name in listed if name != _host(name)]
    same_name = r'"~*^https? https?://(\[[^\] ]+\]|[^/ :]+)(:\d+)? \1(:\d+)?$" 0;'
    lines = [
        *(_origin(name) for name in with_port),
        same_name,
        *(_origin(name) for name in listed if name not in with_port),
    ]
    return "\n".join([*lines, ""])


def page_origin_rules(settings: Settings) -> str:
    """Return the entries of the map of origins whose pages may call the API, which CLIPSTACK_ORIGINS lists.

    Patterns, because nginx limits the length of plain keys.
    """
    origins = [origin for origin in settings.origins.split(",") if origin]
    return "".join(f'"~^{re.escape(origin)}$" "{origin}";\n' for origin in origins)


def _origin(name: str) -> str:
    pattern = re.escape(name).replace(r"\*", "[^/ :]+")
    return f'"~*^https? https?://{pattern} " 1;'


def _host(name: str) -> str:
    """Return `name` without its port."""
    return re.sub(r":\d*$", "", name) if name.startswith("[") or name.count(":") == 1 else name


def _bracketed(host: str) -> str:
    """Return `host` in the form of a Host header: IPv6 in brackets."""
    try:
        return f"[{ipaddress.IPv6Address(host.strip('[]'))}]"
    except ValueError:
        return host.lower()
