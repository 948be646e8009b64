"""Clusters that fail, come back and are drained, with real processes and kubectl."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import real_members
from tests.e2e.harness import Fleet, eventually, running_fleet
from tests.e2e.objects import APPS, deployment, namespace, policy
from tests.e2e.readiness import Readiness
from tests.e2e.recording import Moves, Watching
from tests.e2e.test_journey import binding

pytestmark = pytest.mark.e2e

MEMBERS = ("m1", "m2", "m3")
HUB_FLAGS = (
    "--cluster-monitor-grace-seconds", "4", "--cluster-success-threshold-seconds", "0",
    "--cluster-failure-threshold-seconds", "1", "--resource-eviction-rate", "20",
)  # fmt: skip
AGENT_FLAGS = ("--cluster-status-update-seconds", "1")
ONE = [{"spreadByField": "cluster", "minGroups": 1, "maxGroups": 1}]
SOON = [
    {"key": f"cluster.karmada.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}
    for key in ("not-ready", "unreachable")
]


@pytest.fixture(scope="module", params=["sim", "real"])
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """m1 is behind a network that can be cut."""
    with running_fleet(
        tmp_path_factory.mktemp("failover"), members=MEMBERS, real_members=real_members(request),
        hub_flags=HUB_FLAGS, agent_flags=AGENT_FLAGS, cuttable=("m1",),
    ) as fleet:  # fmt: skip
        yield fleet


@pytest.fixture(scope="module")
def readiness(hub: Fleet) -> Iterator[Readiness]:
    with Readiness(hub) as controlled:
        yield controlled


def where(fleet: Fleet, space: str, name: str = "web") -> list[str]:
    path = f"{APPS}/{space}/deployments/{name}"
    return [member for member in MEMBERS if fleet.members[member].get(path) is not None]


def replicas(fleet: Fleet, space: str) -> dict[str, int]:
    """How many each member is to run, of those that have a copy."""
    copies = {name: fleet.members[name].get(f"{APPS}/{space}/deployments/web") for name in MEMBERS}
    return {name: copy["spec"]["replicas"] for name, copy in copies.items() if copy is not None}


def targets(fleet: Fleet, space: str) -> list[str]:
    return [row["name"] for row in (binding(fleet, space) or {})["spec"].get("clusters") or ()]


def tasks(found: dict[str, Any] | None) -> list[str]:
    """The clusters that a binding leaves."""
    return [row["fromCluster"] for row in (found or {})["spec"].get("gracefulEvictionTasks") or ()]


def healthy(found: dict[str, Any] | None) -> list[str]:
    entries = ((found or {}).get("status") or {}).get("aggregatedStatus") or ()
    return [entry["clusterName"] for entry in entries if entry.get("health") == "Healthy"]


def bindings(space: str) -> str:
    return f"/apis/work.karmada.io/v1alpha2/namespaces/{space}/resourcebindings"


def single(space: str, **spec: Any) -> dict[str, Any]:
    """One copy somewhere."""
    found = policy("web", space, list(MEMBERS), **spec)
    found["spec"]["placement"] = {"spreadConstraints": ONE, "clusterTolerations": SOON}
    return found


def gone(fleet: Fleet, *spaces: str) -> None:
    for space in spaces:
        fleet.kubectl("delete", "deploy", "web", "-n", space, "--timeout=20s")


def test_failover_restart_and_return(hub: Fleet, readiness: Readiness) -> None:
    space = "failover"
    hub.apply(namespace(space), single(space, failover={"cluster": {}}), deployment("web", space))
    (home,) = eventually(lambda: healthy(binding(hub, space)))
    readiness.hold(*set(MEMBERS) - {home})

    hub.agent(home).kill()
    eventually(lambda: tasks(binding(hub, space)) == [home], 20, f"{home} is left")
    (refuge,) = targets(hub, space)
    eventually(lambda: where(hub, space) == sorted((home, refuge)))
    config = str(hub.hub_data / "admin.kubeconfig")
    told = hub.towline("explain", "deploy/web", "-n", space, "--kubeconfig", config).stdout
    assert f"Moves       leaves {home} (grace until " in told

    # Events are written a moment later: what a hub that is killed has not written yet is lost.
    said = f"Evict from cluster {home} succeed."
    eventually(lambda: said in hub.kubectl("get", "events", "-n", space).stdout)
    before = (binding(hub, space) or {})["spec"]["gracefulEvictionTasks"]
    hub.processes["hub"].kill()
    hub.start_hub()
    eventually(lambda: b"towline_sessions 2.0" in hub.hub.request("GET", "/metrics", raw=True)[1])
    assert (binding(hub, space) or {})["spec"]["gracefulEvictionTasks"] == before, "it goes on where it was"
    with Watching(hub.hub, bindings(space)) as history:
        readiness.let_go(*set(MEMBERS) - {home})
        eventually(lambda: tasks(binding(hub, space)) == [], 20, "the task is over")
        eventually(lambda: tasks(history.states[-1].object) == [])
    first = next(state.object for state in history.states if not tasks(state.object))
    assert refuge in healthy(first), "not before the replacement was healthy"

    assert where(hub, space) == sorted((home, refuge)), "nobody could take the old copy away"
    hub.agent(home).start()
    eventually(lambda: where(hub, space) == [refuge], 20, f"{home} came back, and let go of its copy")
    eventually(
        lambda: (
            [row["clusterName"] for row in (binding(hub, space) or {})["status"]["aggregatedStatus"]]
            == [refuge]
        )
    )
    gone(hub, space)


HOME, ONCE = "home", "once"
FAILOVERS: dict[str, Any] = {
    HOME: {"failback": {"mode": "Return", "stabilizationSeconds": 1}},
    ONCE: {"purgeMode": "Directly", "stopAfterSeconds": 30},
}


def test_a_cluster_that_is_cut_off_and_comes_back(hub: Fleet, readiness: Readiness) -> None:
    """What may not run twice stops by itself and moves when that is certain; what is to return does."""
    eventually(lambda: all(hub.cluster_ready(name) for name in MEMBERS), 20)
    for space, rule in FAILOVERS.items():
        placed = single(space, failover={"cluster": rule})
        groups = [{"affinityName": name, "clusterNames": [name]} for name in ("m1", "m2")]
        placed["spec"]["placement"] = {"clusterAffinities": groups, "clusterTolerations": SOON}
        hub.apply(namespace(space), placed, deployment("web", space))
    count = deployment("web", HOME)["spec"]["replicas"]
    for space in FAILOVERS:
        eventually(lambda space=space: healthy(binding(hub, space)) == ["m1"])  # type: ignore[misc]

    hub.networks["m1"].cut()
    hub.agent("m1").kill()
    assert replicas(hub, ONCE) == {"m1": count}, "its time is not over"
    heard(hub, "m1", time.time() - FAILOVERS[ONCE]["stopAfterSeconds"])
    hub.agent("m1").start()
    eventually(lambda: replicas(hub, ONCE) == {"m1": 0}, 20, "the agent stopped it by itself")
    eventually(lambda: healthy(binding(hub, HOME)) == ["m1", "m2"], 20, "it failed over")
    assert replicas(hub, HOME)["m1"] == count, "what may run twice goes on"
    hub.agent("m1").kill()
    hub.agent("m1").start()
    by_hand = f"{APPS}/{HOME}/deployments/web"
    hub.members["m1"].merge(by_hand, {"spec": {"replicas": count + 1}})
    eventually(lambda: replicas(hub, HOME)["m1"] == count, 20, "another start of the agent enforces")
    assert replicas(hub, ONCE) == {"m1": 0}, "nor does it run again because of that, or elsewhere yet"

    with Moves(hub, "m1", "m2") as moves:
        hub.networks["m1"].mend()
        eventually(lambda: replicas(hub, ONCE) == {"m2": count}, 20, "the old copy is gone, the new one runs")
        eventually(lambda: replicas(hub, HOME) == {"m1": count}, 20, "it came home, and the other left")
        eventually(lambda: "towline.io/failback" not in (binding(hub, HOME) or {})["metadata"]["labels"])
        eventually(lambda: healthy(binding(hub, HOME)) == ["m1"])
        eventually(lambda: any(row[:2] == ("m2", f"{HOME}/web") for row in moves.left))
        eventually(lambda: any(row[:2] == ("m2", f"{ONCE}/web") for row in moves.came))
    (once,) = (row for row in moves.came if row.name == f"{ONCE}/web")
    assert not once.elsewhere, "not before the old copy was gone"
    for left in (row for row in moves.left if row.name == f"{HOME}/web"):
        assert list(left.elsewhere.values()) == [count], f"{left}: not before the other copy was ready"
    assert "Returns to cluster m1" in hub.kubectl("get", "events", "-n", HOME).stdout
    gone(hub, *FAILOVERS)


def heard(fleet: Fleet, member: str, when: float) -> None:
    """As if the agent of `member`, which does not run, had been heard last at `when`."""
    with contextlib.closing(sqlite3.connect(fleet.folder / f"agent-{member}" / "agent.db")) as kept, kept:
        kept.execute("INSERT OR REPLACE INTO meta VALUES ('heard_at', ?)", (repr(when),))


def test_drain(hub: Fleet, readiness: Readiness) -> None:
    eventually(lambda: all(hub.cluster_ready(name) for name in MEMBERS), 20)
    space, pinned = "draining", "pinned"
    hub.apply(namespace(space), single(space), deployment("web", space))
    (drained,) = eventually(lambda: healthy(binding(hub, space)))
    hub.apply(namespace(pinned), policy("web", pinned, [drained]), deployment("web", pinned))
    eventually(lambda: where(hub, pinned) == [drained])
    admin = ("--kubeconfig", str(hub.hub_data / "admin.kubeconfig"))

    with Moves(hub, drained) as moves:
        done = hub.towline("drain", drained, *admin, "--timeout", "60", check=False)
        eventually(lambda: moves.left)
    assert done.returncode == 1, done.stdout + done.stderr
    (moved_to,) = where(hub, space)
    assert moved_to != drained and where(hub, pinned) == [drained]
    (left,) = moves.left
    assert (left.name, left.elsewhere) == (f"{space}/web", {moved_to: 2}), "not before the new one was ready"
    assert f"Deployment {space}/web has moved to {moved_to}" in done.stdout
    assert f"Deployment {pinned}/web cannot move: 0/3 clusters are available: " in done.stderr
    assert "1 cannot move, 0 are on their way" in done.stderr
    assert {"towline.io/drain", "cluster.karmada.io/unschedulable"} <= taints(hub, drained)
    why = "{.status.conditions[?(@.type=='EvictionBlocked')].reason}"
    said = hub.kubectl("get", "rb", "web-deployment", "-n", pinned, "-o", f"jsonpath={why}").stdout
    assert said == "NowhereToGo"

    assert "eviction_queue_depth 0.0" in str(hub.hub.request("GET", "/metrics", raw=True)[1])
    gone(hub, pinned)
    done = hub.towline("drain", drained, *admin, "--timeout", "60")
    assert f"{drained} is drained." in done.stdout
    assert taints(hub, drained) == {"cluster.karmada.io/unschedulable"}
    hub.towline("uncordon", drained, *admin)
    assert taints(hub, drained) == set()
    unknown = hub.towline("drain", "m9", *admin, check=False)
    assert unknown.stderr.startswith("towline: There is no cluster 'm9'.")
    gone(hub, space)


def taints(fleet: Fleet, cluster: str) -> set[str]:
    shown = fleet.kubectl("get", "cluster", cluster, "-o", "jsonpath={.spec.taints[*].key}").stdout
    return set(shown.split())


def test_an_application_that_fails_moves(hub: Fleet, readiness: Readiness) -> None:
    eventually(lambda: all(hub.cluster_ready(name) for name in MEMBERS), 20)
    space = "application"
    failover = {"application": {"decisionConditions": {"tolerationSeconds": 2}}}
    rule = single(space, failover=failover, propagateDeps=True)
    hub.apply(namespace(space), rule, deployment("web", space))
    (failed,) = eventually(lambda: healthy(binding(hub, space)))
    with Moves(hub, failed) as moves, Watching(hub.hub, bindings(space)) as history:
        readiness.break_down(failed, space)
        eventually(lambda: len(where(hub, space)) == 1 and failed not in where(hub, space), 20, "it moved")
        eventually(lambda: moves.left)
    readiness.let_go(failed)
    (left,) = moves.left
    assert sum(left.elsewhere.values()) == 2, "not before the new one was ready"
    leaving = next(state.object for state in history.states if tasks(state.object) == [failed])
    (task,) = leaving["spec"]["gracefulEvictionTasks"]
    assert (task["reason"], task["gracePeriodSeconds"]) == ("ApplicationFailure", 600)
    gone(hub, space)
