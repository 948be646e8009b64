"""Replicas go where their pods can run: the hub asks the agents, which look at their nodes and quotas."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.e2e.conftest import ON_ANY_STORE
from tests.e2e.harness import MEMBERS, Fleet, condition, eventually
from tests.e2e.objects import APPS, deployment, policy

pytestmark = [pytest.mark.e2e, ON_ANY_STORE]

AGGREGATED = {
    "replicaScheduling": {"replicaSchedulingType": "Divided", "replicaDivisionPreference": "Aggregated"}
}
PATCH = "application/merge-patch+json"


def binding(fleet: Fleet, space: str, name: str) -> dict[str, Any]:
    path = f"/apis/work.karmada.io/v1alpha2/namespaces/{space}/resourcebindings/{name}-deployment"
    return fleet.hub.get(path) or {}


def targets(fleet: Fleet, space: str, name: str) -> dict[str, int]:
    clusters = binding(fleet, space, name).get("spec", {}).get("clusters") or []
    return {row["name"]: row["replicas"] for row in clusters}


def with_node(fleet: Fleet, member: str) -> str:
    """The path of a node with 64 cores: the simulated member's, or one that is made in a kube-apiserver without any."""
    api, path = fleet.members[member], "/api/v1/nodes/node-1"
    if fleet.real_members and api.get(path) is None:
        api.request(
            "POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}}
        )
        # Without a controller nobody else takes the taint of a node that is not ready yet.
        api.request("PATCH", path, {"spec": {"taints": None}}, PATCH)
        room = {"cpu": "64", "memory": "256Gi", "pods": "110"}
        ready = {"allocatable": room, "conditions": [{"type": "Ready", "status": "True"}]}
        api.request("PATCH", f"{path}/status", {"status": ready}, PATCH)
    return path


def counted(fleet: Fleet) -> bool:
    clusters = fleet.hub.items("/apis/cluster.karmada.io/v1alpha1/clusters")
    return all(cluster["status"]["resourceSummary"]["allocatable"].get("cpu") for cluster in clusters)


def asking(name: str, space: str, replicas: int, **pod: Any) -> dict[str, Any]:
    obj = deployment(name, space, replicas=replicas)
    spec = obj["spec"]["template"]["spec"]
    spec["containers"][0]["resources"] = {"requests": {"cpu": "1"}}
    spec.update(pod)
    return obj


def test_a_node_selector_that_one_node_of_the_fleet_matches(fleet: Fleet, space: str) -> None:
    for name in MEMBERS:
        node = with_node(fleet, name)
    eventually(lambda: counted(fleet))
    label = {"metadata": {"labels": {"disk": space}}}
    fleet.members["member2"].request("PATCH", node, label, PATCH)
    fast = asking("fast", space, 5, nodeSelector={"disk": space})
    fleet.apply(policy("all", space, list(MEMBERS), placement=AGGREGATED), fast)
    eventually(lambda: targets(fleet, space, "fast") == {"member2": 5})
    eventually(lambda: fleet.members["member2"].get(f"{APPS}/{space}/deployments/fast"))

    # What waits for such a node goes there when one of another member becomes one.
    fleet.kubectl("scale", "deployment/fast", "-n", space, "--replicas=70")
    eventually(lambda: condition(binding(fleet, space, "fast"), "Scheduled") == "False")
    assert targets(fleet, space, "fast") == {"member2": 5}, "sixty-four cores are all that the node has"
    fleet.members["member3"].request("PATCH", node, label, PATCH)
    eventually(lambda: sum(targets(fleet, space, "fast").values()) == 70)
    assert set(targets(fleet, space, "fast")) == {"member2", "member3"}


def test_a_quota_in_the_member_bounds_what_it_gets(fleet: Fleet, space: str) -> None:
    for name in MEMBERS:
        with_node(fleet, name)
    eventually(lambda: counted(fleet))
    for name, cores in (("member1", 2), ("member2", 0), ("member3", 2)):
        member = fleet.members[name]
        eventually(partial(member.get, f"/api/v1/namespaces/{space}"))
        quota = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "small"},
            "spec": {"hard": {"requests.cpu": str(cores)}},
        }
        member.request("POST", f"/api/v1/namespaces/{space}/resourcequotas", quota)
    fleet.apply(policy("all", space, list(MEMBERS), placement=AGGREGATED), asking("web", space, 4))
    eventually(lambda: targets(fleet, space, "web") == {"member1": 2, "member3": 2})
