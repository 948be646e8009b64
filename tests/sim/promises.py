"""What policies promise of workloads that fail over, judged at every instant from the store and the members alone.

- As many replicas as are wanted are ready, in all members together, unless a member died that had some of them.
- As many are decided on, never more or fewer: with nowhere to go, what is there stays. What leaves was there, and has one task.
- A copy that leaves directly is gone before another is there: of `direct` there are never two.
- Nothing returns to a cluster that is not well for as long as the policy says, and only so much is on its way at a time.
- Nothing leaves for a cluster that is lost itself, or is given up for a copy there, unless somebody wants it gone and the lost one took
  nothing over; and nothing leaves because its cluster is lost while the hub hears of none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from tests.sim.member import Member, Violation
from tests.sim.truth import SHOP, Truth
from towline.agent.desired import Ref
from towline.hub.decide import bindings, origins
from towline.hub.decide.conditions import condition, epoch
from towline.hub.decide.eviction import TAINT_MANAGER
from towline.hub.decide.graceful import tasks_of
from towline.kube import names
from towline.kube.objects import Object, generation_of, labels_of

REPLICAS = 4
"""Of each workload."""
RETURN: dict[str, Any] = {"mode": "Return", "stabilizationSeconds": 20, "maxConcurrent": 2}
CLOCK_SECONDS = 1.0
"""Times are stored in whole seconds."""


class Promises:
    """Of `workloads`; `gracefully` those of them whose copies stay until others are ready."""

    def __init__(self, workloads: Collection[str], gracefully: Collection[str]) -> None:
        self._workloads, self._gracefully = workloads, gracefully
        self._complete: set[str] = set()
        """Workloads that were ready where they are wanted, and of which no member that died since had any."""
        self._bindings: dict[str, Object] = {}
        """As they were last."""
        self._unwell_at: dict[str, float] = {}
        """When clusters were last seen not to be well."""
        self._lost: set[str] = set()
        """Those that were lost when the store was last looked at."""
        self._tainted: set[str] = set()
        """And those that had a NoExecute taint."""
        self._taken_over: dict[str, dict[str, float]] = {}
        """When workloads got more replicas in clusters."""
        self.deaf = False
        """All sessions are cut off at once: that is the hub's trouble, not the clusters'."""

    def died(self, member: Member) -> None:
        """`member` is about to lose all it has."""
        self._complete -= {ref.name for ref in member.objects if ref.kind == "Deployment"}

    def may_delete(self, name: str, others: Collection[Member]) -> bool:
        """A copy that leaves gracefully, when `others` have the rest."""
        return name not in self._complete or _ready(name, others) >= REPLICAS

    def look_at(self, members: Mapping[str, Member]) -> None:
        """What is in the members now."""
        for name in self._gracefully:
            ready = _ready(name, members.values())
            if name in self._complete and ready < REPLICAS:
                raise Violation(f"{name} had {REPLICAS} ready replicas and has {ready}")
            # What leaves does not make it so: it was decided when nothing had died.
            there = bindings.targets(self._bindings.get(name, {}))
            if _ready(name, [members[at] for at in there]) >= REPLICAS:
                self._complete.add(name)
        holders = [at for at, member in members.items() if _ref("direct") in member.objects]
        if len(holders) > 1:
            raise Violation(f"what leaves directly is in {holders}")

    def judge(self, truth: Truth, now: float) -> None:
        """What is in the store now, beside what was when it was last looked at."""
        lost = {name for name, cluster in truth.clusters.items() if is_lost(cluster)}
        tainted = {name for name, cluster in truth.clusters.items() if is_tainted(cluster)}
        self._judge_bindings(truth, now, lost & self._lost, tainted | self._tainted)
        self._lost, self._tainted = lost, tainted
        unwell = [name for name, cluster in truth.clusters.items() if not is_well(cluster)]
        self._unwell_at |= dict.fromkeys(unwell, now)

    def _judge_bindings(self, truth: Truth, now: float, lost: set[str], tainted: set[str]) -> None:
        """`lost`: since before anything of what is new was decided. So is what is known of who is well. `tainted`: then or now."""
        returning = 0
        for name in self._workloads:
            binding = truth.bindings.get(names.binding_name(name, "Deployment"))
            if binding is None:
                continue
            returning += labels_of(binding).get(names.FAILBACK) == origins.RETURNING
            before = self._bindings.get(name)
            if binding is before:
                continue
            self._decided(name, binding)
            if before is not None:
                self._changed(name, before, binding, now, lost, tainted)
            self._bindings[name] = binding
        if returning > RETURN["maxConcurrent"]:
            raise Violation(f"{returning} workloads return at a time")

    def _decided(self, name: str, binding: Object) -> None:
        there = bindings.targets(binding)
        if sum(there.values()) != REPLICAS:
            raise Violation(f"{name}: {there} is decided on, {REPLICAS} replicas are wanted")
        leaving = [task["fromCluster"] for task in tasks_of(binding)]
        if len(leaving) != len({*leaving}):
            raise Violation(f"{name} leaves {leaving}")

    def _changed(
        self, name: str, before: Object, binding: Object, now: float, lost: set[str], tainted: set[str]
    ) -> None:
        had, has = bindings.targets(before), bindings.targets(binding)
        gains = {at for at, replicas in has.items() if replicas > had.get(at, 0)}
        tasks, left = tasks_of(before), {*has, *(task["fromCluster"] for task in tasks_of(binding))}
        self._taken_over.setdefault(name, {}).update(dict.fromkeys(gains, now))
        given_up = {t["fromCluster"]: epoch(t["creationTimestamp"]) or 0.0 for t in tasks if t["purgeMode"] == "Gracefully"}  # fmt: skip
        takers = {at: self._taken_over[name].get(at, 0.0) for at in lost & has.keys()}
        if any(
            at not in left and any(at not in tainted or taken >= begun for taken in takers.values())
            for at, begun in given_up.items()
        ):
            raise Violation(f"{name} is gone from {given_up.keys() - left} for {has}, and lost are {lost}")
        for task in _new_tasks(before, binding):
            leaves = task["fromCluster"]
            if leaves not in had and generation_of(binding) == generation_of(before) + 1:
                raise Violation(f"{name} is to leave {leaves} and was not wanted there")
            if task["producer"] == TAINT_MANAGER and self.deaf:
                raise Violation(f"{name} leaves {leaves}, and the hub hears of no cluster at all")
            if gains & lost:
                raise Violation(f"{name} leaves {leaves} for {gains}, and lost are {lost}")
            if task["producer"] != origins.PRODUCER:
                continue
            for home in gains:
                well = now - self._unwell_at.get(home, 0.0)
                if well < RETURN["stabilizationSeconds"] - CLOCK_SECONDS:
                    raise Violation(f"{name} returns to {home}, which is well for {well} s")


def _new_tasks(before: Object, after: Object) -> Iterator[Mapping[str, Any]]:
    known = [(task["fromCluster"], task["creationTimestamp"]) for task in tasks_of(before)]
    for task in tasks_of(after):
        if (task["fromCluster"], task["creationTimestamp"]) not in known:
            yield task


def is_well(cluster: Object) -> bool:
    return not is_lost(cluster) and not is_tainted(cluster)


def is_tainted(cluster: Object) -> bool:
    return any(taint["effect"] == "NoExecute" for taint in cluster["spec"].get("taints") or ())


def is_lost(cluster: Object) -> bool:
    return (condition(cluster.get("status"), "Ready") or {}).get("status") != "True"


def _ready(name: str, members: Collection[Member]) -> int:
    """Ready replicas, of those that are still wanted where they are."""
    copies = [member.objects[_ref(name)] for member in members if _ref(name) in member.objects]
    return sum(
        min((copy.get("status") or {}).get("readyReplicas", 0), copy["spec"]["replicas"]) for copy in copies
    )


def _ref(name: str) -> Ref:
    return Ref("apps/v1", "Deployment", SHOP, name)
