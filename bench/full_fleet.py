"""A fleet full of bindings: what placing them costs with queue, policies and store, what one taint costs, and memory over many decisions.

`python -m bench.full_fleet`. The hub has no faces and a memory store; agents do not answer, so nothing but the hub's own work is
measured, in seconds of the processor.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import resource
from itertools import islice
from time import process_time
from typing import Any

from bench.scheduling import PLACEMENTS, cluster, wishes
from bench.tables import Row, show
from tests.controllers.hub import Hub, running
from tests.decide.world import deployment, namespace, policy, selector
from towline.hub.decide.scheduling import View, schedule
from towline.hub.decide.scheduling.members import Members
from towline.hub.store.contract import Write
from towline.kube.objects import Key, Object, encode

BATCH = 100
PLACEMENT = PLACEMENTS["DynamicWeight"]
TAINT = {"key": "maintenance", "effect": "NoSchedule"}
MIB = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--bindings", type=int, default=5000)
    parser.add_argument(
        "--decisions", type=int, default=100_000, help="decisions over which memory is watched"
    )
    options = parser.parse_args()
    bench(options.clusters, options.bindings, options.decisions)


def bench(clusters: int = 1000, bindings: int = 5000, decisions: int = 100_000) -> None:
    show(memory(decisions))
    print()
    show(asyncio.run(after_one_taint(clusters, bindings)))


async def after_one_taint(clusters: int, bindings: int) -> list[Row]:
    """Deployments divided by room over all clusters, then others that go to all clusters of a size; then one taint."""
    rows: list[Row] = [(f"{clusters:,} clusters, {bindings:,} bindings", "seconds", "decisions", "a second")]
    divided, everywhere = deployment("a", "divided"), deployment("a", "everywhere")
    async with running(namespace_sync="needed") as hub:
        fleet: list[Object] = [cluster(n) for n in range(clusters)]
        await put(hub, namespace("divided"), namespace("everywhere"), *fleet)
        await put(
            hub,
            policy("all", [selector(divided)], PLACEMENT, "divided"),
            policy("all", [selector(everywhere)], _three(clusters), "everywhere"),
        )
        await hub.settle()
        rows.append(await measured(hub, "divided by room", _fill(hub, "divided", bindings // 2)))
        rows.append(await measured(hub, "to three clusters", _fill(hub, "everywhere", bindings // 2)))
        rows.append(await measured(hub, "one taint", _taint(hub, fleet[0], [TAINT])))
        rows.append(await measured(hub, "and without it", _taint(hub, fleet[0], [])))
    return rows


async def _taint(hub: Hub, tainted: Object, taints: list[Object]) -> None:
    present = hub.get(Key("cluster.karmada.io", "clusters", "", tainted["metadata"]["name"]))
    assert present is not None
    await put(hub, {**present, "spec": {**present["spec"], "taints": taints}})


def _three(clusters: int) -> dict[str, Any]:
    """The first cluster, the last and one in between, by name: three copies of each binding."""
    chosen = [cluster(n)["metadata"]["name"] for n in (0, clusters // 2, clusters - 1)]
    return {"clusterAffinity": {"clusterNames": chosen}}


async def measured(hub: Hub, what: str, doing: Any) -> Row:
    decisions, began = hub.loop.decisions, process_time()
    await doing
    await hub.settle()
    spent, made = process_time() - began, hub.loop.decisions - decisions
    return (what, f"{spent:.2f}", f"{made:,}", f"{made / spent:,.0f}")


async def _fill(hub: Hub, space: str, count: int) -> None:
    wanted = (deployment(f"web-{n}", space, replicas=4, requests={"cpu": "10m"}) for n in range(count))
    while batch := list(islice(wanted, BATCH)):
        await put(hub, *batch)
        await hub.settle()


async def put(hub: Hub, *objects: Object) -> None:
    """As users write, many in one commit."""
    for start in range(0, len(objects), BATCH):
        writes = []
        for obj in objects[start : start + BATCH]:
            key = hub.users.key(obj)
            entry = hub.cache.get(key)
            if entry is not None:
                hub.users.objects[key] = entry.object
            hub.users.put(obj)
            writes.append(
                Write(key.path(), encode(hub.users.objects[key]), 0 if entry is None else entry.revision)
            )
        await hub.cache.commit(writes)


def memory(decisions: int) -> list[Row]:
    """At the most so far, over decisions of every kind on ten clusters."""
    view = View(Members.of(map(cluster, range(10))))
    requests = [r for placement in PLACEMENTS.values() for _, r in wishes(placement, view.members)]
    rows: list[Row] = [("decisions", "memory at most")]
    for n in range(decisions):
        schedule(requests[n % len(requests)], view)
        if (n + 1) % (decisions // 4) == 0:
            gc.collect()
            rows.append((f"{n + 1:,}", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB:.1f} MiB"))
    return rows


if __name__ == "__main__":
    main()
