"""Kill things in the middle of a burst: every member must end up with exactly the desired set, and nothing else."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import MEMBERS, Fleet, condition, eventually, running_fleet
from tests.e2e.objects import APPS, configmap, deployment, namespace, policy
from tests.e2e.proxy import Proxy

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

SPACE = "burst"
COUNT = 200


@pytest.fixture(params=["sqlite", "etcd"])
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    with running_fleet(tmp_path / "fleet", store=request.param) as fleet:
        fleet.apply(namespace(SPACE), policy("all", SPACE, None, "v1 ConfigMap"))
        yield fleet


def names(fleet: Fleet, member: str) -> set[str]:
    """The managed ConfigMaps of the burst in `member`."""
    path = f"/api/v1/namespaces/{SPACE}/configmaps?labelSelector=karmada.io/managed=true"
    return {o["metadata"]["name"] for o in fleet.members[member].items(path)}


def burst(fleet: Fleet, start: int, stop: int) -> set[str]:
    """Applies conf-<start>…conf-<stop> to the hub; answers the names that the hub acknowledged."""
    done = set()
    for i in range(start, stop):
        name = f"conf-{i}"
        fleet.hub.apply(f"/api/v1/namespaces/{SPACE}/configmaps/{name}", configmap(name, SPACE, i=str(i)))
        done.add(name)
    return done


def converged(
    fleet: Fleet, wanted: set[str], members: tuple[str, ...] = MEMBERS, timeout_seconds: float = 60
) -> None:
    eventually(
        lambda: all(names(fleet, m) == wanted for m in members), timeout_seconds,
        f"{len(wanted)} objects in {members}",
    )  # fmt: skip


def restart_hub(fleet: Fleet) -> None:
    fleet.processes["hub"].start()
    fleet.await_hub()


@pytest.mark.parametrize("victim", ["hub", "agent", "etcd"])
def test_kill_in_the_middle_of_a_burst(fleet: Fleet, victim: str) -> None:
    if victim == "etcd" and fleet.store != "etcd":
        pytest.skip("this hub keeps its objects in sqlite: there is no etcd to kill")
    wanted = burst(fleet, 0, COUNT // 2)
    process = fleet.agent("member2") if victim == "agent" else fleet.processes[victim]
    process.kill()
    if victim == "agent":
        wanted |= burst(fleet, COUNT // 2, COUNT)
        process.start()
    elif victim == "hub":
        restart_hub(fleet)
        wanted |= burst(fleet, COUNT // 2, COUNT)
    else:
        process.start()
        eventually(lambda: burst(fleet, COUNT // 2, COUNT // 2 + 1), 30, "the hub writes again")
        wanted |= burst(fleet, COUNT // 2, COUNT)
    stored = {o["metadata"]["name"] for o in fleet.hub.items(f"/api/v1/namespaces/{SPACE}/configmaps")}
    assert wanted <= stored, "an acknowledged write was lost"
    converged(fleet, wanted)


def test_removals_survive_kills(fleet: Fleet) -> None:
    """Half is deleted while an agent is down and the hub dies: nothing is orphaned, nothing else is touched."""
    wanted = burst(fleet, 0, 60)
    converged(fleet, wanted)
    foreign = configmap("foreign", SPACE)
    fleet.members["member1"].request("POST", f"/api/v1/namespaces/{SPACE}/configmaps", foreign)
    fleet.agent("member1").kill()
    for i in range(0, 60, 2):
        fleet.hub.request("DELETE", f"/api/v1/namespaces/{SPACE}/configmaps/conf-{i}")
        wanted.discard(f"conf-{i}")
    converged(fleet, wanted, ("member2", "member3"))
    fleet.processes["hub"].kill()
    restart_hub(fleet)
    assert len(names(fleet, "member1")) == 60, "nobody serves member1 now"
    fleet.agent("member1").start()
    converged(fleet, wanted)
    eventually(
        lambda: (
            {o["metadata"]["name"] for o in fleet.hub.items(f"/api/v1/namespaces/{SPACE}/configmaps")}
            == wanted
        ),
        what="the templates are gone once member1 acknowledged",
    )
    assert fleet.members["member1"].get(f"/api/v1/namespaces/{SPACE}/configmaps/foreign") is not None


def test_deselected_while_offline(fleet: Fleet) -> None:
    wanted = burst(fleet, 0, 10)
    converged(fleet, wanted)
    fleet.agent("member3").kill()
    fleet.apply(policy("all", SPACE, ["member1", "member2"], "v1 ConfigMap"))
    eventually(
        lambda: all(
            {t["name"] for t in b["spec"]["clusters"]} == {"member1", "member2"}
            for b in fleet.hub.items(f"/apis/work.karmada.io/v1alpha2/namespaces/{SPACE}/resourcebindings")
        )
    )
    assert names(fleet, "member3") == wanted
    fleet.agent("member3").start()
    converged(fleet, set(), ("member3",))
    converged(fleet, wanted, ("member1", "member2"))


def test_agents_enforce_without_the_hub(fleet: Fleet) -> None:
    """Hub gone, an agent restarted meanwhile: drift is still put back, and nothing is deleted."""
    wanted = burst(fleet, 0, 10)
    converged(fleet, wanted)
    fleet.processes["hub"].kill()
    fleet.agent("member2").kill()
    fleet.agent("member2").start()
    for name in ("member1", "member2"):
        path = f"/api/v1/namespaces/{SPACE}/configmaps"
        fleet.members[name].delete(f"{path}/conf-1")
        fleet.members[name].merge(f"{path}/conf-2", {"data": {"i": "changed"}})
    for name in ("member1", "member2"):
        eventually(lambda name=name: names(fleet, name) == wanted, what=f"{name} put the deleted one back")
        eventually(
            lambda name=name: (
                (fleet.members[name].get(f"/api/v1/namespaces/{SPACE}/configmaps/conf-2") or {})["data"]
                == {"i": "2"}
            ),
            what=f"{name} put the changed one back",
        )
    restart_hub(fleet)
    eventually(lambda: all(fleet.cluster_ready(m) for m in MEMBERS), 60)
    converged(fleet, wanted)


def test_cut_off_for_the_whole_burst(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "fleet", members=("member1", "member2"))
    proxy = Proxy(("127.0.0.1", fleet.gateway_port))
    try:
        fleet.folder.mkdir(parents=True)
        fleet.start_hub()
        for name in fleet.member_names:
            fleet.start_member(name)
        for name in fleet.member_names:
            fleet.connect_member(name)
        fleet.join("member1")
        fleet.join("member2", "--gateway-address", f"127.0.0.1:{proxy.port}")
        eventually(lambda: all(fleet.cluster_ready(m) for m in fleet.member_names), 60)
        fleet.apply(namespace(SPACE), policy("all", SPACE, None, "v1 ConfigMap"))
        wanted = burst(fleet, 0, 20)
        converged(fleet, wanted, fleet.member_names)
        proxy.cut()
        wanted |= burst(fleet, 20, COUNT)
        for i in range(0, 20, 2):
            fleet.hub.request("DELETE", f"/api/v1/namespaces/{SPACE}/configmaps/conf-{i}")
            wanted.discard(f"conf-{i}")
        converged(fleet, wanted, ("member1",))
        assert len(names(fleet, "member2")) == 20
        proxy.mend()
        converged(fleet, wanted, fleet.member_names)
    finally:
        fleet.stop()
        proxy.close()


def test_random_kills_during_two_bursts(fleet: Fleet) -> None:
    """Hub and agents die at seeded random moments while Deployments come and go."""
    seed = int.from_bytes(fleet.store.encode()[:4], "big")
    rng = random.Random(seed)
    print(f"seed {seed}")
    fleet.apply(policy("web", SPACE))
    for round_ in range(3):
        fleet.apply(*[deployment(f"web-{i}", SPACE, replicas=1 + round_) for i in range(round_ * 10, 40)])
        time.sleep(rng.random() * 0.3)  # the random moment
        for victim in rng.sample(["hub", "agent-member1", "agent-member2", "agent-member3"], 2):
            fleet.processes[victim].kill()
            if victim == "hub":
                restart_hub(fleet)
            else:
                fleet.processes[victim].start()
        if round_:
            fleet.kubectl(
                "delete", "deployments", "-n", SPACE, "--wait=false",
                *[f"web-{i}" for i in range((round_ - 1) * 10, round_ * 10)],
            )  # fmt: skip
    wanted = {f"web-{i}": 3 for i in range(20, 40)}

    def exact() -> bool:
        return all(
            {
                o["metadata"]["name"]: o["spec"]["replicas"]
                for o in fleet.members[m].items(f"{APPS}/{SPACE}/deployments")
            }
            == wanted
            for m in MEMBERS
        )

    eventually(exact, 60, "exactly the desired Deployments everywhere")
    eventually(
        lambda: all(
            condition(b, "FullyApplied") == "True"
            for b in fleet.hub.items(f"/apis/work.karmada.io/v1alpha2/namespaces/{SPACE}/resourcebindings")
        ),
        what="every binding is fully applied",
    )
