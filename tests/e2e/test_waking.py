"""What fits nowhere waits, and goes in when something changes that helps; the more important first. Real processes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import ON_ANY_STORE
from tests.e2e.harness import MEMBERS, Fleet, condition, eventually
from tests.e2e.objects import deployment, policy
from tests.e2e.test_estimates import AGGREGATED, PATCH, asking, binding, counted, targets

pytestmark = [pytest.mark.e2e, ON_ANY_STORE]

CLUSTERS = "/apis/cluster.karmada.io/v1alpha1/clusters"


def where(label: str) -> dict[str, Any]:
    return {"clusterAffinity": {"labelSelector": {"matchLabels": {"site": label}}}}


def test_a_label_comes_a_taint_goes(fleet: Fleet, space: str) -> None:
    fleet.apply(policy("all", space, list(MEMBERS), placement=where(space)), deployment("web", space))
    eventually(lambda: condition(binding(fleet, space, "web"), "Scheduled") == "False")
    _, metrics = fleet.hub.request("GET", "/metrics", raw=True)
    assert 'scheduler_pending_bindings{queue="unschedulable"}' in str(metrics)
    try:
        shut = {"key": "shut", "effect": "NoSchedule"}
        fleet.hub.merge(f"{CLUSTERS}/member2", {"spec": {"taints": [shut]}})
        fleet.kubectl("label", "cluster", "member1", "member2", f"site={space}")
        eventually(lambda: targets(fleet, space, "web").keys() == {"member1"})
        fleet.hub.merge(f"{CLUSTERS}/member2", {"spec": {"taints": None}})
        eventually(lambda: targets(fleet, space, "web").keys() == {"member1", "member2"})
    finally:
        fleet.hub.merge(f"{CLUSTERS}/member2", {"spec": {"taints": None}})
        fleet.kubectl("label", "cluster", "member1", "member2", "site-")
    eventually(lambda: condition(binding(fleet, space, "web"), "Scheduled") == "False")


def test_the_more_important_gets_the_room_and_what_it_gives_up_goes_to_the_other(
    fleet: Fleet, space: str
) -> None:
    if fleet.real_members:
        pytest.skip("a bare kube-apiserver has no nodes")
    eventually(lambda: counted(fleet))
    member = fleet.members["member1"]
    label = {"metadata": {"labels": {"site": space}}}
    member.request("PATCH", "/api/v1/nodes/node-1", label, PATCH)  # it has 64 cores
    important = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": space},
        "value": 1000,
    }
    wish = {"priorityClassSource": "KubePriorityClass", "priorityClassName": space}
    rules: dict[str, dict[str, Any]] = {"low": {}, "high": {"schedulePriority": wish}}
    fleet.apply(important)
    for name, more in rules.items():
        rule = policy(name, space, placement={**AGGREGATED, **where(space)}, **more)
        rule["spec"]["resourceSelectors"] = [{"apiVersion": "apps/v1", "kind": "Deployment", "name": name}]
        fleet.apply(rule, asking(name, space, 40, nodeSelector={"site": space}))
        eventually(lambda name=name: condition(binding(fleet, space, name), "Scheduled") == "False")  # type: ignore[misc]
    try:
        fleet.kubectl("label", "cluster", "member1", f"site={space}")
        eventually(lambda: targets(fleet, space, "high") == {"member1": 40})
        unmet = "Clusters available replicas 24 are not enough"
        eventually(lambda: unmet in str(binding(fleet, space, "low")["status"]["conditions"]))
        assert targets(fleet, space, "low") == {}
        fleet.kubectl("delete", "deployment/high", "-n", space)
        eventually(lambda: targets(fleet, space, "low") == {"member1": 40})
    finally:
        fleet.kubectl("label", "cluster", "member1", "site-")
        fleet.kubectl("delete", "priorityclass", space)
