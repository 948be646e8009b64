"""What `towline explain` says of what moves, is to move or is to return: each state with its time and its reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.decide import test_descheduling
from tests.decide.failing import (
    ONE_OF_ALL,
    REMOVED,
    all_healthy,
    evict,
    lose,
    recover,
    report,
    shop,
    taint,
    targets,
    works,
)
from tests.decide.returning import RETURN, come_back
from tests.decide.test_eviction import APPLICATION, DRAIN
from tests.decide.test_failback import CORDON
from tests.decide.test_propagation import WEB
from tests.decide.test_tolerance import tainted
from tests.decide.world import World
from towline.cli.explained import explanation
from towline.hub.decide.conditions import rfc3339
from towline.hub.decide.explaining import explain
from towline.hub.decide.lately import SECONDS
from towline.hub.decide.moving import Holds
from towline.hub.decide.scheduling import View
from towline.kube.objects import Object

T0 = 1_000_000.0
"""When a world begins."""


def lost(failover: Object | None = None, placement: Object = ONE_OF_ALL, **spec: Any) -> World:
    """A cluster with a copy is lost since now."""
    world = shop(placement, failover=failover, **spec)
    assert world.now == T0
    lose(world, "m1")
    return world


def left(failover: Object | None = None) -> World:
    """And left, five minutes later."""
    world = lost(failover)
    evict(world, 300)
    return world


def purging() -> World:
    world = left({"cluster": {"purgeMode": "Directly"}})
    recover(world, "m1")
    evict(world)
    return world


def gone() -> World:
    world = left({"cluster": {"purgeMode": "Directly"}})
    report(world, m1=REMOVED)
    return world


def stopping() -> World:
    world = lost({"application": {"purgeMode": "Never"}}, propagateDeps=True)
    recover(world, "m1")
    report(world, m1=works(1, "Unhealthy"))
    evict(world, 300)
    return world


def failing() -> World:
    world = shop(ONE_OF_ALL, failover=APPLICATION, propagateDeps=True)
    report(world, m1=works(1, "Unhealthy"))
    return world


def failing_long() -> World:
    world = failing()
    world.now += 300
    return world


def nowhere() -> World:
    world = lost(placement={"clusterAffinity": {"clusterNames": ["m1"]}})
    evict(world, 300)
    return world


def tainted_too() -> World:
    """For one reason it is to leave now, for another later."""
    world = lost()
    taint(world, "m1", tainted())
    return world


def drained() -> World:
    world = shop(ONE_OF_ALL)
    taint(world, "m1", DRAIN)
    return world


def waiting(*, well: bool, seconds: float = 0.0) -> World:
    """It left m1 and is to return there; that is well (since `seconds`), or not."""
    world = left(RETURN)
    all_healthy(world)
    evict(world)
    report(world, m1=REMOVED)
    if well:
        recover(world, "m1")
        come_back(world)
        world.now += seconds
    return world


def cannot_return() -> World:
    world = waiting(well=True, seconds=300)
    taint(world, "m1", CORDON)
    come_back(world)
    return world


def returning() -> World:
    world = waiting(well=True, seconds=300)
    come_back(world)
    assert targets(world) == {"m1": 3}
    return world


def descheduled() -> World:
    world = test_descheduling.running(ready=2)
    test_descheduling.deschedule(world, 5, 3)
    return world


def failed() -> World:
    """It failed in m1, and works in m2."""
    world = shop(ONE_OF_ALL, failover=APPLICATION, propagateDeps=True)
    report(world, m1=works(1, "Unhealthy"))
    evict(world, 300)
    report(world, m2=works(3))
    evict(world)
    return world


SINCE = f"it is unreachable since {rfc3339(T0)}"
KEPT = "the copy is kept until the replacement is healthy, or its grace is over and the replacement is there"


@pytest.mark.parametrize(
    ("begun", "holds", "cluster", "state", "at", "why"),
    [
        pytest.param(left, Holds(), "m1", "Leaves", 900, KEPT, id="gracefully"),
        pytest.param(lambda: left({"cluster": {"purgeMode": "Directly"}}), Holds(), "m1", "Leaves", None,
                     "and m1 does not answer; should it never be back", id="directly, and nobody answers"),
        pytest.param(purging, Holds(), "m1", "Leaves", None, "the replacement starts when the copy is gone", id="directly"),
        pytest.param(gone, Holds(), "m1", "Leaves", None, "the copy is gone or has stopped", id="directly, and gone"),
        pytest.param(stopping, Holds(), "m1", "Leaves", None, "until the task's suppressDeletion is false", id="never"),
        pytest.param(returning, Holds(), "m2", "Leaves", None, "cluster m2: m1 is back; the copy is kept until the one that returned is healthy",
                     id="for one that returned"),
        pytest.param(lost, Holds(), "m1", "ToLeave", 300, SINCE, id="tolerated for a time"),
        pytest.param(failing, Holds(), "m1", "ToLeave", 300, "has an unhealthy copy since", id="an application that fails"),
        pytest.param(tainted_too, Holds(), "m1", "ToLeave", 0, "it has the taint {k:NoExecute}", id="at once"),
        pytest.param(tainted_too, Holds(settled_at=T0 + 40), "m1", "ToLeave", 40, "this hub just started", id="a hub that just started"),
        pytest.param(lost, Holds(settled_at=T0 + 340), "m1", "ToLeave", 340, SINCE, id="a hub that started since"),
        pytest.param(drained, Holds({"m1"}, T0 + 40), "m1", "ToLeave", 0, "it is being drained", id="an operator's word"),
        pytest.param(tainted_too, Holds({"m1"}), "m1", "ToLeave", None, "`towline release m1 --evictions`", id="a hub in doubt"),
        pytest.param(lost, Holds({"m1"}), "m1", "ToLeave", None, "`towline release m1 --evictions`", id="a hub in doubt before its time is over"),
        pytest.param(tainted_too, Holds({"m2"}), "m1", "ToLeave", 0, "has the taint", id="in doubt of another"),
        pytest.param(tainted_too, Holds(turn_seconds=8.0), "m1", "ToLeave", 8, "others are evicted first", id="others are first"),
        pytest.param(tainted_too, Holds(turn_seconds=float("inf")), "m1", "ToLeave", None, "this hub evicts nothing", id="no rate"),
        pytest.param(failing_long, Holds(turn_seconds=float("inf")), "m1", "ToLeave", 300, "has an unhealthy copy since", id="what takes no turns"),
        pytest.param(nowhere, Holds(turn_seconds=8.0), "m1", "ToLeave", None, "it cannot (NowhereToGo): m1 is unreachable since", id="nowhere to go"),
        pytest.param(lambda: waiting(well=False), Holds(), "m1", "ToReturn", None, "is not well yet", id="not well yet"),
        pytest.param(lambda: waiting(well=True), Holds(), "m1", "ToReturn", 600, "stabilizationSeconds", id="not well for long"),
        pytest.param(lambda: waiting(well=True), Holds(settled_at=T0 + 940), "m1", "ToReturn", 940, "this hub just started", id="a hub that just started, and a return"),
        pytest.param(lambda: waiting(well=True, seconds=300), Holds(), "m1", "ToReturn", 600, "only so many return at a time", id="its turn"),
        pytest.param(cannot_return, Holds(), "m1", "ToReturn", 600, "it cannot (NotPlacedThere): return to m1: it has the untolerated taint",
                     id="it cannot return"),
        pytest.param(descheduled, Holds(), "m1", "Full", SECONDS, "replicas found no node there", id="full"),
        pytest.param(failed, Holds(), "m1", "Failed", 300 + SECONDS, "the application failed there", id="where it failed"),
    ],
)  # fmt: skip
def test_a_move_says_what_it_waits_for(
    begun: Callable[[], World], holds: Holds, cluster: str, state: str, at: float | None, why: str
) -> None:
    world = begun()
    told = explain(world, WEB, View.of(world, world.now), world.now, holds=holds)
    move, *others = told["moves"]
    assert {other["state"] for other in others} <= {"Failed"}
    assert (move["cluster"], move["state"]) == (cluster, state) and why in move["why"]
    assert move.get("at") == (None if at is None else rfc3339(T0 + at))
    assert move["why"] in explanation(told)


def test_what_moves_is_told_first() -> None:
    world = left(RETURN)
    lose(world, "m2")
    told = explain(world, WEB, View.of(world, world.now), world.now)
    states = [(move["state"], move["cluster"]) for move in told["moves"]]
    assert states == [("Leaves", "m1"), ("ToLeave", "m2"), ("ToReturn", "m1")]


def test_at_rest_there_is_none() -> None:
    world = shop(ONE_OF_ALL)
    assert "moves" not in explain(world, WEB, View.of(world, world.now), world.now)
