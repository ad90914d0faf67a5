"""Errors of the model commands; their messages are written for the user."""


class ModelError(Exception):
    """A model cannot be added, found or served; the message is one paragraph with the problem and its fix."""


def listed(names: list[str], most: int = 3) -> str:
    """Return the first `most` names, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
