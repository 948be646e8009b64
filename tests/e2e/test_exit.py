"""Clusters that leave, with real processes: reachable or not, by `towline unjoin` or kubectl; and agents that come back later."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import real_members
from tests.e2e.harness import Fleet, condition, eventually, running_fleet
from tests.e2e.objects import configmap, namespace, policy
from tests.e2e.pod import join_pod

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

STAYING, REMOVED, KEPT, LOST, DELETED = "m1", "m2", "m3", "m4", "m5"
GRACE = ("--cluster-monitor-grace-seconds", "4")
CLUSTERS = "/apis/cluster.karmada.io/v1alpha1/clusters"
SETTINGS = "/api/v1/namespaces/shop/configmaps/settings"
BINDING = "/apis/work.karmada.io/v1alpha2/namespaces/shop/resourcebindings/settings-configmap"


@pytest.fixture(scope="module", params=["sim", "real"])
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    members = (STAYING, REMOVED, KEPT, LOST, DELETED)
    with running_fleet(
        tmp_path_factory.mktemp("exit"), members=members, real_members=real_members(request),
        hub_flags=GRACE,
    ) as fleet:  # fmt: skip
        fleet.apply(
            namespace("shop"), policy("all", "shop", None, "v1 ConfigMap"), configmap("settings", "shop")
        )
        eventually(lambda: all(held(fleet, name) for name in members), 30, "every member has its copy")
        fleet.agent(DELETED).kill()
        yield fleet


def held(fleet: Fleet, member: str) -> bool:
    return fleet.members[member].get(SETTINGS) is not None


def managed(fleet: Fleet, member: str) -> bool:
    found = fleet.members[member].get(SETTINGS) or {}
    return (found["metadata"].get("labels") or {}).get("karmada.io/managed") == "true"


def targets(fleet: Fleet) -> set[str]:
    binding = fleet.hub.get(BINDING) or {}
    observed = (binding.get("status") or {}).get("aggregatedStatus") or []
    return {each["name"] for each in binding["spec"]["clusters"]} | {each["clusterName"] for each in observed}


def unjoin(fleet: Fleet, name: str, *flags: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return fleet.towline(
        "unjoin", name, "--kubeconfig", str(fleet.hub_data / "admin.kubeconfig"), *flags, check=check
    )


def await_end(fleet: Fleet, name: str) -> None:
    """The agent ends by itself, and says why."""
    agent = fleet.agent(name)
    eventually(lambda: not agent.alive(), 20, f"the agent of {name} ends")
    assert agent.running is not None and agent.running.returncode == 0
    assert f"cluster {name} is detached and nothing is left to do" in agent.tail()


def test_a_reachable_cluster_is_emptied(fleet: Fleet) -> None:
    assert "would lose" in unjoin(fleet, REMOVED, "--dry-run").stdout
    assert held(fleet, REMOVED)
    done = unjoin(fleet, REMOVED)
    assert done.stdout == f"Cluster {REMOVED} is detached.\n"
    assert fleet.hub.get(f"{CLUSTERS}/{REMOVED}") is None
    assert not held(fleet, REMOVED)
    assert fleet.members[REMOVED].get("/api/v1/namespaces/shop") is not None, "namespaces are let go of"
    await_end(fleet, REMOVED)


def test_a_reachable_cluster_keeps_its_workloads(fleet: Fleet) -> None:
    unjoin(fleet, KEPT, "--keep-workloads")
    assert held(fleet, KEPT) and not managed(fleet, KEPT)
    await_end(fleet, KEPT)
    assert held(fleet, KEPT)


def test_an_unreachable_cluster_is_refused_forced_and_comes_back(fleet: Fleet) -> None:
    path = f"{CLUSTERS}/{LOST}"
    fleet.agent(LOST).kill()
    refused = unjoin(fleet, LOST, check=False)  # nobody knows yet whether it is lost, or only starts again
    assert f"Waiting: the agent of cluster {LOST} is not connected" in refused.stderr
    assert refused.returncode == 1 and "cannot be reached" in refused.stderr
    assert f"`towline unjoin {LOST} --force`" in refused.stderr
    assert "deletionTimestamp" not in (fleet.hub.get(path) or {})["metadata"]
    done = unjoin(fleet, LOST, "--force")
    assert "Should its agent come back it is told to remove what was propagated." in done.stdout
    assert fleet.hub.get(path) is None and held(fleet, LOST)
    eventually(lambda: LOST not in targets(fleet), 10, "nothing is placed there")
    lose_disk(fleet, LOST)
    fleet.agent(LOST).start()
    eventually(lambda: not held(fleet, LOST), 30, "the agent that came back removes")
    await_end(fleet, LOST)


def test_kubectl_delete_cluster_waits_with_a_word_and_can_be_forced(fleet: Fleet) -> None:
    path = f"{CLUSTERS}/{DELETED}"
    eventually(lambda: condition(fleet.hub.get(path), "Ready") == "Unknown", 60, "the cluster counts as lost")
    fleet.kubectl("delete", "cluster", DELETED, "--wait=false")
    eventually(lambda: condition(fleet.hub.get(path), "Detaching") == "True", 10, "it says that it waits")
    told = fleet.kubectl("describe", "cluster", DELETED).stdout
    assert "AgentUnreachable" in told and "towline.io/exit-force=true" in told
    eventually(lambda: targets(fleet) <= {STAYING, DELETED}, 10, "others are placed anew")
    refused = fleet.kubectl("annotate", "cluster", DELETED, "towline.io/exit-workloads=keep", check=False)
    assert refused.returncode == 1 and 'supported values: "Keep", "Remove"' in refused.stderr
    fleet.kubectl(
        "annotate", "cluster", DELETED, "towline.io/exit-workloads=Keep", "towline.io/exit-force=true"
    )
    eventually(lambda: fleet.hub.get(path) is None, 10, "the forced deletion ends")
    fleet.processes["hub"].kill()
    fleet.processes["hub"].start()
    fleet.await_hub()
    fleet.agent(DELETED).start()
    await_end(fleet, DELETED)
    assert held(fleet, DELETED) and not managed(fleet, DELETED)
    assert held(fleet, STAYING) and managed(fleet, STAYING)


def test_who_left_may_join_again(fleet: Fleet) -> None:
    fleet.join(KEPT)
    eventually(lambda: fleet.cluster_ready(KEPT), 30, "it is a member again")
    eventually(lambda: KEPT in targets(fleet), 20, "it is placed on again")


def test_kubectl_delete_cluster_empties_a_reachable_one(fleet: Fleet) -> None:
    assert managed(fleet, STAYING)
    fleet.kubectl("delete", "cluster", STAYING, "--timeout=30s")
    assert fleet.hub.get(f"{CLUSTERS}/{STAYING}") is None and not held(fleet, STAYING)
    await_end(fleet, STAYING)


@pytest.mark.parametrize(
    "limits", [(), ("--scope", "namespaces=shop", "--kinds", "configmaps")], ids=["all rights", "few rights"]
)
def test_an_agent_is_asked_to_remove_itself_from_a_real_cluster(
    tmp_path: Path, limits: tuple[str, ...]
) -> None:
    """As the ServiceAccount that `towline join` installed may; with few rights also after its pod and its disk were lost."""
    if not os.environ.get("KUBEBUILDER_ASSETS"):
        pytest.skip("KUBEBUILDER_ASSETS is not set: no real kube-apiserver to run against")
    with running_fleet(tmp_path, members=(), hub_flags=GRACE) as fleet:
        agent = join_pod(fleet, "m1", *limits)
        fleet.apply(
            namespace("shop"), policy("all", "shop", None, "v1 ConfigMap"), configmap("settings", "shop")
        )
        eventually(lambda: held(fleet, "m1"), 30)
        if limits:
            lose_disk(fleet, "m1")
            assert "cannot be reached" in unjoin(fleet, "m1", check=False).stderr
            unjoin(fleet, "m1", "--remove-agent", "--force")
            agent.start()
            eventually(lambda: not held(fleet, "m1"), 30, "the agent that came back looks where it may")
        else:
            unjoin(fleet, "m1", "--remove-agent")
        member = fleet.members["m1"]
        space = member.get("/api/v1/namespaces/towline-system") or {}
        assert not held(fleet, "m1") and agent.alive()
        eventually(lambda: going(fleet, "m1"), 20, "the namespace of the agent is deleted")
        owner = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "name": "towline-system",
            "uid": space["metadata"]["uid"],
        }
        roles = ("namespaces/shop/roles", "namespaces/shop/rolebindings") if limits else ()
        for kind in ("clusterroles", "clusterrolebindings", *roles):
            found = member.get(f"/apis/rbac.authorization.k8s.io/v1/{kind}/towline-agent") or {}
            assert found["metadata"]["ownerReferences"] == [owner], "the garbage collector takes it along"


def lose_disk(fleet: Fleet, name: str) -> None:
    """As of a pod that was rescheduled: its agent knows who it is, and nothing else."""
    fleet.agent(name).kill()
    for file in (fleet.folder / f"agent-{name}").glob("agent.db*"):
        file.unlink()


def going(fleet: Fleet, member: str) -> bool:
    found = fleet.members[member].get("/api/v1/namespaces/towline-system") or {}
    return "deletionTimestamp" in found["metadata"]
