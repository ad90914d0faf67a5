"""Verdict of a soak: whether any series grows, and whether all answers were right."""

from collections.abc import Sequence
from typing import Any

from bench.soak.resources import ResourceSnapshot
from bench.soak.slope import Slope, slope

# Largest growth per hour. Memory is RSS: unlike PSS it does not grow when a shared page is written to after a fork. 1
# MiB an hour is unnoticeable over a week between restarts. Counts may grow by one an hour, because counts of released
# resources do not grow further.
LIMITS = {"rss_mib": 1.0, "fds": 1.0, "threads": 1.0, "processes": 1.0, "places": 1.0}
WORDS = {"rss_mib": "memory MiB", "fds": "descriptors", "threads": "threads", "processes": "processes"}


def series(snapshots: Sequence[ResourceSnapshot]) -> dict[str, list[float]]:
    """Return one value per snapshot by name, for example `web workers: descriptors`; 0 while a part is absent."""
    parts = sorted({part for snapshot in snapshots for part in snapshot.parts})
    values_by_name: dict[str, list[float]] = {}
    for part in parts:
        for field, word in WORDS.items():
            values = [getattr(snapshot.parts[part], field) if part in snapshot.parts else 0 for snapshot in snapshots]
            values_by_name[f"{part}: {word}"] = [round(float(value), 2) for value in values]
    for place in snapshots[0].places:
        values_by_name[place] = [round(snapshot.places[place], 2) for snapshot in snapshots]
    return values_by_name


def limit(name: str) -> float:
    """Return the largest growth per hour of the series, in its own unit."""
    word = name.rpartition(": ")[2]
    return LIMITS[next((field for field, series_word in WORDS.items() if series_word == word), "places")]


def judge(times_s: Sequence[float], values_by_name: dict[str, list[float]]) -> dict[str, dict[str, Any]]:
    """Return each series' growth per hour in the second half, and whether it exceeds the limit."""
    first = next(number for number, at_s in enumerate(times_s) if at_s >= (times_s[0] + times_s[-1]) / 2)
    verdicts = {}
    for name, values in values_by_name.items():
        growth: Slope = slope(times_s[first:], values[first:])
        verdicts[name] = {
            "per_hour": round(growth.per_hour, 2),
            "low": round(growth.low, 2),
            "high": round(growth.high, 2),
            "limit": limit(name),
            "grows": growth.grows(limit(name)),
        }
    return verdicts


def left_over(before: ResourceSnapshot, after: ResourceSnapshot) -> dict[str, list[float]]:
    """Return files and shared memory that exist after the run but not before it."""
    names = ("shared memory MiB", "uploads", "temporary files")
    return {
        name: [before.places[name], after.places[name]] for name in names if after.places[name] > before.places[name]
    }


def find_problems(result: dict[str, Any]) -> list[str]:
    """Return everything that went wrong; empty for a good run."""
    messages = [
        f"{name} grew by {row['per_hour']:g} an hour (surely by {row['low']:g}), and {row['limit']:g} are allowed"
        for name, row in result["slopes"].items()
        if row["grows"]
    ]
    messages += [
        f"{name}: {before:g} before and {after:g} after" for name, (before, after) in result["left_over"].items()
    ]
    answers = result["answers"]
    messages += [f"{count} good files: {word}" for word, count in answers["good"].items() if word != "200"]
    messages += [f"{count} bad files: {word}" for word, count in answers["bad"].items() if not word.startswith("4")]
    messages += [f"{count} jobs: {word}" for word, count in answers["jobs"].items() if word != "done"]
    return messages
