"""Clusters: their execution namespace, their finalizer, and their exit.

An exit waits for what the cluster holds for as long as its agent can be reached, says what it waits for otherwise, and waits for
nothing once it is forced. Its last commit leaves a row for the agent (`detached`), which may come back any time.
"""

from __future__ import annotations

from collections.abc import Sequence

from towline.hub.decide import bindings, detached
from towline.hub.decide.conditions import condition, epoch, rfc3339, with_obstacle
from towline.hub.decide.plan import NOTHING, Delete, EventNote, Plan, Put, Snapshot
from towline.kube import exits, names
from towline.kube.exits import Exit
from towline.kube.objects import (
    Key,
    Object,
    annotations_of,
    finalizers_of,
    is_deleting,
    name_of,
    namespace_of,
    revision_of,
    with_finalizer,
    with_metadata,
    without_finalizer,
)

EXIT = "Detaching"
"""The condition of a Cluster that is being deleted: True, with what it waits for."""
REMOVING, UNREACHABLE, NOWHERE = "WaitingForAgent", "AgentUnreachable", "BindingsStay"
FORCED_SECONDS = 30.0
"""How long a forced exit still waits for an agent that can be reached."""
PLACING_SECONDS = 10.0
"""How long bindings may take to leave before the exit says that they do not."""
_WORKS_MAX = 100
"""Stored Works that one plan ends; etcd takes 128 writes."""
_NAMED_MAX = 3


def decide(snapshot: Snapshot, key: Key, now: float, holding: int, connected: bool = True) -> Plan:
    """The Cluster at `key`. `holding` is how many Works it may still hold (the Work table knows), `connected` whether a hub has its
    session.

    While it is being deleted scheduling leaves it out, so its Works turn into removals; when the last was acknowledged, or the
    exit is forced, the execution namespace and the finalizer go."""
    cluster = snapshot.get(key)
    if cluster is None:
        return NOTHING
    space = Key("", "namespaces", "", names.execution_namespace(key.name))
    if not is_deleting(cluster):
        return _joined(key, cluster, space, snapshot.get(space))
    if names.CLUSTER_FINALIZER not in finalizers_of(cluster):
        return NOTHING
    chosen, stored = exits.exit_of(cluster), snapshot.list(names.WORK_GROUP, "works", space.name)
    ending = [_ended(work, now) for work in stored if not is_deleting(work)][:_WORKS_MAX]
    if ending:  # its own Works end first: nobody else ends them
        return Plan(tuple(ending))
    staying, held = _bindings_on(snapshot, key.name)
    sent = sum(names.EXECUTION_FINALIZER in finalizers_of(work) for work in stored)
    waiting = max(len(staying) + held + sent, holding)
    patience = _patience(cluster, chosen, now)
    if waiting and patience > 0:
        return _waiting(key, cluster, staying, waiting, connected, now, patience)
    return _left(snapshot, key, cluster, space, now)


# --- coming --------------------------------------------------------------------------------------------------


def _joined(key: Key, cluster: Object, space: Key, present: Object | None) -> Plan:
    writes: list[Put | Delete] = []
    events: list[EventNote] = []
    held = with_finalizer(cluster, names.CLUSTER_FINALIZER)
    if held is not cluster:
        writes.append(Put(key, held, revision_of(cluster)))
    if present is None:
        writes.append(Put(space, _execution_namespace(space.name), 0))
        message = f"Created execution space({space.name}) for cluster({key.name})."
        events.append(EventNote(cluster, "Normal", "CreateExecutionSpaceSucceed", message))
    return Plan(tuple(writes), tuple(events))


def _execution_namespace(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {names.SYSTEM: "true", names.NAMESPACE_NAME: name}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


# --- going ---------------------------------------------------------------------------------------------------


def _ended(work: Object, now: float) -> Put | Delete:
    """As the API deletes a stored Work."""
    at = Key(names.WORK_GROUP, "works", namespace_of(work), name_of(work))
    if not finalizers_of(work):
        return Delete(at, revision_of(work))
    return Put(at, with_metadata(work, deletionTimestamp=rfc3339(now)), revision_of(work))


def _bindings_on(snapshot: Snapshot, cluster: str) -> tuple[list[str], int]:
    """The bindings that still want the cluster, as `namespace/name`; and how many others have something in it."""
    staying: list[str] = []
    held = 0
    for binding in bindings.all_bindings(snapshot):
        if cluster in bindings.desired(binding):
            staying.append("/".join(filter(None, (namespace_of(binding), name_of(binding)))))
        elif cluster in bindings.observed(binding):
            held += 1
    return staying, held


def _patience(cluster: Object, chosen: Exit, now: float) -> float:
    """For how many seconds more the exit waits for the cluster."""
    if exits.never_reported(cluster):
        return 0.0
    if not chosen.forced:
        return float("inf")
    if not _is_ready(cluster):
        return 0.0
    asked = epoch(annotations_of(cluster).get(exits.FORCE)) or 0.0
    deleted = epoch(cluster["metadata"]["deletionTimestamp"]) or 0.0
    began = max(deleted, asked if asked <= now else 0.0)  # a clock that runs ahead counts for nothing
    return min(began + FORCED_SECONDS - now, FORCED_SECONDS)


def _is_ready(cluster: Object) -> bool:
    return (condition(cluster.get("status"), "Ready") or {}).get("status") == "True"


def _waiting(
    key: Key, cluster: Object, staying: Sequence[str], waiting: int, connected: bool, now: float, patience: float
) -> Plan:  # fmt: skip
    """Say what the exit waits for."""
    reasons = {"waiting": f"{waiting} Works may be in the cluster still"}
    age = now - (epoch(cluster["metadata"]["deletionTimestamp"]) or now)
    wake = min(patience, PLACING_SECONDS - age if age < PLACING_SECONDS else float("inf"))
    requeue = wake if wake != float("inf") else None
    reason, message = _waits_for(cluster, staying if age >= PLACING_SECONDS else (), connected)
    told = with_obstacle(cluster, EXIT, (reason, message), now)
    if told is cluster:
        return Plan(reasons=reasons, requeue_after_seconds=requeue)
    events = (EventNote(cluster, "Normal" if reason == REMOVING else "Warning", reason, message),)
    return Plan((Put(key, told, revision_of(cluster)),), events, requeue, reasons)


def _waits_for(cluster: Object, staying: Sequence[str], connected: bool) -> tuple[str, str]:
    """Reason and message."""
    name = name_of(cluster)
    anyway = exits.to_go_on(name)
    if exits.exit_of(cluster).forced:
        anyway = f"The deletion goes on without it in {FORCED_SECONDS:.0f} s at the latest."
    if not _is_ready(cluster):
        why = str((condition(cluster.get("status"), "Ready") or {}).get("message") or "").rstrip(".")
        return UNREACHABLE, (
            f"cluster {name} cannot be reached ({why}), and what was propagated to it may still be in it; the deletion goes on when it "
            f"is back. {anyway}"
        )
    if not connected:
        return REMOVING, f"the agent of cluster {name} is not connected; it has to come back first. {anyway}"
    if staying:
        some = ", ".join(sorted(staying)[:_NAMED_MAX]) + (", …" if len(staying) > _NAMED_MAX else "")
        return (
            NOWHERE,
            f"{len(staying)} bindings have no other place ({some}), see their conditions. {anyway}",
        )
    does = "lets go of" if exits.exit_of(cluster).keep_workloads else "removes"
    return REMOVING, f"the agent of cluster {name} {does} what was propagated to it. {anyway}"


def _left(snapshot: Snapshot, key: Key, cluster: Object, space: Key, now: float) -> Plan:
    writes: list[Put | Delete] = [*detached.surplus(snapshot), detached.detaching(snapshot, cluster, now)]
    present = snapshot.get(space)
    if present is not None:
        writes.append(Delete(space, revision_of(present)))
    left = without_finalizer(cluster, names.CLUSTER_FINALIZER)
    if finalizers_of(left):
        writes.append(Put(key, left, revision_of(cluster)))
    else:
        writes.append(Delete(key, revision_of(cluster)))
    message = f"Removed execution space for cluster({key.name})."
    return Plan(tuple(writes), (EventNote(cluster, "Normal", "RemoveExecutionSpaceSucceed", message),))
