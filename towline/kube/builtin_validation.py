"""What a schema cannot say about built-in kinds and users do get wrong.

Not Kubernetes' whole validation: the rules that are met often, with its paths and texts. The member's API server
has the last word. Hooks run after the schema was checked, but stand objects of any shape.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from towline.kube import (
    errors,
    names,
    networking_validation,
    rbac_validation,
    service_validation,
    storage_validation,
    tokens,
    workload_validation,
)
from towline.kube.autoscaling_validation import validate_autoscaler
from towline.kube.cells import at, maps, table
from towline.kube.event_validation import validate_core_event
from towline.kube.field_rules import (
    amount,
    int_or_percent,
    not_negative,
    one_of,
    unchanged,
)
from towline.kube.objects import Object
from towline.kube.pod_validation import validate_pod
from towline.kube.quota_validation import validate_quota
from towline.kube.schemas import FieldError
from towline.kube.selector_validation import validate_label_selector
from towline.kube.webhook_validation import validate_admission_webhooks

Validation = Callable[[Object, Object | None], list[FieldError]]

_DATA_BYTES_MAX = 1024 * 1024
_SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
_PRIORITY_MAX = 1_000_000_000


# --- configuration -----------------------------------------------------------------------------------------


def _config_map(new: Object, old: Object | None) -> list[FieldError]:
    found = _data_keys(new, "data") + _data_keys(new, "binaryData")
    both = set(table(at(new, "data"))) & set(table(at(new, "binaryData")))
    found += [
        errors.invalid(f"data[{key}]", key, "duplicate of key present in binaryData") for key in sorted(both)
    ]
    found += _data_size(new, ("data", "binaryData"))
    if at(old, "immutable"):
        found += [
            errors.forbidden(field, "field is immutable when `immutable` is set")
            for field in ("immutable", "data", "binaryData")
            if at(new, field) != at(old, field)
        ]
    return found


def _secret(new: Object, old: Object | None) -> list[FieldError]:
    found = _data_keys(new, "data") + _data_size(new, ("data",)) + unchanged(new, old, "type")
    kind, data = at(new, "type"), table(at(new, "data"))
    keys = _SECRET_KEYS.get(str(kind), ())
    found += [errors.required(f"data[{key}]") for key in keys if key not in data]
    if kind == _BASIC_AUTH and not {"username", "password"} & set(data):
        found += [errors.required(f"data[{key}]") for key in ("username", "password")]
    if kind == tokens.SECRET_TYPE and not at(new, "metadata", "annotations", tokens.ACCOUNT_NAME):
        found.append(errors.required(f"metadata.annotations[{tokens.ACCOUNT_NAME}]"))
    if kind in _SECRET_JSON and (key := keys[0]) in data and not _is_json(data[key]):
        found.append(errors.invalid(f"data[{key}]", "<secret contents redacted>", "must be JSON"))
    if at(old, "immutable"):
        found += [
            errors.forbidden(field, "field is immutable when `immutable` is set")
            for field in ("immutable", "data")
            if at(new, field) != at(old, field)
        ]
    return found


_BASIC_AUTH = "kubernetes.io/basic-auth"
_SECRET_JSON = ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg")
_SECRET_KEYS = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}


def _is_json(encoded: Any) -> bool:
    try:
        orjson.loads(base64.b64decode(str(encoded)))
    except ValueError:
        return False
    return True


def _data_keys(new: Object, field: str) -> list[FieldError]:
    data = at(new, field)
    if not isinstance(data, Mapping):
        return []
    return [
        errors.invalid(f"{field}[{key}]", key, message)
        for key in data
        for message in names.validate_data_key(str(key))
    ]


def _data_size(new: Object, fields: tuple[str, ...]) -> list[FieldError]:
    total = 0
    for field in fields:
        data = at(new, field)
        for value in data.values() if isinstance(data, Mapping) else ():
            text = value if isinstance(value, str) else ""
            encoded = field == "binaryData" or at(new, "kind") == "Secret"
            total += len(text) * 3 // 4 if encoded else len(text.encode())
    if total <= _DATA_BYTES_MAX:
        return []
    return [FieldError("", "FieldValueTooLong", f"Too long: may not be more than {_DATA_BYTES_MAX} bytes")]


def _pod_disruption_budget(new: Object, old: Object | None) -> list[FieldError]:
    spec = table(at(new, "spec"))
    found = validate_label_selector(spec.get("selector"), "spec.selector")
    for field in ("minAvailable", "maxUnavailable"):
        found += int_or_percent(spec.get(field), f"spec.{field}", bounded=True)
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        found.append(errors.invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set"))
    policy = spec.get("unhealthyPodEvictionPolicy")
    return found + one_of(policy, "spec.unhealthyPodEvictionPolicy", ("AlwaysAllow", "IfHealthyBudget"))


def _limit_range(new: Object, old: Object | None) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[Any] = set()
    for n, limit in enumerate(maps(at(new, "spec", "limits"))):
        path, kind = f"spec.limits[{n}]", limit.get("type")
        if kind in seen:
            found.append(errors.duplicate(f"{path}.type", kind))
        seen.add(kind)
        if kind == "Pod":
            message = "may not be specified when `type` is 'Pod'"
            given = (field for field in ("default", "defaultRequest") if limit.get(field))
            found += [errors.forbidden(f"{path}.{field}", message) for field in given]
        for low, high, blamed in _LIMIT_ORDER:
            for name, bound in table(limit.get(low)).items():
                least, most = amount(bound), amount(table(limit.get(high)).get(name))
                if least is not None and most is not None and least > most:
                    shown = table(limit.get(blamed)).get(name)
                    message = f"{low} value {bound} is greater than {high} value {limit[high][name]}"
                    found.append(errors.invalid(f"{path}.{blamed}[{name}]", shown, message))
    return found


_LIMIT_ORDER = (
    ("min", "max", "min"),
    ("min", "defaultRequest", "defaultRequest"),
    ("defaultRequest", "max", "defaultRequest"),
    ("defaultRequest", "default", "defaultRequest"),
    ("min", "default", "default"),
    ("default", "max", "default"),
)
"""(what is not above, what, which of the two is named)"""


# --- the rest ------------------------------------------------------------------------------------------------


def _priority_class(new: Object, old: Object | None) -> list[FieldError]:
    name, value = str(at(new, "metadata", "name") or ""), new.get("value")
    found: list[FieldError] = []
    if name.startswith("system-"):
        if _SYSTEM_PRIORITIES.get(name) != value:
            message = "priority class names with 'system-' prefix are reserved for system use only"
            found.append(errors.forbidden("metadata.name", message))
    elif isinstance(value, int) and value > _PRIORITY_MAX:
        message = f"maximum allowed value of a user defined priority is {_PRIORITY_MAX}"
        found.append(errors.forbidden("value", message))
    policies = ("Never", "PreemptLowerPriority")
    found += one_of(new.get("preemptionPolicy"), "preemptionPolicy", policies)
    if old is not None:
        for field in ("value", "preemptionPolicy"):
            if old.get(field) != new.get(field):
                found.append(errors.forbidden(field, "may not be changed in an update."))
    return found


def _lease(new: Object, old: Object | None) -> list[FieldError]:
    seconds = at(new, "spec", "leaseDurationSeconds")
    found = not_negative(at(new, "spec", "leaseTransitions"), "spec.leaseTransitions")
    if isinstance(seconds, int) and seconds <= 0:
        found.append(errors.invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
    return found


def _runtime_class(new: Object, old: Object | None) -> list[FieldError]:
    handler = str(new.get("handler") or "")
    wrong = names.validate_label(handler)
    return [errors.invalid("handler", handler, m) for m in wrong] + unchanged(new, old, "handler")


VALIDATIONS: Mapping[str, Validation] = {
    "Deployment": workload_validation.validate_deployment,
    "ReplicaSet": workload_validation.validate_replica_set,
    "DaemonSet": workload_validation.validate_daemon_set,
    "StatefulSet": workload_validation.validate_stateful_set,
    "ReplicationController": workload_validation.validate_replication_controller,
    "ControllerRevision": workload_validation.validate_revision,
    "Job": workload_validation.validate_job,
    "CronJob": workload_validation.validate_cron_job,
    "Pod": validate_pod,
    "ConfigMap": _config_map,
    "Secret": _secret,
    "Event": validate_core_event,
    "Service": service_validation.validate_service,
    "Endpoints": service_validation.validate_endpoints,
    "EndpointSlice": service_validation.validate_endpoint_slice,
    "PersistentVolume": storage_validation.validate_persistent_volume,
    "PersistentVolumeClaim": storage_validation.validate_persistent_volume_claim,
    "StorageClass": storage_validation.validate_storage_class,
    "VolumeAttributesClass": storage_validation.validate_volume_attributes_class,
    "CSIDriver": storage_validation.validate_csi_driver,
    "Ingress": networking_validation.validate_ingress,
    "IngressClass": networking_validation.validate_ingress_class,
    "NetworkPolicy": networking_validation.validate_network_policy,
    "PodDisruptionBudget": _pod_disruption_budget,
    "HorizontalPodAutoscaler": validate_autoscaler,
    "ResourceQuota": validate_quota,
    "LimitRange": _limit_range,
    "Role": rbac_validation.validate_role,
    "ClusterRole": rbac_validation.validate_cluster_role,
    "RoleBinding": rbac_validation.validate_role_binding,
    "ClusterRoleBinding": rbac_validation.validate_cluster_role_binding,
    "PriorityClass": _priority_class,
    "Lease": _lease,
    "RuntimeClass": _runtime_class,
    "ValidatingWebhookConfiguration": validate_admission_webhooks,
    "MutatingWebhookConfiguration": validate_admission_webhooks,
}
