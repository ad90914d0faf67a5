import re

import httpx
import pytest

from tests.stack.running import until


@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/models", "/static/page.css", "/nothing"])
def test_every_answer_carries_the_security_headers_once(stack, path):
    answer = httpx.get(stack.url + path, timeout=10)

    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    assert len(answer.headers.get_list("content-security-policy")) == 1
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert len(answer.headers.get_list("x-request-id")) == 1
    assert answer.headers["server"] == "nginx"


def test_the_page_runs_its_own_scripts_and_styles_and_no_others(stack):
    policy = httpx.get(stack.url, timeout=10).headers["content-security-policy"]
    told = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))

    assert told["default-src"] == told["object-src"] == told["base-uri"] == "'none'"
    assert told["script-src"] == told["style-src"] == told["connect-src"] == "'self'"
    assert told["trusted-types"] == "'none'" and told["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in policy and "*" not in policy


def test_a_page_names_its_files_by_version_and_gets_all_of_one(stack):
    page = httpx.get(stack.url, timeout=10).text
    addresses = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page))

    assert len(addresses) > 10
    assert len({address.rpartition("/")[0] for address in addresses}) == 1
    assert {httpx.get(stack.url + address, timeout=10).status_code for address in addresses} == {200}
    assert "style=" not in page and "<style" not in page and not re.search(r"\son\w+=", page)


def test_static_files_come_from_nginx_typed_and_cacheable(stack):
    answer = httpx.get(f"{stack.url}/static/page.css", timeout=10)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert answer.headers["cache-control"] == "max-age=3600"


def test_the_request_id_of_an_error_is_the_one_in_the_log(stack):
    answer = httpx.get(f"{stack.url}/nothing?secret=1", timeout=10)

    log, request_id = stack.run_dir / "logs" / "nginx-access.log", answer.json()["error"]["request_id"]
    until(lambda: request_id in log.read_text(), 5.0)  # nginx writes it after it has answered
    line = next(line for line in log.read_text().splitlines() if request_id in line)
    assert '"status":404' in line and '"path":"/nothing"' in line and "secret" not in line


def test_triton_listens_on_loopback_only_and_web_on_no_port(stack):
    pids = stack.processes()
    listening = _listeners()

    own = {address for inode, address in listening.items() if inode in _sockets(pids)}
    ports = {address.rpartition(":")[2] for address in own}
    assert ports == {f"{port:04X}" for port in _ports(stack)}
    assert all(_is_loopback(address) for address in own)


def _ports(stack) -> tuple[int, ...]:
    grpc = int(stack.settings.triton_address.rpartition(":")[2])
    return stack.settings.port, grpc, stack.settings.triton_metrics_port


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0]
    return host == "0100007F" or host == "0000000000000000FFFF00000100007F"


def _listeners() -> dict[str, str]:
    """Inode and local address, as the kernel writes it, of every listening TCP socket."""
    found = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as lines:
            for fields in (line.split() for line in list(lines)[1:]):
                if fields[3] == "0A":
                    found[fields[9]] = fields[1]
    return found


def _sockets(pids) -> set[str]:
    import os

    found = set()
    for pid in pids:
        try:
            links = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        found |= {link[8:-1] for link in links if link.startswith("socket:[")}
    return found
