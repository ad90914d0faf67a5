"""Names of all series on /metrics."""

from app.metrics.definitions import FAMILIES


def series_names() -> set[str]:
    """Return the names of all series on /metrics; a histogram has three."""
    names = set()
    for family in FAMILIES.values():
        suffixes = ("_bucket", "_count", "_sum") if family.kind == "histogram" else ("",)
        names |= {family.name + suffix for suffix in suffixes}
    return names
