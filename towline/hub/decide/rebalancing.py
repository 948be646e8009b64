"""WorkloadRebalancer: has the bindings of the workloads it lists scheduled afresh, once, and says what came of each (Karmada 2.11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from towline.hub.decide import bindings
from towline.hub.decide.conditions import epoch, rfc3339
from towline.hub.decide.plan import NOTHING, Delete, Plan, Put, Snapshot
from towline.kube import names
from towline.kube.objects import (
    Key,
    Object,
    finalizers_of,
    generation_of,
    is_deleting,
    revision_of,
    with_generation,
    with_metadata,
)

REBALANCERS = (names.APPS_GROUP, "workloadrebalancers")
SUCCESSFUL = "Successful"
FAILED = "Failed"
BINDING_NOT_FOUND = "ReferencedBindingNotFound"


class _Workload(NamedTuple):
    """Which one: the version of an API is no part of that."""

    group: str
    kind: str
    namespace: str
    name: str


def decide(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Every workload without a result gets one, and its binding the time since which it must be scheduled afresh. A result is final:
    a binding that comes later is scheduled anyway. A rebalancer that is done goes after its ttlSecondsAfterFinished."""
    rebalancer = snapshot.get(key)
    if rebalancer is None or is_deleting(rebalancer):
        return NOTHING
    before = rebalancer.get("status") or {}
    observed, writes = _observe(snapshot, rebalancer, now)
    new = len(observed.keys() - _results(rebalancer).keys())
    status = {
        "observedWorkloads": list(observed.values()),
        "observedGeneration": generation_of(rebalancer),
        # Stored, so that a hub that starts again counts on from it.
        "finishTime": rfc3339(now) if new or not before.get("finishTime") else before["finishTime"],
    }
    left = _seconds_left(rebalancer, status, now)
    reasons = {"workloads": status["observedWorkloads"]}
    if status != before:
        # Last: should only a prefix be carried out, the rest follows.
        writes.append(Put(key, {**rebalancer, "status": status}, revision_of(rebalancer)))
    elif left is not None and left <= 0:
        writes.append(_end(key, rebalancer, now))
        left = None
    return Plan(tuple(writes), requeue_after_seconds=left, reasons=reasons)


def _observe(
    snapshot: Snapshot, rebalancer: Object, now: float
) -> tuple[dict[_Workload, Object], list[Put | Delete]]:
    """The results, in the order of the spec and then those of workloads that are listed no more and had succeeded; and the bindings to
    be scheduled afresh."""
    known, since = _results(rebalancer), _since(rebalancer, now)
    observed: dict[_Workload, Object] = {}
    writes: dict[Key, Put | Delete] = {}
    for listed in (rebalancer.get("spec") or {}).get("workloads") or ():
        workload = _workload(listed)
        if workload in known:
            observed[workload] = known[workload]
            continue
        at = bindings.key_for(workload.namespace, workload.name, workload.kind)
        binding = snapshot.get(at)
        if binding is None or _workload((binding.get("spec") or {}).get("resource") or {}) != workload:
            observed[workload] = {"workload": listed, "result": FAILED, "reason": BINDING_NOT_FOUND}
            continue
        observed[workload] = {"workload": listed, "result": SUCCESSFUL}
        asked = _with_trigger(binding, since)
        if asked is not binding:
            writes[at] = Put(at, asked, revision_of(binding))
    for workload, result in known.items():
        if workload not in observed and result.get("result") == SUCCESSFUL:
            observed[workload] = result
    return observed, list(writes.values())


def _since(rebalancer: Object, now: float) -> float:
    """When rescheduling was asked for: at the rebalancer's creation, or for workloads that were listed later, now."""
    listed_later = (rebalancer.get("status") or {}).get("observedGeneration")
    created = epoch((rebalancer.get("metadata") or {}).get("creationTimestamp"))
    return now if listed_later or created is None else created


def _with_trigger(binding: Object, since: float) -> Object:
    """`binding` with a rescheduleTriggeredAt of at least `since`. Times have whole seconds, and a trigger counts only when it is later than
    what was scheduled last: after a schedule of the same second it is the next one."""
    present = epoch(binding["spec"].get("rescheduleTriggeredAt"))
    if present is not None and present >= int(since):
        return binding
    scheduled = epoch((binding.get("status") or {}).get("lastScheduledTime"))
    at = int(since) if scheduled is None else max(int(since), int(scheduled) + 1)
    return with_generation(
        {**binding, "spec": {**binding["spec"], "rescheduleTriggeredAt": rfc3339(at)}}, binding
    )


def _seconds_left(rebalancer: Object, status: Mapping[str, Any], now: float) -> float | None:
    """Until it is to go; None when it stays."""
    ttl = (rebalancer.get("spec") or {}).get("ttlSecondsAfterFinished")
    finished = epoch(status["finishTime"])
    return None if ttl is None or finished is None else max(0.0, finished + int(ttl) - now)


def _end(key: Key, rebalancer: Object, now: float) -> Put | Delete:
    if not finalizers_of(rebalancer):
        return Delete(key, revision_of(rebalancer))
    marked = with_metadata(rebalancer, deletionTimestamp=rfc3339(now), deletionGracePeriodSeconds=0)
    return Put(key, marked, revision_of(rebalancer))


def _results(rebalancer: Object) -> dict[_Workload, Object]:
    entries = (rebalancer.get("status") or {}).get("observedWorkloads") or ()
    return {_workload(entry["workload"]): entry for entry in entries if entry.get("result")}


def _workload(reference: Mapping[str, Any]) -> _Workload:
    group = str(reference.get("apiVersion") or "").rpartition("/")[0]
    kind, namespace, name = (str(reference.get(field) or "") for field in ("kind", "namespace", "name"))
    return _Workload(group, kind, namespace, name)
