"""A member dies and comes back while Deployments are created and scaled: real processes, and the members' own word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import real_members
from tests.e2e.harness import Fleet, eventually, running_fleet
from tests.e2e.objects import divided, namespace, policy
from tests.e2e.readiness import Readiness
from tests.e2e.recording import Moves, Watching
from tests.e2e.test_failover import AGENT_FLAGS, HUB_FLAGS, SOON, tasks
from tests.e2e.underload import BINDINGS, Load, held, name_of, said
from towline.hub.decide.conditions import epoch
from towline.kube.names import FAILBACK
from towline.kube.objects import labels_of

pytestmark = pytest.mark.e2e

LOST, OTHERS = "m1", ("m2", "m3")
MEMBERS = (LOST, *OTHERS)
RATE = 5
"""Evictions a second."""
AT_A_TIME = 2
RETURN = {"failback": {"mode": "Return", "stabilizationSeconds": 1, "maxConcurrent": AT_A_TIME}}
PREFERRED = {
    "clusterAffinities": [
        {"affinityName": "first", "clusterNames": [LOST]},
        {"affinityName": "then", "clusterNames": list(OTHERS)},
    ],
    "spreadConstraints": [{"spreadByField": "cluster", "minGroups": 1, "maxGroups": 1}],
    "clusterTolerations": SOON,
}
EVENLY = {**divided(m1=1, m2=1, m3=1), "clusterTolerations": SOON}
SPACES: dict[str, dict[str, Any]] = {
    "home": {"placement": PREFERRED, "failover": {"cluster": RETURN}},
    "settled": {"placement": PREFERRED, "failover": {"cluster": {}}},
    "shared": {"placement": EVENLY, "failover": {"cluster": RETURN}},
    "pinned": {"placement": {"clusterAffinity": {"clusterNames": [LOST]}, "clusterTolerations": SOON}, "failover": {"cluster": {}}},
    "everywhere": {},
}  # fmt: skip
"""Policies by namespace: those that move and come home, that move and stay, that are divided, that may not move, that are in all."""
COUNTS = {"home": 7, "settled": 7, "shared": 5, "pinned": 3, "everywhere": 8}
CREATED, SCALED = ("settled", "shared", "everywhere"), ("home", "settled", "pinned", "everywhere")
"""What happens meanwhile. What is divided by weights keeps its replicas: with fewer, a cluster may have less to come home to."""


@pytest.fixture(params=["sim", "real"])
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(
        tmp_path_factory.mktemp("load"), members=MEMBERS, real_members=real_members(request),
        hub_flags=(*HUB_FLAGS, "--resource-eviction-rate", str(RATE)), agent_flags=AGENT_FLAGS,
        sim_flags=("--store", "sqlite"),
    ) as fleet:  # fmt: skip
        yield fleet


def test_failover_and_return_under_load(fleet: Fleet) -> None:
    for space, spec in SPACES.items():
        fleet.apply(namespace(space), policy("web", space, **spec))
    load = Load(fleet, CREATED, SCALED, seed=5)
    for space, count in COUNTS.items():
        for number in range(count):
            load.create(space, f"web-{number}", 3)
    first = {each for each in load.wanted if each[0] != "everywhere"}
    eventually(lambda: first <= held(fleet)[LOST].keys(), 30, f"all are in {LOST}")
    moved, pinned = (
        {each for each in first if each[0] != "pinned"},
        {each for each in first if each[0] == "pinned"},
    )
    server = fleet.processes[f"apiserver-{LOST}" if fleet.real_members else LOST]
    with (
        Readiness(fleet) as readiness,
        Watching(fleet.hub, BINDINGS) as bindings,
        Moves(fleet, *OTHERS) as moves,
        load,
    ):
        fleet.agent(LOST).kill()
        server.kill()
        eventually(
            lambda: not moved & there(fleet, bindings), 30, f"nothing that may move is to be in {LOST}"
        )
        eventually(lambda: not any(map(tasks, bindings.now)), 30, "nothing is on its way")
        assert evicted_within(bindings) >= len(moved) / RATE - 2, "evictions obey their rate"
        alive = held(fleet, *OTHERS)
        assert moved <= alive[OTHERS[0]].keys() | alive[OTHERS[1]].keys(), "each has a replacement"
        assert pinned <= there(fleet, bindings), "what may be nowhere else stays"

        server.start()
        eventually(lambda: fleet.members[LOST].request("GET", "/readyz", raw=True)[0] == 200)
        readiness.hold(LOST)
        fleet.agent(LOST).start()
        eventually(lambda: at_once(bindings) == AT_A_TIME, 40, "the first set out")
        eventually(lambda: not any(map(still_there, bindings.now)), 20, "no old copy keeps the others away")
        so_far = len(bindings.states)
        eventually(lambda: len(bindings.states) > so_far + 50, what="the hub has decided more since")
        assert at_once(bindings) == AT_A_TIME, "the others wait until these have arrived"
        readiness.let_go(LOST)
        returning = {each for each in moved if each[0] != "settled"}
        eventually(lambda: returning <= there(fleet, bindings), 60, "who is to return is back")
        eventually(lambda: not waiting(bindings, returning), 60, "all have arrived")
    assert load.failed is None and len(load.wanted) > len(first) + 10, "there was load"

    eventually(
        lambda: held(fleet) == said(fleet, fleet.hub.items(BINDINGS)),
        30,
        "members hold what the bindings say",
    )
    templates = {
        name_of(item): item["spec"]["replicas"] for item in fleet.hub.items("/apis/apps/v1/deployments")
    }
    assert templates == load.wanted, "nothing that was acknowledged is lost"
    assert not (moved - returning) & held(fleet)[LOST].keys(), "who is to stay stays"
    assert at_once(bindings) == AT_A_TIME, "so many come home at a time"
    assert len(moves.left) >= COUNTS["home"]
    for left in moves.left:
        assert any(left.elsewhere.values()), f"{left}: not before another copy is ready"
    assert all(fleet.cluster_ready(name) for name in MEMBERS)


def there(fleet: Fleet, bindings: Watching) -> set[tuple[str, str]]:
    """What is to be in the cluster that is lost, and comes back."""
    return set(said(fleet, bindings.now)[LOST])


def still_there(binding: dict[str, Any]) -> bool:
    """It waits for its return, and its old copy was not removed yet."""
    entries = binding["status"].get("aggregatedStatus") or ()
    return labels_of(binding).get(FAILBACK) == "waiting" and any(
        row["clusterName"] == LOST for row in entries
    )


def waiting(bindings: Watching, names: set[tuple[str, str]]) -> list[str]:
    """Those of these that are not at rest, and why. Raises AssertionError with them."""
    found = [
        f"{name_of(item)}: {labels_of(item).get(FAILBACK)}, leaves {tasks(item)}, {item['spec'].get('clusters')}, "
        f"{[row['message'] for row in item['status']['conditions'] if row['type'] == 'FailbackBlocked']}"
        for item in bindings.now
        if (item["spec"]["resource"]["namespace"], item["spec"]["resource"]["name"]) in names
        and (tasks(item) or FAILBACK in labels_of(item))
    ]
    assert not found, found
    return found


def evicted_within(history: Watching) -> float:
    """Seconds between the first and the last eviction."""
    made = [
        epoch(task["creationTimestamp"]) or 0.0
        for state in history.states
        for task in state.object["spec"].get("gracefulEvictionTasks") or ()
        if task["reason"] == "TaintUntolerated"
    ]
    return max(made) - min(made)


def at_once(history: Watching) -> int:
    """How many bindings came home at a time at most."""
    returning: set[tuple[str, str]] = set()
    most = 0
    for state in list(history.states):
        is_returning = labels_of(state.object).get(FAILBACK) == "returning"
        (returning.add if is_returning else returning.discard)(name_of(state.object))
        most = max(most, len(returning))
    return most
