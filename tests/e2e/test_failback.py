"""A cluster whose network is cut and comes back, with real processes: what may not run twice stops by itself, what is to return does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import LONG
from tests.e2e.harness import Fleet, eventually
from tests.e2e.objects import APPS, deployment, namespace
from tests.e2e.proxy import Proxy
from tests.e2e.test_failover import SOON, single
from tests.e2e.test_journey import binding

pytestmark = pytest.mark.e2e

MEMBERS = ("m1", "m2")
GROUPS = [{"affinityName": name, "clusterNames": [name]} for name in MEMBERS]
HOME, ONCE = "home", "once"
FAILOVERS: dict[str, Any] = {
    HOME: {"failback": {"mode": "Return", "stabilizationSeconds": 3}},
    ONCE: {"purgeMode": "Directly", "stopAfterSeconds": 30},
}
LOST_SECONDS = 90


def replicas(fleet: Fleet, space: str) -> dict[str, int]:
    """How many each member is to run, of those that have a copy."""
    copies = {name: fleet.members[name].get(f"{APPS}/{space}/deployments/web") for name in MEMBERS}
    return {name: copy["spec"]["replicas"] for name, copy in copies.items() if copy is not None}


def healthy(fleet: Fleet, space: str) -> list[str]:
    entries = binding(fleet, space)["status"]["aggregatedStatus"]
    return [entry["clusterName"] for entry in entries if entry.get("health") == "Healthy"]


@LONG
def test_a_cluster_that_is_cut_off_and_comes_back(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "fleet", members=MEMBERS)
    proxy = Proxy(("127.0.0.1", fleet.gateway_port))
    try:
        fleet.folder.mkdir(parents=True)
        fleet.start_hub()
        for name in MEMBERS:
            fleet.start_member(name)
        for name in MEMBERS:
            fleet.connect_member(name)
        fleet.join("m1", "--gateway-address", f"127.0.0.1:{proxy.port}")
        fleet.join("m2")
        eventually(lambda: all(fleet.cluster_ready(m) for m in MEMBERS), 60)
        for space, rule in FAILOVERS.items():
            placed = single(space, failover={"cluster": rule})
            placed["spec"]["placement"] = {"clusterAffinities": GROUPS, "clusterTolerations": SOON}
            fleet.apply(namespace(space), placed, deployment("web", space))
        count = deployment("web", HOME)["spec"]["replicas"]
        for space in FAILOVERS:
            eventually(lambda space=space: replicas(fleet, space) == {"m1": count}, what=f"{space} is in m1")
            eventually(lambda space=space: healthy(fleet, space) == ["m1"])

        proxy.cut()
        eventually(lambda: replicas(fleet, ONCE) == {"m1": 0}, 60, "the agent stopped it by itself")
        assert replicas(fleet, HOME) == {"m1": count}, "what may run twice goes on"
        fleet.agent("m1").kill()
        fleet.agent("m1").start()
        eventually(lambda: healthy(fleet, HOME) == ["m1", "m2"], LOST_SECONDS, "it failed over")
        assert replicas(fleet, ONCE) == {"m1": 0}, (
            "nor does it run again because the agent does, or elsewhere yet"
        )

        proxy.mend()
        eventually(
            lambda: replicas(fleet, ONCE) == {"m2": count}, 60, "the old copy is gone, the new one runs"
        )
        eventually(lambda: replicas(fleet, HOME) == {"m1": count}, 90, "it came home, and the other left")
        eventually(lambda: "towline.io/failback" not in binding(fleet, HOME)["metadata"]["labels"])
        eventually(lambda: healthy(fleet, HOME) == ["m1"])
        assert "Returns to cluster m1" in fleet.kubectl("get", "events", "-n", HOME).stdout
    except BaseException:
        print(fleet.logs())
        raise
    finally:
        fleet.stop()
        proxy.close()
