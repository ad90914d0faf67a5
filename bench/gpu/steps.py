"""All steps of the whole path by every transport: answers, times, a film and memory."""

from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from app.errors import ClipstackError
from app.shm.pool import RegionError
from bench.gpu import film as gpu_film
from bench.gpu import memory, path
from bench.gpu.tables import show, show_film, show_memory, show_path

SECONDS, REQUESTS = 3.0, 1000  # length of one measurement; requests between two memory samples


async def whole_path(
    address: str, subjects: list[Any], allowed: dict[str, float], cpu: bool, film: Path, result: dict[str, Any]
) -> bool:
    """Run all steps into `result` and return whether all were right; a failure does not stop the others."""
    gpu, used = (None, memory.of_host) if cpu else (0, memory.of_gpu)
    ways = [way for way in path.WAYS if not (cpu and way == "cuda")]
    seconds, requests = (SECONDS / 6, REQUESTS // 20) if cpu else (SECONDS, REQUESTS)
    good = True
    for subject in subjects:
        for way in ways:
            work = path.measure(address, subject, way, gpu, allowed[subject.name], seconds)
            if await record(result.setdefault(subject.name, {}), way, work, f"{subject.name} by {way}"):
                show_path(subject.name, way, result[subject.name][way])
            else:
                good = False
    first = next((subject for subject in subjects if subject.name == "x3d_m"), subjects[0])
    if (reason := gpu_film.left_out()) is not None:
        result["film"] = {"left_out": reason}
        show(f"a film is left out: {reason}")
    for way in ways if reason is None else ():
        work = gpu_film.measure(address, first, way, gpu, film)
        if await record(result.setdefault("film", {}), way, work, f"a film by {way}"):
            show_film(way, result["film"][way])
        else:
            good = False
    for way in ways:
        for measurement, work in (
            ("growth", memory.growth(address, first, way, gpu, used, requests)),
            # Inline requests have no region that could leak.
            *([] if way == "inline" else [("killed", memory.killed(address, first, way, gpu, used))]),
        ):
            if await record(result.setdefault(measurement, {}), way, work, f"{measurement} by {way}"):
                show_memory(f"{measurement:6} by {way:6}", result[measurement][way])
            else:
                good = False
    return good


async def record(place: dict[str, Any], name: str, work: Awaitable[dict[str, Any]], words: str) -> bool:
    """Put the result or the error into `place` and return whether it succeeded."""
    try:
        place[name] = await work
    except (path.PathError, RegionError, ClipstackError) as error:
        place[name] = {"error": str(error)}
        show(f"WRONG {words}: {error}")
    return "error" not in place[name]
