"""Clusters and copies that fail, and what agents say of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from tests.decide.test_propagation import BINDING, WEB, a_world
from tests.decide.world import World, deployment, policy, selector
from towline.hub.decide import aggregation, eviction, propagation
from towline.hub.decide.conditions import condition, rfc3339
from towline.hub.decide.plan import Plan
from towline.hub.decide.scheduling import View
from towline.hub.decide.taints import following_ready
from towline.hub.decide.wire import ManifestStatus, Phase, WorkReport
from towline.kube.objects import Key, Object

REMOVED = WorkReport("w", "u", b"", Phase.REMOVED)
REFUSED = WorkReport("w", "u", b"", Phase.FAILED, "no")
ONE_OF_ALL: Object = {
    "spreadConstraints": [{"spreadByField": "cluster", "minGroups": 1, "maxGroups": 1}],
    "replicaScheduling": {"replicaSchedulingType": "Duplicated"},
}
"""A single copy, in any cluster."""


def shop(
    placement: Object | None = None,
    clusters: tuple[str, ...] = ("m1", "m2", "m3"),
    failover: Object | None = None,
    replicas: int = 3,
    **spec: Any,
) -> World:
    """A Deployment, placed and healthy everywhere, of a policy with cluster failover (unless `failover` says otherwise)."""
    failover = {"cluster": {}} if failover is None else failover
    rule = policy("web", [selector(deployment(), name="web")], placement, failover=failover, **spec)
    world = a_world(deployment(replicas=replicas), rule, clusters=clusters)
    propagate(world)
    all_healthy(world)
    return world


def propagate(world: World) -> None:
    world.settle(propagation.decide, WEB)


def works(replicas: int, health: str = "Healthy", **status: Any) -> WorkReport:
    """An agent's report of a copy with so many ready replicas."""
    said = orjson.dumps({"readyReplicas": replicas, "replicas": replicas, **status})
    row = ManifestStatus(0, "apps/v1", "Deployment", "deployments", "shop", "web", said, health)
    return WorkReport("w", "u", b"", Phase.APPLIED, "", (row,))


def report(world: World, **reports: WorkReport) -> None:
    world.apply(aggregation.decide(world, BINDING, world.now, reports))
    propagate(world)


def all_healthy(world: World, *but: str) -> None:
    report(world, **{name: works(count) for name, count in targets(world).items() if name not in but})


def lose(world: World, name: str, ready: str = "Unknown") -> None:
    """What the health of a cluster does to its Cluster: condition and taint."""
    at = Key("cluster.karmada.io", "clusters", "", name)
    row = {"type": "Ready", "status": ready, "lastTransitionTime": rfc3339(world.now)}

    def change(obj: Object) -> None:
        obj["status"] = {**obj.get("status", {}), "conditions": [row]}
        obj["spec"] = following_ready(obj, ready, world.now)["spec"]

    world.edit(at, change)


def recover(world: World, name: str) -> None:
    lose(world, name, "True")


def taint(world: World, name: str, *taints: Object) -> None:
    world.edit(
        Key("cluster.karmada.io", "clusters", "", name), lambda obj: obj["spec"].update(taints=list(taints))
    )


def evict(world: World, after_seconds: float = 0.0, **options: Any) -> list[Plan]:
    """Decide eviction, and what follows, until nothing more is to be done."""
    world.now += after_seconds
    return to_rest(world, lambda: decide(world, **options), limit=10)


def to_rest(world: World, decide: Callable[[], Plan], limit: int) -> list[Plan]:
    """Decide, carry out and propagate, until a plan has no writes: the last one."""
    plans: list[Plan] = []
    for _ in range(limit):
        plan = decide()
        plans.append(plan)
        if not plan.writes:
            return plans
        world.apply(plan)
        propagate(world)
    raise AssertionError(f"it does not come to rest: {plans[-1]}")


def decide(world: World, **options: Any) -> Plan:
    return eviction.decide(world, BINDING, world.now, View.of(world, world.now), **options)


def targets(world: World) -> dict[str, int]:
    return {c["name"]: c.get("replicas", 0) for c in world.objects[BINDING]["spec"].get("clusters", [])}


def tasks(world: World) -> dict[str, Object]:
    return {t["fromCluster"]: t for t in world.objects[BINDING]["spec"].get("gracefulEvictionTasks", [])}


def blocked(world: World) -> str:
    """What the condition EvictionBlocked says; nothing without one."""
    found = condition(world.objects[BINDING].get("status"), eviction.BLOCKED)
    return "" if found is None else f"{found['reason']}: {found['message']}"


def entries(world: World) -> dict[str, Object]:
    return {e["clusterName"]: e for e in world.objects[BINDING]["status"].get("aggregatedStatus", [])}
