"""Karmada's kinds, one row each, with the groups, names, columns and schemas that its users know.

Schemas are written in `assets/karmada/*.yaml`; what admission fills in is here, what it refuses beyond the schemas
in `karmada_validation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from towline.kube import interpreter, karmada_validation, names
from towline.kube.cells import NONE, at, conditions, join, maps, table, text
from towline.kube.columns import AGE
from towline.kube.kinds import Column, Kind, Strategy
from towline.kube.objects import Object, copy, finalizers_of, labels_of
from towline.kube.schemas import Schema
from towline.kube.structure import OBJECT_META, REFERENCE

CATEGORIES = ("karmada-io",)
QUANTITY_MAX = str(2**63 - 1)
"""The upper bound of the biggest grade of nodes: without bound."""

_GRADES = ((1, 4), (2, 16), (4, 32), (8, 64), (16, 128), (32, 256), (64, 512), (128, 1024))
"""Cores and GiB below which a node is of grade 0, 1, …; everything bigger is of grade 8."""


@cache
def kinds() -> tuple[Kind, ...]:
    """All rows. Their schemas are read on the first call."""
    roots = _schemas()
    binding: Mapping[str, Any] = {
        "status": True,
        "columns": (_condition("Scheduled"), _condition("FullyApplied"), AGE),
    }
    policy: Mapping[str, Any] = {
        "columns": (
            Column("Conflict-Resolution", "string", ".spec.conflictResolution"),
            Column("Priority", "string", ".spec.priority"),
            AGE,
        )
    }
    rows = (
        _row(names.CLUSTER_GROUP, "v1alpha1", "Cluster", namespaced=False, status=True, categories=(),
             name_style="label", columns=_CLUSTER_COLUMNS),
        _row(names.POLICY_GROUP, "v1alpha1", "PropagationPolicy", "pp", **policy),
        _row(names.POLICY_GROUP, "v1alpha1", "ClusterPropagationPolicy", "cpp", namespaced=False, **policy),
        _row(names.POLICY_GROUP, "v1alpha1", "OverridePolicy", "op"),
        _row(names.POLICY_GROUP, "v1alpha1", "ClusterOverridePolicy", "cop", namespaced=False),
        _row(names.WORK_GROUP, "v1alpha2", "ResourceBinding", "rb", **binding),
        _row(names.WORK_GROUP, "v1alpha2", "ClusterResourceBinding", "crb", namespaced=False, **binding),
        _row(names.WORK_GROUP, "v1alpha1", "Work", "wk", status=True,
             columns=(Column("Workload-Kind", "string", _work_kinds), _condition("Applied"), AGE)),
    )  # fmt: skip
    return tuple(replace(row, schema=roots[row.kind]) for row in rows)


def _row(group: str, version: str, kind: str, *short_names: str, **fields: Any) -> Kind:
    singular = kind.lower()
    plural = f"{singular[:-1]}ies" if singular.endswith("y") else f"{singular}s"
    row = Kind(
        group=group,
        version=version,
        kind=kind,
        plural=plural,
        namespaced=True,
        schema=Schema.ANY,
        singular=singular,
        short_names=short_names,
        categories=CATEGORIES,
        columns=(AGE,),
        strategy=Strategy(_DEFAULTS.get(kind), karmada_validation.VALIDATIONS.get(kind)),
    )
    return replace(row, **fields)


# --- columns -------------------------------------------------------------------------------------------------


def _condition(name: str) -> Column:
    return Column(name, "string", lambda obj: conditions(obj).get(name, {}).get("status"))


def _cluster_ready(obj: Object) -> str:
    return str(conditions(obj).get("Ready", {}).get("status") or "Unknown")


def _work_kinds(obj: Object) -> str:
    return join((m.get("kind") for m in maps(at(obj, "spec", "workload", "manifests"))), "")


_CLUSTER_COLUMNS = (
    Column("Version", "string", text("status", "kubernetesVersion", default=""), 0, "Version of Kubernetes."),
    Column("Mode", "string", text("spec", "syncMode", default=""), 0, "Who dials whom."),
    Column("Ready", "string", _cluster_ready, 0, "Whether the cluster is well and connected."),
    AGE,
    Column("Zones", "string", lambda obj: join(at(obj, "spec", "zones") or ()), 1),
    Column("Region", "string", text("spec", "region", default=NONE), 1),
    Column("Provider", "string", text("spec", "provider", default=NONE), 1),
    Column("API-Endpoint", "string", text("spec", "apiEndpoint", default=NONE), 1),
    Column("Proxy-URL", "string", text("spec", "proxyURL", default=NONE), 1),
)

# --- defaults ------------------------------------------------------------------------------------------------
# Hooks never change their argument, are idempotent, and pass over parts of the wrong type.


def _default_policy(label: str, finalizer: str) -> Callable[[Object, Object | None, str, str], Object]:
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


def _default_binding(label: str) -> Callable[[Object, Object | None, str, str], Object]:
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
    for taint in _objects(spec.get("taints")):
        if taint.get("effect") == "NoExecute" and not taint.get("timeAdded"):
            taint["timeAdded"] = now
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


_DEFAULTS: Mapping[str, Callable[[Object, Object | None, str, str], Object]] = {
    "Cluster": _default_cluster,
    "PropagationPolicy": _default_policy(names.POLICY_ID, names.POLICY_FINALIZER),
    "ClusterPropagationPolicy": _default_policy(names.CLUSTER_POLICY_ID, names.CLUSTER_POLICY_FINALIZER),
    "OverridePolicy": _default_override_policy,
    "ClusterOverridePolicy": _default_override_policy,
    "ResourceBinding": _default_binding(names.BINDING_ID),
    "ClusterResourceBinding": _default_binding(names.CLUSTER_BINDING_ID),
    "Work": _default_work,
}

# --- schemas -------------------------------------------------------------------------------------------------


def _schemas() -> dict[str, Schema]:
    """The root schemas by kind."""
    parts: dict[str, Any] = {}
    for file in ("shared", "cluster", "policy", "work"):
        asset = files("towline.kube").joinpath("assets", "karmada", f"{file}.yaml")
        parts |= yaml.load(asset.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return {kind: Schema.of(_root(parts[kind], parts)) for kind in _DEFAULTS}


def _root(part: Mapping[str, Any], parts: Mapping[str, Any]) -> Object:
    expanded = _expanded(part, parts)
    metadata = {"allOf": [{"$ref": REFERENCE + OBJECT_META}], "description": "Standard object metadata."}
    envelope = {
        "apiVersion": {"type": "string", "description": "Group and version of this kind."},
        "kind": {"type": "string", "description": "This kind."},
        "metadata": metadata,
    }
    return {"type": "object", **expanded, "properties": {**envelope, **expanded["properties"]}}


def _expanded(node: Any, parts: Mapping[str, Any]) -> Any:
    """`node` with parts put in where they are named. A part of ours is copied in, as in a CRD; a definition of
    Kubernetes stays a reference."""
    if isinstance(node, list):
        return [_expanded(item, parts) for item in node]
    if not isinstance(node, Mapping):
        return node
    out: Object = {}
    for field, child in node.items():
        if field == "$ref" and "." in child:
            reference = {"$ref": REFERENCE + child}
            out |= {"allOf": [reference]} if "description" in node else reference
        elif field == "$ref":
            out = {**_expanded(parts[child], parts), **out}
        elif field == "$include":
            out |= _expanded(parts[child], parts)
        else:
            out[field] = _expanded(child, parts)
    return out
