"""Engine `ray`: the nodes of a Ray cluster send the files, each to the Clipstack of its own node.

Ray Data distributes the parts and repeats those of a node that died. An actor writes its part itself, as the local
engine does: Ray's own writers name files by their tasks, so that a part that is repeated would have its rows twice.
"""

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..errors import ClipstackError
from ..loop_thread import LoopThread, run_in_thread
from .manifest import Part
from .part_runner import PartRunner
from .run import Plan
from .service import Connection, Service, ServiceLost
from .source import Entry
from .stats import Stats

RESOURCE = "clipstack"  # a node with a Clipstack has 1 of it
SHARE = 0.001  # of it for an actor, so that those of a dead node find room on the others
PARTS_AT_ONCE = 2  # of an actor, so that the last files of one part do not leave the service idle
QUEUED = 2 * PARTS_AT_ONCE


class RayUnavailable(ClipstackError):
    """Ray is not installed, or there is no cluster that can do the work."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="ray_unavailable")


async def run_ray(plan: Plan, address: str, stats: Stats) -> None:
    """Work on the parts with the nodes of a cluster; see `PartRunner.run` for the errors of services and results.

    Raise RayUnavailable without Ray, a cluster, or a node with a Clipstack.
    """
    await run_in_thread(_drive, plan, address, stats)


def _drive(plan: Plan, address: str, stats: Stats) -> None:
    ray = _connected(address)
    try:
        nodes = sum(bool(node["Alive"] and node["Resources"].get(RESOURCE)) for node in ray.nodes())
        if not nodes:
            raise RayUnavailable(f"""no node has a Clipstack: ray start … --resources '{{"{RESOURCE}": 1}}'""")
        stats.machines = nodes
        left: Sequence[Part] = plan.parts
        while left:
            undone = _round(ray, plan, left, nodes, stats)
            if len(undone) == len(left):
                raise next(iter(undone.values()))
            left = [part for part in left if part.index in undone]
    finally:
        ray.shutdown()


def _connected(address: str) -> Any:
    # A run that is interrupted must not start a cluster of its own while it ends
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise RayUnavailable(
            f"--engine ray needs Ray: in an environment of its own, pip install './client[ray]' ({error})"
        ) from error
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise RayUnavailable(f"no Ray cluster at {address!r}: {error}. `ray start --head` starts one") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


def _round(ray: Any, plan: Plan, parts: Sequence[Part], nodes: int, stats: Stats) -> dict[int, ClipstackError]:
    """Give each part to a node once, and return those that are not done, by their number."""
    undone: dict[int, ClipstackError] = {part.index: ServiceLost("the part was not done") for part in parts}
    items = [{"part": json.dumps([part.index, part.digest, part.entries])} for part in parts]
    strategy = ray.data.ActorPoolStrategy(
        size=min(nodes, len(parts)),
        max_tasks_in_flight_per_actor=QUEUED,
        max_concurrent_calls_per_actor=PARTS_AT_ONCE,
        enable_true_multi_threading=True,
    )
    outcomes = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        Worker,
        batch_size=1,
        fn_constructor_args=(replace(plan, parts=()),),
        compute=strategy,
        num_cpus=0,
        resources={RESOURCE: SHARE},
    )
    for line in outcomes.iter_rows():
        outcome = json.loads(line["outcome"])
        stats.merge(outcome["counts"])
        if outcome["error"] is None:
            del undone[outcome["part"]]
        elif outcome["error"]["code"] == "service_lost":
            undone[outcome["part"]] = ServiceLost(outcome["error"]["message"])
        else:
            raise ClipstackError(**outcome["error"])
    return undone


class Worker:
    """Actor of one node: sends the files of its parts to the Clipstack that CLIPSTACK_URL names there."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._loop = LoopThread()
        self._service = Service(Connection.from_environment(), plan.limits)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Work on one part and return its outcome as JSON."""
        index, digest, entries = json.loads(batch["part"][0])
        part = Part(index, digest, tuple(Entry(*entry) for entry in entries))
        return {"outcome": [json.dumps(self._loop.run(self._work(part)))]}

    async def _work(self, part: Part) -> dict[str, Any]:
        stats, error = Stats(len(part.entries)), None
        plan = self._plan
        try:
            await PartRunner([self._service], plan.output, plan.request, plan.limits, stats).run([part])
        except ClipstackError as failure:
            error = {"message": failure.message, "code": failure.code}
        return {"part": part.index, "counts": stats.counts, "error": error}
