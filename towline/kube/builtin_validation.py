"""What a schema cannot say about built-in kinds and users do get wrong.

Not Kubernetes' whole validation: the rules that are met often, with its paths and texts. The member's API server
has the last word. Hooks run after the schema was checked, but stand objects of any shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Any

from towline.kube import errors, names, tokens
from towline.kube.autoscaling_validation import validate_autoscaler
from towline.kube.cells import at, maps, table
from towline.kube.event_validation import validate_core_event
from towline.kube.networking_validation import validate_ingress
from towline.kube.objects import Object
from towline.kube.quota_validation import validate_quota
from towline.kube.schedules import schedule_error, time_zone_error
from towline.kube.schemas import FieldError

Validation = Callable[[Object, Object | None], list[FieldError]]

_DATA_BYTES_MAX = 1024 * 1024
_STATEFUL_SET_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
_SERVICE_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_CONCURRENCY_POLICIES = ("Allow", "Forbid", "Replace")
_DEPLOYMENT_STRATEGIES = ("Recreate", "RollingUpdate")


# --- workloads -----------------------------------------------------------------------------------------------


def _workload(new: Object, old: Object | None) -> list[FieldError]:
    """Deployment, ReplicaSet, DaemonSet."""
    found = _replicas(new)
    found += _selected_template(new)
    found += _unchanged(new, old, "spec", "selector")
    strategy = at(new, "spec", "strategy")
    if strategy and at(strategy, "type") not in _DEPLOYMENT_STRATEGIES:
        found.append(errors.unsupported("spec.strategy", strategy, _DEPLOYMENT_STRATEGIES))
    elif at(strategy, "type") == "Recreate" and at(strategy, "rollingUpdate") is not None:
        message = "may not be specified when strategy `type` is 'Recreate'"
        found.append(errors.forbidden("spec.strategy.rollingUpdate", message))
    return found + _always_restarts(new)


def _stateful_set(new: Object, old: Object | None) -> list[FieldError]:
    found = _replicas(new) + _selected_template(new) + _always_restarts(new)
    if old is not None:
        before, after = _fixed_part(old), _fixed_part(new)
        if before != after:
            allowed = ", ".join(f"'{field}'" for field in _STATEFUL_SET_MUTABLE)
            message = f"updates to statefulset spec for fields other than {allowed} are forbidden"
            found.append(errors.forbidden("spec", message))
    return found


def _fixed_part(obj: Object) -> dict[str, Any]:
    return {k: v for k, v in table(at(obj, "spec")).items() if k not in _STATEFUL_SET_MUTABLE}


def _replication_controller(new: Object, old: Object | None) -> list[FieldError]:
    found = _replicas(new)
    if at(new, "spec", "template") is None:
        return [*found, errors.required("spec.template")]
    selector, labels = at(new, "spec", "selector"), at(new, "spec", "template", "metadata", "labels") or {}
    if not selector:
        found.append(errors.required("spec.selector"))
    elif any(labels.get(key) != value for key, value in selector.items()):
        found.append(
            errors.invalid(
                "spec.template.metadata.labels", labels, "`selector` does not match template `labels`"
            )
        )
    return found + _pod_spec(at(new, "spec", "template", "spec"), "spec.template.spec")


def _job(new: Object, old: Object | None) -> list[FieldError]:
    found = _job_spec(at(new, "spec"), "spec")
    # The member completes these two from the Job's uid: what was absent may come.
    for field in ("selector", "completions"):
        before = at(old, "spec", field)
        indexed = field == "completions" and at(old, "spec", "completionMode") == "Indexed"
        if before is not None and not indexed and at(new, "spec", field) != before:
            found.append(errors.invalid(f"spec.{field}", at(new, "spec", field), errors.IMMUTABLE))
    return found


def _job_spec(spec: Any, path: str) -> list[FieldError]:
    if at(spec, "template") is None:
        return [errors.required(f"{path}.template")]
    found = _pod_spec(at(spec, "template", "spec"), f"{path}.template.spec")
    policy = at(spec, "template", "spec", "restartPolicy")
    if policy not in ("OnFailure", "Never"):
        where = f"{path}.template.spec.restartPolicy"
        if policy in (None, "Always"):
            found.append(errors.required(where, 'valid values: "OnFailure", "Never"'))
        else:
            found.append(errors.unsupported(where, policy, ("OnFailure", "Never")))
    for field in ("parallelism", "completions", "backoffLimit"):
        found += _not_negative(at(spec, field), f"{path}.{field}")
    return found


def _cron_job(new: Object, old: Object | None) -> list[FieldError]:
    found = _job_spec(at(new, "spec", "jobTemplate", "spec"), "spec.jobTemplate.spec")
    schedule, zone = at(new, "spec", "schedule"), at(new, "spec", "timeZone")
    if not schedule:
        found.append(errors.required("spec.schedule"))
    elif why := schedule_error(str(schedule)):
        found.append(errors.invalid("spec.schedule", schedule, why))
    if zone is not None and (why := time_zone_error(str(zone))):
        found.append(errors.invalid("spec.timeZone", zone, why))
    policy = at(new, "spec", "concurrencyPolicy")
    if policy not in _CONCURRENCY_POLICIES:
        found.append(errors.unsupported("spec.concurrencyPolicy", policy, _CONCURRENCY_POLICIES))
    for field in ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        found += _not_negative(at(new, "spec", field), f"spec.{field}")
    name = str(at(new, "metadata", "name") or "")
    if len(name) > 52:
        found.append(errors.invalid("metadata.name", name, "must be no more than 52 characters"))
    return found


def _pod(new: Object, old: Object | None) -> list[FieldError]:
    return _pod_spec(at(new, "spec"), "spec")


def _selected_template(new: Object) -> list[FieldError]:
    """The selector selects something, and the template's pods are among it."""
    selector = at(new, "spec", "selector")
    template = at(new, "spec", "template")
    labels = table(at(template, "metadata", "labels"))
    found = []
    if selector is None:
        found.append(errors.required("spec.selector"))
    elif not at(selector, "matchLabels") and not at(selector, "matchExpressions"):
        found.append(errors.invalid("spec.selector", selector, "empty selector is invalid for deployment"))
    if selector is None or not _selects(selector, labels):
        found.append(
            errors.invalid(
                "spec.template.metadata.labels", labels, "`selector` does not match template `labels`"
            )
        )
    claims = {at(claim, "metadata", "name") for claim in maps(at(new, "spec", "volumeClaimTemplates"))}
    return found + _pod_spec(at(template, "spec"), "spec.template.spec", claims)


def _selects(selector: Any, labels: Any) -> bool:
    labels = labels if isinstance(labels, Mapping) else {}
    if any(labels.get(key) != value for key, value in table(at(selector, "matchLabels")).items()):
        return False
    for term in maps(at(selector, "matchExpressions")):
        key, values, operator = term.get("key"), term.get("values") or [], term.get("operator")
        present = key in labels
        met = {
            "In": present and labels.get(key) in values,
            "NotIn": not present or labels.get(key) not in values,
            "Exists": present,
            "DoesNotExist": not present,
        }
        if not met.get(str(operator), True):
            return False
    return True


def _always_restarts(new: Object) -> list[FieldError]:
    policy = at(new, "spec", "template", "spec", "restartPolicy")
    if policy in (None, "Always"):
        return []
    return [errors.unsupported("spec.template.spec.restartPolicy", policy, ("Always",))]


def _replicas(new: Object) -> list[FieldError]:
    return _not_negative(at(new, "spec", "replicas"), "spec.replicas")


def _pod_spec(spec: Any, path: str, claims: Set[Any] = frozenset()) -> list[FieldError]:
    """`claims` are volumes that come from outside the pod's spec (a StatefulSet's claim templates)."""
    containers = at(spec, "containers")
    if not containers:
        return [errors.required(f"{path}.containers")]
    found: list[FieldError] = []
    volumes = claims | {volume.get("name") for volume in maps(at(spec, "volumes"))}
    seen: set[Any] = set()
    for field in ("initContainers", "containers"):
        for index, container in enumerate(maps(at(spec, field))):
            where = f"{path}.{field}[{index}]"
            found += _container(container, where, volumes)
            name = container.get("name")
            if name and name in seen:
                found.append(errors.duplicate(f"{where}.name", name))
            seen.add(name)
    return found


def _container(container: Mapping[str, Any], path: str, volumes: Set[Any]) -> list[FieldError]:
    found = []
    name = container.get("name")
    if not name:
        found.append(errors.required(f"{path}.name"))
    else:
        found += [
            errors.invalid(f"{path}.name", name, message) for message in names.validate_label(str(name))
        ]
    if not container.get("image"):
        found.append(errors.required(f"{path}.image"))
    if container.get("imagePullPolicy", "Always") not in _PULL_POLICIES:
        found.append(
            errors.unsupported(f"{path}.imagePullPolicy", container["imagePullPolicy"], _PULL_POLICIES)
        )
    for index, port in enumerate(maps(container.get("ports"))):
        found += _port(port.get("containerPort"), f"{path}.ports[{index}].containerPort")
    for index, variable in enumerate(maps(container.get("env"))):
        if variable.get("value") and variable.get("valueFrom"):
            told = "may not be specified when `value` is not empty"
            found.append(errors.invalid(f"{path}.env[{index}].valueFrom", "", told))
    for index, mount in enumerate(maps(container.get("volumeMounts"))):
        if mount.get("name") not in volumes:
            where = f"{path}.volumeMounts[{index}].name"
            found.append(errors.not_found(where, mount.get("name")))
    return found


# --- configuration, services, storage ------------------------------------------------------------------------


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
    found = _data_keys(new, "data") + _data_size(new, ("data",)) + _unchanged(new, old, "type")
    for kind, keys in _SECRET_KEYS.items():
        if at(new, "type") == kind:
            found += [errors.required(f"data[{key}]") for key in keys if key not in table(at(new, "data"))]
    if at(new, "type") == tokens.SECRET_TYPE and not at(new, "metadata", "annotations", tokens.ACCOUNT_NAME):
        found.append(errors.required(f"metadata.annotations[{tokens.ACCOUNT_NAME}]"))
    if at(old, "immutable"):
        found += [
            errors.forbidden(field, "field is immutable when `immutable` is set")
            for field in ("immutable", "data")
            if at(new, field) != at(old, field)
        ]
    return found


_SECRET_KEYS = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}


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


def _service(new: Object, old: Object | None) -> list[FieldError]:
    spec = table(at(new, "spec"))
    kind, ports = at(spec, "type") or "ClusterIP", maps(at(spec, "ports"))
    if kind not in _SERVICE_TYPES:
        return [errors.unsupported("spec.type", kind, _SERVICE_TYPES)]
    found: list[FieldError] = []
    if kind == "ExternalName" and not at(spec, "externalName"):
        found.append(errors.required("spec.externalName"))
    elif kind != "ExternalName" and not ports and at(spec, "clusterIP") != "None":
        found.append(errors.required("spec.ports"))
    seen: set[Any] = set()
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        found += _port(port.get("port"), f"{path}.port")
        if port.get("protocol", "TCP") not in _PROTOCOLS:
            found.append(errors.unsupported(f"{path}.protocol", port["protocol"], _PROTOCOLS))
        if len(ports) > 1 and not port.get("name"):
            found.append(errors.required(f"{path}.name"))
        if port.get("name"):
            if port["name"] in seen:
                found.append(errors.duplicate(f"{path}.name", port["name"]))
            seen.add(port["name"])
        target = port.get("targetPort")
        if isinstance(target, int):
            found += _port(target, f"{path}.targetPort")
    if (
        kind != "ExternalName"
        and at(old, "spec", "type") not in (None, "ExternalName")
        and at(old, "spec", "clusterIP") not in (None, "", at(new, "spec", "clusterIP"))
    ):
        given = [at(new, "spec", "clusterIP")]
        found.append(errors.invalid("spec.clusterIPs[0]", given, "may not change once set"))
    return found


def _persistent_volume_claim(new: Object, old: Object | None) -> list[FieldError]:
    found = []
    if not at(new, "spec", "accessModes"):
        found.append(errors.required("spec.accessModes", "at least 1 access mode is required"))
    if at(new, "spec", "resources", "requests", "storage") is None:
        found.append(errors.required("spec.resources[storage]"))
    for field in ("accessModes", "storageClassName", "volumeMode"):
        # The volume and a missing class are filled in later; nothing else changes.
        if at(old, "spec", field) is not None:
            found += _unchanged(new, old, "spec", field)
    return found


def _pod_disruption_budget(new: Object, old: Object | None) -> list[FieldError]:
    spec = table(at(new, "spec"))
    if at(spec, "minAvailable") is not None and at(spec, "maxUnavailable") is not None:
        return [errors.invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")]
    return []


def _binding_of_role(new: Object, old: Object | None) -> list[FieldError]:
    return _unchanged(new, old, "roleRef", message="cannot change roleRef")


def _storage_class(new: Object, old: Object | None) -> list[FieldError]:
    fields = ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode")
    return [error for field in fields for error in _unchanged(new, old, field)]


def _priority_class(new: Object, old: Object | None) -> list[FieldError]:
    if old is not None and at(old, "value") != at(new, "value"):
        return [errors.forbidden("value", "may not be changed in an update.")]
    return []


VALIDATIONS: Mapping[str, Validation] = {
    "Deployment": _workload,
    "ReplicaSet": _workload,
    "DaemonSet": _workload,
    "StatefulSet": _stateful_set,
    "ReplicationController": _replication_controller,
    "Job": _job,
    "CronJob": _cron_job,
    "Pod": _pod,
    "ConfigMap": _config_map,
    "Secret": _secret,
    "Event": validate_core_event,
    "Service": _service,
    "PersistentVolumeClaim": _persistent_volume_claim,
    "Ingress": validate_ingress,
    "PodDisruptionBudget": _pod_disruption_budget,
    "HorizontalPodAutoscaler": validate_autoscaler,
    "ResourceQuota": validate_quota,
    "RoleBinding": _binding_of_role,
    "ClusterRoleBinding": _binding_of_role,
    "StorageClass": _storage_class,
    "PriorityClass": _priority_class,
}

# --- shared rules --------------------------------------------------------------------------------------------


def _not_negative(value: Any, path: str) -> list[FieldError]:
    if isinstance(value, int) and value < 0:
        return [errors.invalid(path, value, "must be greater than or equal to 0")]
    return []


def _port(value: Any, path: str) -> list[FieldError]:
    if value is None:
        return [errors.required(path)]
    if isinstance(value, int) and not 1 <= value <= 65535:
        return [errors.invalid(path, value, "must be between 1 and 65535, inclusive")]
    return []


def _unchanged(
    new: Object, old: Object | None, *path: str, message: str = errors.IMMUTABLE
) -> list[FieldError]:
    if old is None or at(new, *path) == at(old, *path):
        return []
    return [errors.invalid(".".join(path), at(new, *path), message)]
