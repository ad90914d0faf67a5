"""Cells of CSV files that no spreadsheet runs as a formula."""

import re

# Spreadsheets run a cell that begins with one of these as a formula, even if it is quoted in the CSV. Leading quotes
# are part of the pattern, so that `unescape_formula` restores exactly what was escaped.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠].", re.DOTALL)  # noqa: RUF001 - full-width signs too


def escape_formula(text: str) -> str:
    """Return text for a CSV cell that no spreadsheet runs as a formula: a formula gets a leading quote."""
    return f"'{text}" if _FORMULA.match(text) else text


def unescape_formula(cell: str) -> str:
    """Return the text that `escape_formula` made `cell` from."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
