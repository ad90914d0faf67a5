"""One decoder process: its start, its tasks one after the other."""

import asyncio
from collections.abc import Callable
from pickle import PicklingError
from typing import Any, TypeVar

from app.decoding import warmup, worker
from app.decoding.worker import DecoderReady
from app.errors import NotReady
from app.sandbox import SandboxConfig
from app.sandbox.process import ConfinedProcess

Result = TypeVar("Result")

MAX_TASKS = 2000  # tasks before a process is replaced, as a limit on leaks (docs/decisions/0004)
START_TIMEOUT_S = 30.0


class DecoderProcess(ConfinedProcess):
    """Decoder process that takes one task after the other."""

    def __init__(self, confinement: SandboxConfig) -> None:
        super().__init__(worker.serve, confinement, warmup.files(), name="decoder")
        self.tasks_left = MAX_TASKS

    async def ready(self) -> DecoderReady:
        """Start the process and return its report, or raise NotReady."""
        try:
            await self.start()
            async with asyncio.timeout(START_TIMEOUT_S):
                report = await self.channel.receive()
        except (OSError, EOFError, PicklingError, TimeoutError) as error:
            report = error
        if isinstance(report, DecoderReady):
            return report
        await self.end()
        raise NotReady("a decoder process could not be started; please try again in a moment") from report

    async def run(self, timeout_s: float, function: Callable[..., Result], arguments: tuple[object, ...]) -> Any:
        """Return the result or the error of one task. Raises like `Channel.receive`."""
        self.tasks_left -= 1
        self.channel.send((timeout_s, function, arguments))
        return await self.channel.receive()
