"""Clusters that fail, come back and are drained, with real processes and kubectl."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import LONG
from tests.e2e.harness import Fleet, eventually, running_fleet
from tests.e2e.objects import APPS, deployment, namespace, policy
from tests.e2e.test_journey import binding

pytestmark = pytest.mark.e2e

MEMBERS = ("m1", "m2", "m3")
ONE = [{"spreadByField": "cluster", "minGroups": 1, "maxGroups": 1}]
SOON = [
    {"key": f"cluster.karmada.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}
    for key in ("not-ready", "unreachable")
]
READY_SECONDS = "6"
"""How long a copy takes to become healthy: long enough to restart a hub."""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    flags = ("--resource-eviction-rate", "20")
    slow = ("--ready-seconds", READY_SECONDS)
    folder = tmp_path_factory.mktemp("failover")
    with running_fleet(folder, members=MEMBERS, hub_flags=flags, sim_flags=slow) as fleet:
        yield fleet


def where(fleet: Fleet, space: str, name: str = "web") -> list[str]:
    path = f"{APPS}/{space}/deployments/{name}"
    return [member for member in MEMBERS if fleet.members[member].get(path) is not None]


def targets(fleet: Fleet, space: str) -> list[str]:
    return [row["name"] for row in (binding(fleet, space) or {})["spec"].get("clusters") or ()]


def tasks(fleet: Fleet, space: str) -> list[str]:
    rows = (binding(fleet, space) or {})["spec"].get("gracefulEvictionTasks") or ()
    return [row["fromCluster"] for row in rows]


def single(space: str, **spec: Any) -> dict[str, Any]:
    """One copy somewhere."""
    found = policy("web", space, list(MEMBERS), **spec)
    found["spec"]["placement"] = {"spreadConstraints": ONE, "clusterTolerations": SOON}
    return found


@LONG
def test_failover_restart_and_return(hub: Fleet) -> None:
    space = "failover"
    hub.apply(namespace(space), single(space, failover={"cluster": {}}), deployment("web", space))
    eventually(lambda: where(hub, space) == ["m1"])
    eventually(lambda: binding(hub, space)["status"]["aggregatedStatus"][0]["health"] == "Healthy")

    hub.agent("m1").kill()
    eventually(lambda: targets(hub, space) == ["m2"] and tasks(hub, space) == ["m1"], 90, "m1 is left")
    eventually(lambda: where(hub, space) == ["m1", "m2"])

    # Events are written a moment later: what a hub that is killed has not written yet is lost.
    eventually(lambda: "Evict from cluster m1 succeed." in hub.kubectl("get", "events", "-n", space).stdout)
    assert tasks(hub, space) == ["m1"], "the replacement is not healthy yet"
    hub.processes["hub"].kill()
    hub.start_hub()
    assert tasks(hub, space) == ["m1"]
    eventually(lambda: tasks(hub, space) == [], 30, "the replacement is healthy")
    entry = {row["clusterName"]: row for row in binding(hub, space)["status"]["aggregatedStatus"]}["m2"]
    assert entry["health"] == "Healthy"

    assert where(hub, space) == ["m1", "m2"], "nobody could take the old copy away"
    hub.agent("m1").start()
    eventually(lambda: where(hub, space) == ["m2"], 30, "m1 came back, and let go of its copy")
    eventually(
        lambda: [row["clusterName"] for row in binding(hub, space)["status"]["aggregatedStatus"]] == ["m2"]
    )
    hub.kubectl("delete", "deploy", "web", "-n", space, "--timeout=20s")


def test_drain(hub: Fleet) -> None:
    eventually(lambda: all(hub.cluster_ready(name) for name in MEMBERS), 60)
    space, pinned = "draining", "pinned"
    hub.apply(namespace(space), single(space), deployment("web", space))
    (drained,) = eventually(lambda: where(hub, space))
    hub.apply(namespace(pinned), policy("web", pinned, [drained]), deployment("web", pinned))
    eventually(lambda: where(hub, pinned) == [drained])
    admin = ("--kubeconfig", str(hub.hub_data / "admin.kubeconfig"))

    done = hub.towline("drain", drained, *admin, "--timeout", "60", check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    (moved_to,) = where(hub, space)
    assert moved_to != drained and where(hub, pinned) == [drained]
    assert f"Deployment {space}/web has moved to {moved_to}" in done.stdout
    assert f"Deployment {pinned}/web cannot move: 0/3 clusters are available: " in done.stderr
    assert "1 cannot move, 0 are on their way" in done.stderr
    assert {"towline.io/drain", "cluster.karmada.io/unschedulable"} <= taints(hub, drained)
    why = "{.status.conditions[?(@.type=='EvictionBlocked')].reason}"
    said = hub.kubectl("get", "rb", "web-deployment", "-n", pinned, "-o", f"jsonpath={why}").stdout
    assert said == "NowhereToGo"

    assert "eviction_queue_depth 0.0" in str(hub.hub.request("GET", "/metrics", raw=True)[1])
    hub.kubectl("delete", "deploy", "web", "-n", pinned, "--timeout=20s")
    done = hub.towline("drain", drained, *admin, "--timeout", "60")
    assert f"{drained} is drained." in done.stdout
    assert taints(hub, drained) == {"cluster.karmada.io/unschedulable"}
    hub.towline("uncordon", drained, *admin)
    assert taints(hub, drained) == set()
    unknown = hub.towline("drain", "m9", *admin, check=False)
    assert unknown.stderr.startswith("towline: There is no cluster 'm9'.")


def taints(fleet: Fleet, cluster: str) -> set[str]:
    shown = fleet.kubectl("get", "cluster", cluster, "-o", "jsonpath={.spec.taints[*].key}").stdout
    return set(shown.split())


@LONG
def test_an_application_that_fails_moves(hub: Fleet) -> None:
    space = "application"
    failover = {"application": {"decisionConditions": {"tolerationSeconds": 8}}}
    rule = single(space, failover=failover, propagateDeps=True)
    hub.apply(namespace(space), rule, deployment("web", space))
    eventually(lambda: binding(hub, space)["status"]["aggregatedStatus"][0]["health"] == "Healthy")
    (failed,) = where(hub, space)
    hub.kubectl("annotate", "deploy", "web", "-n", space, "sim.towline.io/fail=true", member=failed)
    hub.kubectl("delete", "pods", "-n", space, "--all", "--wait=false", member=failed)
    eventually(lambda: tasks(hub, space) == [failed])
    task = binding(hub, space)["spec"]["gracefulEvictionTasks"][0]
    assert (task["reason"], task["gracePeriodSeconds"]) == ("ApplicationFailure", 600)
    eventually(lambda: tasks(hub, space) == [] and where(hub, space) != [failed])
    eventually(lambda: len(where(hub, space)) == 1, 30, "the failed copy is gone")
    hub.kubectl("delete", "deploy", "web", "-n", space, "--timeout=20s")
