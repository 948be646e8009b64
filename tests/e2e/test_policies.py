"""The life of policies with a real hub, agents and kubectl: preemption, what waits, deletion, and the rebalancer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.harness import Fleet, eventually, running_fleet
from tests.e2e.objects import APPS, deployment, namespace, policy
from tests.e2e.test_journey import binding

pytestmark = pytest.mark.e2e

MEMBERS = ("m1", "m2")
NAMED = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(tmp_path_factory.mktemp("hub"), members=MEMBERS) as fleet:
        yield fleet


@pytest.fixture
def space(hub: Fleet, request: pytest.FixtureRequest) -> str:
    name: str = request.node.originalname.removeprefix("test_").replace("_", "-")[:30].strip("-")
    hub.apply(namespace(name))
    return name


def where(fleet: Fleet, space: str) -> set[str]:
    path = f"{APPS}/{space}/deployments/web"
    return {name for name in MEMBERS if fleet.members[name].get(path) is not None}


def owner(fleet: Fleet, space: str) -> str | None:
    template = fleet.hub.get(f"{APPS}/{space}/deployments/web") or {"metadata": {}}
    found = template["metadata"].get("annotations", {}).get("propagationpolicy.karmada.io/name")
    return None if found is None else str(found)


def events(fleet: Fleet, space: str) -> str:
    return fleet.kubectl("get", "events", "-n", space, "-o", "custom-columns=R:.reason,M:.message").stdout


def test_preemption(hub: Fleet, space: str) -> None:
    hub.apply(deployment("web", space), policy("all", space, ["m1"], priority=1))
    eventually(lambda: where(hub, space) == {"m1"})
    mine = policy("mine", space, ["m2"], resourceSelectors=[NAMED], priority=2, preemption="Always")
    refused = hub.kubectl("apply", "-f", "-", stdin=json.dumps({**mine, "spec": {**mine["spec"], "resourceSelectors": [{k: v for k, v in NAMED.items() if k != "name"}]}}), check=False)  # fmt: skip
    assert "spec.resourceSelectors[0].name" in refused.stderr
    hub.apply(mine)
    eventually(lambda: where(hub, space) == {"m2"})
    assert owner(hub, space) == "mine"
    text = f"Propagation policy({space}/mine) preempted propagation policy({space}/all) successfully"
    eventually(lambda: text in events(hub, space))


def test_a_policy_waits_for_its_override(hub: Fleet, space: str) -> None:
    hub.apply(deployment("web", space), policy("web", space, ["m1"]))
    eventually(lambda: where(hub, space) == {"m1"})
    hub.apply(policy("web", space, ["m2"], dependentOverrides=["later"]))

    def blocked() -> bool:
        rows = (binding(hub, space) or {})["status"]["conditions"]
        return any(
            row["type"] == "PolicyBlocked" and "OverridePolicy later not found" in row["message"]
            for row in rows
        )

    eventually(blocked)
    assert where(hub, space) == {"m1"}
    override = {
        "apiVersion": "policy.karmada.io/v1alpha1",
        "kind": "OverridePolicy",
        "metadata": {"name": "later", "namespace": space},
        "spec": {"resourceSelectors": [{**NAMED, "name": "other"}], "overrideRules": [{"overriders": {}}]},
    }
    hub.apply(override)
    eventually(lambda: where(hub, space) == {"m2"})
    eventually(lambda: not blocked())


@pytest.mark.parametrize("what", ["Keep", "Remove"])
def test_deleting_a_policy(hub: Fleet, space: str, what: str) -> None:
    hub.apply(deployment("web", space), policy("web", space, ["m1"], onPolicyDelete=what))
    eventually(lambda: where(hub, space) == {"m1"})
    hub.kubectl("delete", "pp", "web", "-n", space, "--timeout=20s")
    eventually(lambda: owner(hub, space) is None)
    if what == "Remove":
        eventually(lambda: where(hub, space) == set() and binding(hub, space) is None)
        assert hub.hub.get(f"{APPS}/{space}/deployments/web") is not None
        return
    assert where(hub, space) == {"m1"} and binding(hub, space) is not None
    hub.apply(policy("next", space, ["m2"]))
    eventually(lambda: where(hub, space) == {"m2"})
    hub.kubectl("delete", "deploy", "web", "-n", space, "--timeout=20s")
    hub.kubectl("delete", "pp", "next", "-n", space, "--timeout=20s")


def test_what_is_preserved_stays_where_a_cluster_is_left(hub: Fleet, space: str) -> None:
    hub.apply(deployment("web", space), policy("web", space, ["m1"]))
    eventually(lambda: where(hub, space) == {"m1"})
    hub.apply(policy("web", space, ["m2"], preserveResourcesOnDeletion=True))
    eventually(lambda: where(hub, space) == {"m1", "m2"})

    def let_go() -> bool:
        entries = (binding(hub, space) or {})["status"]["aggregatedStatus"]
        return [entry["clusterName"] for entry in entries] == ["m2"]

    eventually(let_go, what="m1 answered")
    kept = hub.members["m1"].get(f"{APPS}/{space}/deployments/web") or {}
    assert "karmada.io/managed" not in kept["metadata"].get("labels", {})


def test_rebalancing(hub: Fleet, space: str) -> None:
    hub.apply(deployment("web", space), policy("web", space))
    eventually(lambda: where(hub, space) == set(MEMBERS))
    before = (binding(hub, space) or {})["status"]["lastScheduledTime"]
    workloads = [{**NAMED, "namespace": space}, {**NAMED, "namespace": space, "name": "gone"}]
    applied = hub.kubectl("apply", "-f", "-", stdin=json.dumps(rebalancer("fresh", workloads)))
    assert "does not act on it" not in applied.stderr

    def done() -> dict[str, Any]:
        found = hub.hub.get("/apis/apps.karmada.io/v1alpha1/workloadrebalancers/fresh") or {}
        return found["status"] if found["status"].get("finishTime") else {}

    results = eventually(done)["observedWorkloads"]
    assert [(row["result"], row.get("reason")) for row in results] == [
        ("Successful", None),
        ("Failed", "ReferencedBindingNotFound"),
    ]
    eventually(lambda: (binding(hub, space) or {})["status"]["lastScheduledTime"] > before)
    hub.apply(rebalancer("fleeting", workloads, ttlSecondsAfterFinished=0))
    path = "/apis/apps.karmada.io/v1alpha1/workloadrebalancers/fleeting"
    eventually(lambda: hub.hub.get(path) is None)


def rebalancer(name: str, workloads: list[dict[str, Any]], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps.karmada.io/v1alpha1",
        "kind": "WorkloadRebalancer",
        "metadata": {"name": name},
        "spec": {"workloads": workloads, **spec},
    }
