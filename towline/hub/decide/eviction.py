"""Eviction: copies leave clusters that are lost, tainted or drained, and clusters where the application fails (Karmada 2.9, 2.10).

A copy leaves a cluster by moving from `spec.clusters` into a task, in the commit that also says where its replacement goes. With nowhere to
go nothing moves, and the condition EvictionBlocked says why. All times derive from what is stored, so a restart changes none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from towline.hub.decide import lately, origins, stopping
from towline.hub.decide.bindings import desired, observed, targets, with_template
from towline.hub.decide.conditions import MESSAGE_LENGTH_MAX, rfc3339, with_obstacle
from towline.hub.decide.departures import APPLICATION_FAILURE, UNTOLERATED, Departure, by_cluster, departures
from towline.hub.decide.graceful import GRACE_SECONDS, ended, purging, tasks_of
from towline.hub.decide.placing import (
    Placed,
    divides,
    from_term,
    place,
    suspended_in,
    unplaceable,
    without_old_reports,
)
from towline.hub.decide.plan import NOTHING, Ask, EventNote, Plan, Put, Snapshot
from towline.hub.decide.preservation import NotPreserved, preserved_state
from towline.hub.decide.scheduling import View
from towline.hub.decide.scheduling.members import Members
from towline.hub.decide.scheduling.request import API, CLUSTER, LABEL, TAINT
from towline.kube.names import TAINT_DRAIN
from towline.kube.objects import Key, Object, is_deleting, revision_of

BLOCKED = "EvictionBlocked"
"""The condition of a binding that is to leave clusters and cannot; its reason is one of the next three."""
NOWHERE_TO_GO = "NowhereToGo"
NOT_PLACED_HERE = "NotPlacedHere"
PURGE_UNCONFIRMED = "PurgeUnconfirmed"
TAINT_MANAGER = "TaintManager"
_PRODUCERS = {
    "ResourceBinding": "resource-binding-application-failover-controller",
    "ClusterResourceBinding": "cluster-resource-binding-application-failover-controller",
}
DOUBT_SECONDS = 10.0
"""What a doubt held back is looked at again after so long: a doubt may pass without a trace."""


class Moved(NamedTuple):
    """A binding whose copies left, with their replacements placed."""

    binding: Object
    events: Sequence[EventNote]


class Stuck(NamedTuple):
    """Why they cannot leave, and what could change that."""

    why: str
    waits: frozenset[str] = frozenset((CLUSTER, LABEL, TAINT, API))
    asks: tuple[Ask, ...] = ()


@dataclass(frozen=True, slots=True)
class _Case:
    """What one decision is about."""

    snapshot: Snapshot
    key: Key
    binding: Object
    view: View
    now: float

    @property
    def spec(self) -> Mapping[str, Any]:
        spec: Mapping[str, Any] = self.binding.get("spec") or {}
        return spec


def decide(
    snapshot: Snapshot,
    key: Key,
    now: float,
    view: View,
    *,
    doubted: Callable[[], Collection[str]] = tuple,
    settled_at: float = 0.0,
    heard: Callable[[str], float] = lambda cluster: 0.0,
) -> Plan:
    """The eviction tasks of the binding at `key`: those that are over end, those that are due are made.

    `doubted` answers the clusters of which the hub does not believe that they are lost. `settled_at`: when agents have had the time to
    come back to a hub that just started; until then nothing leaves but what is drained. `heard`: when a cluster may have been heard last
    that is not known to be lost since."""
    binding = snapshot.get(key)
    if binding is None or is_deleting(binding):
        return NOTHING
    rest = ended(view.members, binding, now)
    if rest.binding is not binding:
        return Plan((Put(key, rest.binding, revision_of(binding)),), reasons={"eviction": "a task changed"})
    stops = stopping.stopped(snapshot, view.members, binding, heard, now)
    if stops.binding is not binding:
        return Plan(
            (Put(key, stops.binding, revision_of(binding)),), reasons={"eviction": "a copy has stopped"}
        )
    case = _Case(snapshot, key, binding, view, now)
    leaving = list(departures(binding, view.members, settled_at))
    wakes = [departure.at - now for departure in leaving if departure.at > now]
    wakes += [seconds for seconds in (rest.wake_seconds, stops.wake_seconds) if seconds is not None]
    due = [departure for departure in leaving if departure.at <= now]
    if not all(departure.at_once for departure in due) and (held := doubted()):
        wakes += [DOUBT_SECONDS] if any(departure.cluster in held for departure in due) else []
        due = [departure for departure in due if departure.at_once or departure.cluster not in held]
    plan = (
        _evict(case, by_cluster(due)) if due else _at_rest(case, stopping_soon=stops.wake_seconds is not None)
    )
    wakes += [end - now for end in lately.until(binding, lately.FAILED, now).values() if due]
    return replace(plan, requeue_after_seconds=min(wakes, default=None))


def draining(members: Members) -> bool:
    """Whether any cluster is drained: bindings leave it that no policy lets leave otherwise."""
    drained: bool = members.known(
        "drained", lambda: any(t.key == TAINT_DRAIN for member in members.all for t in member.taints)
    )
    return drained


def moves(plan: Plan) -> bool:
    """Whether `plan` makes copies leave because of taints: those take turns (Karmada's resource-eviction-rate)."""
    return UNTOLERATED in plan.reasons.get("evicted", {}).values()


# --- leaving -------------------------------------------------------------------------------------------------


def _evict(case: _Case, due: Sequence[Departure]) -> Plan:
    """All of them together if they can be replaced, else the first that can alone; else all for fewer new copies; else none."""
    if why := unplaceable(case.binding):
        return _blocked(case, NOT_PLACED_HERE, [(departure, Stuck(why, frozenset())) for departure in due])
    stuck: list[tuple[Departure, Stuck]] = []
    tries = [(due, False), *(([departure], False) for departure in due), (due, True)]
    for leaving, fewer in tries if len(due) > 1 else [(due, False)]:
        result = _leave(case, leaving, fewer=fewer)
        if isinstance(result, Moved):
            return _moved(case, leaving, result)
        if result.asks:
            return Plan(asks=result.asks)
        if len(leaving) == 1:
            stuck.append((leaving[0], result))
    return _blocked(case, NOWHERE_TO_GO, stuck)


def _leave(case: _Case, leaving: Sequence[Departure], *, fewer: bool) -> Moved | Stuck:
    """The binding without these copies and with their replacements. `fewer`: with no copy left, a single new one will do."""
    try:
        tasks = [_task(case, departure) for departure in leaving]
    except NotPreserved as missing:
        return Stuck(str(missing), frozenset())
    gone = {departure.cluster for departure in leaving}
    standing = origins.taken_back(
        case.binding
    )  # with a home that is left again, who stood in for it does so again
    staying = [task for task in tasks_of(standing) if task.get("fromCluster") not in gone]
    spec = {**standing["spec"], "gracefulEvictionTasks": [*staying, *tasks]}
    spec["clusters"] = [target for target in spec["clusters"] if target["name"] not in gone]
    barred = _barred(case, leaving, {target["name"] for target in spec["clusters"]})
    placed = _placed(case, {**case.binding, "spec": spec}, barred)
    outcome = placed.outcome
    if outcome is not None and not outcome.success:
        closed = [
            f"{name}, which {barred[name]}, gets no more"
            for name in targets(standing)
            if name in barred and name not in gone
        ]
        return Stuck("; ".join([outcome.message, *closed]), Stuck("").waits | outcome.waits, outcome.asks)
    after = targets(placed.binding)
    if why := _lacking(case, leaving, after, fewer):
        return Stuck(why)
    binding = without_old_reports(placed.binding, after.keys() - desired(case.binding).keys())
    binding = _still_leaving(case, binding, gone)
    binding = _leaving_along(case, leaving, binding, [name for name in targets(standing) if name not in gone])
    back = {departure.cluster for departure in leaving if departure.rule.get("failback")}
    back = back if origins.rule_of(case.spec) is not None else set()
    return Moved(origins.after_eviction(case.binding, binding, gone, back, case.now), placed.events)


def _placed(case: _Case, binding: Object, barred: Mapping[str, str]) -> Placed:
    """`binding` placed; in an earlier term of its clusterAffinities if neither the observed one nor a later one can have it. Scheduling
    by itself never goes back (Karmada 3.5), but here it would be left without a copy that works."""
    placed = place(case.key, binding, case.binding, case.view, case.now, barred=barred)
    failed, anew = placed.outcome, from_term(binding)
    if failed is None or failed.success or failed.asks or anew is binding:
        return placed
    again = place(case.key, anew, case.binding, case.view, case.now, barred=barred)
    if again.outcome is not None and (again.outcome.success or again.outcome.asks):
        return again
    return placed


def _still_leaving(case: _Case, placed: Object, gone: Collection[str]) -> Object:
    """Who left for a copy that returned, and does not stand in for it again, leaves for the new replacement: not before that works."""
    kept = {*gone, *targets(placed), *(task.get("fromCluster") for task in tasks_of(placed))}
    leaving = [t for t in tasks_of(case.binding) if origins.is_return(t) and t.get("fromCluster") not in kept]
    if not leaving:
        return placed
    return {**placed, "spec": {**placed["spec"], "gracefulEvictionTasks": [*tasks_of(placed), *leaving]}}


def _leaving_along(
    case: _Case, leaving: Sequence[Departure], placed: Object, stayed: Iterable[str]
) -> Object:
    """Where all of it goes to another group of clusters, what `stayed` leaves too: like the others, not before the new copies work. And
    what has fewer replicas where they are divided anew keeps until then what it had."""
    members, before, after = case.view.members, targets(case.binding), targets(placed)
    kept = {task.get("fromCluster") for task in tasks_of(placed)}
    others = ", ".join(departure.cluster for departure in leaving)
    why = f"is left too: all of it goes where {others} can be replaced"
    fewer = f"has fewer replicas: they are divided anew, because {others} is left"
    direct = leaving[0].rule.get("purgeMode") == "Directly"
    rule = {"purgeMode": "Directly"} if direct else {}
    along = [
        _task(case, leaving[0]._replace(cluster=name, why=fewer if name in after else why, rule=rule))
        for name in stayed
        if name not in kept and (member := members.get(name)) is not None and not member.terminating
        and (name not in after or (not direct and after[name] < before.get(name, 0)))
    ]  # fmt: skip
    if not along:
        return placed
    return {**placed, "spec": {**placed["spec"], "gracefulEvictionTasks": [*along, *tasks_of(placed)]}}


def _lacking(case: _Case, leaving: Sequence[Departure], after: Mapping[str, int], fewer: bool) -> str | None:
    """Why the targets `after` do not replace the copies that leave; None if they do.

    What is not divided needs as many new copies as old ones leave: otherwise to leave would only delete copies."""
    before, members = targets(case.binding), case.view.members
    unhealthy = _unhealthy(case.binding) if _failing(leaving) else ()
    for name in sorted(after):
        if after[name] > before.get(name, -1) and (why := _unfit(case, name, unhealthy)):
            return f"its replacement would go to {name}, which {why}"
    if all(departure.wished for departure in leaving):
        standing = any((member := members.get(name)) is not None and not member.lost for name in after)
        return None if standing else "no other cluster that has a copy is there"
    new, staying = after.keys() - before.keys(), after.keys() & before.keys()
    if divides(case.spec) or len(new) >= len(leaving) or (fewer and new and not staying):
        return None
    return "every other cluster that may have a copy has one already"


def _failing(leaving: Iterable[Departure]) -> bool:
    return any(departure.reason == APPLICATION_FAILURE for departure in leaving)


def _barred(case: _Case, leaving: Sequence[Departure], staying: Collection[str]) -> dict[str, str]:
    """Where no replacement is to go, and why. Copies that are `staying` stay there, with as many replicas as they have."""
    failing = _failing(leaving)
    failed = lately.until(case.binding, lately.FAILED, case.now) if failing else {}
    barred = {name: "had the application fail not long ago" for name in failed if name not in staying}
    unhealthy = _unhealthy(case.binding) if failing else ()
    unfit = ((name, _unfit(case, name, unhealthy)) for name in case.view.members.names)
    return barred | {name: why for name, why in unfit if why is not None}


def _unhealthy(binding: Object) -> list[str]:
    return [name for name, entry in observed(binding).items() if entry.get("health") == "Unhealthy"]


def _unfit(case: _Case, cluster: str, unhealthy: Collection[str]) -> str | None:
    """Why more replicas in `cluster` replace nothing."""
    member = case.view.members.get(cluster)
    if member is None or member.lost:
        return "is lost itself"
    if suspended_in(case.spec, cluster):
        return "has its dispatching suspended"
    if cluster in unhealthy:
        return "has the application unhealthy too"
    return None


def _task(case: _Case, departure: Departure) -> Object:
    """A GracefulEvictionTask (Karmada 1.4). Raises NotPreserved."""
    cluster, rule = departure.cluster, departure.rule
    application = departure.reason == APPLICATION_FAILURE
    mode = rule.get("purgeMode") or "Gracefully"
    task: Object = {
        "fromCluster": cluster,
        "purgeMode": mode,
        "reason": departure.reason,
        "message": f"cluster {cluster} {departure.why}"[:MESSAGE_LENGTH_MAX],
        "producer": _PRODUCERS[str(case.binding["kind"])] if application else TAINT_MANAGER,
        "creationTimestamp": rfc3339(case.now),
    }
    if replicas := targets(case.binding)[cluster]:
        task["replicas"] = replicas
    if mode == "Never":
        task["suppressDeletion"] = True
    elif application and mode == "Gracefully":
        task["gracePeriodSeconds"] = rule.get("gracePeriodSeconds") or int(GRACE_SECONDS)
    state = preserved_state(rule, (observed(case.binding).get(cluster) or {}).get("status"))
    if state:
        task |= {"preservedLabelState": state, "clustersBeforeFailover": sorted(targets(case.binding))}
    return task


# --- what is written and told --------------------------------------------------------------------------------


def _moved(case: _Case, leaving: Sequence[Departure], moved: Moved) -> Plan:
    notes = [("Normal", "Succeed", f"Evict from cluster {d.cluster} succeed.") for d in leaving]
    binding = with_obstacle(moved.binding, BLOCKED, None, case.now)
    if failed := [departure.cluster for departure in leaving if departure.reason == APPLICATION_FAILURE]:
        binding = lately.noting(binding, lately.FAILED, failed, case.now)
    events = _told(case, notes)
    for note in moved.events:
        events += with_template(case.snapshot, case.binding, note)
    evicted = {departure.cluster: departure.reason for departure in leaving}
    return Plan(
        (Put(case.key, binding, revision_of(case.binding)),), tuple(events), reasons={"evicted": evicted}
    )


def _blocked(case: _Case, reason: str, stuck: Sequence[tuple[Departure, Stuck]]) -> Plan:
    """Nothing leaves; the condition says what is in the way."""
    message = "; ".join(f"{departure.cluster} {departure.why}: {found.why}" for departure, found in stuck)
    waits = frozenset[str]().union(*(found.waits for _, found in stuck))
    notes = [("Warning", "Failed", f"Evict from cluster {d.cluster} failed: {f.why}") for d, f in stuck]
    return _says(case, reason, message, waits, notes)


def _at_rest(case: _Case, *, stopping_soon: bool) -> Plan:
    """Nothing is to leave. A replacement may have to wait for a copy in a cluster that does not answer."""
    members = case.view.members
    silent = [name for name in purging(case.binding) if (member := members.get(name)) is None or member.lost]
    if silent:
        which = ", ".join(silent)
        message = f"the copy in {which} is to be gone before its replacement starts (purgeMode Directly), and {which} does not answer"
        if stopping_soon:
            message += "; its agent stops it by itself (stopAfterSeconds), and the replacement starts when that is certain"
        else:
            message += f"; should it never be back, `towline unjoin {silent[0]} --force` gives it up"
        return _says(case, PURGE_UNCONFIRMED, message)
    free = with_obstacle(case.binding, BLOCKED, None, case.now)
    return NOTHING if free is case.binding else Plan((Put(case.key, free, revision_of(case.binding)),))


def _says(
    case: _Case,
    reason: str,
    message: str,
    waits: frozenset[str] = frozenset(),
    notes: Iterable[tuple[str, str, str]] = (),
) -> Plan:
    """The condition EvictionBlocked, and the events when it is news."""
    message = message[:MESSAGE_LENGTH_MAX]
    reasons = {"eviction": f"{reason}: {message}"}
    written = with_obstacle(case.binding, BLOCKED, (reason, message), case.now)
    if written is case.binding:
        return Plan(reasons=reasons, waits=waits)
    put = Put(case.key, written, revision_of(case.binding))
    return Plan((put,), tuple(_told(case, notes)), reasons=reasons, waits=waits)


def _told(case: _Case, notes: Iterable[tuple[str, str, str]]) -> list[EventNote]:
    """Events about the binding and its template (Karmada 2.15)."""
    events = []
    for kind, outcome, message in notes:
        note = EventNote(case.binding, kind, f"EvictWorkloadFromCluster{outcome}", message)
        events += with_template(case.snapshot, case.binding, note)
    return events
