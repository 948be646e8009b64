"""Replicas that find no node in a member move to another one; and Remedies, with a real hub."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.harness import Fleet, eventually, running_fleet
from tests.e2e.objects import APPS, namespace, policy
from tests.e2e.test_estimates import AGGREGATED, PATCH, asking, binding, counted, targets

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    flags = ("--unschedulable-threshold-seconds", "1")
    with running_fleet(tmp_path_factory.mktemp("stuck"), members=("m1", "m2"), hub_flags=flags) as fleet:
        fleet.apply(namespace("shop"))
        eventually(lambda: counted(fleet))
        yield fleet


def test_what_finds_no_node_moves(fleet: Fleet) -> None:
    fleet.apply(policy("all", "shop", ["m1", "m2"], placement=AGGREGATED), asking("web", "shop", 5))
    eventually(lambda: sum(targets(fleet, "shop", "web").values()) == 5)
    ((full, _),) = targets(fleet, "shop", "web").items()
    free = "m2" if full == "m1" else "m1"
    member, path = fleet.members[full], f"{APPS}/shop/deployments/web"
    eventually(lambda: ((member.get(path) or {}).get("status") or {}).get("readyReplicas") == 5)
    for node in member.items("/api/v1/nodes"):
        member.request(
            "PATCH", f"/api/v1/nodes/{node['metadata']['name']}", {"spec": {"unschedulable": True}}, PATCH
        )
    pods = [pod["metadata"]["name"] for pod in member.items("/api/v1/namespaces/shop/pods")]
    for pod in pods[:2]:
        member.delete(f"/api/v1/namespaces/shop/pods/{pod}")
    eventually(lambda: targets(fleet, "shop", "web") == {full: 3, free: 2}, 30, "two replicas move")
    eventually(lambda: ((fleet.hub.get(path) or {}).get("status") or {}).get("readyReplicas") == 5, 20)
    events = fleet.kubectl("get", "events", "-n", "shop", "-o", "custom-columns=R:.reason").stdout
    assert "DescheduleBindingSucceed" in events
    assert "towline.io/descheduled" in binding(fleet, "shop", "web")["metadata"]["annotations"]


def test_a_remedy_shows_on_the_cluster(fleet: Fleet) -> None:
    match = {"conditionType": "Ready", "operator": "Equal", "conditionStatus": "True"}
    spec = {
        "clusterAffinity": {"clusterNames": ["m1"]}, "decisionMatches": [{"clusterConditionMatch": match}],
        "actions": ["TrafficControl"],
    }  # fmt: skip
    fleet.apply(
        {
            "apiVersion": "remedy.karmada.io/v1alpha1",
            "kind": "Remedy",
            "metadata": {"name": "r"},
            "spec": spec,
        }
    )

    def actions(name: str) -> list[str]:
        cluster = fleet.hub.get(f"/apis/cluster.karmada.io/v1alpha1/clusters/{name}") or {}
        found: list[str] = cluster["status"].get("remedyActions") or []
        return found

    eventually(lambda: actions("m1") == ["TrafficControl"], 10)
    assert actions("m2") == []
    fleet.kubectl("delete", "remedy", "r")
    eventually(lambda: actions("m1") == [], 10)
