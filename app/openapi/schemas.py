"""Building blocks of the API's JSON schemas.

Responses may get further properties in later versions, so clients must ignore unknown ones.
"""

from typing import Any

Schema = dict[str, Any]


def nullable(schema: Schema) -> Schema:
    """Return `schema` or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def array(items: Schema) -> Schema:
    """Return the schema of a list of `items`."""
    return {"type": "array", "items": items}


def mapping(values: Schema) -> Schema:
    """Return the schema of an object with any property names and values of schema `values`."""
    return {"type": "object", "additionalProperties": values}


def record(*optional: str, **properties: Schema) -> Schema:
    """Return the schema of an object with these properties, required unless listed in `optional`."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def prop(schema: Schema, description: str, example: Any = None) -> Schema:
    """Return `schema` with the description and example of one property; a reference has the examples of its target."""
    return schema | {"description": description} | ({} if example is None else {"examples": [example]})


def ref(name: str) -> Schema:
    """Return a reference to the named schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def one_of(*values: str) -> Schema:
    """Return the schema of a string enumeration."""
    return {"type": "string", "enum": list(values)}


def binary() -> Schema:
    """Return the schema of a file: `format` for code generators, `contentMediaType` as JSON Schema has it."""
    return {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}


TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
POSITIVE: Schema = {"type": "integer", "minimum": 1}
NUMBER: Schema = {"type": "number", "minimum": 0}
FRACTION: Schema = {"type": "number", "minimum": 0, "maximum": 1}
SCORES = one_of("softmax", "sigmoid")
SCORES_HELP = "One label at a time (softmax: scores add up to 1), or each label for itself (sigmoid)."
THRESHOLDS = nullable(array(FRACTION))
DECISION: Schema = {"anyOf": [array(TEXT) | {"minItems": 1}, one_of("none")]}  # the labels that pass
TIME: Schema = {"type": "string", "format": "date-time"}

# Part of every list, because a list asks all nodes (docs/nodes.md)
MISSING_NODES = prop(array(TEXT), "Nodes that did not answer, whose items are missing; empty if none.", [])
