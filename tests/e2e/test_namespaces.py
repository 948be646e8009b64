"""Namespaces with real processes: only where they are needed, and never more taken away than was brought."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.harness import Fleet, eventually, running_fleet
from tests.e2e.objects import APPS, deployment, namespace, policy

pytestmark = pytest.mark.e2e

MEMBERS = ("member1", "member2")


def holders(fleet: Fleet, name: str) -> set[str]:
    return {member for member, api in fleet.members.items() if api.get(f"/api/v1/namespaces/{name}")}


def test_only_where_they_are_needed_and_what_was_there_stays(tmp_path: Path) -> None:
    flags = ("--namespace-sync", "needed")
    with running_fleet(tmp_path / "fleet", members=MEMBERS, hub_flags=flags) as fleet:
        fleet.members["member2"].request("POST", "/api/v1/namespaces", namespace("theirs"))
        fleet.apply(namespace("ours"), namespace("theirs"), namespace("unused"))
        for space in ("ours", "theirs"):
            fleet.apply(deployment("web", space), policy("web", space, ["member1"]))
        web = f"{APPS}/{{}}/deployments/web"
        eventually(lambda: all(fleet.members["member1"].get(web.format(s)) for s in ("ours", "theirs")))
        assert holders(fleet, "ours") == {"member1"}
        assert holders(fleet, "unused") == set()

        # It moves: the namespace follows, and where it has been it stays as long as the hub has it, also over a restart.
        fleet.apply(policy("web", "ours", ["member2"]), policy("web", "theirs", ["member2"]))
        eventually(lambda: all(fleet.members["member2"].get(web.format(s)) for s in ("ours", "theirs")))
        eventually(lambda: fleet.members["member1"].get(web.format("ours")) is None)
        fleet.processes["hub"].kill()
        fleet.processes["hub"].start()
        fleet.await_hub()
        eventually(lambda: all(fleet.cluster_ready(member) for member in MEMBERS), 60)
        assert holders(fleet, "ours") == set(MEMBERS)

        # Deleted on the hub: gone where the hub brought it, left where it was before.
        fleet.kubectl("delete", "namespace", "ours", "theirs", "--timeout=30s")
        eventually(lambda: holders(fleet, "ours") == set() and holders(fleet, "theirs") == {"member2"})
        assert fleet.members["member2"].get(web.format("theirs")) is None
