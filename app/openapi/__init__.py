"""The API described for programs, as OpenAPI 3.1: made from the code that answers, not beside it.

Limits come from the constants that are enforced, errors from their classes; tests compare the addresses with Flask's,
the errors with `app/errors.py` and nginx's own, and what is answered with the schemas.
"""

from app.openapi.document import codes, document

__all__ = ["codes", "document"]
