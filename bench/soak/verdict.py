"""What a soak says: of every series whether it grows, and of all answers whether they were right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.resources import ResourceSnapshot
from bench.soak.slope import Slope, slope

# What may be gained an hour. Memory is RSS: a page that is written to after a fork, and no longer shared, is no growth
# of it, as it would be of each part's share (PSS). 1 MiB an hour is 8 in a working day, which nobody notices in a year
# of weekly restarts. What is counted: one an hour, because nothing that is ever given back grows by more.
LIMITS = {"rss_mib": 1.0, "fds": 1.0, "threads": 1.0, "processes": 1.0, "places": 1.0}
WORDS = {"rss_mib": "memory MiB", "fds": "descriptors", "threads": "threads", "processes": "processes"}


def series(looks: Sequence[ResourceSnapshot]) -> dict[str, list[float]]:
    """One number a look by its name, such as `web workers: descriptors`; a part that is away for a moment has 0."""
    parts = sorted({part for look in looks for part in look.parts})
    found: dict[str, list[float]] = {}
    for part in parts:
        for field, word in WORDS.items():
            values = [getattr(look.parts[part], field) if part in look.parts else 0 for look in looks]
            found[f"{part}: {word}"] = [round(float(value), 2) for value in values]
    for place in looks[0].places:
        found[place] = [round(look.places[place], 2) for look in looks]
    return found


def limit(name: str) -> float:
    """What the series may gain an hour, in its own unit."""
    word = name.rpartition(": ")[2]
    return LIMITS[next((field for field, each in WORDS.items() if each == word), "places")]


def judged(times_s: Sequence[float], found: dict[str, list[float]]) -> dict[str, dict[str, Any]]:
    """Of every series its growth an hour after half of the time, and whether that is more than it may be."""
    first = next(number for number, at_s in enumerate(times_s) if at_s >= (times_s[0] + times_s[-1]) / 2)
    verdicts = {}
    for name, values in found.items():
        told: Slope = slope(times_s[first:], values[first:])
        verdicts[name] = {
            "per_hour": round(told.per_hour, 2), "low": round(told.low, 2), "high": round(told.high, 2),
            "limit": limit(name), "grows": told.grows(limit(name)),
        }  # fmt: skip
    return verdicts


def left_over(before: ResourceSnapshot, after: ResourceSnapshot) -> dict[str, list[float]]:
    """Files and shared memory that are there when nothing is asked any more, and were not before it began."""
    names = ("shared memory MiB", "uploads", "temporary files")
    return {
        name: [before.places[name], after.places[name]] for name in names if after.places[name] > before.places[name]
    }


def complaints(told: dict[str, Any]) -> list[str]:
    """Everything that is not as it should be, in words; none when the run was good."""
    found = [
        f"{name} grew by {each['per_hour']:g} an hour (surely by {each['low']:g}), and {each['limit']:g} are allowed"
        for name, each in told["slopes"].items()
        if each["grows"]
    ]
    found += [f"{name}: {before:g} before and {after:g} after" for name, (before, after) in told["left_over"].items()]
    answers = told["answers"]
    found += [f"{count} good files: {word}" for word, count in answers["good"].items() if word != "200"]
    found += [f"{count} bad files: {word}" for word, count in answers["bad"].items() if not word.startswith("4")]
    found += [f"{count} jobs: {word}" for word, count in answers["jobs"].items() if word != "done"]
    return found
