"""Agents that die and come back, a hub that doubts itself, and what operators say about clusters: real processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.harness import Fleet, condition, eventually, running_fleet
from tests.e2e.objects import configmap, namespace, policy
from towline.kube.names import TAINT_NOT_READY, TAINT_UNREACHABLE, TAINT_UNSCHEDULABLE

pytestmark = pytest.mark.e2e

MEMBERS = ("m1", "m2", "m3")
FLAGS = (
    "--cluster-monitor-grace-seconds", "4",
    "--cluster-success-threshold-seconds", "1",
    "--cluster-failure-threshold-seconds", "1",
)  # fmt: skip
UNREACHABLE, LOST = f"{TAINT_UNREACHABLE}:NoSchedule", "lost:NoExecute"
EVICT = {
    "apiVersion": "policy.karmada.io/v1alpha1",
    "kind": "ClusterTaintPolicy",
    "metadata": {"name": "evict"},
    "spec": {
        "targetClusters": {"clusterNames": ["m2", "m3"]},
        "addOnConditions": [{"conditionType": "Ready", "operator": "In", "statusValues": ["Unknown"]}],
        "removeOnConditions": [{"conditionType": "Ready", "operator": "In", "statusValues": ["True"]}],
        "taints": [{"key": "lost", "effect": "NoExecute"}],
    },
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    often = ("--cluster-status-update-seconds", "1")
    folder = tmp_path_factory.mktemp("hub")
    with running_fleet(folder, members=MEMBERS, hub_flags=FLAGS, agent_flags=often) as fleet:
        applied = fleet.kubectl("apply", "-f", "-", stdin=json.dumps(EVICT))
        assert "Warning" not in applied.stderr, "it is acted on"
        fleet.apply(namespace("shop"), policy("all", "shop", list(MEMBERS), "v1 ConfigMap"))
        yield fleet


def cluster(fleet: Fleet, name: str) -> Any:
    return fleet.hub.get(f"/apis/cluster.karmada.io/v1alpha1/clusters/{name}")


def taints(fleet: Fleet, name: str) -> set[str]:
    found = cluster(fleet, name)["spec"].get("taints") or ()
    assert all("timeAdded" in taint for taint in found if taint["effect"] == "NoExecute")
    return {f"{taint['key']}:{taint['effect']}" for taint in found}


def where(fleet: Fleet, name: str) -> set[str]:
    path = f"/api/v1/namespaces/shop/configmaps/{name}"
    return {member for member in MEMBERS if fleet.members[member].get(path) is not None}


def cli(fleet: Fleet, *words: str, check: bool = True) -> Any:
    return fleet.towline(*words, "--kubeconfig", str(fleet.hub_data / "admin.kubeconfig"), check=check)


def test_an_agent_dies_and_comes_back(hub: Fleet) -> None:
    fleet = hub
    fleet.apply(configmap("before", "shop"))
    eventually(lambda: where(fleet, "before") == set(MEMBERS))
    fleet.agent("m3").kill()
    eventually(lambda: condition(cluster(fleet, "m3"), "Ready") == "Unknown", 20)
    eventually(lambda: taints(fleet, "m3") == {UNREACHABLE, LOST})
    assert "Unknown" in fleet.kubectl("get", "cluster", "m3").stdout
    fleet.apply(configmap("meanwhile", "shop"))
    eventually(lambda: where(fleet, "meanwhile") == {"m1", "m2"})
    assert where(fleet, "before") == set(MEMBERS), "what is there stays: nothing evicts without being asked"
    described = eventually(lambda: fleet.kubectl("describe", "cluster", "m3").stdout)
    assert "TaintClusterSucceed" in described and f"Taint cluster succeed: cluster now has taints([{{Key:{TAINT_UNREACHABLE},Effect:NoSchedule}}])." in described  # fmt: skip
    fleet.agent("m3").start()
    eventually(lambda: condition(cluster(fleet, "m3"), "Ready") == "True" and taints(fleet, "m3") == set())
    eventually(lambda: where(fleet, "meanwhile") == set(MEMBERS), what="new work lands again")


def test_a_member_dies_and_comes_back_without_anything(hub: Fleet) -> None:
    fleet = hub
    fleet.apply(configmap("kept", "shop"))
    eventually(lambda: where(fleet, "kept") == set(MEMBERS))
    fleet.processes["m1"].kill()
    eventually(lambda: taints(fleet, "m1") == {f"{TAINT_NOT_READY}:NoSchedule"})
    (ready,) = (row for row in cluster(fleet, "m1")["status"]["conditions"] if row["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ClusterNotReachable")
    fleet.processes["m1"].start()
    eventually(lambda: condition(cluster(fleet, "m1"), "Ready") == "True" and taints(fleet, "m1") == set())
    eventually(
        lambda: where(fleet, "kept") == set(MEMBERS), 60, "a simulated member forgets all when it dies"
    )


def test_a_hub_that_loses_most_of_its_agents_doubts_itself(hub: Fleet) -> None:
    fleet = hub
    for name in ("m2", "m3"):
        fleet.agent(name).kill()
    for name in ("m2", "m3"):
        eventually(lambda name=name: condition(cluster(fleet, name), "EvictionsHeld") == "True", 20)  # type: ignore[misc]
        assert taints(fleet, name) == {UNREACHABLE}
    fleet.processes["hub"].kill()
    fleet.processes["hub"].start()
    fleet.await_hub()
    eventually(lambda: condition(cluster(fleet, "m1"), "Ready") == "True" and taints(fleet, "m1") == set())
    assert taints(fleet, "m2") == taints(fleet, "m3") == {UNREACHABLE}, "a restart forgets no doubt"
    assert cli(fleet, "release", "m2", "--evictions").stdout == "Held evictions of m2 are released.\n"
    eventually(lambda: taints(fleet, "m2") == {UNREACHABLE, LOST})
    assert taints(fleet, "m3") == {UNREACHABLE}
    for name in ("m2", "m3"):
        fleet.agent(name).start()
    for name in ("m2", "m3"):
        eventually(lambda name=name: taints(fleet, name) == set())  # type: ignore[misc]
        eventually(lambda name=name: condition(cluster(fleet, name), "EvictionsHeld") == "False")  # type: ignore[misc]


def test_cordon_keeps_new_work_away_and_uncordon_brings_it(hub: Fleet) -> None:
    fleet = hub
    assert cli(fleet, "cordon", "m1", "m2").stdout == "cluster/m1 cordoned\ncluster/m2 cordoned\n"
    assert taints(fleet, "m1") == {f"{TAINT_UNSCHEDULABLE}:NoSchedule"}
    fleet.apply(configmap("cordoned", "shop"))
    eventually(lambda: where(fleet, "cordoned") == {"m3"})
    assert cli(fleet, "cordon", "-l", "name=m1").stdout == "cluster/m1 already cordoned\n"
    assert cli(fleet, "uncordon", "--all").stdout.splitlines() == [
        "cluster/m1 uncordoned",
        "cluster/m2 uncordoned",
        "cluster/m3 already uncordoned",
    ]
    eventually(lambda: where(fleet, "cordoned") == set(MEMBERS))


def test_taints_as_kubectl_writes_them(hub: Fleet) -> None:
    """The same words to kubectl about a member's node and to towline about its cluster get the same answers. (Not compared: taints named
    twice, which kubectl tells as Go structures.)"""
    fleet = hub
    node = fleet.members["m1"].items("/api/v1/nodes")[0]["metadata"]["name"]
    for words in (
        ["gpu=a:NoSchedule"],
        ["gpu=b:NoSchedule"],
        ["gpu=b:NoSchedule", "--overwrite"],
        ["gpu:PreferNoSchedule", "gpu:NoSchedule-"],
        ["gpu:NoSchedule-"],
        ["gpu=c:PreferNoSchedule", "more:NoExecute", "--overwrite"],
        ["gpu-", "more:NoExecute-"],
        ["gpu-"],
        ["gpu"],
        ["gpu:Evict"],
    ):
        theirs = fleet.kubectl("taint", "nodes", node, *words, member="m1", check=False)
        ours = fleet.command("taint", "m1", *words)
        expected = theirs.stdout.replace(f"node/{node}", "cluster/m1")
        assert ours.stdout == expected, words
        told = theirs.stderr.removeprefix("error: ").strip().replace(f"node {node}", "cluster m1")
        assert told.partition("\n")[0].removesuffix(".") in ours.stderr, words
        assert bool(ours.returncode) == bool(theirs.returncode), words
    assert taints(fleet, "m1") == set()
    assert TAINT_NOT_READY not in str(cluster(fleet, "m1")["spec"])
