"""When a copy in a cluster that is cut off has certainly stopped by itself (`failover.cluster.stopAfterSeconds`).

The agent counts from when it sent the last heartbeat that the hub answered, the hub from when it may have heard the agent last, which is no
earlier. What is between the agent's end of time and the last container's is the margin. It holds while clocks run at about the same speed,
and while the agent runs, has its disk and can reach its own API server: what nobody can write to cannot be stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from towline.hub.decide.bindings import template_key
from towline.hub.decide.conditions import rfc3339
from towline.hub.decide.graceful import Rest, purging, stop_after_seconds, tasks_of, with_tasks
from towline.hub.decide.plan import Snapshot
from towline.hub.decide.scheduling.members import Member, Members
from towline.kube import interpreter
from towline.kube.cells import at
from towline.kube.names import TAINT_UNREACHABLE
from towline.kube.objects import Object

MARGIN_SECONDS = 60.0
"""For the agent to see that its time is over, to write that, and for clocks that do not run alike; pods' own grace comes on top."""
POD_GRACE_SECONDS = 30
"""terminationGracePeriodSeconds of a pod that does not say."""


def stopped(
    snapshot: Snapshot, members: Members, binding: Object, heard: Callable[[str], float], now: float
) -> Rest:
    """`binding` whose tasks say of the copies that have stopped that they have (`stoppedAt`); or when the next has. A copy that is wanted
    there no more, because of fewer replicas or another placement, gets its task for that: else its return would be waited for."""
    seconds = stop_after_seconds(binding.get("spec") or {})
    waited_for = purging(binding) if seconds else []
    key = template_key(snapshot.kinds, binding) if waited_for else None
    template = (snapshot.get(key) if key else None) or {}
    if not waited_for or may_run_on(template):
        return Rest(binding, None)
    margin = seconds + MARGIN_SECONDS + _pod_grace_seconds(template)
    ends = {name: cut + margin for name in waited_for if (cut := _cut_off_since(members.get(name), heard)) is not None}  # fmt: skip
    over = [name for name, end in ends.items() if end <= now]
    if over:
        known = tasks_of(binding)
        tasks = [_marked(task, now) if task.get("fromCluster") in over else task for task in known]
        new = [_task(name, now) for name in over if all(task.get("fromCluster") != name for task in known)]
        return Rest(with_tasks(binding, [*new, *tasks]), None)
    # One whose session is at another hub is looked at again: nothing tells when it ends.
    return Rest(binding, min((min(end - now, margin) for end in ends.values()), default=None))


def _cut_off_since(member: Member | None, heard: Callable[[str], float]) -> float | None:
    """The latest moment at which its agent can have been heard; None while it is not known to be cut off. An agent that only
    cannot reach its member is told to remove the copy, and says when it has."""
    since = (
        [t.since for t in member.troubles if t.lost and t.taint.key == TAINT_UNREACHABLE] if member else []
    )
    if member is None or not since or since[0] is None:
        return None
    return max(since[0], heard(member.name))


def _task(cluster: str, now: float) -> Mapping[str, Any]:
    return {
        "fromCluster": cluster,
        "purgeMode": "Directly",
        "reason": "CopyStopped",
        "message": f"cluster {cluster} is cut off, and its copy has stopped by itself",
        "producer": "StopAfterSeconds",
        "creationTimestamp": rfc3339(now),
        "stoppedAt": rfc3339(now),
    }


def _marked(task: Mapping[str, Any], now: float) -> Mapping[str, Any]:
    return task if task.get("stoppedAt") else {**task, "stoppedAt": rfc3339(now)}


def may_run_on(template: Object) -> bool:
    """Whether an agent that is cut off may be unable to stop it: Pods, and kinds of others than Kubernetes, of which nobody knows
    whether they run anything. Such a copy is gone when its agent says so."""
    group, _, version = str(template.get("apiVersion") or "").rpartition("/")
    if not version or interpreter.halted(template) is not None:
        return False
    its_own = "." not in group or group.endswith(".k8s.io")
    return not its_own or (group, template.get("kind")) in _UNSTOPPABLE


_UNSTOPPABLE = (("", "Pod"), ("", "ReplicationController"))


def _pod_grace_seconds(template: Object) -> int:
    said = at(template, "spec", "template", "spec", "terminationGracePeriodSeconds")
    return said if isinstance(said, int) and said >= 0 else POD_GRACE_SECONDS
