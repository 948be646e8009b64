"""What the parts of Towline need to know about a kind's meaning: replicas, status, health, what belongs to a member.

One file a kind, one row in the table below; a kind without a row gets the generic answer. All functions are pure,
never change their arguments, and share what they do not change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from towline.kube.interpreter import (
    cronjob,
    daemonset,
    deployment,
    horizontalpodautoscaler,
    ingress,
    job,
    persistentvolume,
    persistentvolumeclaim,
    pod,
    poddisruptionbudget,
    pruning,
    replicaset,
    secret,
    service,
    serviceaccount,
    statefulset,
)
from towline.kube.interpreter.operations import Health, Operations, Replicas
from towline.kube.interpreter.pruning import record_managed
from towline.kube.objects import Object

__all__ = [
    "Health",
    "aggregate",
    "halted",
    "has_ended",
    "health",
    "prune",
    "record_managed",
    "reflect_status",
    "replicas",
    "retain",
    "revise_replicas",
]

_OPERATIONS: Mapping[tuple[str, str], Operations] = {
    ("apps/v1", "Deployment"): deployment.OPERATIONS,
    ("apps/v1", "ReplicaSet"): replicaset.OPERATIONS,
    ("apps/v1", "StatefulSet"): statefulset.OPERATIONS,
    ("apps/v1", "DaemonSet"): daemonset.OPERATIONS,
    ("batch/v1", "Job"): job.OPERATIONS,
    ("batch/v1", "CronJob"): cronjob.OPERATIONS,
    ("v1", "Pod"): pod.OPERATIONS,
    ("v1", "Service"): service.OPERATIONS,
    ("v1", "ServiceAccount"): serviceaccount.OPERATIONS,
    ("v1", "Secret"): secret.OPERATIONS,
    ("v1", "PersistentVolume"): persistentvolume.OPERATIONS,
    ("v1", "PersistentVolumeClaim"): persistentvolumeclaim.OPERATIONS,
    ("networking.k8s.io/v1", "Ingress"): ingress.OPERATIONS,
    ("policy/v1", "PodDisruptionBudget"): poddisruptionbudget.OPERATIONS,
    ("autoscaling/v2", "HorizontalPodAutoscaler"): horizontalpodautoscaler.OPERATIONS,
}
_GENERIC = Operations()


def replicas(obj: Object) -> Replicas | None:
    """How many replicas `obj` asks for and what one needs (`{nodeClaim, resourceRequest, priorityClassName}`, None
    for nothing in particular); None when it is not a workload."""
    operation = _of(obj).replicas
    return None if operation is None else operation(obj)


def revise_replicas(obj: Object, count: int) -> Object:
    """`obj` asking for `count` replicas; itself when the kind has no such field, or the object does not use it."""
    operation = _of(obj).revise_replicas
    return obj if operation is None else operation(obj, count)


def halted(obj: Object) -> Object | None:
    """`obj` so that nothing of it runs though it is there: no replicas, Jobs and CronJobs suspended, a DaemonSet on no node. None for kinds that
    cannot be told that, and for those that run nothing."""
    operation = _of(obj).halted
    return None if operation is None else operation(obj)


def reflect_status(obj: Object) -> Any | None:
    """The part of a member's object that travels to the hub: for kinds without a row the whole status, None when
    there is none."""
    operation = _of(obj).reflect_status
    return obj.get("status") if operation is None else operation(obj)


def health(obj: Object) -> Health:
    """Whether a member's object works. A kind without an opinion is Healthy as soon as it exists; an object that
    cannot be read is Unknown."""
    operation = _of(obj).healthy
    if operation is None:
        return "Healthy"
    try:
        return "Healthy" if operation(obj) else "Unhealthy"
    except (AttributeError, TypeError, ValueError, KeyError):
        return "Unknown"


def has_ended(resource: Mapping[str, Any], status: Any) -> bool:
    """Whether a copy with this `status`, of the kind that a reference names, has done all that it will ever do. Elsewhere it would do it
    again."""
    kind = (resource.get("apiVersion"), resource.get("kind"))
    return kind == ("batch/v1", "Job") and isinstance(status, dict) and job.finished({"status": status})


def aggregate(template: Object, items: Sequence[Mapping[str, Any]]) -> Object | None:
    """`template` with its status made from the members' (`items`: `{clusterName, status, …}` as in a binding's
    aggregatedStatus; one without a status has not reported). Itself when nothing changes, None when the kind has
    no aggregation."""
    operation = _of(template).aggregate
    if operation is None:
        return None
    before = template.get("status") or {}
    after = operation(template, items)
    return template if after == before else {**template, "status": after}


def retain(desired: Object, observed: Object) -> Object:
    """`desired` with what belongs to the member taken from `observed`, for a write that replaces the whole object.
    (Server-side apply leaves alone what is not applied; this is for what is.)"""
    operation = _of(desired).retain
    return desired if operation is None else operation(desired, observed)


def prune(template: Object) -> Object:
    """`template` as a manifest: without what the hub's API server put in and a member must not get. A manifest of
    a wrong shape (a user's own Work may hold one) stays as it is, for the member to refuse."""
    manifest = pruning.prune_metadata(template)
    operation = _of(template).prune
    if operation is None:
        return manifest
    try:
        return operation(manifest)
    except (AttributeError, TypeError, ValueError, KeyError):
        return manifest


def _of(obj: Mapping[str, Any]) -> Operations:
    return _OPERATIONS.get((str(obj.get("apiVersion")), str(obj.get("kind"))), _GENERIC)
