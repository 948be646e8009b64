"""When a graceful eviction task ends, and with it the copy that it kept (Karmada 1.4, 2.9).

The old copy leaves when its replacement is healthy, or when its grace ended and the replacement is there. With nothing to replace it, it
stays: in Karmada an empty result counts as healthy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from towline.hub.decide import origins
from towline.hub.decide.bindings import desired, observed, targets
from towline.hub.decide.conditions import epoch, rfc3339
from towline.hub.decide.scheduling.assigned import shown
from towline.hub.decide.scheduling.members import Members
from towline.kube.objects import Object, generation_of, with_generation

GRACE_SECONDS = 600.0
"""How long a replacement may take that is there and does not become healthy."""

Task = Mapping[str, Any]


class Rest(NamedTuple):
    """What is left of a binding's tasks at a moment."""

    binding: Object
    """The same object when nothing ended."""
    wake_seconds: float | None
    """Until the next grace ends."""


def tasks_of(binding: Object) -> Sequence[Task]:
    found: Sequence[Task] = (binding.get("spec") or {}).get("gracefulEvictionTasks") or ()
    return found


def ended(members: Members, binding: Object, now: float) -> Rest:
    """`binding` without the tasks that are over. A task that somebody wrote by hand gets its creationTimestamp."""
    tasks = tasks_of(binding)
    if not tasks:
        return Rest(binding, None)
    there, purged = _replacement(binding, targets(binding), members), purging(binding)
    left: list[Task] = []
    wakes: list[float] = []
    for task in tasks:
        if _is_over(members, binding, task, there, purged, now):
            continue
        left.append(task if task.get("creationTimestamp") else {**task, "creationTimestamp": rfc3339(now)})
        grace_left = grace_end(left[-1]) - now
        if grace_left > 0 and task.get("suppressDeletion") is None:
            wakes.append(grace_left)
    wake = min(wakes, default=None)
    return Rest(binding if left == list(tasks) else with_tasks(binding, left), wake)


def purging(binding: Object) -> list[str]:
    """The clusters whose copy is to be purged directly and may run there still: nothing is sent elsewhere before it is gone
    (Karmada 2.2). What has to stop by itself when it is cut off must never run twice: none of its copies leaves otherwise, and one that
    certainly stopped is as good as gone."""
    exclusive = stop_after_seconds(binding.get("spec") or {}) > 0
    direct = {str(t.get("fromCluster")): t for t in tasks_of(binding) if t.get("purgeMode") == "Directly"}
    if not direct and not exclusive:
        return []
    leaving = observed(binding).keys() - desired(binding).keys()
    waited_for = leaving if exclusive else leaving & direct.keys()
    return sorted(name for name in waited_for if not (direct.get(name) or {}).get("stoppedAt"))


def stop_after_seconds(spec: Mapping[str, Any]) -> int:
    """`failover.cluster.stopAfterSeconds` of a binding's `spec`; 0: its agents never stop it by themselves."""
    return int(((spec.get("failover") or {}).get("cluster") or {}).get("stopAfterSeconds") or 0)


def with_tasks(binding: Object, tasks: Sequence[Task]) -> Object:
    """`binding` with these tasks, the generation that follows, and what scheduling observed: nothing is to be scheduled anew."""
    changed = with_generation(with_task_list(binding, tasks), binding)
    changed = origins.with_origins(changed, origins.origins_of(changed))
    status = binding.get("status") or {}
    if status.get("schedulerObservedGeneration") != generation_of(binding):
        return changed
    return {**changed, "status": {**status, "schedulerObservedGeneration": generation_of(changed)}}


def with_task_list(binding: Object, tasks: Sequence[Task]) -> Object:
    """`binding` with these tasks, and nothing else changed."""
    spec = {field: value for field, value in binding["spec"].items() if field != "gracefulEvictionTasks"}
    return {**binding, "spec": {**spec, "gracefulEvictionTasks": list(tasks)} if tasks else spec}


class _There(NamedTuple):
    """How far the targets are."""

    applied: bool
    """All of them have the copy, as far as anybody knows, and there is at least one."""
    healthy: bool
    """And it works in all of them, with all its replicas."""


def _replacement(binding: Object, wanted: Mapping[str, int], members: Members) -> _There:
    entries = observed(binding)
    applied = bool(wanted) and all(
        (entries.get(name) or {}).get("applied") and _answers(members, name) for name in wanted
    )
    healthy = applied and all(
        entries[name].get("health") == "Healthy" and shown(entries[name], replicas) >= replicas
        for name, replicas in wanted.items()
    )
    return _There(applied, healthy)


def _is_over(
    members: Members, binding: Object, task: Task, there: _There, purged: Sequence[str], now: float
) -> bool:
    cluster = str(task.get("fromCluster") or "")
    if members.get(cluster) is None:
        return True  # nobody could remove the copy any more
    if task.get("suppressDeletion") is not None:
        return not task["suppressDeletion"]
    if cluster in purged:
        return False  # so the replacement has not begun
    if task.get("stoppedAt") and cluster in observed(binding).keys() - desired(binding).keys():
        return False  # it only stopped: it is still to be removed when its cluster is back
    if origins.is_return(task):
        return there.healthy  # a copy that works is not given up for one that does not
    if not there.applied and _is_unwanted(members, cluster):
        there = _replacement(binding, _takers(members, binding, task), members)
    return there.healthy or (there.applied and now >= grace_end(task))


def _is_unwanted(members: Members, cluster: str) -> bool:
    """Whether somebody wants the cluster without copies: it is drained, or has a NoExecute taint."""
    member = members.get(cluster)
    return member is not None and any(not trouble.lost for trouble in member.troubles)


def _takers(members: Members, binding: Object, task: Task) -> dict[str, int]:
    """The targets without those that were lost when the copy was to leave, and are lost since: they took nothing over. A drain that waited
    for one that is tolerated would have no end."""
    since = epoch(task.get("creationTimestamp")) or 0.0
    lost = {
        name
        for name in targets(binding)
        if (member := members.get(name)) is not None and member.lost_before(since)
    }
    return {name: replicas for name, replicas in targets(binding).items() if name not in lost}


def grace_end(task: Task) -> float:
    """When the replacement has had its time, in epoch seconds; infinite for a task without creationTimestamp."""
    seconds = task.get("gracePeriodSeconds")
    created = epoch(task.get("creationTimestamp"))
    return (created if created is not None else float("inf")) + (
        GRACE_SECONDS if seconds is None else seconds
    )


def _answers(members: Members, name: str) -> bool:
    member = members.get(name)
    return member is not None and not member.lost
