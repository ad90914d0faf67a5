"""The version of Triton on docs/supply.md, which only a running server reports."""

from __future__ import annotations

from tritonclient.grpc import InferenceServerClient

from deploy.stack.stack import Stack
from deploy.supply.page import PAGE


def test_page_has_the_version_of_the_running_triton(stack: Stack) -> None:
    with InferenceServerClient(stack.settings.triton_target) as triton:
        version = triton.get_server_metadata(client_timeout=10.0).version
    assert f"Triton's server is {version} " in PAGE.read_text()
