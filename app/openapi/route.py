"""The description of one route: its parameters, responses and errors."""

from dataclasses import dataclass, field
from typing import Any

from app.errors import ClipstackError
from app.openapi.schemas import Schema, prop, ref

JSON = "application/json"
Errors = tuple[type[ClipstackError], ...]


@dataclass(frozen=True)
class Parameter:
    """A request parameter. `location` is query, header or path; `example` is needed where the schema offers none."""

    name: str
    schema: Schema
    help: str
    location: str = "query"
    example: Any = None

    @property
    def documented(self) -> Schema:
        """Return the schema with an example, and without its default, which the description has.

        A generated client would send each default in the query, where it would replace the field of a form.
        """
        schema = {name: value for name, value in self.schema.items() if name != "default"}
        default = self.schema.get("default")
        description = self.help if default is None else f"{self.help} Default: `{str(default).lower()}`."
        derived = self.schema.get("default", self.schema.get("minimum"))
        return prop(schema, description, derived if self.example is None else self.example)


@dataclass(frozen=True)
class Route:
    """One method of one path; `id` names the operation, `responses` maps status to content type to schema."""

    path: str
    method: str
    id: str
    tag: str
    summary: str
    responses: dict[int, dict[str, Schema]]
    errors: Errors = ()
    parameters: tuple[Parameter, ...] = ()
    fields: tuple[Parameter, ...] | None = None  # upload routes only: sent in the query or in the form
    headers: dict[str, Schema] = field(default_factory=dict)
    needs_file: bool = True  # whether an upload may lack its file
    max_files: int = 1  # of one form
    body_type: str = ""  # content type of a body that is no upload with parameters

    @property
    def public(self) -> bool:
        """Return whether the route needs no key."""
        return self.tag == "Service"


def json_of(schema: str) -> dict[str, Schema]:
    """Return the content of a JSON response with the named schema."""
    return {JSON: ref(schema)}


def integer(maximum: int, default: int) -> Schema:
    """Return the schema of a whole number from 1 to `maximum`."""
    return {"type": "integer", "minimum": 1, "maximum": maximum, "default": default}
