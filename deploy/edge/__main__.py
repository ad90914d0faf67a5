"""Command line of the load balancer in front of several nodes (docs/nodes.md)."""

import argparse
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from app.settings import CHECKOUT
from app.settings.parsers import host_port
from deploy.edge.checks import Condition, condition_of
from deploy.edge.nodes import Edge, EdgeError, EdgeFile, parse_node, parse_nodes
from deploy.edge.program import EdgeProgram, StateFile
from deploy.stack.processes import wait_until

APPLY_S = 30.0  # a running load balancer follows its file within a round of checks
POLL_S = 0.2


class Commands:
    """The commands on the load balancer in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._file, self._state = folder, EdgeFile(folder), StateFile(folder)

    def run(self, arguments: argparse.Namespace) -> None:
        """Run the load balancer in the foreground, with the nodes given or with those it had."""
        edge = Edge() if arguments.nodes else self._file.read()
        values = {name: getattr(arguments, name) for name in ("listen", "tls_cert", "tls_key", "answer_s")}
        edge = replace(edge, **{name: value for name, value in values.items() if value is not None})
        self._file.write(replace(edge, nodes=parse_nodes(arguments.nodes)) if arguments.nodes else edge)
        EdgeProgram(self._folder).run()

    def add(self, arguments: argparse.Namespace) -> None:
        """Add a node, or change its address."""
        name, node = parse_node(arguments.node)
        self._change(lambda edge: edge.with_node(name, node))

    def remove(self, arguments: argparse.Namespace) -> None:
        """Remove a node for good: ids of its jobs become unknown."""
        self._change(lambda edge: edge.without(arguments.name))

    def drain(self, arguments: argparse.Namespace) -> None:
        """Send a node no new work, and wait for the requests that it has; its jobs stay reachable."""
        self._change(lambda edge: edge.with_node(arguments.name, replace(edge.node(arguments.name), drained=True)))
        if not wait_until(lambda: self._state.read()["ending_workers"] == 0, arguments.wait_s, POLL_S):
            print(f"requests from before are still open after {arguments.wait_s} s", file=sys.stderr)

    def restore(self, arguments: argparse.Namespace) -> None:
        """Send a drained node new work again."""
        self._change(lambda edge: edge.with_node(arguments.name, replace(edge.node(arguments.name), drained=False)))

    def upgrade(self, arguments: argparse.Namespace) -> None:
        """Drain a node, run a command that upgrades it, wait until it is ready, and restore it."""
        self.drain(arguments)
        status = subprocess.run(arguments.command).returncode
        if status:
            raise EdgeError(f"the command ended with status {status}: node {arguments.name} stays drained")
        if not wait_until(lambda: self._is_ready(arguments.name), arguments.ready_s, POLL_S):
            raise EdgeError(f"node {arguments.name} is not ready after {arguments.ready_s} s: it stays drained")
        self.restore(arguments)

    def status(self, arguments: argparse.Namespace) -> None:
        """Print the nodes and their conditions."""
        state = self._state.read()
        for name, (address, drained) in state["nodes"].items():
            print(f"{name:12}  {address:21}  {state['conditions'].get(name, '')}{', drained' if drained else ''}")

    def _is_ready(self, name: str) -> bool:
        """Return whether a node is ready now, and the load balancer knows: it may not have noticed a short absence."""
        is_known = self._state.read()["conditions"].get(name) == Condition.READY.value
        return is_known and condition_of(self._file.read().node(name).address) is Condition.READY

    def _change(self, change: Callable[[Edge], Edge]) -> None:
        """Write the changed edge and wait until the running load balancer uses it."""
        with self._file.changing() as edge:
            changed = change(edge)
            self._file.write(changed)
        nodes = {name: [node.address, node.drained] for name, node in changed.nodes.items()}
        if not wait_until(lambda: self._state.read()["nodes"] == nodes, APPLY_S, POLL_S):
            raise EdgeError(f"the load balancer does not use the change after {APPLY_S:g} s: its messages say why")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    result = argparse.ArgumentParser(prog="python -m deploy.edge", description=__doc__)
    folder = os.environ.get("CLIPSTACK_EDGE_DIR", CHECKOUT / ".runtime" / "edge")
    result.add_argument("--folder", type=Path, default=folder, help="folder of its files (CLIPSTACK_EDGE_DIR)")
    commands = result.add_subparsers(dest="action", required=True)

    def command(function: Callable[[Commands, argparse.Namespace], None]) -> argparse.ArgumentParser:
        sub = commands.add_parser(function.__name__, help=function.__doc__, description=function.__doc__)
        sub.set_defaults(function=function)
        return sub

    run = command(Commands.run)
    run.add_argument("nodes", nargs="*", metavar="NAME=HOST:PORT", help="all nodes; ids without a node are the first's")
    run.add_argument("--listen", type=host_port, help="default 0.0.0.0:8080")
    run.add_argument("--tls-cert", help="certificate with its chain, PEM")
    run.add_argument("--tls-key", help="its private key, PEM")
    run.add_argument("--answer-s", type=int, help="longest wait for an answer about a file, seconds; default 180")
    command(Commands.add).add_argument("node", metavar="NAME=HOST:PORT")
    for function in (Commands.remove, Commands.restore):
        command(function).add_argument("name")
    for function in (Commands.drain, Commands.upgrade):
        sub = command(function)
        sub.add_argument("name")
        sub.add_argument("--wait-s", type=int, default=300, help="longest wait for running requests; default 300")
    sub.add_argument("--ready-s", type=int, default=300, help="longest wait until it is ready; default 300")
    sub.add_argument("command", nargs="+", help="after --, for example: ssh node-a make -C /opt/new up")
    command(Commands.status)
    return result


def main() -> int | str:
    """Run the command of the command line; return its exit status, or the message of a failure."""
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    arguments = parser().parse_args()
    try:
        arguments.function(Commands(arguments.folder.absolute()), arguments)
    except (EdgeError, OSError) as error:
        return f"edge: {error}"
    return 0


if __name__ == "__main__":
    sys.exit(main())
