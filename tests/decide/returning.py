"""Copies that return to the clusters they came from."""

from __future__ import annotations

from typing import Any

from tests.decide.failing import evict, targets, to_rest
from tests.decide.test_propagation import BINDING
from tests.decide.world import World
from towline.hub.decide import failback, origins
from towline.hub.decide.conditions import condition
from towline.hub.decide.plan import Plan
from towline.hub.decide.scheduling import View
from towline.kube.objects import Object, labels_of

RETURN: Object = {
    "cluster": {"failback": {"mode": "Return", "stabilizationSeconds": 300, "maxConcurrent": 5}}
}


def come_back(world: World, after_seconds: float = 0.0, **options: Any) -> list[Plan]:
    """Decide failback, and what follows, until nothing more is to be done."""
    world.now += after_seconds
    return to_rest(world, lambda: decide(world, **options), limit=20)


def decide(world: World, **options: Any) -> Plan:
    return failback.decide(world, world.now, View.of(world, world.now), **options)


def until_returned(world: World) -> None:
    """Its cluster is well for its time; it sets out."""
    come_back(world)
    come_back(world, 300)


def mark(world: World) -> str | None:
    return labels_of(world.objects[BINDING]).get("towline.io/failback")


def remembered(world: World) -> dict[str, dict[str, int]]:
    return {o.cluster: dict(o.stand_ins) for o in origins.origins_of(world.objects[BINDING])}


def stuck(world: World) -> str:
    found = condition(world.objects[BINDING].get("status"), failback.BLOCKED)
    return "" if found is None else f"{found['reason']}: {found['message']}"


def settle(world: World) -> None:
    """What everybody decides at this moment."""
    for _ in range(20):
        before = world.revision
        evict(world)
        come_back(world)
        if world.revision == before:
            return
    raise AssertionError("eviction and failback do not come to rest")


__all__ = [
    "RETURN",
    "come_back",
    "decide",
    "mark",
    "remembered",
    "settle",
    "stuck",
    "targets",
    "until_returned",
]
