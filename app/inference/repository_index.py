"""Triton's list of all versions of all models, as `RepositoryIndex` tells it; the watchdog reads it too."""

LONGEST = 300  # letters of a reason


def unloaded(index: list[dict[str, str]]) -> dict[str, str]:
    """Models that somebody wants and of which no version could be loaded: name and reason."""
    lives = {model["name"] for model in index if model.get("state") in ("READY", "LOADING", "UNLOADING")}
    failed = {model["name"]: model.get("reason", "") for model in index if model.get("state") == "UNAVAILABLE"}
    return {name: in_short(why) for name, why in failed.items() if name not in lives and why not in ("", "unloaded")}


def unready(index: list[dict[str, str]]) -> frozenset[str]:
    """Names of models that somebody wants and that cannot be asked now: being loaded, being replaced, or not loaded."""
    ready = {model["name"] for model in index if model.get("state") == "READY"}
    changing = {model["name"] for model in index if model.get("state") in ("LOADING", "UNLOADING")}
    return frozenset((changing | unloaded(index).keys()) - ready)


def in_short(why: str) -> str:
    """In one line, and without the stack of Triton's backend."""
    return " ".join(why.split("At:")[0].split())[:LONGEST]
