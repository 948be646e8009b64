"""A hub that is restored from an old copy of its store takes nothing away from its members: real processes.

Between the copy and the loss it was started once: the restored hub's epoch would be the one that agents know."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import Fleet, condition, eventually, running_fleet
from tests.e2e.objects import configmap, namespace, policy

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

MEMBERS = ("member1", "member2")
SPACE = "restored"
OLD, NEW = 20, 500
CONFIGMAPS = f"/api/v1/namespaces/{SPACE}/configmaps"


def test_restored_from_an_old_copy(tmp_path: Path) -> None:
    with running_fleet(tmp_path / "fleet", members=MEMBERS) as fleet:
        fleet.apply(namespace(SPACE), policy("all", SPACE, None, "v1 ConfigMap"))
        create(fleet, 0, OLD)
        everywhere(fleet, OLD)
        copy = tmp_path / "copy"
        backup(fleet, copy)
        create(fleet, OLD, NEW)
        everywhere(fleet, NEW)
        before = {name: uids(fleet, name) for name in MEMBERS}

        fleet.processes["hub"].kill()
        shutil.rmtree(fleet.hub_data)
        shutil.copytree(copy, fleet.hub_data)
        fleet.processes["hub"].start()
        fleet.await_hub()
        assert len(fleet.hub.items(CONFIGMAPS)) == OLD
        for name in MEMBERS:
            eventually(partial(held, fleet, name), 60, "the breaker says what it holds back")
            row = held(fleet, name)
            assert row["reason"] == "EpochRegression" and str(NEW - OLD) in row["message"], row
            assert "towline release" in row["message"]
        fleet.hub.apply(f"{CONFIGMAPS}/conf-0", configmap("conf-0", SPACE, i="changed"))
        eventually(lambda: all(said(fleet, name) == "changed" for name in MEMBERS), 30, "it goes on working")
        assert {name: uids(fleet, name) for name in MEMBERS} == before, "nothing was deleted or made again"
        restart(fleet)
        eventually(
            lambda: all(held(fleet, name) for name in MEMBERS), 60, "it is still held after another start"
        )
        assert {name: uids(fleet, name) for name in MEMBERS} == before

        admin = ("--kubeconfig", str(fleet.hub_data / "admin.kubeconfig"))
        fleet.towline("release", *MEMBERS, *admin)
        everywhere(fleet, OLD)
        for name in MEMBERS:
            eventually(partial(let_go, fleet, name), 60, "nothing is held back any more")
        eventually(lambda: all(fleet.cluster_ready(name) for name in MEMBERS), 60)


def create(fleet: Fleet, start: int, stop: int) -> None:
    for i in range(start, stop):
        fleet.hub.request("POST", CONFIGMAPS, configmap(f"conf-{i}", SPACE, i=str(i)))


def uids(fleet: Fleet, member: str) -> dict[str, str]:
    """Of the managed objects in a member, by name."""
    items = fleet.members[member].items(f"{CONFIGMAPS}?labelSelector=karmada.io/managed=true")
    return {each["metadata"]["name"]: each["metadata"]["uid"] for each in items}


def everywhere(fleet: Fleet, count: int) -> None:
    eventually(lambda: all(len(uids(fleet, m)) == count for m in MEMBERS), 90, f"{count} objects")


def said(fleet: Fleet, member: str) -> str:
    return str((fleet.members[member].get(f"{CONFIGMAPS}/conf-0") or {})["data"]["i"])


def held(fleet: Fleet, member: str) -> dict[str, Any]:
    """The Cluster's condition on deletions that are held back, while it is true."""
    found = fleet.hub.get(f"/apis/cluster.karmada.io/v1alpha1/clusters/{member}")
    if found is None or condition(found, "DeletionsHeld") != "True":
        return {}
    return next(row for row in found["status"]["conditions"] if row["type"] == "DeletionsHeld")


def let_go(fleet: Fleet, member: str) -> bool:
    row = held(fleet, member)
    assert not row, row
    return True


def backup(fleet: Fleet, folder: Path) -> None:
    """A copy of everything that the hub keeps, made while it is down for a moment."""
    assert fleet.processes["hub"].stop() == 0
    shutil.copytree(fleet.hub_data, folder)
    fleet.processes["hub"].start()
    fleet.await_hub()


def restart(fleet: Fleet) -> None:
    assert fleet.processes["hub"].stop() == 0
    fleet.processes["hub"].start()
    fleet.await_hub()
