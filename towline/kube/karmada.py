"""Karmada's kinds, one row each, with the groups, names, columns and schemas that its users know.

Schemas are written in `assets/karmada/*.yaml`; what admission fills in is in `karmada_defaults`, what it refuses beyond
the schemas in `karmada_validation`.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from towline.kube import karmada_defaults, karmada_validation, names
from towline.kube.cells import NONE, at, conditions, join, maps, text
from towline.kube.columns import AGE
from towline.kube.kinds import Column, Kind, Strategy
from towline.kube.objects import Object
from towline.kube.schemas import Schema
from towline.kube.structure import OBJECT_META, REFERENCE

CATEGORIES = ("karmada-io",)


@cache
def kinds() -> tuple[Kind, ...]:
    """All rows. Their schemas are read on the first call."""
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
        _row(names.POLICY_GROUP, "v1alpha1", "ClusterTaintPolicy", namespaced=False, categories=()),
        _row(names.REMEDY_GROUP, "v1alpha1", "Remedy", namespaced=False),
        _row(names.WORK_GROUP, "v1alpha2", "ResourceBinding", "rb", **binding),
        _row(names.WORK_GROUP, "v1alpha2", "ClusterResourceBinding", "crb", namespaced=False, **binding),
        _row(names.WORK_GROUP, "v1alpha1", "Work", "wk", status=True,
             columns=(Column("Workload-Kind", "string", _work_kinds), _condition("Applied"), AGE)),
        _row(names.APPS_GROUP, "v1alpha1", "WorkloadRebalancer", namespaced=False, status=True, categories=()),
        *_unserved(),
    )  # fmt: skip
    roots = _schemas({row.kind for row in rows})
    return tuple(replace(row, schema=roots[row.kind]) for row in rows)


def _unserved() -> list[Kind]:
    """Kinds that are stored and checked, and do nothing in this version."""
    target = tuple(
        Column(name, "string", f".spec.scaleTargetRef.{field}")
        for name, field in (("Reference-Kind", "kind"), ("Reference-Name", "name"))
    )
    rows = [
        _row(names.AUTOSCALING_GROUP, "v1alpha1", "FederatedHPA", "fhpa", status=True,
             columns=(*target, Column("MinPods", "integer", ".spec.minReplicas"),
                      Column("MaxPods", "integer", ".spec.maxReplicas"),
                      Column("Replicas", "integer", ".status.currentReplicas"), AGE)),
        _row(names.AUTOSCALING_GROUP, "v1alpha1", "CronFederatedHPA", "cronfhpa", status=True,
             columns=(*target, AGE)),
        _row(names.CONFIG_GROUP, "v1alpha1", "ResourceInterpreterCustomization", "ric", namespaced=False,
             columns=(Column("Target-API-Version", "string", ".spec.target.apiVersion"),
                      Column("Target-Kind", "string", ".spec.target.kind"), AGE)),
        _row(names.CONFIG_GROUP, "v1alpha1", "ResourceInterpreterWebhookConfiguration", namespaced=False),
        _row(names.MULTI_CLUSTER_GROUP, "v1alpha1", "ServiceExport", "svcex", status=True, categories=()),
        _row(names.MULTI_CLUSTER_GROUP, "v1alpha1", "ServiceImport", "svcim", status=True, categories=(),
             columns=(Column("Type", "string", ".spec.type"), Column("IP", "string", ".spec.ips"), AGE)),
        _row(names.NETWORKING_GROUP, "v1alpha1", "MultiClusterService", "mcs", status=True,
             name_style="label1035"),
        _row(names.NETWORKING_GROUP, "v1alpha1", "MultiClusterIngress", "mci", status=True,
             plural="multiclusteringresses"),
        _row(names.POLICY_GROUP, "v1alpha1", "FederatedResourceQuota", status=True,
             columns=(Column("Overall", "string", ".status.overall"),
                      Column("Overall_Used", "string", ".status.overallUsed"))),
        _row(names.SEARCH_GROUP, "v1alpha1", "ResourceRegistry", namespaced=False, status=True, categories=(),
             plural="resourceregistries"),
    ]  # fmt: skip
    told = "is stored, but this version of Towline does not act on it yet"
    return [replace(row, unserved=f"{row.kind} {told}") for row in rows]


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
        strategy=Strategy(
            karmada_defaults.DEFAULTS.get(kind),
            karmada_validation.VALIDATIONS.get(kind),
            karmada_validation.WARNINGS.get(kind),
        ),
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

# --- schemas -------------------------------------------------------------------------------------------------


def _schemas(kinds: Container[str]) -> dict[str, Schema]:
    """The root schemas by kind."""
    parts: dict[str, Any] = {}
    for file in ("shared", "cluster", "policy", "work", "autoscaling", "config", "networking", "others"):
        asset = files("towline.kube").joinpath("assets", "karmada", f"{file}.yaml")
        parts |= yaml.load(asset.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return {kind: Schema.of(rooted(part, parts)) for kind, part in parts.items() if kind in kinds}


def rooted(part: Mapping[str, Any], parts: Mapping[str, Any]) -> Object:
    """The OpenAPI of a whole object, from what is written of it and the parts that it names."""
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
