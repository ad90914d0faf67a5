"""Helpers for the response of Triton's `RepositoryIndex` call; the watchdog uses them too."""

MAX_REASON = 300  # characters of a reason


def unloaded(index: list[dict[str, str]]) -> dict[str, str]:
    """Return the requested models of which no version could be loaded: name and reason."""
    available = {model["name"] for model in index if model.get("state") in ("READY", "LOADING", "UNLOADING")}
    failed = {model["name"]: model.get("reason", "") for model in index if model.get("state") == "UNAVAILABLE"}
    failed = {name: reason for name, reason in failed.items() if name not in available}
    return {name: shorten(reason) for name, reason in failed.items() if reason not in ("", "unloaded")}


def ready(index: list[dict[str, str]]) -> frozenset[str]:
    """Return the names of the models that answer."""
    return frozenset(model["name"] for model in index if model.get("state") == "READY")


def unready(index: list[dict[str, str]], ready_before: frozenset[str] = frozenset()) -> frozenset[str]:
    """Return the names of models that are not ready but may become so.

    These are requested models that are loading, being replaced, or failed to load. A model of `ready_before` is one of
    them too if Triton has no state for it: a Triton that has just started has not begun to load it.
    """
    changing = {model["name"] for model in index if model.get("state") in ("LOADING", "UNLOADING")}
    not_begun = {model["name"] for model in index if not model.get("state")} & ready_before
    return frozenset((changing | not_begun | unloaded(index).keys()) - ready(index))


def shorten(reason: str) -> str:
    """Return a reason in one line of at most LONGEST characters, without the backend's stack trace."""
    return " ".join(reason.split("At:")[0].split())[:MAX_REASON]
