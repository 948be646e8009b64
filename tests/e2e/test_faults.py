"""Kill things in the middle of a burst: every member must end up with exactly the desired set, and nothing else."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterator

import pytest

from tests.e2e.harness import MEMBERS, Fleet, condition, eventually, running_fleet
from tests.e2e.objects import APPS, configmap, deployment, namespace, policy

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

LONG_RUN = bool(os.environ.get("TOWLINE_LONG"))
COUNT = 200 if LONG_RUN else 100


@pytest.fixture(scope="module", params=["sqlite", "etcd"])
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Every test leaves all of it running. member2 is behind a network that can be cut."""
    folder = tmp_path_factory.mktemp("faults") / "fleet"
    with running_fleet(folder, store=request.param, cuttable=("member2",)) as fleet:
        yield fleet


ON_SQLITE = pytest.mark.parametrize(
    "fleet", ["sqlite", *(["etcd"] if LONG_RUN else [])], indirect=True, scope="module"
)
"""For what does not depend on the store: TOWLINE_LONG=1 runs it on etcd too."""


@pytest.fixture
def space(fleet: Fleet, request: pytest.FixtureRequest) -> str:
    """A namespace whose ConfigMaps go everywhere."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_")).strip("-")
    fleet.apply(namespace(name), policy("all", name, None, "v1 ConfigMap"))
    return name


def names(fleet: Fleet, space: str, member: str) -> set[str]:
    """The managed ConfigMaps of the burst in `member`."""
    path = f"/api/v1/namespaces/{space}/configmaps?labelSelector=karmada.io/managed=true"
    return {o["metadata"]["name"] for o in fleet.members[member].items(path)}


def burst(fleet: Fleet, space: str, start: int, stop: int) -> set[str]:
    """Applies conf-<start>…conf-<stop> to the hub; answers the names that the hub acknowledged."""
    done = set()
    for i in range(start, stop):
        name = f"conf-{i}"
        fleet.hub.apply(f"/api/v1/namespaces/{space}/configmaps/{name}", configmap(name, space, i=str(i)))
        done.add(name)
    return done


def converged(
    fleet: Fleet,
    space: str,
    wanted: set[str],
    members: tuple[str, ...] = MEMBERS,
    timeout_seconds: float = 60,
) -> None:
    eventually(
        lambda: all(names(fleet, space, m) == wanted for m in members), timeout_seconds,
        f"{len(wanted)} objects in {members}",
    )  # fmt: skip


def restart_hub(fleet: Fleet) -> None:
    fleet.processes["hub"].start()
    fleet.await_hub()


@pytest.mark.parametrize(
    ("fleet", "victim"),
    [("sqlite", "hub"), ("sqlite", "agent"), ("etcd", "hub"), ("etcd", "etcd"), *([("etcd", "agent")] if LONG_RUN else [])],
    indirect=["fleet"], scope="module",
)  # fmt: skip
def test_kill_in_the_middle_of_a_burst(fleet: Fleet, space: str, victim: str) -> None:
    wanted = burst(fleet, space, 0, COUNT // 2)
    process = fleet.agent("member2") if victim == "agent" else fleet.processes[victim]
    process.kill()
    if victim == "agent":
        wanted |= burst(fleet, space, COUNT // 2, COUNT)
        process.start()
    elif victim == "hub":
        restart_hub(fleet)
        wanted |= burst(fleet, space, COUNT // 2, COUNT)
    else:
        process.start()
        eventually(lambda: burst(fleet, space, COUNT // 2, COUNT // 2 + 1), 30, "the hub writes again")
        wanted |= burst(fleet, space, COUNT // 2, COUNT)
    stored = {o["metadata"]["name"] for o in fleet.hub.items(f"/api/v1/namespaces/{space}/configmaps")}
    assert wanted <= stored, "an acknowledged write was lost"
    converged(fleet, space, wanted)


@ON_SQLITE
def test_removals_survive_kills(fleet: Fleet, space: str) -> None:
    """Half is deleted while an agent is down and the hub dies: nothing is orphaned, nothing else is touched."""
    wanted = burst(fleet, space, 0, 60)
    converged(fleet, space, wanted)
    foreign = configmap("foreign", space)
    fleet.members["member1"].request("POST", f"/api/v1/namespaces/{space}/configmaps", foreign)
    fleet.agent("member1").kill()
    for i in range(0, 60, 2):
        fleet.hub.request("DELETE", f"/api/v1/namespaces/{space}/configmaps/conf-{i}")
        wanted.discard(f"conf-{i}")
    converged(fleet, space, wanted, ("member2", "member3"))
    fleet.processes["hub"].kill()
    restart_hub(fleet)
    assert len(names(fleet, space, "member1")) == 60, "nobody serves member1 now"
    fleet.agent("member1").start()
    converged(fleet, space, wanted)
    eventually(
        lambda: (
            {o["metadata"]["name"] for o in fleet.hub.items(f"/api/v1/namespaces/{space}/configmaps")}
            == wanted
        ),
        what="the templates are gone once member1 acknowledged",
    )
    assert fleet.members["member1"].get(f"/api/v1/namespaces/{space}/configmaps/foreign") is not None


@ON_SQLITE
def test_deselected_while_offline(fleet: Fleet, space: str) -> None:
    wanted = burst(fleet, space, 0, 10)
    converged(fleet, space, wanted)
    fleet.agent("member3").kill()
    fleet.apply(policy("all", space, ["member1", "member2"], "v1 ConfigMap"))
    eventually(
        lambda: all(
            {t["name"] for t in b["spec"]["clusters"]} == {"member1", "member2"}
            for b in fleet.hub.items(f"/apis/work.karmada.io/v1alpha2/namespaces/{space}/resourcebindings")
        )
    )
    assert names(fleet, space, "member3") == wanted
    fleet.agent("member3").start()
    converged(fleet, space, set(), ("member3",))
    converged(fleet, space, wanted, ("member1", "member2"))


@ON_SQLITE
def test_agents_enforce_without_the_hub(fleet: Fleet, space: str) -> None:
    """Hub gone, an agent restarted meanwhile: drift is still put back, and nothing is deleted."""
    wanted = burst(fleet, space, 0, 10)
    converged(fleet, space, wanted)
    fleet.processes["hub"].kill()
    fleet.agent("member2").kill()
    fleet.agent("member2").start()
    for name in ("member1", "member2"):
        path = f"/api/v1/namespaces/{space}/configmaps"
        fleet.members[name].delete(f"{path}/conf-1")
        fleet.members[name].merge(f"{path}/conf-2", {"data": {"i": "changed"}})
    for name in ("member1", "member2"):
        eventually(
            lambda name=name: names(fleet, space, name) == wanted,  # type: ignore[misc]
            what=f"{name} put the deleted one back",
        )
        eventually(
            lambda name=name: (  # type: ignore[misc]
                (fleet.members[name].get(f"/api/v1/namespaces/{space}/configmaps/conf-2") or {})["data"]
                == {"i": "2"}
            ),
            what=f"{name} put the changed one back",
        )
    restart_hub(fleet)
    eventually(lambda: all(fleet.cluster_ready(m) for m in MEMBERS), 60)
    converged(fleet, space, wanted)


@ON_SQLITE
def test_cut_off_for_the_whole_burst(fleet: Fleet, space: str) -> None:
    wanted = burst(fleet, space, 0, 20)
    converged(fleet, space, wanted)
    fleet.networks["member2"].cut()
    wanted |= burst(fleet, space, 20, COUNT)
    for i in range(0, 20, 2):
        fleet.hub.request("DELETE", f"/api/v1/namespaces/{space}/configmaps/conf-{i}")
        wanted.discard(f"conf-{i}")
    converged(fleet, space, wanted, ("member1", "member3"))
    assert len(names(fleet, space, "member2")) == 20
    fleet.networks["member2"].mend()
    converged(fleet, space, wanted)


def test_random_kills_during_two_bursts(fleet: Fleet, space: str) -> None:
    """Hub and agents die at seeded random moments while Deployments come and go."""
    seed = int.from_bytes(fleet.store.encode()[:4], "big")
    rng = random.Random(seed)
    print(f"seed {seed}")
    fleet.apply(policy("web", space))
    for round_ in range(3):
        fleet.apply(*[deployment(f"web-{i}", space, replicas=1 + round_) for i in range(round_ * 8, 24)])
        time.sleep(rng.random() * 0.3)  # the random moment
        for victim in rng.sample(["hub", "agent-member1", "agent-member2", "agent-member3"], 2):
            fleet.processes[victim].kill()
            if victim == "hub":
                restart_hub(fleet)
            else:
                fleet.processes[victim].start()
        if round_:
            fleet.kubectl(
                "delete", "deployments", "-n", space, "--wait=false",
                *[f"web-{i}" for i in range((round_ - 1) * 8, round_ * 8)],
            )  # fmt: skip
    wanted = {f"web-{i}": 3 for i in range(16, 24)}

    def exact() -> bool:
        return all(
            {
                o["metadata"]["name"]: o["spec"]["replicas"]
                for o in fleet.members[m].items(f"{APPS}/{space}/deployments")
            }
            == wanted
            for m in MEMBERS
        )

    eventually(exact, 60, "exactly the desired Deployments everywhere")
    eventually(
        lambda: all(
            condition(b, "FullyApplied") == "True"
            for b in fleet.hub.items(f"/apis/work.karmada.io/v1alpha2/namespaces/{space}/resourcebindings")
        ),
        what="every binding is fully applied",
    )
