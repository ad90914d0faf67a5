"""Preparation of the fetcher, the program that downloads files for web and jobs (app/fetch).

Beside the program that sends webhooks it is the only one that reaches other machines. It starts with the listening
socket and a user of its own, who may read nothing of the service, and with the variables of the environment that it
needs.
"""

import os
import socket
import sys

from app.settings import CHECKOUT, Settings
from deploy.stack import paths, processes, users

BACKLOG = 64
# Variables with the credentials of object stores, which only the fetcher gets
CREDENTIALS = ("AWS_", "AZURE_", "GOOGLE_")
# Certificates to trust besides the system's; the service's own settings
KEPT = ("SSL_CERT_", "CLIPSTACK_FETCH", "CLIPSTACK_LOG_", "CLIPSTACK_MAX_UPLOAD_MB", *CREDENTIALS)
KEPT_NAMES = (processes.MARK, "PATH", "PYTHONUNBUFFERED", "LANG", "TZ")
RESOLVER = "timeout:3 attempts:2"  # of glibc: a name server that does not answer occupies a thread


def prepare(settings: Settings) -> list[str]:
    """Return the command of the fetcher, after opening its socket and dropping root's rights.

    Only the user of the other programs may connect to the socket.
    """
    user = users.User.named(os.environ["CLIPSTACK_RUN_AS"])
    listener = _listen(settings, user)
    os.chdir(CHECKOUT)
    users.User.named(os.environ["CLIPSTACK_FETCH_AS"]).become()
    kept = {name: value for name, value in os.environ.items() if name in KEPT_NAMES or name.startswith(KEPT)}
    os.environ.clear()
    os.environ.update(kept | {"RES_OPTIONS": RESOLVER, "HOME": "/nonexistent"})
    return [sys.executable, "-m", "app.fetch", str(listener)]


def _listen(settings: Settings, user: users.User) -> int:
    """Return the descriptor of the listening socket, which survives `execv`."""
    path = settings.run_dir / paths.FETCH_SOCKET
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(os.fspath(path))
    os.chown(path, user.uid, user.gid)
    path.chmod(0o600)
    listener.listen(BACKLOG)
    listener.set_inheritable(True)
    return listener.detach()


def forget_credentials() -> None:
    """Remove the credentials of object stores from the environment."""
    for name in [name for name in os.environ if name.startswith(CREDENTIALS)]:
        del os.environ[name]
