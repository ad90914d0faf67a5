"""The OpenAPI 3.1 description of the API, generated from the code that enforces it.

Limits come from the enforced constants and errors from their classes. Tests compare the paths with Flask's routes,
the errors with `app/errors.py` and nginx's own errors, and the responses with the schemas.
"""

from app.openapi.document import codes, document
from app.openapi.routes import parameter_names

__all__ = ["codes", "document", "parameter_names"]
