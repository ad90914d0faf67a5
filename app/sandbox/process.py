"""Confined process: a process of the fork server and the channel to it."""

import asyncio
from collections.abc import Callable
from multiprocessing import connection, get_context
from multiprocessing.context import ForkServerContext
from threading import Lock

from app.sandbox.ipc import open_channel

DEATH_S = 5.0  # longest wait for the end of a process that was killed or closed its channel
PRELOADED = ["app.decoding.worker", "app.timeline.process"]
# These would be imported late, after confinement may have made that impossible: only root may read a checkout
PRELOADED += ["mmap", "encodings.ascii", "encodings.latin_1", "encodings.utf_16", "av.sidedata.encparams"]
PRELOADED += [f"av.subtitles.{name}" for name in ("codeccontext", "stream", "subtitle")]

# multiprocessing asks at each start which processes have ended, and two threads must not read one exit code
_starts_and_ends = Lock()


def fork_server() -> ForkServerContext:
    """Return the context that starts confined processes."""
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


class ConfinedProcess:
    """Process that runs `target(connection, *arguments)`, forked from a small server that has loaded only the decoders.

    The target calls `confine` first (app/sandbox/__init__.py). `channel` is the service's end of its connection.
    """

    def __init__(self, target: Callable[..., None], *arguments: object, name: str) -> None:
        context = fork_server()
        self.channel, self._theirs = open_channel()
        self._process = context.Process(target=target, args=(self._theirs, *arguments), name=name, daemon=True)
        self._started: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Start the process, which takes milliseconds. Raises OSError if there can be no more processes."""
        self._started = asyncio.get_running_loop().run_in_executor(None, self._start)
        await asyncio.shield(self._started)

    def _start(self) -> None:
        with self._theirs, _starts_and_ends:
            self._process.start()

    async def exit_code(self) -> int | None:
        """Return the exit code, -9 for signal 9, after waiting for the end; None if it takes more than DEATH_S."""
        return await asyncio.get_running_loop().run_in_executor(None, self._wait)

    def _wait(self) -> int | None:
        connection.wait([self._process.sentinel], DEATH_S)
        with _starts_and_ends:
            return self._process.exitcode

    async def end(self) -> None:
        """Kill the process, even one that is being started, and return when it is dead."""
        if self._started is not None and not self._started.done():
            await asyncio.wait([self._started])
        if self._process.pid is not None:
            self._process.kill()
            await self.exit_code()
        self.channel.close()

    def end_now(self) -> None:
        """Kill the process and return when it is dead, without an event loop. The channel stays open."""
        if self._process.pid is not None:
            self._process.kill()
            self._wait()
