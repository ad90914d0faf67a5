"""Writes the tables of docs/supply.md.

python -m deploy.supply.page       (`make supply` does)
"""

from __future__ import annotations

from pathlib import Path

from deploy.supply import licences, parts

PAGE = Path(__file__).resolve().parents[2] / "docs" / "supply.md"
TABLES = {"parts": parts.table, "licences": licences.table}


def written(page: str) -> str:
    """The page with its tables as they are here and now."""
    for name, table in TABLES.items():
        before, _, rest = page.partition(f"<!-- {name}: begin -->")
        after = rest.partition(f"<!-- {name}: end -->")[2]
        page = "\n".join([before + f"<!-- {name}: begin -->", "", *table(), "", f"<!-- {name}: end -->"]) + after
    return page


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
