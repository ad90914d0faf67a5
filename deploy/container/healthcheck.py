"""Asks the real thing whether it works; exit status 0 when it does. For a container's health check.

python -m deploy.container.healthcheck web|triton       (settings: CLIPSTACK_* in the environment)
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request

from app.settings import Settings
from deploy.nginx import tls

PATIENCE_S = 8.0  # shorter than the health check's own, so that its reason is told


def web(settings: Settings) -> str:
    """What nginx, web and Triton together say; raises OSError when they are not ready."""
    with urllib.request.urlopen(
        f"{'https' if settings.tls else 'http'}://127.0.0.1:{settings.port}/readyz",
        timeout=PATIENCE_S,
        context=tls.unchecked(),
    ) as answer:
        return str(answer.read().decode())


def triton(settings: Settings) -> str:
    """An inference of the default model; raises OSError when it is not answered."""
    import numpy as np
    from tritonclient.grpc import InferInput
    from tritonclient.utils import InferenceServerException

    from app.inference.channel import connect

    try:
        with connect(settings.triton_target, settings.triton_key) as client:
            config = client.get_model_config(settings.model, client_timeout=PATIENCE_S).config
            clip = np.zeros((1, *config.input[0].dims), np.uint8)
            sent = InferInput(config.input[0].name, clip.shape, "UINT8")
            sent.set_data_from_numpy(clip)
            answer = client.infer(settings.model, [sent], client_timeout=PATIENCE_S)
    except InferenceServerException as error:
        raise OSError(str(error)) from error
    scores = answer.as_numpy(config.output[0].name)
    if scores is None or scores.size == 0:
        raise OSError(f"{settings.model} gives empty scores")
    return f"{settings.model} answers"


def main(words: list[str]) -> int:
    checks = {"web": web, "triton": triton}
    if len(words) != 1 or words[0] not in checks:
        sys.exit(__doc__)
    try:
        print(checks[words[0]](Settings.from_environment()))
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
