"""Health check of a container: exit status 0 when its part answers.

Usage: python -m deploy.container.healthcheck web|triton

The settings are CLIPSTACK_* in the environment.
"""

import sys
import urllib.error
import urllib.request

from app.settings import Settings
from deploy.nginx import tls

TIMEOUT_S = 8.0  # shorter than the container's health-check timeout, so that the reason is reported


def web(settings: Settings) -> str:
    """Return the body of /readyz, which covers nginx, web and Triton; raise OSError if the stack is not ready."""
    with urllib.request.urlopen(
        f"{'https' if settings.tls else 'http'}://127.0.0.1:{settings.port}/readyz",
        timeout=TIMEOUT_S,
        context=tls.unchecked(),
    ) as response:
        return str(response.read().decode())


def triton(settings: Settings) -> str:
    """Run one inference of the default model and return a success message; raise OSError if the inference failed."""
    from tritonclient.utils import InferenceServerException

    from app.inference.channel import connect
    from deploy.watchdog.prober import CALL_TIMEOUT_S, send_canary

    try:
        with connect(settings.triton_target, settings.triton_key, settings.triton_tls) as client:
            send_canary(client, settings.model, "", TIMEOUT_S - CALL_TIMEOUT_S)
    except (InferenceServerException, ValueError) as error:
        raise OSError(f"{settings.model}: {error}") from error
    return f"{settings.model} answers"


def main(arguments: list[str]) -> int:
    """Check the part named in `arguments`, print the result and return the exit status."""
    checks = {"web": web, "triton": triton}
    if len(arguments) != 1 or arguments[0] not in checks:
        sys.exit(__doc__)
    try:
        print(checks[arguments[0]](Settings.from_environment()))
    except urllib.error.HTTPError as error:
        with error:
            print(f"{error.code} {error.read(500).decode(errors='replace')}")
        return 1
    except OSError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
