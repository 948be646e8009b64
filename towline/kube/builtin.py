"""The built-in kinds of Kubernetes, one row each.

Scope, names, subresources, columns and the name of the schema are data here; what admission does beyond the
schema is in `builtin_defaults` and `builtin_validation`. A kind that is not here is unknown to the API server
until a CRD brings it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from towline.kube import builtin_defaults, builtin_validation, conversions, crds, event_validation, schemas
from towline.kube.autoscaling_validation import validate_autoscaler
from towline.kube.builtin_validation import Validation
from towline.kube.columns import COLUMNS
from towline.kube.field_labels import FIELD_LABELS, LABELS_OF_NEW_EVENTS
from towline.kube.kinds import Conversion, Kind, Scale, Strategy
from towline.kube.objects import Object
from towline.kube.schemas import FieldError

_WORKLOAD_SCALE = Scale(selector=".spec.selector")
_ALL = ("all",)
_DELETED_SHOWN = frozenset(
    {("", plural) for plural in (
        "pods", "services", "serviceaccounts", "namespaces", "podtemplates", "resourcequotas",
        "persistentvolumes", "persistentvolumeclaims",
    )}
    | {("storage.k8s.io", plural) for plural in ("storageclasses", "csidrivers", "csinodes", "volumeattachments")}
)  # fmt: skip
_JOBS_ORPHAN = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them "
    "or set propagationPolicy=Orphan to suppress this warning"
)


@cache
def kinds() -> tuple[Kind, ...]:
    """All rows. Their schemas are parsed here, on the first call."""
    return (*_core(), *_workloads(), *_networking(), *_policy_and_access(), *_cluster_wide())


def _core() -> list[Kind]:
    return [
        _row("", "v1", "ConfigMap", "configmaps", "cm", generation=False),
        _row("", "v1", "Secret", "secrets", generation=False),
        _row("", "v1", "Service", "services", "svc", categories=_ALL, status=True, generation=False,
             name_style="label"),
        _row("", "v1", "Endpoints", "endpoints", "ep", singular="endpoints", generation=False),
        _row("", "v1", "Namespace", "namespaces", "ns", namespaced=False, status=True, generation=False,
             name_style="label", verbs=("create", "delete", "get", "list", "patch", "update", "watch")),
        _row("", "v1", "Node", "nodes", "no", namespaced=False, status=True, generation=False),
        _row("", "v1", "Pod", "pods", "po", categories=_ALL, status=True),
        _row("", "v1", "PodTemplate", "podtemplates"),
        _row("", "v1", "ReplicationController", "replicationcontrollers", "rc", categories=_ALL, status=True,
             scale=_WORKLOAD_SCALE, cascade="Orphan"),
        _row("", "v1", "ServiceAccount", "serviceaccounts", "sa", generation=False),
        _row("", "v1", "PersistentVolume", "persistentvolumes", "pv", namespaced=False, status=True,
             generation=False),
        _row("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", "pvc", status=True, generation=False),
        _row("", "v1", "LimitRange", "limitranges", "limits", generation=False),
        _row("", "v1", "ResourceQuota", "resourcequotas", "quota", status=True, generation=False),
        _row("", "v1", "Event", "events", "ev", generation=False, cascade=""),
        _row("events.k8s.io", "v1", "Event", "events", "ev", generation=False, stored_group="",
             cascade="", conversion=conversions.EVENT, field_labels=LABELS_OF_NEW_EVENTS,
             strategy=Strategy(None, _stored_form(conversions.EVENT, event_validation.validate_event))),
    ]  # fmt: skip


def _workloads() -> list[Kind]:
    return [
        _row("apps", "v1", "Deployment", "deployments", "deploy", categories=_ALL, status=True,
             scale=_WORKLOAD_SCALE, generation_of_annotations=True),
        _row("apps", "v1", "ReplicaSet", "replicasets", "rs", categories=_ALL, status=True, scale=_WORKLOAD_SCALE),
        _row("apps", "v1", "StatefulSet", "statefulsets", "sts", categories=_ALL, status=True,
             scale=_WORKLOAD_SCALE),
        _row("apps", "v1", "DaemonSet", "daemonsets", "ds", categories=_ALL, status=True),
        _row("apps", "v1", "ControllerRevision", "controllerrevisions", generation=False),
        _row("batch", "v1", "Job", "jobs", categories=_ALL, status=True, cascade="Orphan",
             cascade_warning=_JOBS_ORPHAN),
        _row("batch", "v1", "CronJob", "cronjobs", "cj", categories=_ALL, status=True),
        _row("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", "hpa", categories=_ALL,
             status=True, generation=False),
        _row("autoscaling", "v1", "HorizontalPodAutoscaler", "horizontalpodautoscalers", "hpa", categories=_ALL,
             status=True, generation=False, conversion=conversions.AUTOSCALER,
             strategy=Strategy(builtin_defaults.AUTOSCALER_V1,
                               _stored_form(conversions.AUTOSCALER, validate_autoscaler))),
    ]  # fmt: skip


def _networking() -> list[Kind]:
    return [
        _row("networking.k8s.io", "v1", "Ingress", "ingresses", "ing", status=True),
        _row("networking.k8s.io", "v1", "IngressClass", "ingressclasses", namespaced=False),
        _row("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", "netpol"),
        _row("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
    ]


def _policy_and_access() -> list[Kind]:
    rbac = "rbac.authorization.k8s.io"
    return [
        _row("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", "pdb", status=True),
        _row(rbac, "v1", "Role", "roles", generation=False, name_style="path"),
        _row(rbac, "v1", "RoleBinding", "rolebindings", generation=False, name_style="path"),
        _row(rbac, "v1", "ClusterRole", "clusterroles", namespaced=False, generation=False, name_style="path"),
        _row(rbac, "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False, generation=False,
             name_style="path"),
    ]  # fmt: skip


def _cluster_wide() -> list[Kind]:
    admission = "admissionregistration.k8s.io"
    return [
        _row("storage.k8s.io", "v1", "StorageClass", "storageclasses", "sc", namespaced=False, generation=False),
        _row("storage.k8s.io", "v1", "CSIDriver", "csidrivers", namespaced=False, generation=False),
        _row("storage.k8s.io", "v1", "VolumeAttributesClass", "volumeattributesclasses", "vac",
             namespaced=False, generation=False),
        _row("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", namespaced=False,
             generation=False),
        _row("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", "pc", namespaced=False),
        _row("coordination.k8s.io", "v1", "Lease", "leases", generation=False),
        _row("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", "crd", "crds",
             namespaced=False, status=True, categories=("api-extensions",)),
        _row(admission, "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations",
             namespaced=False, unconditional=False, categories=("api-extensions",)),
        _row(admission, "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations",
             namespaced=False, unconditional=False, categories=("api-extensions",)),
    ]  # fmt: skip


def _stored_form(conversion: Conversion, validate: Validation) -> Validation:
    """The rules of the stored version, for a version that has none of its own."""

    def checked(new: Object, old: Object | None) -> list[FieldError]:
        return validate(conversion.to_stored(new), None if old is None else conversion.to_stored(old))

    return checked


_WARNINGS = {"CustomResourceDefinition": crds.warnings}
_VALIDATIONS = {**builtin_validation.VALIDATIONS, "CustomResourceDefinition": crds.validate_crd}
_DEFINITION_PREFIXES = {
    "": "io.k8s.api.core",
    "apiextensions.k8s.io": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
}


def _row(
    group: str,
    version: str,
    kind: str,
    plural: str,
    *short_names: str,
    namespaced: bool = True,
    **fields: Any,
) -> Kind:
    prefix = _DEFINITION_PREFIXES.get(group, f"io.k8s.api.{group.partition('.')[0]}")
    row = Kind(
        deleted_shown=(group, plural) in _DELETED_SHOWN,
        group=group,
        version=version,
        kind=kind,
        plural=plural,
        namespaced=namespaced,
        schema=schemas.builtin(f"{prefix}.{version}.{kind}"),
        singular=kind.lower(),
        short_names=short_names,
        columns=COLUMNS.get(kind, ()),
        field_labels=FIELD_LABELS.get(kind, {}),
        strategy=Strategy(builtin_defaults.DEFAULTS.get(kind), _VALIDATIONS.get(kind), _WARNINGS.get(kind)),
        typed_items=False,
    )
    return replace(row, **fields)
