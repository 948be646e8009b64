"""Failback: what failed over returns when its cluster is back, if the policy says so (`failover.cluster.failback`).

One decision for the whole fleet, because only so many bindings may be on their way at a time. A return is a move like any other: scheduling
has its say, and the copy elsewhere leaves as `purgeMode` says; gracefully, that is when the one that returned is healthy, and not before:
a copy that works is not given up for one that does not. One that does not become healthy in its grace is taken back, and tried again later.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from towline.hub.decide import origins
from towline.hub.decide.bindings import (
    demand,
    desired,
    is_workload,
    observed,
    status_in,
    targets,
    with_observed,
    with_template,
)
from towline.hub.decide.conditions import MESSAGE_LENGTH_MAX, condition, epoch, rfc3339, with_obstacle
from towline.hub.decide.graceful import GRACE_SECONDS, tasks_of, with_task_list
from towline.hub.decide.origins import Origin
from towline.hub.decide.placing import (
    divides,
    from_term,
    place,
    request_of,
    suspended_in,
    unplaceable,
    without_old_reports,
)
from towline.hub.decide.plan import NOTHING, Ask, EventNote, Plan, Put, Snapshot
from towline.hub.decide.preservation import NotPreserved, preserved_state
from towline.hub.decide.scheduling import View
from towline.hub.decide.scheduling.affinity import terms_of
from towline.hub.decide.scheduling.estimates import replicas_in
from towline.hub.decide.scheduling.request import DYNAMIC, strategy_of
from towline.hub.decide.tolerance import welcomes
from towline.kube import names
from towline.kube.objects import (
    Key,
    Object,
    annotations_of,
    is_deleting,
    revision_of,
    with_annotations,
    with_generation,
)
from towline.kube.wishes import of_replicas

FLEET = Key("towline.io", "failbacks", "", "fleet")
"""The only key of this decision."""
STABILIZATION_SECONDS = 300
CONCURRENT_MAX = 5
"""What the policy's stabilizationSeconds and maxConcurrent are when it does not say."""
RETRY_SECONDS = 30.0
"""After so long what could not return is tried again: room comes and goes without a word."""
BLOCKED = "FailbackBlocked"
"""The condition of a binding that is to return and cannot; its reason is one of the next two."""
NOT_PLACED = "NotPlacedThere"
NOT_HEALTHY = "NotHealthyThere"
REASON = "Failback"
"""Of tasks and events."""


class _Bound(NamedTuple):
    """A binding that is to return, or is on its way."""

    key: Key
    binding: Object

    @property
    def spec(self) -> Mapping[str, Any]:
        spec: Mapping[str, Any] = self.binding["spec"]
        return spec

    @property
    def rule(self) -> Mapping[str, Any]:
        return origins.rule_of(self.spec) or {}

    def put(self, changed: Object) -> Put:
        return Put(self.key, changed, revision_of(self.binding))


class _Due(NamedTuple):
    """One way home. In the order of their turns: the most urgent first, then by name."""

    urgency: int
    name: tuple[str, str, str]
    cluster: str
    bound: _Bound
    origin: Origin


class _Stuck(NamedTuple):
    """Why it cannot return now."""

    why: str
    asks: tuple[Ask, ...] = ()


@dataclass(frozen=True, slots=True)
class _Case:
    """What one decision is about."""

    snapshot: Snapshot
    view: View
    now: float


def decide(
    snapshot: Snapshot,
    now: float,
    view: View,
    *,
    settled_at: float = 0.0,
    answering: Callable[[], Collection[str]] | None = None,
) -> Plan:
    """The next step of all that is to return: at most one binding sets out at a time.

    `settled_at`: when agents have had the time to come back to a hub that just started; nothing returns before. `answering` says
    which clusters are heard now, and have an API server that answers: nothing returns to one that may be about to be lost. None: all."""
    case = _Case(snapshot, view, now)
    waiting, on_way = _labelled(case, origins.WAITING), _labelled(case, origins.RETURNING)
    if not waiting and not on_way:
        return NOTHING
    kept = [*_tidied(case, [*waiting, *on_way]), *_marked(case, waiting)]
    if kept:
        return Plan(tuple(kept), requeue_after_seconds=0.0)
    due, later = _due(case, waiting, settled_at)
    for bound in on_way:
        if (until := _given_up_at(bound)) is not None:
            if until <= now:
                return _taken_back(case, bound)
            later.append(until)
    wakes = [at - now for at in later]
    there = answering() if due and answering is not None else None
    for way in due:
        if there is not None and way.cluster not in there:
            wakes.append(RETRY_SECONDS)
            continue
        if len(on_way) >= int(way.bound.rule.get("maxConcurrent") or CONCURRENT_MAX):
            continue  # it is woken when one has arrived
        found = _return(case, way)
        if isinstance(found, Plan):
            return found
        if found.asks:
            return Plan(asks=found.asks)
        wakes.append(RETRY_SECONDS)
        if blocked := _blocked(case, way.bound, NOT_PLACED, f"return to {way.cluster}: {found.why}"):
            return Plan((blocked,), requeue_after_seconds=0.0)
    return Plan(requeue_after_seconds=min(wakes, default=None))


def returns(
    snapshot: Snapshot, binding: Object, view: View, now: float, settled_at: float
) -> Iterator[tuple[Origin, float]]:
    """What of `binding` is to return, and when each may set out, in epoch seconds; infinite while its cluster is not well."""
    rule = origins.rule_of(binding.get("spec") or {})
    if rule is None:
        return
    case = _Case(snapshot, view, now)
    for origin in origins.origins_of(binding):
        yield origin, _sets_out_at(rule, origin, _well_since(case, origin.cluster), settled_at)


def _labelled(case: _Case, state: str) -> list[_Bound]:
    found = ((key, case.snapshot.get(key)) for key in case.snapshot.labelled(names.FAILBACK, state))
    return [
        _Bound(key, binding)
        for key, binding in found
        if key.group == names.WORK_GROUP and binding is not None and not is_deleting(binding)
    ]


# --- what is remembered --------------------------------------------------------------------------------------


def _tidied(case: _Case, bound: Sequence[_Bound]) -> Iterator[Put]:
    """Bindings that remember what they have no more to return to, or whose label is not right."""
    for one in bound:
        known = origins.origins_of(one.binding)
        left = [origin for at in known if (origin := _left(case, one, at)) is not None]
        changed = origins.with_origins(one.binding, left)
        if not left:
            changed = with_obstacle(changed, BLOCKED, None, case.now)
        if changed is not one.binding:
            yield one.put(changed)


def _left(case: _Case, bound: _Bound, origin: Origin) -> Origin | None:
    """What is left of it: None when the policy wants nothing back, the cluster is gone, it has its share again, or nobody stands in
    for it any more, because the binding was placed anew."""
    there = targets(bound.binding)
    if origins.rule_of(bound.spec) is None or case.view.members.get(origin.cluster) is None:
        return None
    if origins.returning_tasks(bound.binding):
        return origin
    if origins.is_home(origin, bound.binding):
        return None
    stand_ins = {name: share for name, share in origin.stand_ins.items() if name in there}
    return origin._replace(stand_ins=stand_ins) if stand_ins else None


def _marked(case: _Case, waiting: Sequence[_Bound]) -> Iterator[Put]:
    """Clusters that something is to return to, with the time since which they are well; without it while they are not."""
    homes = {origin.cluster for bound in waiting for origin in origins.origins_of(bound.binding)}
    for name in sorted(homes):
        key = Key(names.CLUSTER_GROUP, "clusters", "", name)
        cluster = case.snapshot.get(key)
        if cluster is None:
            continue
        well, known = _is_well(case, name), annotations_of(cluster).get(names.WELL_SINCE)
        if well and known is None:
            marked = with_annotations(cluster, {names.WELL_SINCE: rfc3339(case.now)})
            yield Put(key, marked, revision_of(cluster))
        elif known is not None and not well:
            yield Put(key, with_annotations(cluster, remove=(names.WELL_SINCE,)), revision_of(cluster))


def _is_well(case: _Case, name: str) -> bool:
    member = case.view.members.get(name)
    return member is not None and not member.terminating and not member.troubles


# --- whose turn it is ----------------------------------------------------------------------------------------


def _due(case: _Case, waiting: Sequence[_Bound], settled_at: float) -> tuple[list[_Due], list[float]]:
    """Who may set out, in order; and when others may."""
    due: list[_Due] = []
    later: list[float] = []
    homes = {origin.cluster: None for bound in waiting for origin in origins.origins_of(bound.binding)}
    since = {cluster: _well_since(case, cluster) for cluster in homes}
    for bound in waiting:
        for origin in origins.origins_of(bound.binding):
            at = _sets_out_at(bound.rule, origin, since[origin.cluster], settled_at)
            if at > case.now:
                later += [at] if at != float("inf") else []
                continue
            urgency = int((bound.spec.get("schedulePriority") or {}).get("priority") or 0)
            name = (bound.key.namespace, bound.key.name, bound.key.resource)
            due.append(_Due(-urgency, name, origin.cluster, bound, origin))
    return sorted(due, key=lambda way: way[:3]), later


def _sets_out_at(rule: Mapping[str, Any], origin: Origin, well_since: float, settled_at: float) -> float:
    seconds = rule.get("stabilizationSeconds")
    seconds = STABILIZATION_SECONDS if seconds is None else int(seconds)
    return max(max(well_since, origin.at) + seconds, settled_at)


def _well_since(case: _Case, name: str) -> float:
    """Infinite while it is not well. A condition that turned later than what is written counts: nobody may have waited then."""
    cluster = case.snapshot.get(Key(names.CLUSTER_GROUP, "clusters", "", name)) or {}
    since = epoch(annotations_of(cluster).get(names.WELL_SINCE))
    if since is None or not _is_well(case, name):
        return float("inf")
    turned = epoch((condition(cluster.get("status"), "Ready") or {}).get("lastTransitionTime"))
    return max(since, turned or 0.0)


# --- returning -----------------------------------------------------------------------------------------------


def _return(case: _Case, way: _Due) -> Plan | _Stuck:
    """The binding with what is its cluster's again in it, and tasks for who gives it up."""
    bound, home = way.bound, way.cluster
    binding, before = bound.binding, targets(bound.binding)
    if why := unplaceable(binding) or _unwelcome(case, bound.spec, home):
        return _Stuck(why)
    if home in observed(binding).keys() - desired(binding).keys() and _leaves(binding, home):
        return _Stuck("its old copy is still to be removed")
    placed = place(bound.key, _as_if_home(case, bound, way.origin), binding, case.view, case.now)
    if placed.outcome is None or not placed.outcome.success:
        failed = placed.outcome
        return _Stuck(failed.message, failed.asks) if failed is not None else _Stuck("it is not scheduled")
    after = targets(placed.binding)
    if after.get(home, -1) <= before.get(home, -1):
        return _Stuck("scheduling places it elsewhere")
    if why := _lacks_room(case, bound, home, after[home]):
        return _Stuck(why)
    try:
        tasks = list(_tasks(case, bound, home, before, after))
    except NotPreserved as missing:
        return _Stuck(str(missing))
    moved = with_task_list(placed.binding, [*tasks_of(placed.binding), *tasks])
    moved = without_old_reports(moved, after.keys() - desired(binding).keys())
    known = origins.origins_of(binding)
    share = min(way.origin.share, origins.share(after[home]))
    rest = [origin._replace(share=share) if origin.cluster == home else origin for origin in known]
    moved = origins.with_origins(with_obstacle(moved, BLOCKED, None, case.now), rest)
    leaving = ", ".join(str(task["fromCluster"]) for task in tasks) or "no cluster"
    note = EventNote(binding, "Normal", REASON, f"Returns to cluster {home}; leaving {leaving}.")
    told = [said for event in (note, *placed.events) for said in with_template(case.snapshot, binding, event)]
    return Plan((bound.put(moved),), tuple(told), reasons={"returned": home}, requeue_after_seconds=0.0)


def _unwelcome(case: _Case, spec: Mapping[str, Any], home: str) -> str | None:
    """What keeps new copies out of it: a taint (scheduling does not say, to whom it seems to be there already), or a suspension."""
    if suspended_in(spec, home):
        return "dispatching to it is suspended"
    tolerations = (spec.get("placement") or {}).get("clusterTolerations") or ()
    here = case.view.members.mask([home])
    for taint, mask in case.view.members.tainted().items():
        if mask & here and not welcomes(tolerations, taint, failing_over=True):
            return f"it has the untolerated taint {{{taint}}}"
    return None


def _leaves(binding: Object, home: str) -> bool:
    return any(task.get("fromCluster") == home for task in tasks_of(binding))


def _as_if_home(case: _Case, bound: _Bound, origin: Origin) -> Object:
    """The binding as if what was `origin`'s were there already and nothing else was ever decided: scheduling confirms it, or does not."""
    binding, spec = bound.binding, bound.spec
    there = targets(binding)
    if divides(spec):
        need, given = origin.share - there.get(origin.cluster, 0), 0
        for name, share in sorted(origin.stand_ins.items()):
            part = min(share, there[name], need - given)
            given += part
            there[name] -= part
        there = {name: count for name, count in there.items() if count}
        there[origin.cluster] = there.get(origin.cluster, 0) + given
    else:
        there = {name: count for name, count in there.items() if name not in origin.stand_ins}
        there[origin.cluster] = demand(spec).replicas
    tasks = [task for task in tasks_of(binding) if task.get("fromCluster") != origin.cluster]
    there_before = from_term(binding, _term_of(case, spec, [origin.cluster]))
    blank = with_annotations(there_before, remove=(names.APPLIED_PLACEMENT,))
    changed = {**spec, "clusters": origins.as_clusters(there), "gracefulEvictionTasks": tasks}
    return {**blank, "spec": changed}


def _term_of(case: _Case, spec: Mapping[str, Any], clusters: Collection[str]) -> str:
    """The first of its ordered terms that means all of `clusters`: scheduling goes on from there, whatever an earlier one could offer."""
    members = case.view.members
    for term in terms_of(spec.get("placement") or {}, workload=is_workload(spec)):
        meant = 0
        for tier in term.tiers:
            meant |= members.meant_by(tier)
        if not members.mask(clusters) & ~meant:
            return term.name
    return ""


def _lacks_room(case: _Case, bound: _Bound, home: str, wanted: int) -> str | None:
    """What is kept by scheduling is not measured, so it is here; unless the copy is still there."""
    request, member = request_of(bound.key, bound.binding), case.view.members.get(home)
    dynamic = request.workload and strategy_of(request.placement) in DYNAMIC
    if member is None or not dynamic or request.components or home in desired(bound.binding):
        return None
    wish = of_replicas(request.requirements, request.namespace)
    room, _ = replicas_in(member.room, wish, case.view.assigned.promises.get(home, {}))
    return f"it has room for {room} of {wanted} replicas" if room < wanted else None


def _tasks(
    case: _Case, bound: _Bound, home: str, before: Mapping[str, int], after: Mapping[str, int]
) -> Iterator[Object]:
    """One for each copy that leaves, or gives up replicas. What gives up replicas directly needs none: it has fewer at once.
    Raises NotPreserved."""
    rule = (bound.spec.get("failover") or {}).get("cluster") or {}
    mode = rule.get("purgeMode") or "Gracefully"
    for name in sorted(before):
        if after.get(name, -1) >= before[name] or (name in after and mode == "Directly"):
            continue
        task: Object = {
            "fromCluster": name,
            "purgeMode": mode,
            "reason": REASON,
            "message": f"cluster {name}: {home} is back",
            "producer": origins.PRODUCER,
            "creationTimestamp": rfc3339(case.now),
            "clustersBeforeFailover": sorted(before),
        }
        task |= {"replicas": before[name]} if before[name] else {}
        state = {} if name in after else preserved_state(rule, status_in(bound.binding, name))
        yield task | ({"preservedLabelState": state} if state else {})


# --- taking back ---------------------------------------------------------------------------------------------


def _given_up_at(bound: _Bound) -> float | None:
    """When a return that is not healthy by then is taken back; None if it is not: what was purged directly is not there any more."""
    begun = [epoch(t.get("creationTimestamp")) for t in origins.returning_tasks(bound.binding) if origins.is_return(t)]  # fmt: skip
    known = [at for at in begun if at is not None]
    return min(known) + GRACE_SECONDS if known else None


def _taken_back(case: _Case, bound: _Bound) -> Plan:
    """Whoever left has what it had; and the cluster has to be well for its time once more before the next attempt."""
    back = origins.taken_back(bound.binding)
    back = with_generation(with_task_list(back, tasks_of(back)), bound.binding)
    there = targets(back)
    back = with_observed(from_term(back, _term_of(case, bound.spec, there)), there)
    again = [
        origin._replace(at=case.now) if there.get(origin.cluster, 0) < origin.share else origin
        for origin in origins.origins_of(back)
    ]
    back = origins.with_origins(back, again)
    why = f"the copy was not healthy after {GRACE_SECONDS:.0f} s, and what is elsewhere stays"
    back = with_obstacle(back, BLOCKED, (NOT_HEALTHY, why), case.now)
    note = EventNote(bound.binding, "Warning", REASON + "Failed", why)
    told = tuple(with_template(case.snapshot, bound.binding, note))
    return Plan((bound.put(back),), told, reasons={"taken back": why}, requeue_after_seconds=0.0)


# --- what is said --------------------------------------------------------------------------------------------


def _blocked(case: _Case, bound: _Bound, reason: str, why: str) -> Put | None:
    """None when the binding says so already."""
    changed = with_obstacle(bound.binding, BLOCKED, (reason, why[:MESSAGE_LENGTH_MAX]), case.now)
    return None if changed is bound.binding else bound.put(changed)
