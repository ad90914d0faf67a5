"""Time of a large upload until its first frame is decoded: nginx's file handoff against a form through Flask.

Our stack gets the file as the body, like from its client, and once more as a form, like from its page. The baseline
gets the same form. curl sends all of them. Our stack works through nginx and probes the file, which decodes the first
frame; later stages (decoding the clip, inference) are subtracted. The baseline is gunicorn without nginx, which favours
it: it saves the form's file and decodes the first frame with decord.
"""

import json
import struct
import subprocess
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.fixtures import networks, servers, videos
from bench.fixtures.service import ServerError, Service, read_answer
from bench.profile import Profile, in_turns
from bench.stats import compare

PATIENCE_S = 120
SIZES_MB = (10, 200)


def measure(profile: Profile) -> dict[str, Any]:
    result: dict[str, Any] = {
        "about": "A film of so many MB, from its first byte to its first decoded frame; the other side takes forms.",
        "sizes": {},
    }
    with servers.stack(max_upload_mb="2048") as running, servers.baseline("flask_torch") as theirs:
        ours = servers.ours(running)
        for size in SIZES_MB:
            film = pad_film(videos.reference().path, size)
            try:
                result["sizes"][str(size)] = measure_size(ours, theirs, film, profile.turns)
            finally:
                film.unlink()
    return result


def measure_size(ours: Service, theirs: Service, film: Path, turns: int) -> dict[str, Any]:
    """Measure one size on both sides in turns."""
    first = replace(theirs, url=theirs.url.replace("/classify", "/first_frame"))

    def mine(form: bool) -> float:
        spent_s, reply = send(ours, film, form)
        after = sum(reply["timing_ms"].get(stage, 0.0) for stage in ("decode", "infer", "answer"))
        return spent_s - float(after) / 1e3

    def other() -> float:
        spent_s, reply = send(first, film)
        if len(reply["shape"]) != 3:
            raise ValueError(f"no frame: {reply}")
        return spent_s

    body, form, others = in_turns(turns, partial(mine, False), partial(mine, True), other)
    labels = [{"film": read_answer(send(side, film)[1]).label} for side in (ours, theirs)]
    return {"seconds": compare(body, others, labels), "form_seconds": compare(form, others, labels)}


def send(side: Service, film: Path, form: bool = True) -> tuple[float, dict[str, Any]]:
    """Send the film in a form or as the body, and return the seconds and the answer."""
    words = ["curl", "-sS", "--fail-with-body", "-m", str(PATIENCE_S), "-H", "Cache-Control: no-cache", "-H", "Expect:"]
    words += ["-F", f"file=@{film}"] if form else ["-X", "POST", "-T", str(film)]
    began = time.perf_counter()
    done = subprocess.run([*words, side.url], capture_output=True, text=True)
    spent_s = time.perf_counter() - began
    if done.returncode:
        raise ServerError(f"{side.name}: {done.stderr} {done.stdout[:500]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return spent_s, result


def pad_film(film: Path, megabytes: int, folder: Path = networks.FOLDER / "films") -> Path:
    """Return the film with an unused box at its end, so that it has that many megabytes."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"padded-{megabytes}.mp4"
    content = film.read_bytes()
    filling = megabytes * 1_000_000 - len(content)
    with place.open("wb") as file:
        file.write(content + struct.pack(">I4sQ", 1, b"free", filling))
        block = bytes(1 << 20)
        for start in range(16, filling, len(block)):
            file.write(block[: min(len(block), filling - start)])
    return place
