"""What can go wrong with a model that a person wants to have served; every message is written for that person."""


class ModelError(Exception):
    """One paragraph: what is wrong, and what to do about it."""


def listed(names: list[str], most: int = 3) -> str:
    """The first names, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


__all__ = ["ModelError", "listed"]
