"""Who is who, with real processes: tokens, a rotation of the authority, revocation, and agents with few rights."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import TOWLINE, Fleet, eventually, running_fleet
from tests.e2e.objects import APPS, WORK, configmap, deployment, namespace, policy
from tests.e2e.pod import join_pod
from tests.ports import free_port
from towline.cli.join import REMOVE_ROLES

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(tmp_path_factory.mktemp("identity"), members=("member1", "member2")) as fleet:
        fleet.apply(namespace("shop"), deployment("web", "shop"), policy("web", "shop"))
        eventually(lambda: holds(fleet, "member1", "web") and holds(fleet, "member2", "web"))
        yield fleet


def holds(fleet: Fleet, member: str, name: str) -> bool:
    return fleet.members[member].get(f"{APPS}/shop/deployments/{name}") is not None


def admin(fleet: Fleet, *args: str, check: bool = True) -> str:
    done = fleet.towline(*args, "--kubeconfig", str(fleet.hub_data / "admin.kubeconfig"), check=check)
    return done.stdout + done.stderr


def cluster(fleet: Fleet, name: str) -> dict[str, Any]:
    items: list[dict[str, Any]] = json.loads(admin(fleet, "clusters", "-o", "json"))
    return next(item for item in items if item["name"] == name)


def test_tokens_are_listed_and_revoked(small: Fleet) -> None:
    admin(small, "join", "later", "--token-only")
    listed = admin(small, "token", "list")
    assert [line.split() for line in listed.splitlines() if line.startswith("later")] == [
        ["later", "in", "59m", "no"]
    ]
    assert "member1" in listed and "yes" in listed
    assert "is revoked" in admin(small, "token", "revoke", "later")
    assert "later" not in admin(small, "token", "list")
    assert "There is no join token" in admin(small, "token", "revoke", "later", check=False)


def test_what_the_store_keeps_of_identities_is_not_served(small: Fleet) -> None:
    for resource in ("authorities", "authorities/hub", "jointokens", "agents", "revocations", "members"):
        for version in ("v1", "v1alpha1"):
            assert small.hub.get(f"/apis/towline.io/{version}/{resource}") is None, resource
    assert "PRIVATE KEY" not in json.dumps(small.hub.request("GET", "/towline/v1/authorities"))


def test_a_rotation_that_restarts_survive(small: Fleet) -> None:
    """The hub is killed in the middle; nobody loses its session for long, and Works go on."""
    old = small.hub
    before = cluster(small, "member1")["certificateEnds"]
    assert "learn to trust both" in admin(small, "ca", "rotate")
    hub = small.processes["hub"]
    hub.kill()
    hub.start()
    small.await_hub()

    def renewed() -> bool:
        known = old.request("GET", "/towline/v1/authorities")
        return known["stage"] == "Renewing" and not known["waiting"]

    eventually(renewed, 40, "all agents have certificates of the new authority")
    assert cluster(small, "member1")["certificateEnds"] >= before
    hub.kill()
    hub.start()
    small.await_hub()
    eventually(lambda: cluster(small, "member1")["connected"] and cluster(small, "member2")["connected"], 40)
    said = admin(small, "ca", "rotate", "--finish")
    assert "replaced" not in said
    old.close()
    small._hub_api = None  # whoever copied the old kubeconfig has to copy it again
    small.apply(deployment("after", "shop"))
    small.apply(policy("after", "shop"))
    eventually(lambda: holds(small, "member1", "after") and holds(small, "member2", "after"))
    small.agent("member1").stop()
    small.agent("member1").start()
    eventually(lambda: cluster(small, "member1")["connected"], 20)


def test_revocation_ends_the_session_and_a_new_token_brings_the_cluster_back(small: Fleet) -> None:
    eventually(lambda: cluster(small, "member2")["connected"])
    key = (small.folder / "agent-member2" / "identity.json").read_bytes()
    assert "revoked" in admin(small, "revoke", "member2")
    eventually(lambda: "does not want this cluster" in small.agent("member2").log.read_text(), 5)
    hub = small.processes["hub"]
    hub.kill()
    hub.start()
    small.await_hub()
    small.agent("member2").stop()
    small.agent("member2").start()
    eventually(lambda: "were revoked" in small.agent("member2").tail(3))
    told = cluster(small, "member2")
    assert (told["connected"], told["revoked"]) == (False, True)
    assert holds(small, "member2", "web"), "what it had been asked for stays in force"
    small.give_token("member2", small.new_token("member2"))
    eventually(lambda: cluster(small, "member2")["connected"], 30, "it takes the new token by itself")
    eventually(lambda: not cluster(small, "member2")["revoked"])
    assert (small.folder / "agent-member2" / "identity.json").read_bytes() != key
    assert "member2" in admin(small, "clusters")


def test_an_agent_with_few_rights(tmp_path: Path) -> None:
    """In a real kube-apiserver with RBAC: exactly what `towline join` printed, and a sentence for the rest."""
    if not os.environ.get("KUBEBUILDER_ASSETS"):
        pytest.skip("KUBEBUILDER_ASSETS is not set: no real kube-apiserver to run against")
    with running_fleet(tmp_path, members=()) as fleet:
        limits = ("--scope", "namespaces=team-a", "--kinds", "deployments.apps,configmaps")
        agent = join_pod(fleet, "member1", *limits)
        for space in ("team-a", "team-b"):
            fleet.apply(namespace(space), deployment("web", space), configmap("conf", space))
            fleet.apply(policy("all", space, None, "apps/v1 Deployment", "v1 ConfigMap"))
        member = fleet.members["member1"]
        path = f"{APPS}/team-a/deployments/web"
        eventually(lambda: member.get(path))
        status = {"status": {"replicas": 2, "readyReplicas": 2, "observedGeneration": 1}}
        member.request("PATCH", f"{path}/status", status, "application/merge-patch+json")
        eventually(
            lambda: (fleet.hub.get(path) or {})["status"].get("readyReplicas") == 2, 20, "status is watched"
        )
        works = f"{WORK}/v1alpha1/namespaces/karmada-es-member1/works"
        refused = "does not allow the namespace team-b"
        eventually(lambda: refused in json.dumps(fleet.hub.items(works)), 20)
        assert member.get(f"{APPS}/team-b/deployments/web") is None
        fleet.kubectl("delete", "deployment/web", "-n", "team-a", "--wait=false")
        fleet.kubectl("delete", "deployment/web", "-n", "team-b", "--wait=false")
        eventually(lambda: member.get(path) is None, 20)
        eventually(
            lambda: fleet.hub.get(f"{APPS}/team-b/deployments/web") is None, 20, "nothing of it is left there"
        )
        refusals = [line for line in agent.log.read_text().splitlines() if "forbidden" in line]
        assert all("cannot be counted" in line for line in refusals), (
            refusals
        )  # its room is all that it cannot tell
        joins = fleet.towline(
            "join", "member1", "--scope", "namespaces=team-b", "--kubeconfig", str(fleet.hub_data / "admin.kubeconfig")
        )  # fmt: skip
        fleet.kubectl(*REMOVE_ROLES.split()[1:], member="member1")
        fleet.kubectl("apply", "-f", "-", stdin=joins.stdout, member="member1")
        assert REMOVE_ROLES in joins.stderr
        for kind in ("roles", "rolebindings"):
            found = member.items(f"/apis/rbac.authorization.k8s.io/v1/{kind}")
            ours = {
                obj["metadata"]["namespace"] for obj in found if obj["metadata"]["name"] == "towline-agent"
            }
            assert ours == {"team-b", "towline-system"}, "a narrower scope leaves no rights behind"


def test_two_hubs_on_one_etcd_are_one_authority(tmp_path: Path) -> None:
    """A revocation at one closes the session at the other; a rotation begun at one goes through both."""
    with running_fleet(tmp_path, store="etcd", members=("member1",)) as fleet:
        second = tmp_path / "hub2"
        fleet.spawn(
            "hub2",
            [
                *TOWLINE, "hub", "--data-dir", str(second), "--store", f"etcd://{fleet.etcd_url.removeprefix('http://')}",
                "--api-address", f"127.0.0.1:{free_port()}", "--gateway-address", f"127.0.0.1:{free_port()}",
            ],
        )  # fmt: skip
        eventually((second / "admin.kubeconfig").exists)

        def there(*args: str) -> str:
            done = fleet.towline(*args, "--kubeconfig", str(second / "admin.kubeconfig"), check=False)
            return done.stdout + done.stderr

        eventually(lambda: "member1" in there("clusters"))
        told = json.loads(there("clusters", "-o", "json"))[0]
        assert (told["connected"], told["certificateEnds"] > 0) == (True, True), (
            "its session is at the other hub"
        )
        assert there("ca", "status") == admin(fleet, "ca", "status")
        assert "It is being replaced" in there("ca", "rotate")
        eventually(lambda: "The new one signs" in admin(fleet, "ca", "status"), 30)
        eventually(lambda: "Nobody keeps it waiting" in there("ca", "status"), 30)
        assert "Authority" in admin(fleet, "ca", "rotate", "--finish")
        eventually(
            lambda: "being replaced" not in there("ca", "status"),
            10,
            "the other hub's kubeconfig is new, too",
        )
        assert "are revoked" in there("revoke", "member1")
        eventually(lambda: "were revoked" in fleet.agent("member1").log.read_text(), 5)
        eventually(lambda: json.loads(there("clusters", "-o", "json"))[0]["revoked"], 5)
