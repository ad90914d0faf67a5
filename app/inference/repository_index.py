"""Helpers for the response of Triton's `RepositoryIndex` call; the watchdog uses them too."""

LONGEST = 300  # characters of a reason


def unloaded(index: list[dict[str, str]]) -> dict[str, str]:
    """Return the requested models of which no version could be loaded: name and reason."""
    lives = {model["name"] for model in index if model.get("state") in ("READY", "LOADING", "UNLOADING")}
    failed = {model["name"]: model.get("reason", "") for model in index if model.get("state") == "UNAVAILABLE"}
    return {name: in_short(why) for name, why in failed.items() if name not in lives and why not in ("", "unloaded")}


def unready(index: list[dict[str, str]]) -> frozenset[str]:
    """Return the names of requested models that are not ready: loading, being replaced, or failed to load."""
    ready = {model["name"] for model in index if model.get("state") == "READY"}
    changing = {model["name"] for model in index if model.get("state") in ("LOADING", "UNLOADING")}
    return frozenset((changing | unloaded(index).keys()) - ready)


def in_short(why: str) -> str:
    """Return a reason in one line of at most LONGEST characters, without the backend's stack trace."""
    return " ".join(why.split("At:")[0].split())[:LONGEST]
