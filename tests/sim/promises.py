"""What policies promise of workloads that fail over, judged at every instant from the store and the members alone.

- As many replicas as are wanted are ready, in all members together, unless a member died that had some of them, or they fail there.
- As many are decided on, never more or fewer: with nowhere to go, what is there stays. What leaves, or has fewer than it had, was there
  and has one task that keeps what it had. More go nowhere but in place of what leaves.
- A copy that leaves gracefully is given up when all that replaces it worked, or was there when its grace ended.
- A copy that leaves directly is gone before another is there: of `direct` there are never two, but where it leaves a drained cluster.
- What fails leaves after it did for as long as the policy tolerates, and goes where it does not fail, and did not lately.
- Nothing comes to a cluster that is drained or cordoned, but more of what is there. What left one that was drained is not to return.
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
from towline.hub.decide.departures import APPLICATION_FAILURE
from towline.hub.decide.eviction import TAINT_MANAGER
from towline.hub.decide.graceful import GRACE_SECONDS, tasks_of
from towline.kube import names
from towline.kube.objects import Object, generation_of, labels_of

REPLICAS = 4
"""Of each workload."""
RETURN: dict[str, Any] = {"mode": "Return", "stabilizationSeconds": 20, "maxConcurrent": 2}
TOLERATED_SECONDS = 10
"""How long what fails may do so where it is."""
FAILED_SECONDS = 1800.0
"""It fails over to no cluster where it failed so long ago."""
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
        self._tainted: set[str] = set()
        self._closed: set[str] = set()
        """Those that were lost, had a NoExecute taint, and were drained or cordoned, when the store was last looked at."""
        self._taken_over: dict[tuple[str, str], float] = {}
        """When workloads got more replicas in clusters."""
        self._worked: dict[tuple[str, str], bool] = {}
        """Workloads and targets of theirs that have had the copy since they were chosen, and whether it ever worked."""
        self._unhealthy_at: dict[tuple[str, str], float] = {}
        """Since when the store says of a workload that it fails in a cluster."""
        self._failed_at: dict[tuple[str, str], float] = {}
        """When it left one for that."""
        self._overlaps: set[str] = set()
        """Workloads of which a copy left gracefully and may be there still."""
        self.homes: dict[str, str] = {}
        """Where workloads are to be that are in one cluster and return: where they were first, until they move for good."""
        self.deaf = False
        """All sessions are cut off at once: that is the hub's trouble, not the clusters'."""

    def died(self, member: Member) -> None:
        """`member` is about to lose all it has."""
        self._complete -= {ref.name for ref in member.objects if ref.kind == "Deployment"}

    def failed(self, name: str) -> None:
        """A copy of it is about to fail."""
        self._complete.discard(name)

    def may_delete(self, name: str, others: Collection[Member]) -> bool:
        """A copy that leaves gracefully, when `others` have the rest."""
        return name not in self._complete or _ready(name, others) >= REPLICAS

    def look_at(self, members: Mapping[str, Member]) -> None:
        """What is in the members now."""
        for name in self._workloads:
            there = bindings.targets(self._bindings.get(name, {}))
            for at, replicas in there.items():
                if _ref(name) in members[at].objects:
                    works = _ready(name, [members[at]]) >= replicas
                    self._worked[name, at] = works or self._worked.get((name, at), False)
            if name not in self._gracefully:
                continue
            ready = _ready(name, members.values())
            if name in self._complete and ready < REPLICAS:
                raise Violation(f"{name} had {REPLICAS} ready replicas and has {ready}")
            # What leaves does not make it so: it was decided when nothing had died.
            if _ready(name, [members[at] for at in there]) >= REPLICAS:
                self._complete.add(name)
        holders = [at for at, member in members.items() if _ref("direct") in member.objects]
        if len(holders) > 1 and "direct" not in self._overlaps:
            raise Violation(f"what leaves directly is in {holders}")
        direct = self._bindings.get("direct", {})
        if len(holders) < 2 and bindings.observed(direct).keys() == bindings.targets(direct).keys():
            self._overlaps.discard("direct")

    def judge(self, truth: Truth, now: float) -> None:
        """What is in the store now, beside what was when it was last looked at."""
        lost = {name for name, cluster in truth.clusters.items() if is_lost(cluster)}
        tainted = {name for name, cluster in truth.clusters.items() if is_tainted(cluster)}
        closed = {name for name, cluster in truth.clusters.items() if is_closed(cluster)}
        self._tainted |= tainted
        self._closed &= closed
        self._judge_bindings(truth, now, lost & self._lost)
        self._lost, self._tainted, self._closed = lost, tainted, closed
        unwell = [name for name, cluster in truth.clusters.items() if not is_well(cluster)]
        self._unwell_at |= dict.fromkeys(unwell, now)

    def _judge_bindings(self, truth: Truth, now: float, lost: set[str]) -> None:
        """`lost`: since before anything of what is new was decided. So is what is known of who is well."""
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
                self._changed(name, before, binding, now, lost)
            self._note_home(name, before, binding)
            self._bindings[name] = binding
            self._note_health(name, binding, now)
        if returning > RETURN["maxConcurrent"]:
            raise Violation(f"{returning} workloads return at a time")

    def _decided(self, name: str, binding: Object) -> None:
        there = bindings.targets(binding)
        if sum(there.values()) != REPLICAS:
            raise Violation(f"{name}: {there} is decided on, {REPLICAS} replicas are wanted")
        leaving = [task["fromCluster"] for task in tasks_of(binding)]
        if len(leaving) != len({*leaving}):
            raise Violation(f"{name} leaves {leaving}")

    def _changed(self, name: str, before: Object, binding: Object, now: float, lost: set[str]) -> None:
        had, has = bindings.targets(before), bindings.targets(binding)
        gains = {at for at, replicas in has.items() if replicas > had.get(at, 0)}
        tasks, leaving = tasks_of(before), {task["fromCluster"] for task in tasks_of(binding)}
        self._taken_over |= {(name, at): now for at in gains}
        for task in tasks:
            if task["purgeMode"] == "Gracefully" and task["fromCluster"] not in leaving | has.keys():
                self._given_up(name, task, had, binding, now, lost)
        new = [*_new_tasks(before, binding)]
        taken_back = gains & {task["fromCluster"] for task in tasks if origins.is_return(task)}
        # Where some replicas are already, more may come: to scheduling present targets stay (Karmada 3.4).
        if gains - taken_back - had.keys() & self._closed:
            raise Violation(f"{name} comes to {gains}, and closed are {self._closed}")
        if gains & lost and new:
            raise Violation(f"{name} leaves for {gains}, and lost are {lost}")
        if generation_of(binding) == generation_of(before) + 1 and not taken_back:
            self._changed_at_once(name, had, has, new, leaving)
        for at in gains:
            self._worked.pop((name, at), None)
            if at in had:  # and is there, with less
                self._worked[name, at] = False
        for task in new:
            self._leaves(name, task, gains, {*has} - {*had}, now)

    def _changed_at_once(
        self,
        name: str,
        had: Mapping[str, int],
        has: Mapping[str, int],
        new: Collection[Mapping[str, Any]],
        leaving: Collection[str],
    ) -> None:
        """In one commit, after which these are `leaving`."""
        leaves = {task["fromCluster"]: task.get("replicas") for task in new}
        if not leaves.items() <= had.items():
            raise Violation(f"{name} is to leave {leaves}, and {had} was wanted")
        less = {at for at in had if has.get(at, 0) < had[at]}
        if had != has and (not leaves or less.difference(leaving)):
            raise Violation(f"{name} is in {has} instead of {had}, and leaves {leaves}")

    def _leaves(
        self, name: str, task: Mapping[str, Any], gains: Collection[str], to: Collection[str], now: float
    ) -> None:
        """`to`: where it was not before."""
        if task["purgeMode"] != "Directly":
            self._overlaps.add(name)
        if task["producer"] == TAINT_MANAGER and self.deaf:
            raise Violation(f"{name} leaves {task['fromCluster']}, and the hub hears of no cluster at all")
        if task["reason"] == APPLICATION_FAILURE and "fewer replicas" not in task["message"]:
            self._fails_over(name, task, to, now)
        if task["producer"] == origins.PRODUCER:
            for home in gains:
                well = now - self._unwell_at.get(home, 0.0)
                if well < RETURN["stabilizationSeconds"] - CLOCK_SECONDS:
                    raise Violation(f"{name} returns to {home}, which is well for {well} s")

    def _given_up(
        self,
        name: str,
        task: Mapping[str, Any],
        had: Collection[str],
        after: Object,
        now: float,
        lost: set[str],
    ) -> None:
        """`had`: its targets when the store was last looked at; it may have been decided for them or for those of `after`."""
        begun, has = epoch(task["creationTimestamp"]) or 0.0, bindings.targets(after)
        grace = task.get("gracePeriodSeconds") or GRACE_SECONDS
        over = not origins.is_return(task) and now >= begun + grace - CLOCK_SECONDS
        unwanted = task["fromCluster"] in self._tainted
        idle = {at for at in self._lost if unwanted and self._taken_over.get((name, at), 0.0) < begun}
        if lost & has.keys() - idle:
            raise Violation(f"{name} is gone from {task['fromCluster']} for {has}, and lost are {lost}")
        either = [there - idle for there in ({*had}, {*has}) if there - idle]
        if any(self._works(name, there, after) for there in either):
            return
        if not over or not any(all((name, at) in self._worked for at in there) for there in either):
            raise Violation(f"{name} is gone from {task['fromCluster']}, and {has} did not replace it")
        self._complete.discard(name)

    def _works(self, name: str, there: Collection[str], after: Object) -> bool:
        """In all of these, as far as the store may know."""
        known = bindings.observed(after)
        failing = [at for at in there if (name, at) in self._unhealthy_at and _is_unhealthy(known.get(at))]
        return not failing and all(self._worked.get((name, at)) for at in there)

    def _fails_over(self, name: str, task: Mapping[str, Any], to: Collection[str], now: float) -> None:
        failing = now - self._unhealthy_at.get((name, task["fromCluster"]), now)
        if failing < TOLERATED_SECONDS - CLOCK_SECONDS:
            raise Violation(f"{name} leaves {task['fromCluster']}, and fails there for {failing} s")
        for at in to:
            failed = now - self._failed_at.get((name, at), 0.0)
            if (name, at) in self._unhealthy_at or failed < FAILED_SECONDS:
                raise Violation(f"{name} leaves {task['fromCluster']} for {at}, and failed there too")
        self._failed_at[name, task["fromCluster"]] = now

    def _note_health(self, name: str, binding: Object, now: float) -> None:
        unhealthy = [(name, at) for at, entry in bindings.observed(binding).items() if _is_unhealthy(entry)]
        known = {at: since for at, since in self._unhealthy_at.items() if at[0] != name or at in unhealthy}
        self._unhealthy_at = dict.fromkeys(unhealthy, now) | known

    def _note_home(self, name: str, before: Object | None, binding: Object) -> None:
        there = [*bindings.targets(binding)]
        if before is None and len(there) == 1:
            self.homes[name] = there[0]
        for task in _new_tasks(before or {}, binding):
            for_good = task["reason"] == APPLICATION_FAILURE or "is being drained" in task["message"]
            # One that left while it was on its way home is where it was, and to return still.
            back = {left["fromCluster"] for left in tasks_of(before or {}) if origins.is_return(left)}
            if for_good and self.homes.get(name) == task["fromCluster"] and not back & {*there}:
                self.homes[name] = there[0]


def _is_unhealthy(entry: Mapping[str, Any] | None) -> bool:
    return entry is not None and entry.get("health") == "Unhealthy"


def _new_tasks(before: Object, after: Object) -> Iterator[Mapping[str, Any]]:
    known = [(task["fromCluster"], task["creationTimestamp"]) for task in tasks_of(before)]
    for task in tasks_of(after):
        if (task["fromCluster"], task["creationTimestamp"]) not in known:
            yield task


def is_well(cluster: Object) -> bool:
    return not is_lost(cluster) and not is_tainted(cluster)


def is_tainted(cluster: Object) -> bool:
    return any(taint["effect"] == "NoExecute" for taint in cluster["spec"].get("taints") or ())


def is_closed(cluster: Object) -> bool:
    """Drained or cordoned."""
    keys = {taint["key"] for taint in cluster["spec"].get("taints") or ()}
    return bool(keys & {names.TAINT_DRAIN, names.TAINT_UNSCHEDULABLE})


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
