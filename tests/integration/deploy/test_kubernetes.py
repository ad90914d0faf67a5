"""The Kubernetes manifests: built by kubectl, valid, and in agreement with the settings."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app.settings import Settings
from tests.support.stacks import CHECKOUT

FOLDER = CHECKOUT / "deploy" / "kubernetes"
API_VERSION = "1.32"
MIB = 1 << 20
UNITS = {"Ki": 1 << 10, "Mi": MIB, "Gi": 1 << 30}

if shutil.which("kubectl") is None:
    pytest.skip("kubectl is not installed", allow_module_level=True)


def build(folder: str) -> dict[str, dict[str, Any]]:
    done = subprocess.run(["kubectl", "kustomize", FOLDER / folder], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return {f"{item['kind']}/{item['metadata']['name']}": item for item in yaml.safe_load_all(done.stdout)}


def size(text: str) -> int:
    return int(text[:-2]) * UNITS[text[-2:]]


@pytest.fixture(params=["cpu", "gpu"], scope="module")
def objects(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    return build(f"overlays/{request.param}")


def test_manifests_are_valid(objects: dict[str, dict[str, Any]]) -> None:
    for item in objects.values():
        kubernetes_validate.validate(item, API_VERSION, strict=True)
    assert {kind.split("/")[0] for kind in objects} >= {
        "StatefulSet",
        "Service",
        "PodDisruptionBudget",
        "NetworkPolicy",
    }


def test_pods_fit_the_restricted_standard(objects: dict[str, dict[str, Any]]) -> None:
    pod = objects["StatefulSet/clipstack"]["spec"]["template"]["spec"]
    assert (
        pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    )
    assert not pod["automountServiceAccountToken"]
    for container in pod["containers"] + pod["initContainers"]:
        locked = container["securityContext"]
        assert locked["capabilities"] == {"drop": ["ALL"]} and locked["readOnlyRootFilesystem"]
        assert not locked["allowPrivilegeEscalation"] and "memory" in container["resources"]["limits"]


def test_shared_memory_holds_all_slots(objects: dict[str, dict[str, Any]]) -> None:
    (values,) = (item["data"] for name, item in objects.items() if name.startswith("ConfigMap/"))
    settings = Settings.from_environment(values)
    pod = objects["StatefulSet/clipstack"]["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    needed = (settings.web_workers + 1) * settings.slots * settings.slot_mb * MIB
    assert volumes["memory"]["emptyDir"]["medium"] == "Memory"
    assert size(volumes["memory"]["emptyDir"]["sizeLimit"]) >= 2 * needed + 64 * MIB
    assert size(volumes["web"]["emptyDir"]["sizeLimit"]) >= 2 * settings.max_upload_mb * MIB


def test_containers_share_memory_and_sockets(objects: dict[str, dict[str, Any]]) -> None:
    pod = objects["StatefulSet/clipstack"]["spec"]["template"]["spec"]
    web, triton = pod["containers"]
    for name, path in (("memory", "/dev/shm"), ("sockets", "/sockets")):
        for container in (web, triton):
            assert {"name": name, "mountPath": path} in container["volumeMounts"]
    assert web["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert triton["livenessProbe"]["exec"]["command"][-1] == "triton"


def test_autoscaler_is_valid_and_scales_the_pods(tmp_path: Any) -> None:
    shutil.copytree(FOLDER, tmp_path / "kubernetes")
    overlay = tmp_path / "kubernetes" / "overlays" / "cpu" / "kustomization.yaml"
    overlay.write_text(overlay.read_text() + "components: [../../components/autoscale]\n")
    done = subprocess.run(["kubectl", "kustomize", overlay.parent], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (scaler,) = (item for item in yaml.safe_load_all(done.stdout) if item["kind"] == "HorizontalPodAutoscaler")
    kubernetes_validate.validate(scaler, API_VERSION, strict=True)
    assert scaler["spec"]["scaleTargetRef"]["name"] == "clipstack"
    assert scaler["spec"]["metrics"][0]["pods"]["metric"]["name"] == "clipstack_backlog_seconds"
