"""The Triton server of the running stack: has it take notice of a change in the folder of models at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app import recorded_settings
from app.settings import Settings
from deploy.gpu import placement
from triton_repo.zoo.errors import ModelError

if TYPE_CHECKING:
    from tritonclient.grpc import InferenceServerClient

ANSWER_S = 5.0  # of a server that has nothing to load
LOAD_S = 300.0  # of a model with all its versions, on a busy machine


@dataclass(frozen=True)
class TritonServer:
    """A server that answers; `slot_bytes` is the largest clip that its stack can hand it.

    `follow` has a model of that name placed on the server's GPUs as it is now.
    """

    client: InferenceServerClient
    slot_bytes: int
    follow: Callable[[str], None] = lambda name: None

    def load(self, name: str, version: int) -> None:
        """Loads the model anew, and asks `version` for the scores of a black clip; ModelError when that fails.

        Triton starts the new instances beside the old ones, exchanges them when all are ready, and lets the old ones
        end what they are at; when one cannot start, the old ones stay.
        """
        from tritonclient.utils import InferenceServerException

        try:
            self.follow(name)
            self.client.load_model(name, client_timeout=LOAD_S)
            self._canary(name, version)
        except InferenceServerException as error:
            raise ModelError(f"Triton cannot serve {name}, version {version}: {_reason(error)}") from error

    def unload(self, name: str) -> None:
        """Has the model end when it has answered what it was asked; ModelError when the server refuses."""
        from tritonclient.utils import InferenceServerException

        try:
            self.client.unload_model(name, client_timeout=ANSWER_S)
            self.follow(name)
        except InferenceServerException as error:
            raise ModelError(f"Triton does not let go of {name}: {_reason(error)}") from error

    def restore(self, name: str, there: bool) -> None:
        """After a change was undone: has the server hold what is `there` again, as well as it can."""
        from tritonclient.utils import InferenceServerException

        self.follow(name)
        with suppress(InferenceServerException):
            if there:
                self.client.load_model(name, client_timeout=LOAD_S)
            else:
                self.client.unload_model(name, client_timeout=ANSWER_S)

    def _canary(self, name: str, version: int) -> None:
        from tritonclient.grpc import InferInput

        config = self.client.get_model_config(name, str(version), client_timeout=ANSWER_S).config
        clip = np.zeros((1, *config.input[0].dims), np.uint8)
        sent = InferInput(config.input[0].name, clip.shape, "UINT8")
        sent.set_data_from_numpy(clip)
        scores = self.client.infer(name, [sent], str(version), client_timeout=LOAD_S).as_numpy(config.output[0].name)
        classes = config.output[0].dims[0]
        if scores is None or scores.shape != (1, classes) or not np.isfinite(scores).all():
            raise ModelError(f"{name}, version {version}, does not give {classes} scores for a black clip.")


def _reason(error: Exception) -> str:
    """Triton's own words without the stack of its backend."""
    lines = [line.strip() for line in str(error).split("At:")[0].splitlines()]
    return " ".join(filter(None, lines))[:500].rstrip(" ;") + "."


@contextmanager
def running(settings: Settings, models: Path) -> Iterator[TritonServer | None]:
    """Yield the server that serves the folder `models` in the stack that runs in `settings.run_dir`; None without one.

    A stopped stack has none: what answers at the address that it had is another stack's.
    """
    stack = recorded_settings.of_running_stack(settings.run_dir)
    if stack is None or stack.model_dir.resolve() != models.resolve():
        yield None
        return
    from tritonclient.utils import InferenceServerException

    from app.inference.channel import connect

    with connect(stack.triton_target, stack.triton_key) as client:
        try:
            lives = client.is_server_live(client_timeout=ANSWER_S)
        except InferenceServerException:
            lives = False

        def follow(name: str) -> None:
            placement.follow(models / name, stack.run_dir)

        yield TritonServer(client, stack.slot_mb << 20, follow) if lives else None


__all__ = ["TritonServer", "running"]
