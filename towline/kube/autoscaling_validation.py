"""What autoscalers must satisfy beyond their schemas: HorizontalPodAutoscaler, FederatedHPA, CronFederatedHPA.

Every function answers errors with field paths, and stands parts of any shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towline.kube import errors, names
from towline.kube.cells import at, maps, table
from towline.kube.objects import Object
from towline.kube.quantities import QuantityError, parse
from towline.kube.schedules import schedule_error, time_zone_error
from towline.kube.schemas import FieldError

_SOURCES = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
"""The field that a metric of each type fills."""

_TARGET_TYPES = ("Utilization", "Value", "AverageValue")
_SELECT_POLICIES = ("Disabled", "Max", "Min")
_SCALING_POLICIES = ("Percent", "Pods")
_STABILIZATION_SECONDS_MAX = 3600
_PERIOD_SECONDS_MAX = 1800


def validate_autoscaler(new: Object, old: Object | None) -> list[FieldError]:
    """The hook of HorizontalPodAutoscaler (v2)."""
    return _autoscaler(new, grouped=old is None)


def validate_federated_autoscaler(new: Object, old: Object | None) -> list[FieldError]:
    """The hook of FederatedHPA."""
    return _autoscaler(new, grouped=False)


def _autoscaler(new: Object, *, grouped: bool) -> list[FieldError]:
    """`grouped`: the target must name its API group."""
    spec = table(new.get("spec"))
    low, high = spec.get("minReplicas"), spec.get("maxReplicas")
    found: list[FieldError] = []
    if isinstance(low, int) and low < 1:
        found.append(errors.invalid("spec.minReplicas", low, "must be greater than or equal to 1"))
    if high in (None, 0):
        found.append(errors.required("spec.maxReplicas", "must be set and greater than 0"))
    elif isinstance(high, int) and high < 0:
        found.append(errors.invalid("spec.maxReplicas", high, "must be greater than or equal to 1"))
    if isinstance(low, int) and isinstance(high or 0, int) and (high or 0) < low:
        message = "must be greater than or equal to `minReplicas`"
        found.append(errors.invalid("spec.maxReplicas", high or 0, message))
    found += _reference(spec.get("scaleTargetRef"), "spec.scaleTargetRef", grouped=grouped)
    metrics = maps(spec.get("metrics"))
    if low == 0 and not any(metric.get("type") in ("Object", "External") for metric in metrics):
        message = "must specify at least one Object or External metric to support scaling to zero replicas"
        found.append(errors.forbidden("spec.metrics", message))
    for n, metric in enumerate(metrics):
        found += _metric(metric, f"spec.metrics[{n}]")
    for direction in ("scaleUp", "scaleDown"):
        rules = at(spec, "behavior", direction)
        if isinstance(rules, Mapping):
            found += _scaling_rules(rules, f"spec.behavior.{direction}")
    return found


def validate_cron_autoscaler(new: Object, old: Object | None) -> list[FieldError]:
    """The hook of CronFederatedHPA."""
    spec = table(new.get("spec"))
    target = table(spec.get("scaleTargetRef"))
    found: list[FieldError] = []
    federated = str(target.get("apiVersion") or "").partition("/")[0] == names.AUTOSCALING_GROUP
    if federated and target.get("kind") != "FederatedHPA":
        path = "spec.scaleTargetRef.kind"
        found.append(
            errors.invalid(path, target.get("kind"), "of this API group, only FederatedHPA is scaled")
        )
    seen: set[str] = set()
    for n, rule in enumerate(maps(spec.get("rules"))):
        path, name = f"spec.rules[{n}]", str(rule.get("name") or "")
        if name in seen:
            found.append(errors.duplicate(f"{path}.name", name))
        seen.add(name)
        if why := schedule_error(str(rule.get("schedule") or "")):
            found.append(errors.invalid(f"{path}.schedule", rule.get("schedule"), why))
        if (zone := rule.get("timeZone")) is not None and (why := time_zone_error(str(zone))):
            found.append(errors.invalid(f"{path}.timeZone", zone, why))
        found += _bounds(rule, path) if federated else _replicas(rule, path)
    return found


def _replicas(rule: Mapping[str, Any], path: str) -> list[FieldError]:
    wanted = rule.get("targetReplicas")
    if wanted is None:
        return [errors.required(f"{path}.targetReplicas", "how many replicas the workload shall have")]
    if isinstance(wanted, int) and wanted < 0:
        return [errors.invalid(f"{path}.targetReplicas", wanted, "must be greater than or equal to 0")]
    return []


def _bounds(rule: Mapping[str, Any], path: str) -> list[FieldError]:
    low, high = rule.get("targetMinReplicas"), rule.get("targetMaxReplicas")
    if low is None and high is None:
        message = "targetMinReplicas or targetMaxReplicas must be set for a FederatedHPA"
        return [errors.invalid(f"{path}.targetMinReplicas", None, message)]
    found = [
        errors.invalid(f"{path}.{field}", value, "must be greater than 0")
        for field, value in (("targetMinReplicas", low), ("targetMaxReplicas", high))
        if isinstance(value, int) and value <= 0
    ]
    if isinstance(low, int) and isinstance(high, int) and low > high:
        message = "must be less than or equal to targetMaxReplicas"
        found.append(errors.invalid(f"{path}.targetMinReplicas", low, message))
    return found


# --- metrics -------------------------------------------------------------------------------------------------


def _metric(metric: Mapping[str, Any], path: str) -> list[FieldError]:
    kind = str(metric.get("type") or "")
    found: list[FieldError] = []
    if not kind:
        found.append(errors.required(f"{path}.type", "must specify a metric source type"))
    if kind not in _SOURCES:
        found.append(errors.unsupported(f"{path}.type", kind, _SOURCES))
    wanted = _SOURCES.get(kind, "")
    present = [field for field in _SOURCES.values() if metric.get(field) is not None]
    if wanted and wanted not in present:
        message = "must populate information for the given metric source"
        found.append(errors.required(f"{path}.{wanted}", message))
    if len(present) > 1:
        message = "must populate the given metric source only"
        found += [errors.forbidden(f"{path}.{field}", message) for field in present if field != wanted]
    elif present:
        found += _source(present[0], table(metric.get(present[0])), f"{path}.{present[0]}")
    return found


def _source(field: str, source: Mapping[str, Any], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if field == "object":
        found += _reference(source.get("describedObject"), f"{path}.describedObject")
    if field in ("resource", "containerResource"):
        if not source.get("name"):
            found.append(errors.required(f"{path}.name", "must specify a resource name"))
        if field == "containerResource" and not source.get("container"):
            found.append(errors.required(f"{path}.container", "must specify a container"))
    elif not at(source, "metric", "name"):
        found.append(errors.required(f"{path}.metric.name", "must specify a metric name"))
    else:
        name = str(at(source, "metric", "name"))
        found += [errors.invalid(f"{path}.metric.name", name, m) for m in names.validate_path_segment(name)]
    target = table(source.get("target"))
    return found + _target(target, f"{path}.target") + _target_given(field, target, f"{path}.target")


def _target(target: Mapping[str, Any], path: str) -> list[FieldError]:
    kind, found = str(target.get("type") or ""), []
    if not kind:
        found.append(errors.required(f"{path}.type", "must specify a metric target type"))
    if kind not in _TARGET_TYPES:
        message = "must be either Utilization, Value, or AverageValue"
        found.append(errors.invalid(f"{path}.type", kind, message))
    for field in ("value", "averageValue"):
        try:
            negative = target.get(field) is not None and parse(target[field]) <= 0
        except (QuantityError, TypeError):
            continue  # the schema says so
        if negative:
            found.append(errors.invalid(f"{path}.{field}", target[field], "must be positive"))
    utilization = target.get("averageUtilization")
    if isinstance(utilization, int) and utilization < 1:
        found.append(errors.invalid(f"{path}.averageUtilization", utilization, "must be greater than 0"))
    return found


def _target_given(field: str, target: Mapping[str, Any], path: str) -> list[FieldError]:
    """Which amounts a target of each source has: one, and not two that contradict each other."""
    value, average, utilization = (
        target.get(name) is not None for name in ("value", "averageValue", "averageUtilization")
    )
    if field in ("resource", "containerResource"):
        if not utilization and not average:
            message = "must set either a target raw value or a target utilization"
            return [errors.required(f"{path}.averageUtilization", message)]
        if utilization and average:
            message = "may not set both a target raw value and a target utilization"
            return [errors.forbidden(f"{path}.averageValue", message)]
    elif field == "pods" and not average:
        return [errors.required(f"{path}.averageValue", "must specify a positive target averageValue")]
    elif field in ("object", "external") and not value and not average:
        return [errors.required(f"{path}.averageValue", "must set either a target value or averageValue")]
    elif field == "external" and value and average:
        message = "may not set both a target value for metric and a per-pod target"
        return [errors.forbidden(f"{path}.value", message)]
    return []


def _reference(reference: Any, path: str, *, grouped: bool = False) -> list[FieldError]:
    found: list[FieldError] = []
    for field in ("kind", "name"):
        value = str(at(reference, field) or "")
        if not value:
            found.append(errors.required(f"{path}.{field}"))
        found += [errors.invalid(f"{path}.{field}", value, m) for m in names.validate_path_segment(value)]
    version = str(at(reference, "apiVersion") or "")
    if version.count("/") > 1:
        found.append(errors.invalid(f"{path}.apiVersion", version, "unexpected GroupVersion string"))
    elif grouped and "/" not in version:
        found.append(errors.invalid(f"{path}.apiVersion", version, "apiVersion must specify API group"))
    return found


# --- behavior ------------------------------------------------------------------------------------------------


def _scaling_rules(rules: Mapping[str, Any], path: str) -> list[FieldError]:
    window, select = rules.get("stabilizationWindowSeconds"), rules.get("selectPolicy")
    found = _within(window, f"{path}.stabilizationWindowSeconds", 0, _STABILIZATION_SECONDS_MAX)
    if select is not None and select not in _SELECT_POLICIES:
        found.append(errors.unsupported(f"{path}.selectPolicy", select, _SELECT_POLICIES))
    policies = maps(rules.get("policies"))
    if not policies:
        found.append(errors.required(f"{path}.policies", "must specify at least one Policy"))
    for n, policy in enumerate(policies):
        where = f"{path}.policies[{n}]"
        if policy.get("type") not in _SCALING_POLICIES:
            found.append(errors.unsupported(f"{where}.type", policy.get("type"), _SCALING_POLICIES))
        found += _within(policy.get("value"), f"{where}.value", 1)
        found += _within(policy.get("periodSeconds"), f"{where}.periodSeconds", 1, _PERIOD_SECONDS_MAX)
    return found


def _within(value: Any, path: str, low: int, high: int | None = None) -> list[FieldError]:
    if not isinstance(value, int):
        return []
    if value < low:
        message = "must be greater than zero" if low else "must be greater than or equal to zero"
        return [errors.invalid(path, value, message)]
    if high is not None and value > high:
        return [errors.invalid(path, value, f"must be less than or equal to {high}")]
    return []
