"""What `--field-selector` may ask of each built-in kind, beside metadata.name and metadata.namespace: no more than
Kubernetes allows. Values are compared as text, with Go's zero values where an object says nothing."""

from __future__ import annotations

from collections.abc import Mapping

from towline.kube import jsonpath
from towline.kube.kinds import FieldLabel
from towline.kube.objects import Object


def text_of(label: FieldLabel, obj: Object) -> str:
    """The text that a field selector compares: "" where the object does not say."""
    value = jsonpath.first(label, obj) if isinstance(label, str) else label(obj)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None or isinstance(value, (dict, list)) else str(value)


def _or(path: str, absent: str) -> FieldLabel:
    """`path`, or what Go prints where it is not set."""
    return lambda obj: jsonpath.first(path, obj, absent)


def _pod_ip(obj: Object) -> object:
    return jsonpath.first(".status.podIPs[0].ip", obj) or jsonpath.first(".status.podIP", obj)


def _nothing(obj: Object) -> None:
    """Kubernetes knows the label, and no object has a value for it."""


def _source(obj: Object) -> object:
    return jsonpath.first(".source.component", obj) or jsonpath.first(".reportingComponent", obj)


def _paths(*labels: str) -> dict[str, FieldLabel]:
    return {label: f".{label}" for label in labels}


_OF_REFERENCE = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")

FIELD_LABELS: Mapping[str, Mapping[str, FieldLabel]] = {
    "Pod": {
        **_paths("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName"),
        **_paths("status.phase", "status.nominatedNodeName"),
        "spec.host": ".spec.nodeName",
        "spec.hostNetwork": _or(".spec.hostNetwork", "false"),
        "status.podIP": _pod_ip,
        "status.podIPs": _nothing,
    },
    "Node": {"spec.unschedulable": _or(".spec.unschedulable", "false")},
    "ReplicationController": {"status.replicas": _or(".status.replicas", "0")},
    "Event": {
        **_paths(*(f"involvedObject.{field}" for field in _OF_REFERENCE)),
        **_paths("reason", "reportingComponent", "type"),
        "source": _source,
    },
    "Namespace": _paths("status.phase"),
    "Secret": _paths("type"),
    "Service": _paths("spec.clusterIP", "spec.type"),
    "Job": {"status.successful": _or(".status.succeeded", "0")},
}
"""By kind. Kinds that are not here know only the two of metadata: so do ReplicaSets, though status.replicas stands in
Kubernetes' code."""

LABELS_OF_NEW_EVENTS: Mapping[str, FieldLabel] = {
    **{f"regarding.{field}": f".involvedObject.{field}" for field in _OF_REFERENCE},
    **_paths("reason", "type"),
    "reportingController": ".reportingComponent",
}
"""Of Events in events.k8s.io, which are stored as Events of the core group are."""
