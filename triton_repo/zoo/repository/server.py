"""The running stack's Triton server, which loads changes of the model folder at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.settings import Settings
from app.settings import recorded as recorded_settings
from deploy.gpu import placement
from triton_repo.zoo import ModelError

if TYPE_CHECKING:
    from tritonclient.grpc import InferenceServerClient

ANSWER_S = 5.0  # timeout of calls that load nothing
LOAD_S = 300.0  # timeout of loading a model with all its versions on a busy machine
RESTART_S = 60.0  # of a server that is restarted meanwhile
POLL_S = 0.2
UNAVAILABLE = "StatusCode.UNAVAILABLE"  # of a connection that is refused or breaks


@dataclass(frozen=True)
class TritonServer:
    """A Triton server that answers.

    `slot_bytes` is the size of the largest clip that the stack can pass to the server. `follow` updates the GPU
    placement of the model with this name.
    """

    client: InferenceServerClient
    slot_bytes: int
    follow: Callable[[str], None] = lambda name: None

    def load(self, name: str, version: int) -> None:
        """Reload the model and check the scores of `version` for a black clip.

        Triton starts the new instances beside the old ones and switches when all are ready. The old instances finish
        their requests. If a new one cannot start, the old ones stay. If the server dies meanwhile, this waits once for
        its restart.

        Raises:
            ModelError: The model cannot be loaded or gives wrong scores.
        """
        from tritonclient.utils import InferenceServerException

        try:
            try:
                self._load(name, version)
            except InferenceServerException as error:
                if error.status() != UNAVAILABLE or not self._is_back():
                    raise
                self._load(name, version)
        except InferenceServerException as error:
            raise ModelError(f"Triton cannot serve {name}, version {version}: {_reason(error)}") from error

    def _load(self, name: str, version: int) -> None:
        self.follow(name)
        self.client.load_model(name, client_timeout=LOAD_S)
        self._canary(name, version)

    def _is_back(self) -> bool:
        """Wait until the server is ready, for RESTART_S at most."""
        from tritonclient.utils import InferenceServerException

        deadline = time.monotonic() + RESTART_S
        while time.monotonic() < deadline:
            with suppress(InferenceServerException):
                if self.client.is_server_ready(client_timeout=ANSWER_S):
                    return True
            time.sleep(POLL_S)
        return False

    def unload(self, name: str) -> None:
        """Unload the model once it has answered its requests; raise ModelError if the server refuses."""
        from tritonclient.utils import InferenceServerException

        try:
            self.client.unload_model(name, client_timeout=ANSWER_S)
            self.follow(name)
        except InferenceServerException as error:
            raise ModelError(f"Triton does not let go of {name}: {_reason(error)}") from error

    def restore(self, name: str, there: bool) -> None:
        """Load or unload the model after a failed change was undone; ignore the server's errors."""
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
        infer_input = InferInput(config.input[0].name, clip.shape, "UINT8")
        infer_input.set_data_from_numpy(clip)
        scores = self.client.infer(name, [infer_input], str(version), client_timeout=LOAD_S).as_numpy(
            config.output[0].name
        )
        classes = config.output[0].dims[0]
        if scores is None or scores.shape != (1, classes) or not np.isfinite(scores).all():
            raise ModelError(f"{name}, version {version}, does not give {classes} scores for a black clip.")


@contextmanager
def restored_on_failure(server: TritonServer | None, models: Path, name: str) -> Iterator[None]:
    """Have the server serve the model as it is on disk if the block fails; changes on disk are undone before."""
    try:
        yield
    except BaseException:
        if server:
            server.restore(name, there=(models / name).exists())
        raise


def _reason(error: Exception) -> str:
    """Return Triton's message without the stack trace of its backend."""
    lines = [line.strip() for line in str(error).split("At:")[0].splitlines()]
    return " ".join(filter(None, lines))[:500].rstrip(" ;") + "."


@contextmanager
def running(settings: Settings, models: Path) -> Iterator[TritonServer | None]:
    """Yield the server of the stack in `settings.run_dir` that serves the folder `models`, or None.

    A stopped stack has no server: another stack may answer at its old address.
    """
    stack = recorded_settings.running_stack(settings.run_dir)
    if stack is None or stack.model_dir.resolve() != models.resolve():
        yield None
        return
    from tritonclient.utils import InferenceServerException

    from app.inference.channel import connect

    with connect(stack.triton_target, stack.triton_key, stack.triton_tls) as client:
        try:
            is_live = client.is_server_live(client_timeout=ANSWER_S)
        except InferenceServerException:
            is_live = False

        def follow(name: str) -> None:
            placement.place_again(models / name, stack.run_dir)

        yield TritonServer(client, stack.slot_mb << 20, follow) if is_live else None
