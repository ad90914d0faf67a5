import re

import httpx

from tests.support.stacks import until


def test_page_loads_only_its_own_scripts_and_styles(stack):
    policy = httpx.get(stack.url, timeout=10).headers["content-security-policy"]
    result = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))

    assert result["default-src"] == result["object-src"] == result["base-uri"] == "'none'"
    assert result["script-src"] == result["style-src"] == result["connect-src"] == "'self'"
    assert result["trusted-types"] == "'none'" and result["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in policy and "*" not in policy


def test_static_files_have_one_version(stack):
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


def test_request_id_of_error_is_in_log(stack):
    answer = httpx.get(f"{stack.url}/nothing?secret=1", timeout=10)

    log, request_id = stack.run_dir / "logs" / "nginx-access.log", answer.json()["error"]["request_id"]
    until(lambda: request_id in log.read_text(), 5.0)  # nginx writes it after it has answered
    line = next(line for line in log.read_text().splitlines() if request_id in line)
    assert '"status":404' in line and '"path":"/nothing"' in line and "secret" not in line
