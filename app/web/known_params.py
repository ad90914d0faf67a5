"""Refusal of unknown parameters, which would otherwise be ignored: a misspelled one would change the result unnoticed.

The names come from app/openapi/routes.py: a parameter that is declared there is accepted.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches

from flask import Blueprint, current_app, request

from app.errors import InvalidParameter
from app.web.params import merged

EXTENSION = "clipstack.parameters"  # names by (Flask's rule, method); routes that are not in it accept all names
MAX_NAME = 40  # characters of an unknown name that are compared and shown

blueprint = Blueprint("known_params", __name__)


def check_names(names: Iterable[str], accepted: Collection[str]) -> None:
    """Raise InvalidParameter for the first name that is not in `accepted`; the message has the closest one."""
    for name in names:
        if name not in accepted:
            match = get_close_matches(name[:MAX_NAME].lower(), accepted, n=1)
            names_here = ", ".join(sorted(accepted)) or "none"
            hint = f"did you mean {match[0]}?" if match else f"this address knows {names_here}"
            raise InvalidParameter(f"unknown parameter {name[:MAX_NAME]!r}: {hint}")


def upload_params(fields: Mapping[str, str]) -> dict[str, str]:
    """Return an upload's parameters: its form's or JSON's fields, replaced by the query; raises InvalidParameter."""
    _check(fields)
    return merged(fields, request.args)


@blueprint.before_app_request
def _check_query() -> None:
    _check(request.args)


def _check(names: Iterable[str]) -> None:
    # Without converters, which the description does not know: `<id>` for `<string(length=36):id>`
    rule = re.sub(r"<[^:>]+:", "<", request.url_rule.rule) if request.url_rule else ""
    method = "GET" if request.method == "HEAD" else request.method
    accepted = current_app.extensions[EXTENSION].get((rule, method))
    if accepted is not None:
        check_names(names, accepted)
