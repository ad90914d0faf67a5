"""Write the tables of docs/formats.md from the answers that the tests of this folder got.

python -m tests.e2e.field.table       (`make formats` does)
"""

from __future__ import annotations

import json
from typing import Any

from app.media.formats import VIDEO_CODECS
from tests.e2e.field.test_field import CHECKOUT, RESULTS

PAGE = CHECKOUT / "docs" / "formats.md"
BEGIN, END = "<!-- written by `make formats`: begin -->", "<!-- end -->"
COMMITTED = "Files as people sent them"  # the group of the committed files


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the codecs that are decoded and one table for each group of cases, as Markdown."""
    right = sum(not row["faults"] for row in rows)
    groups = dict.fromkeys(row.get("group") or COMMITTED for row in rows)
    lines = [
        f"{len(rows)} files were tried; {right} answers are as they should be.",
        "",
        f"Video codecs, by FFmpeg's names: {', '.join(f'`{name}`' for name in sorted(VIDEO_CODECS))}.",
    ]
    for group in sorted(groups):
        lines += ["", f"### {group}", "", "| file | what it is | what comes |", "|---|---|---|"]
        lines += [_line(row) for row in rows if (row.get("group") or COMMITTED) == group]
    return lines


def _line(row: dict[str, Any]) -> str:
    wrong = "".join(f" **{fault}**" for fault in row["faults"])
    cells = (f"`{row['file']}`", row["why"], row["came"] + wrong)
    return "| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells) + " |"


def main() -> None:
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    after = rest.split(END, 1)[1]
    PAGE.write_text("\n".join([before + BEGIN, "", *table(json.loads(RESULTS.read_text())), "", END]) + after)


if __name__ == "__main__":
    main()
