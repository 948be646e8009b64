"""What a Cluster says of its room, counted by its agent in a simulated member and in a real kube-apiserver."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import ON_ANY_STORE
from tests.e2e.harness import Fleet, eventually
from tests.e2e.objects import deployment, policy

pytestmark = [pytest.mark.e2e, ON_ANY_STORE]

CLUSTER = "/apis/cluster.karmada.io/v1alpha1/clusters/member1"
REQUESTS = {"requests": {"cpu": "250m", "memory": "64Mi"}}


def status(fleet: Fleet) -> dict[str, Any]:
    return (fleet.hub.get(CLUSTER) or {}).get("status") or {}


def allocated(fleet: Fleet) -> dict[str, str]:
    found: dict[str, str] = status(fleet).get("resourceSummary", {}).get("allocated", {})
    return found


def test_replicas_that_request_cpu_show_in_the_cluster(fleet: Fleet, space: str) -> None:
    if fleet.real_members:
        pytest.skip("a bare kube-apiserver makes no pods of a Deployment")
    eventually(lambda: status(fleet)["nodeSummary"] == {"totalNum": 3, "readyNum": 3})
    assert status(fleet)["resourceSummary"]["allocatable"]["cpu"] == "192"
    web = deployment("web", space, replicas=3)
    web["spec"]["template"]["spec"]["containers"][0]["resources"] = REQUESTS
    fleet.apply(web, policy("web", space, ["member1"]))
    eventually(lambda: allocated(fleet).get("cpu") == "750m" and allocated(fleet)["memory"] == "192Mi")
    graded = status(fleet)["resourceSummary"]["allocatableModelings"]
    assert len(graded) == 9 and sum(row["count"] for row in graded) == 3
    fleet.kubectl("delete", "deployment/web", "-n", space)
    eventually(lambda: "cpu" not in allocated(fleet))


def test_a_real_api_server_is_counted(fleet: Fleet, space: str) -> None:
    if not fleet.real_members:
        pytest.skip("simulated members are looked at above")
    member = fleet.members["member1"]
    room = {"cpu": "4", "memory": "16393244Ki", "pods": "110"}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}
    member.request("POST", "/api/v1/nodes", node)
    ready = {"allocatable": room, "conditions": [{"type": "Ready", "status": "True"}]}
    member.request("PATCH", "/api/v1/nodes/n1/status", {"status": ready}, "application/merge-patch+json")
    eventually(lambda: member.get(f"/api/v1/namespaces/{space}"))
    pods = f"/api/v1/namespaces/{space}/pods"
    for name, on in (("placed", {"nodeName": "n1"}), ("waiting", {}), ("done", {"nodeName": "n1"})):
        container = {"name": "c", "image": "nginx", "resources": REQUESTS}
        spec = {**on, "containers": [container], "automountServiceAccountToken": False}
        member.request(
            "POST", pods, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        )
    ended = {"status": {"phase": "Succeeded"}}
    member.request("PATCH", f"{pods}/done/status", ended, "application/merge-patch+json")
    try:
        expected = {"cpu": "250m", "memory": "64Mi", "pods": "1"}
        eventually(lambda: status(fleet)["resourceSummary"]["allocatable"] == room)
        eventually(lambda: status(fleet)["resourceSummary"]["allocating"] == expected)
        eventually(lambda: allocated(fleet) == expected)
        graded = status(fleet)["resourceSummary"]["allocatableModelings"]
        assert [row["count"] for row in graded] == [0, 1, 0, 0, 0, 0, 0, 0, 0], (
            "not quite 16Gi of memory are left"
        )
    finally:
        for name in ("placed", "waiting", "done"):
            member.request("DELETE", f"{pods}/{name}", {"gracePeriodSeconds": 0})
        member.delete("/api/v1/nodes/n1")
    eventually(lambda: status(fleet)["nodeSummary"] == {"totalNum": 0, "readyNum": 0})
