"""Generator of the tables in docs/supply.md.

Usage: python -m deploy.supply.page (`make supply`)
"""

from pathlib import Path

from deploy.supply import licences, parts

PAGE = Path(__file__).resolve().parents[2] / "docs" / "supply.md"
TABLES = {"parts": parts.table, "licences": licences.table}


def updated(page: str) -> str:
    """Return `page` with its tables replaced by the current ones."""
    for name, table in TABLES.items():
        before, _, rest = page.partition(f"<!-- {name}: begin -->")
        after = rest.partition(f"<!-- {name}: end -->")[2]
        page = "\n".join([before + f"<!-- {name}: begin -->", "", *table(), "", f"<!-- {name}: end -->"]) + after
    return page


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text()))
