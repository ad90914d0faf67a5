"""Ids of jobs and uploads: `<node>-<hexadecimal digits>`, or the digits alone where the node has no name."""

from app.settings.parsers import NODE_NAME

# Set by a node that passes a request on, and by a list that asks the other nodes: they must not do the same again
RELAYED_HEADER = "X-Clipstack-Relayed"


class OnOtherNode(Exception):
    """The request is for the node `node`; nginx passes it on (app/web/error_handlers.py)."""

    def __init__(self, node: str) -> None:
        super().__init__(node)
        self.node = node


def on_node(node: str, digits: str) -> str:
    """Return the id of `digits` on a node."""
    return f"{node}-{digits}" if node else digits


def node_of(identity: str) -> str:
    """Return the name of an id's node, "" for an id without one."""
    return identity.rpartition("-")[0]


def id_pattern(digits: int) -> str:
    """Return the regular expression of ids with so many hexadecimal digits, on any node."""
    return f"(?:{NODE_NAME.pattern}-)?[0-9a-f]{{{digits}}}"
