"""What admission fills in of Karmada's kinds, beyond the defaults of their schemas.

Hooks never change their argument, are idempotent, and pass over parts of the wrong type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from towline.kube import interpreter, names
from towline.kube.builtin_defaults import fill_autoscaler
from towline.kube.cells import at, table
from towline.kube.objects import Object, copy, finalizers_of, labels_of

Default = Callable[[Object, Object | None, str, str], Object]

QUANTITY_MAX = str(2**63 - 1)
"""The upper bound of the biggest grade of nodes: without bound."""

_GRADES = ((1, 4), (2, 16), (4, 32), (8, 64), (16, 128), (32, 256), (64, 512), (128, 1024))
"""Cores and GiB below which a node is of grade 0, 1, …; everything bigger is of grade 8."""


def _default_policy(label: str, finalizer: str) -> Default:
    def default(new: Object, old: Object | None, now: str, uid: str) -> Object:
        policy: Object = copy(new)
        namespace = str(at(policy, "metadata", "namespace") or "")
        spec = policy.get("spec")
        if isinstance(spec, dict):
            _default_selectors(spec, namespace)
            _default_propagation(spec)
        _identify(policy, old, label, uid, renew=True)
        if old is None and finalizer not in finalizers_of(policy):
            policy["metadata"]["finalizers"] = [*finalizers_of(policy), finalizer]
        return policy

    return default


FORMER_PURGE_MODES = {"Immediately": "Directly", "Graciously": "Gracefully"}
"""What Karmada called these before, and what it calls them now."""


def _default_selectors(spec: Object, namespace: str) -> None:
    for selector in _objects(spec.get("resourceSelectors")):
        if namespace and not selector.get("namespace"):
            selector["namespace"] = namespace


def _default_propagation(spec: Object) -> None:
    for selector in _objects(spec.get("resourceSelectors")):
        if (
            selector.get("kind") == "ServiceImport"
            and selector.get("apiVersion") == "multicluster.x-k8s.io/v1alpha1"
        ):
            spec["propagateDeps"] = True  # an import without its derived Service is of no use
    placement = spec.get("placement")
    if isinstance(placement, dict):
        for constraint in _objects(placement.get("spreadConstraints")):
            if not constraint.get("spreadByField") and not constraint.get("spreadByLabel"):
                constraint["spreadByField"] = "cluster"
            if not constraint.get("minGroups"):
                constraint["minGroups"] = 1
        scheduling = placement.get("replicaScheduling")
        if isinstance(scheduling, dict):
            divided = scheduling.get("replicaSchedulingType", "Divided") == "Divided"
            if divided and not scheduling.get("replicaDivisionPreference"):
                scheduling["replicaDivisionPreference"] = "Weighted"
    for part in ("application", "cluster"):
        rule = at(spec, "failover", part)
        if isinstance(rule, dict) and rule.get("purgeMode") in FORMER_PURGE_MODES:
            rule["purgeMode"] = FORMER_PURGE_MODES[rule["purgeMode"]]
    failover = at(spec, "failover", "application")
    if isinstance(failover, dict) and failover.get("purgeMode") in (None, "Gracefully"):
        failover.setdefault("purgeMode", "Gracefully")
        if failover.get("gracePeriodSeconds") is None:
            failover["gracePeriodSeconds"] = 600


def _default_override_policy(new: Object, old: Object | None, now: str, uid: str) -> Object:
    policy: Object = copy(new)
    if isinstance(policy.get("spec"), dict):
        _default_selectors(policy["spec"], str(at(policy, "metadata", "namespace") or ""))
    return policy


def _default_binding(label: str) -> Default:
    def default(new: Object, old: Object | None, now: str, uid: str) -> Object:
        binding: Object = copy(new)
        _identify(binding, old, label, uid)
        return binding

    return default


def _default_work(new: Object, old: Object | None, now: str, uid: str) -> Object:
    """A user's Work: its manifests are made what controllers' Works hold."""
    work: Object = copy(new)
    _identify(work, old, names.WORK_ID, uid)
    workload = at(work, "spec", "workload")
    if isinstance(workload, dict) and isinstance(workload.get("manifests"), list):
        work_id = labels_of(work)[names.WORK_ID]
        workload["manifests"] = [
            _default_manifest(manifest, work_id) if isinstance(manifest, dict) else manifest
            for manifest in workload["manifests"]
        ]
    return work


def _default_manifest(manifest: Object, work_id: str) -> Object:
    pruned: Object = copy(interpreter.prune(manifest))
    metadata = pruned.get("metadata")
    if not isinstance(metadata, dict):
        return pruned
    metadata["labels"] = {**table(metadata.get("labels")), names.WORK_ID: work_id}
    return interpreter.record_managed(pruned)


def _default_cluster(new: Object, old: Object | None, now: str, uid: str) -> Object:
    cluster: Object = copy(new)
    spec = cluster.get("spec")
    if not isinstance(spec, dict):
        return cluster
    if spec.get("zone") and not spec.get("zones"):
        spec["zones"] = [spec.pop("zone")]
    times = {
        (taint.get("key"), taint.get("effect")): taint.get("timeAdded")
        for taint in _objects(at(old, "spec", "taints"))
    }
    for taint in _objects(spec.get("taints")):
        if taint.get("timeAdded"):
            continue
        # Who writes the list again without times adds nothing to it: what counts from one goes on.
        added = times.get((taint.get("key"), taint.get("effect")))
        if added or taint.get("effect") == "NoExecute":
            taint["timeAdded"] = added or now
    if not spec.get("resourceModels") and old is None:
        spec["resourceModels"] = default_models()
    models = _objects(spec.get("resourceModels"))
    if models and all(isinstance(model.get("grade"), int) for model in models):
        models = spec["resourceModels"] = sorted(models, key=lambda model: model["grade"])
        for bounds in _objects(models[0].get("ranges")):
            bounds["min"] = "0"
        for bounds in _objects(models[-1].get("ranges")):
            bounds["max"] = QUANTITY_MAX
    return cluster


def default_models() -> list[Object]:
    """The nine grades of nodes that a cluster gets which brings none."""

    def bounds(name: str, place: int, unit: str, grade: int) -> Object:
        low = f"{_GRADES[grade - 1][place]}{unit}" if grade else "0"
        high = f"{_GRADES[grade][place]}{unit}" if grade < len(_GRADES) else QUANTITY_MAX
        return {"name": name, "min": low, "max": high}

    return [
        {"grade": grade, "ranges": [bounds("cpu", 0, "", grade), bounds("memory", 1, "Gi", grade)]}
        for grade in range(len(_GRADES) + 1)
    ]


def _default_federated_hpa(new: Object, old: Object | None, now: str, uid: str) -> Object:
    autoscaler: Object = copy(new)
    if isinstance(autoscaler.get("spec"), dict):
        fill_autoscaler(autoscaler["spec"])
    return autoscaler


def _default_multi_cluster_service(new: Object, old: Object | None, now: str, uid: str) -> Object:
    service: Object = copy(new)
    _identify(service, old, names.MULTI_CLUSTER_SERVICE_ID, uid)
    return service


def _default_interpreter_webhooks(new: Object, old: Object | None, now: str, uid: str) -> Object:
    configuration: Object = copy(new)
    for webhook in _objects(configuration.get("webhooks")):
        if webhook.get("timeoutSeconds") is None:
            webhook["timeoutSeconds"] = 10
        service = at(webhook, "clientConfig", "service")
        if isinstance(service, dict) and service.get("port") is None:
            service["port"] = 443
    return configuration


def _identify(obj: Object, old: Object | None, label: str, uid: str, *, renew: bool = False) -> None:
    """Gives `obj` its permanent id. An update that does not mention it keeps it; `renew`: a new object never has
    the id of the one that it was copied from."""
    metadata = obj.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        return
    labels = metadata.get("labels")
    if labels is not None and not isinstance(labels, dict):
        return
    present = None if renew and old is None else table(labels).get(label)
    metadata["labels"] = {**table(labels), label: present or labels_of(old or {}).get(label) or uid}


def _objects(value: Any) -> list[Object]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


DEFAULTS: Mapping[str, Default] = {
    "Cluster": _default_cluster,
    "PropagationPolicy": _default_policy(names.POLICY_ID, names.POLICY_FINALIZER),
    "ClusterPropagationPolicy": _default_policy(names.CLUSTER_POLICY_ID, names.CLUSTER_POLICY_FINALIZER),
    "OverridePolicy": _default_override_policy,
    "ClusterOverridePolicy": _default_override_policy,
    "ResourceBinding": _default_binding(names.BINDING_ID),
    "ClusterResourceBinding": _default_binding(names.CLUSTER_BINDING_ID),
    "Work": _default_work,
    "FederatedHPA": _default_federated_hpa,
    "MultiClusterService": _default_multi_cluster_service,
    "ResourceInterpreterWebhookConfiguration": _default_interpreter_webhooks,
}
