"""Nginx rules for requests that are for another node, where CLIPSTACK_NODES lists several.

nginx proxies a request there if its path names a job or an upload of that node. If its body does, web sends it to one
of the named locations by X-Accel-Redirect (app/web/error_handlers.py).
"""

from app.settings import Settings
from deploy.nginx.config import checked


def upstreams(settings: Settings) -> str:
    """Return an upstream for each other node; raises ValueError for an address that nginx would parse as syntax."""
    return "".join(
        f"upstream peer_{name} {{ server {checked(address)} max_fails=0; }}\n"
        for name, address in settings.other_nodes.items()
    )


def paths(settings: Settings) -> str:
    """Return the entries of the map of paths that belong to other nodes (nginx/conf.d/peers.conf)."""
    return "".join(
        f'"~^ /v1/(jobs/|uploads/|feedback/|webhooks/msg_){name}-" peer_{name};\n' for name in settings.other_nodes
    )


def locations(settings: Settings) -> str:
    """Return a named location for each other node."""
    return "".join(
        f"location @peer_{name} {{ proxy_pass http://peer_{name}; include snippets/peer.conf; }}\n"
        for name in settings.other_nodes
    )
