"""How long a cluster's failure takes to become another copy elsewhere, with real processes: `python -m bench.failover`.

Three members, one copy of a Deployment; its agent is killed. Beside each time stands what the operator chose to wait for: the grace of
silence, which counts from the last heartbeat, and the toleration, which counts from a time in whole seconds.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from bench.tables import Row, show, shown
from tests.e2e.harness import Fleet, eventually, running_fleet
from tests.e2e.objects import APPS, WORK, deployment, namespace, policy
from towline.kube.names import TAINT_NOT_READY, TAINT_UNREACHABLE

CLUSTERS = "/apis/cluster.karmada.io/v1alpha1/clusters"
BINDING = f"{WORK}/v1alpha2/namespaces/bench/resourcebindings/web-deployment"
ROUNDS = 2
"""Each takes another cluster: one that is lost twice within minutes is watched before it counts as back."""
GRACE_SECONDS = 4
TOLERATED_SECONDS = 1
FLAGS = (
    "--cluster-monitor-grace-seconds", str(GRACE_SECONDS), "--cluster-success-threshold-seconds", "1",
    "--resource-eviction-rate", "20",
)  # fmt: skip


def bench() -> None:
    rows: list[Row] = [("an agent dies", "chosen", *(f"round {n + 1}" for n in range(ROUNDS)))]
    with tempfile.TemporaryDirectory(prefix="towline-bench-") as name:
        with running_fleet(Path(name), hub_flags=FLAGS) as fleet:
            fleet.apply(namespace("bench"), _one_copy(), deployment("web", "bench"))
            rounds = [_measure(fleet) for _ in range(ROUNDS)]
    waits = (("the taint", GRACE_SECONDS), ("then another target", TOLERATED_SECONDS), ("then its copy", 0))
    for (what, chosen), *times in zip(waits, *rounds, strict=True):
        rows.append((what, f"{chosen} s", *map(shown, times)))
    show(rows)


def _one_copy() -> dict[str, Any]:
    soon = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATED_SECONDS}
    placement = {
        "spreadConstraints": [{"spreadByField": "cluster", "minGroups": 1, "maxGroups": 1}],
        "clusterTolerations": [{"key": key, **soon} for key in (TAINT_NOT_READY, TAINT_UNREACHABLE)],
    }
    return policy("one", "bench", placement=placement, failover={"cluster": {}})


def _measure(fleet: Fleet) -> tuple[float, float, float]:
    """Seconds until the taint, from there until the new target, from there until its copy."""
    (old,) = eventually(lambda: len(_copies(fleet)) == 1 and _targets(fleet))
    eventually(lambda: all(map(fleet.cluster_ready, fleet.member_names)), 60)
    fleet.agent(old).kill()
    died = time.perf_counter()
    eventually(lambda: TAINT_UNREACHABLE in _taints(fleet, old), 60, "the taint")
    tainted = time.perf_counter()
    (new,) = eventually(lambda: old not in _targets(fleet) and _targets(fleet), 60, "another target")
    chosen = time.perf_counter()
    eventually(lambda: new in _copies(fleet), 60, "its copy")
    there = time.perf_counter()
    fleet.agent(old).start()
    return tainted - died, chosen - tainted, there - chosen


def _targets(fleet: Fleet) -> list[str]:
    return [row["name"] for row in fleet.hub.request("GET", BINDING)["spec"].get("clusters") or ()]


def _copies(fleet: Fleet) -> set[str]:
    return {name for name, api in fleet.members.items() if api.get(f"{APPS}/bench/deployments/web")}


def _taints(fleet: Fleet, cluster: str) -> set[str]:
    spec = fleet.hub.request("GET", f"{CLUSTERS}/{cluster}")["spec"]
    return {taint["key"] for taint in spec.get("taints") or ()}


if __name__ == "__main__":
    bench()
