"""Placing a binding: when to schedule, and how the outcome is written into the binding (Karmada 3.0)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from towline.hub.decide import lately
from towline.hub.decide.aggregation import with_fully_applied
from towline.hub.decide.bindings import (
    demand,
    foreign_scheduler,
    is_workload,
    observed,
    targets,
    with_observed,
)
from towline.hub.decide.conditions import condition, epoch, rfc3339, with_condition
from towline.hub.decide.plan import EventNote
from towline.hub.decide.policies import claim_of
from towline.hub.decide.scheduling import NO_CLUSTER_FIT, Outcome, Request, View, schedule
from towline.hub.decide.scheduling.request import strategy_of
from towline.hub.decide.scheduling.strategies import replicas_by_component
from towline.hub.decide.tolerance import fails_over, leaves
from towline.kube import names
from towline.kube.objects import Key, Object, annotations_of, generation_of, with_annotations, with_generation

SCHEDULED = "Scheduled"
SUSPENDED = "SchedulingSuspended"
FOREIGN = "WaitingForScheduler"
"""Reasons of a Scheduled condition that is Unknown: nobody here is to schedule the binding."""

_SUSPENDED = "scheduling is suspended (spec.suspension.scheduling)"
_FOREIGN = "scheduler {} is expected to schedule this (spec.schedulerName)"


class Placed(NamedTuple):
    """A binding after `place`: what to write, what to tell, and the decision if one was made."""

    binding: Object
    events: list[EventNote]
    reasons: Mapping[str, Any]
    outcome: Outcome | None = None


def place(
    key: Key,
    binding: Object,
    old: Object | None,
    view: View,
    now: float,
    *,
    barred: Mapping[str, str] | None = None,
) -> Placed:
    """`binding` (shaped, unscheduled) with its targets, its generation and its status; `old` is what is stored. `barred`: the request's.

    The targets, their entries in aggregatedStatus and the Scheduled condition belong together in one commit."""
    spec = binding.get("spec") or {}
    foreign = foreign_scheduler(spec)
    if foreign or (spec.get("suspension") or {}).get("scheduling"):
        reason, why = (FOREIGN, _FOREIGN.format(foreign)) if foreign else (SUSPENDED, _SUSPENDED)
        left = _with_expectation(with_generation(_all_observed(binding), old), reason, why, now)
        return Placed(left, [], {"scheduling": why})
    cause = needs_scheduling(binding, view)
    if cause is None:
        kept = with_generation(_all_observed(binding), old)
        kept = _with_status(kept, schedulerObservedGeneration=generation_of(kept))
        return Placed(kept, [], {"scheduling": "kept"})
    full = frozenset(lately.until(binding, lately.DESCHEDULED, now))
    fitted = _without_overdue(binding, view, now)
    wish = request_of(key, fitted)
    outcome = _scheduled(replace(wish, barred=barred) if barred else wish, full, view)
    if fitted is not binding and not outcome.success and not outcome.asks:
        outcome = _scheduled(request_of(key, binding), full, view)
    reasons = {"scheduling": cause, "outcome": outcome.reason, "message": outcome.message}
    if outcome.asks:
        return Placed(binding, [], reasons, outcome)
    kept = binding if outcome.targets is not None else _without_gone(binding, view)
    placed, events = _written(kept, old, outcome, cause == _TRIGGERED, now)
    return Placed(placed, events, reasons, outcome)


def _without_overdue(binding: Object, view: View, now: float) -> Object:
    """`binding` as if it had no more in clusters that it could not leave in time, as far as it has more than it wants: what nobody hears is
    given up before what works. What is tolerated counts like the rest."""
    spec = binding.get("spec") or {}
    if not fails_over(spec) or not divides(spec):
        return binding
    there, wanted = targets(binding), demand(spec).replicas
    surplus = sum(there.values()) - wanted
    if surplus <= 0 or not wanted:
        return binding
    for name in sorted(there):
        member = view.members.get(name)
        if (
            member is None
            or not member.lost
            or all(leave.at > now for leave in leaves(spec, member.troubles))
        ):
            continue
        part = min(surplus, there[name])
        surplus, there[name] = surplus - part, there[name] - part
    kept = [
        {**target, "replicas": there[target["name"]]} for target in spec["clusters"] if there[target["name"]]
    ]
    return {**binding, "spec": _with_clusters(spec, kept)}


def _scheduled(request: Request, full: frozenset[str], view: View) -> Outcome:
    """Without more for clusters that are `full`, if that can be: to wait there for a node is better than to wait for a cluster."""
    if full:
        outcome = schedule(replace(request, full=full), view)
        if outcome.success or outcome.asks:
            return outcome
    return schedule(request, view)


def _with_expectation(binding: Object, reason: str, message: str, now: float) -> Object:
    """What is not scheduled here says what it waits for, until whoever schedules it says something else."""
    before = condition(binding.get("status"), SCHEDULED)
    if before is not None and before.get("reason") not in (SUSPENDED, FOREIGN):
        return binding
    if before is not None and (before.get("reason"), before.get("message")) == (reason, message):
        return binding
    conditions = (binding.get("status") or {}).get("conditions")
    return _with_status(
        binding, conditions=with_condition(conditions, SCHEDULED, "Unknown", reason, message, now)
    )


_TRIGGERED = "a reschedule was triggered"


def needs_scheduling(binding: Object, view: View) -> str | None:
    """Why the present targets must be decided anew; None when they stay."""
    spec, status = binding.get("spec") or {}, binding.get("status") or {}
    placement = spec.get("placement") or {}
    applied = _applied_placement(binding)
    if applied is None or _differs(applied, placement, status.get("schedulerObservingAffinityName")):
        return "the placement changed" if applied is not None else "never scheduled"
    triggered, last = epoch(spec.get("rescheduleTriggeredAt")), epoch(status.get("lastScheduledTime"))
    if triggered is not None and (last is None or triggered > last):
        return _TRIGGERED
    if not is_workload(spec) or strategy_of(placement) == "Duplicated":
        return "not divided: follows the clusters"
    if sum(targets(binding).values()) != demand(spec).replicas or not targets(binding):
        return "the number of replicas changed"
    if _components_changed(spec):
        return "the components changed"
    if not all(_stands(name, view) for name in targets(binding)):
        return "a target is being removed"
    return None


def _components_changed(spec: Mapping[str, Any]) -> bool:
    """Whether the targets of a workload with several components were told other replicas than it has now."""
    components = spec.get("components") or ()
    wanted = replicas_by_component(components) if len(components) > 1 else []
    return any((target.get("components") or []) != wanted for target in spec.get("clusters") or ())


def _stands(cluster: str, view: View) -> bool:
    member = view.members.get(cluster)
    return member is not None and not member.terminating


def without_terminating(binding: Object, view: View, old: Object) -> Object:
    """For a binding that no policy governs any more: only targets that go away leave it."""
    present = (binding.get("spec") or {}).get("clusters") or []
    kept = [target for target in present if _stands(target["name"], view)]
    if len(kept) == len(present):
        return binding
    return with_generation({**_all_observed(binding), "spec": _with_clusters(binding["spec"], kept)}, old)


def _without_gone(binding: Object, view: View) -> Object:
    """Who cannot be placed anew stays where it is, but not in clusters that are none any more."""
    present = (binding.get("spec") or {}).get("clusters") or []
    kept = [target for target in present if target["name"] in view.members.index]
    return (
        binding if len(kept) == len(present) else {**binding, "spec": _with_clusters(binding["spec"], kept)}
    )


def _written(
    binding: Object, old: Object | None, outcome: Outcome, fresh: bool, now: float
) -> tuple[Object, list[EventNote]]:
    placed = binding
    if outcome.targets is not None:
        each = {"components": list(outcome.components)} if outcome.components else {}
        chosen = [
            {"name": n, "replicas": c, **each} if c else {"name": n, **each}
            for n, c in sorted(outcome.targets.items())
        ]
        placed = {**binding, "spec": _with_clusters(binding["spec"], chosen)}
        placed = _with_applied_placement(placed)
    placed = with_generation(_all_observed(placed), old)
    before = condition(placed.get("status"), SCHEDULED) or {}
    value = "True" if outcome.success else "False"
    same = (before.get("status"), before.get("reason"), before.get("message")) == (
        value,
        outcome.reason,
        outcome.message,
    )
    moved = old is None or targets(old) != targets(placed)
    status: dict[str, Any] = {}
    if not same:
        conditions = (placed.get("status") or {}).get("conditions")
        status["conditions"] = with_condition(
            conditions, SCHEDULED, value, outcome.reason, outcome.message, now
        )
    if outcome.success:
        status["schedulerObservedGeneration"] = generation_of(placed)
        status["schedulerObservingAffinityName"] = outcome.affinity or None
        if moved or fresh or not same:
            # A trigger that lies ahead is answered too: it must not count again.
            asked = epoch(placed["spec"].get("rescheduleTriggeredAt")) if fresh else None
            status["lastScheduledTime"] = rfc3339(max(now, asked or now))
    placed = with_fully_applied(_with_status(placed, **status), now)
    if same and (not moved or not outcome.success):
        return placed, []
    return placed, [_event(placed, outcome)]


def _event(placed: Object, outcome: Outcome) -> EventNote:
    if not outcome.success:
        return EventNote(placed, "Warning", "ScheduleBindingFailed", outcome.message)
    result = ", ".join(f"{name}:{count}" for name, count in sorted((outcome.targets or {}).items()))
    colon = ":" if placed["kind"] == "ResourceBinding" else ""
    return EventNote(
        placed, "Normal", "ScheduleBindingSucceed", f"{outcome.message} Result{colon} {{{result}}}"
    )


def request_of(key: Key, binding: Object) -> Request:
    """The wish of the binding at `key`."""
    spec, status = binding.get("spec") or {}, binding.get("status") or {}
    resource, groups = spec.get("resource") or {}, spec.get("workloadAffinityGroups") or {}
    triggered, last = epoch(spec.get("rescheduleTriggeredAt")), epoch(status.get("lastScheduledTime"))
    wanted = demand(spec)
    return Request(
        placement=spec.get("placement") or {},
        replicas=wanted.replicas,
        workload=is_workload(spec),
        current=targets(binding),
        uid=str(resource.get("uid") or ""),
        api_version=str(resource.get("apiVersion") or ""),
        kind=str(resource.get("kind") or ""),
        namespace=key.namespace,
        requirements=wanted.requirements,
        components=wanted.components,
        observed_affinity=str(status.get("schedulerObservingAffinityName") or ""),
        evicting=frozenset(task["fromCluster"] for task in spec.get("gracefulEvictionTasks") or ())
        - targets(binding).keys(),
        fails_over=fails_over(spec),
        fresh=triggered is not None and (last is None or triggered > last),
        affinity_group=str(groups.get("affinityGroup") or ""),
        anti_affinity_group=str(groups.get("antiAffinityGroup") or ""),
        binding=key,
    )


# --- moving --------------------------------------------------------------------------------------------------


def unplaceable(binding: Object) -> str | None:
    """Why a binding cannot be placed anew here, so that no copy of it can move."""
    spec = binding.get("spec") or {}
    suspension = spec.get("suspension") or {}
    if claim_of(binding) is None:
        return "no policy governs it any more"
    if suspension.get("scheduling"):
        return "its scheduling is suspended"
    if suspension.get("dispatching"):
        return "its dispatching is suspended"
    scheduler = foreign_scheduler(spec)
    return f"scheduler {scheduler} places it" if scheduler else None


def divides(spec: Mapping[str, Any]) -> bool:
    """Whether its replicas are divided among clusters: then all of them have a place when scheduling succeeds."""
    several = len(spec.get("components") or ()) > 1
    return is_workload(spec) and not several and strategy_of(spec.get("placement") or {}) != "Duplicated"


def suspended_in(spec: Mapping[str, Any], cluster: str) -> bool:
    """Whether nothing is dispatched to this cluster."""
    suspended = (spec.get("suspension") or {}).get("dispatchingOnClusters") or {}
    return cluster in (suspended.get("clusterNames") or ())


def from_term(binding: Object, name: str = "") -> Object:
    """`binding` as if this term of its clusterAffinities had been chosen, or none yet. The same object where it was."""
    return _with_status(binding, schedulerObservingAffinityName=name or None)


def without_old_reports(binding: Object, clusters: Collection[str]) -> Object:
    """`binding` whose entries of these clusters say nothing yet: what they said of a copy of long ago is not the new one's."""
    if not clusters:
        return binding
    entries = [
        {"clusterName": name} if name in clusters else entry for name, entry in observed(binding).items()
    ]
    return {**binding, "status": {**binding["status"], "aggregatedStatus": entries}}


# --- what was placed last ------------------------------------------------------------------------------------


def _applied_placement(binding: Object) -> Mapping[str, Any] | None:
    text = annotations_of(binding).get(names.APPLIED_PLACEMENT)
    return None if text is None else _read_placement(text)


@lru_cache(maxsize=1024)
def _read_placement(text: str) -> Mapping[str, Any] | None:
    """The bindings of a policy say the same, and are decided again and again. None when it cannot be read."""
    try:
        applied = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return applied if isinstance(applied, dict) else None


def _with_applied_placement(binding: Object) -> Object:
    placement = binding["spec"].get("placement") or {}
    if _applied_placement(binding) == placement:
        return binding
    return with_annotations(binding, {names.APPLIED_PLACEMENT: orjson.dumps(placement).decode()})


def _differs(applied: Mapping[str, Any], placement: Mapping[str, Any], observed_term: str | None) -> bool:
    """Whether the placement changed in a way that counts: a change in ordered terms counts only where the observed term
    changed or went; workload affinity alone does not count."""
    special = ("clusterAffinities", "workloadAffinity")
    if {k: v for k, v in applied.items() if k not in special} != {
        k: v for k, v in placement.items() if k not in special
    }:
        return True
    before, after = applied.get("clusterAffinities") or [], placement.get("clusterAffinities") or []
    if before == after:
        return False
    if not observed_term or not before or not after:
        return True

    def term(terms: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        return next((t for t in terms if t.get("affinityName") == observed_term), None)

    return term(after) is None or term(before) != term(after)


# --- small changed copies ------------------------------------------------------------------------------------


def _all_observed(binding: Object) -> Object:
    return (
        binding
        if observed(binding).keys() >= targets(binding).keys()
        else with_observed(binding, targets(binding))
    )


def _with_clusters(spec: Object, clusters: list[Object]) -> Object:
    if clusters:
        return {**spec, "clusters": clusters}
    return {field: value for field, value in spec.items() if field != "clusters"}


def _with_status(binding: Object, **fields: Any) -> Object:
    status = {**(binding.get("status") or {}), **fields}
    status = {field: value for field, value in status.items() if value is not None}
    return binding if status == (binding.get("status") or {}) else {**binding, "status": status}


__all__ = [
    "NO_CLUSTER_FIT",
    "SCHEDULED",
    "Placed",
    "divides",
    "from_term",
    "needs_scheduling",
    "place",
    "request_of",
    "suspended_in",
    "unplaceable",
    "without_old_reports",
    "without_terminating",
]
