"""Conversions of built-in kinds that are served in two versions or groups, and stored in one.

Each is a pair of pure functions: to the stored form, and from it. Nothing is lost on the way there and back: what
autoscaling/v1 has no fields for travels in annotations, as in Kubernetes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from towline.kube.builtin_defaults import fill_autoscaler
from towline.kube.cells import at, maps, table
from towline.kube.kinds import Conversion
from towline.kube.objects import Object, annotations_of, copy, with_metadata

# --- events.k8s.io/v1 Event: the same object in other words -------------------------------------------------------

_EVENT_NAMES = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}


def _renamed(api_version: str, names: Mapping[str, str], obj: Object) -> Object:
    renamed = {names.get(field, field): value for field, value in obj.items()}
    return {**renamed, "apiVersion": api_version}


EVENT = Conversion(
    to_stored=lambda obj: _renamed("v1", _EVENT_NAMES, obj),
    from_stored=lambda obj: _renamed(
        "events.k8s.io/v1", {stored: name for name, stored in _EVENT_NAMES.items()}, obj
    ),
)

# --- autoscaling/v1 HorizontalPodAutoscaler -----------------------------------------------------------------------

_PREFIX = "autoscaling.alpha.kubernetes.io/"
_METRICS = f"{_PREFIX}metrics"
_CURRENT_METRICS = f"{_PREFIX}current-metrics"
_BEHAVIOR = f"{_PREFIX}behavior"
_CONDITIONS = f"{_PREFIX}conditions"

_Path = tuple[str, ...]
_RESOURCE: Mapping[str, _Path] = {
    "name": ("name",),
    "targetAverageUtilization": ("target", "averageUtilization"),
    "targetAverageValue": ("target", "averageValue"),
}
_SOURCES: Mapping[str, Mapping[str, _Path]] = {
    "resource": _RESOURCE,
    "containerResource": {**_RESOURCE, "container": ("container",)},
    "pods": {
        "metricName": ("metric", "name"),
        "targetAverageValue": ("target", "averageValue"),
        "selector": ("metric", "selector"),
    },
    "object": {
        "target": ("describedObject",),
        "metricName": ("metric", "name"),
        "targetValue": ("target", "value"),
        "selector": ("metric", "selector"),
        "averageValue": ("target", "averageValue"),
    },
    "external": {
        "metricName": ("metric", "name"),
        "metricSelector": ("metric", "selector"),
        "targetValue": ("target", "value"),
        "targetAverageValue": ("target", "averageValue"),
    },
}
"""Where the fields of v1's metrics are in v2's. What is measured is the same with `current` for `target`."""


def _autoscaler_to_stored(obj: Object) -> Object:
    annotations = annotations_of(obj)
    spec, status = table(obj.get("spec")), table(obj.get("status"))
    stored = {field: value for field, value in spec.items() if field != "targetCPUUtilizationPercentage"}
    metrics = [_to_v2(metric, "target") for metric in maps(_parsed(annotations.get(_METRICS)))]
    if (utilization := spec.get("targetCPUUtilizationPercentage")) is not None:
        target = {"type": "Utilization", "averageUtilization": utilization}
        metrics.append({"type": "Resource", "resource": {"name": "cpu", "target": target}})
    if metrics:
        stored["metrics"] = metrics
    behavior = _cased(_parsed(annotations.get(_BEHAVIOR)), str.lower)
    if isinstance(behavior, dict) and behavior:
        stored["behavior"] = behavior
    if isinstance(obj.get("spec"), dict):
        fill_autoscaler(stored)
    made = {**obj, "apiVersion": "autoscaling/v2", "spec": stored}
    if status:
        made["status"] = _status_to_stored(status, annotations)
    kept = {key: value for key, value in annotations.items() if not key.startswith(_PREFIX)}
    return made if len(kept) == len(annotations) else with_metadata(made, annotations=kept or None)


def _status_to_stored(status: Mapping[str, Any], annotations: Mapping[str, str]) -> Object:
    stored = {field: value for field, value in status.items() if field != "currentCPUUtilizationPercentage"}
    measured = [_to_v2(metric, "current") for metric in maps(_parsed(annotations.get(_CURRENT_METRICS)))]
    if not measured and (utilization := status.get("currentCPUUtilizationPercentage")) is not None:
        current = {"averageUtilization": utilization}
        measured = [{"type": "Resource", "resource": {"name": "cpu", "current": current}}]
    if measured:
        stored["currentMetrics"] = measured
    if conditions := maps(_parsed(annotations.get(_CONDITIONS))):
        stored["conditions"] = conditions
    return stored


def _autoscaler_from_stored(obj: Object) -> Object:
    spec, status = table(obj.get("spec")), table(obj.get("status"))
    shown = {field: value for field, value in spec.items() if field not in ("metrics", "behavior")}
    annotations = {k: v for k, v in annotations_of(obj).items() if not k.startswith(_PREFIX)}
    cpu = [metric for metric in maps(spec.get("metrics")) if _utilization(metric, "target") is not None]
    others = [_to_v1(metric, "target") for metric in maps(spec.get("metrics")) if metric not in cpu]
    if cpu:
        shown["targetCPUUtilizationPercentage"] = _utilization(cpu[0], "target")
    told: dict[str, Any] = {
        _METRICS: others,
        _CURRENT_METRICS: [_to_v1(metric, "current") for metric in maps(status.get("currentMetrics"))],
        _BEHAVIOR: _behavior_told(spec.get("behavior")),
        _CONDITIONS: status.get("conditions"),
    }
    annotations |= {key: orjson.dumps(value).decode() for key, value in told.items() if value}
    made = {**obj, "apiVersion": "autoscaling/v1", "spec": shown}
    if status:
        kept = {k: v for k, v in status.items() if k not in ("currentMetrics", "conditions")}
        for metric in maps(status.get("currentMetrics")):
            if (utilization := _utilization(metric, "current")) is not None:
                kept["currentCPUUtilizationPercentage"] = utilization
        made["status"] = kept
    return with_metadata(made, annotations=annotations or None)


AUTOSCALER = Conversion(to_stored=_autoscaler_to_stored, from_stored=_autoscaler_from_stored)


def _utilization(metric: Mapping[str, Any], side: str) -> Any:
    """The CPU utilization of a v2 metric that says no more than that."""
    if metric.get("type") != "Resource" or at(metric, "resource", "name") != "cpu":
        return None
    return at(metric, "resource", side, "averageUtilization")


def _fields(source: str, side: str) -> Iterator[tuple[str, _Path]]:
    for field, path in _SOURCES[source].items():
        if path[0] == "target":
            yield field.replace("target", side, 1), (side, *path[1:])
        else:
            yield field, path


def _to_v2(metric: Mapping[str, Any], side: str) -> Object:
    made: Object = {"type": metric.get("type")}
    for source in _SOURCES:
        if not isinstance(given := metric.get(source), Mapping):
            continue
        converted: Object = {}
        for field, path in _fields(source, side):
            if given.get(field) is not None:
                below = converted
                for step in path[:-1]:
                    below = below.setdefault(step, {})
                below[path[-1]] = given[field]
        if side == "target":
            target = converted.setdefault("target", {})
            types = {"averageUtilization": "Utilization", "averageValue": "AverageValue", "value": "Value"}
            target["type"] = next((name for field, name in types.items() if field in target), "")
        made[source] = converted
    return made


def _to_v1(metric: Mapping[str, Any], side: str) -> Object:
    made: Object = {"type": metric.get("type")}
    for source in _SOURCES:
        if isinstance(metric.get(source), Mapping):
            values = {field: at(metric[source], *path) for field, path in _fields(source, side)}
            made[source] = {field: value for field, value in values.items() if value is not None}
    return made


def _behavior_told(behavior: Any) -> Any:
    """Field by field as Go writes its own struct, with a null for what nobody said."""
    if not isinstance(behavior, Mapping) or not behavior:
        return None
    fields = ("stabilizationWindowSeconds", "selectPolicy", "policies", "tolerance")
    told = {}
    for direction in ("scaleUp", "scaleDown"):
        rules = behavior.get(direction)
        said = {field: _cased(rules.get(field), str.upper) for field in fields} if rules is not None else None
        told[direction] = said
    return {
        k[0].upper() + k[1:]: v and {f[0].upper() + f[1:]: x for f, x in v.items()} for k, v in told.items()
    }


def _cased(value: Any, case: Callable[[str], str]) -> Any:
    """Names of fields with their first letter in another case: the behavior's annotation writes them large."""
    if isinstance(value, Mapping):
        return {case(k[:1]) + k[1:]: _cased(v, case) for k, v in value.items() if v is not None}
    return [_cased(item, case) for item in value] if isinstance(value, list) else copy(value)


def _parsed(text: Any) -> Any:
    """An annotation's JSON; nonsense counts as absent, as in Kubernetes."""
    try:
        return orjson.loads(text) if isinstance(text, str) else None
    except orjson.JSONDecodeError:
        return None
