"""nginx's configuration of a load balancer: the files of deploy/edge/nginx and the nodes as the checks see them."""

from collections.abc import Mapping
from pathlib import Path

from deploy.edge.checks import Condition
from deploy.edge.nodes import Edge
from deploy.nginx.config import checked, render

SOURCE = Path(__file__).parent / "nginx"
PLACES = "jobs/|uploads/|feedback/|webhooks/msg_"  # of ids in paths
NOWHERE = "server 127.0.0.1:9 down;"  # nginx wants one server in an upstream


def write(folder: Path, edge: Edge, conditions: Mapping[str, Condition]) -> None:
    """Write the configuration below `folder`; raises ValueError for what nginx would parse as syntax."""
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    values = {
        "CLIPSTACK_EDGE_DIR": str(folder),
        "CLIPSTACK_EDGE_LISTEN": edge.listen + (" ssl http2" if edge.tls_cert else ""),
        "CLIPSTACK_EDGE_ANSWER_S": str(edge.answer_s),
    }
    render(SOURCE, folder / "nginx", values)
    snippets = folder / "nginx" / "snippets"
    for text in (edge.tls_cert, edge.tls_key, *(node.address for node in edge.nodes.values())):
        checked(text)
    (snippets / "upstreams.conf").write_text(upstreams(edge, conditions))
    (snippets / "paths.conf").write_text(paths(edge, conditions))
    (snippets / "tls.conf").write_text(_tls(edge))


def upstreams(edge: Edge, conditions: Mapping[str, Condition]) -> str:
    """Return the upstream for new work, `nodes`, and one for each node.

    A node with a failed connection gets no new work for some seconds, until the checks have noticed. If no node is
    ready, all that answer get new work: they say best why it has to wait.
    """
    takes_work = [
        name for name, node in edge.nodes.items() if not node.drained and conditions.get(name) is not Condition.AWAY
    ]
    ready = [name for name in takes_work if conditions.get(name) is not Condition.NOT_READY]
    servers = [
        f"server {node.address} max_fails=1 fail_timeout=5s{'' if name in (ready or takes_work) else ' down'};"
        for name, node in edge.nodes.items()
    ]
    lines = ["upstream nodes {", "least_conn;", "zone nodes 64k;", *(servers or [NOWHERE]), "}"]
    lines += [f"upstream node_{name} {{ server {node.address} max_fails=0; }}" for name, node in edge.nodes.items()]
    return "\n".join([*lines, ""])


def paths(edge: Edge, conditions: Mapping[str, Condition]) -> str:
    """Return the entries of the map from `<header> <path> <job in the query>` to upstreams.

    Ids without a node are those of the first one: it had jobs before there were others.
    """
    lines = []
    for number, name in enumerate(edge.nodes):
        target = "away" if conditions.get(name) is Condition.AWAY else f"node_{name}"
        in_path, in_query = rf"/v1/(?:{PLACES}){name}-", rf"/v1/(?:search|feedback) {name}-"
        lines.append(f'"~^(?:{name} | {in_path}| {in_query})" {target};')
        if number == 0:
            lines.append(f'"~^ /v1/(?:{PLACES})(?:[0-9a-f]{{24}}|[0-9a-f]{{32}})[/ ]" {target};')
    return "\n".join([*lines, ""])


def _tls(edge: Edge) -> str:
    if not edge.tls_cert:
        return ""
    return (
        f'ssl_certificate "{edge.tls_cert}";\nssl_certificate_key "{edge.tls_key}";\nssl_protocols TLSv1.2 TLSv1.3;\n'
    )
