"""What a placement must satisfy beyond its schema: affinities, tolerations, spread constraints.

Every function answers errors below `path`, and stands parts of any shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towline.kube import errors, names
from towline.kube.cells import at, maps, table
from towline.kube.schemas import FieldError
from towline.kube.selector_validation import validate_label_selector
from towline.kube.taints import EFFECTS, integer

_AFFINITY_FIELDS = ("provider", "region", "zone")
_TOLERATION_OPERATORS = ("Equal", "Exists", "Gt", "Lt")


def validate_placement(placement: Any, path: str) -> list[FieldError]:
    """The rules of a placement at `path`."""
    if not isinstance(placement, Mapping):
        return []
    found: list[FieldError] = []
    if placement.get("clusterAffinity") is not None and placement.get("clusterAffinities"):
        message = "clusterAffinities cannot co-exist with clusterAffinity"
        found.append(errors.invalid(path, placement.get("clusterAffinity"), message))
    found += validate_affinity(placement.get("clusterAffinity"), f"{path}.clusterAffinity")
    found += _affinity_terms(placement, f"{path}.clusterAffinities")
    found += _tolerations(placement.get("clusterTolerations"), f"{path}.clusterTolerations")
    found += _spread_constraints(placement.get("spreadConstraints"), f"{path}.spreadConstraints")
    weights = at(placement, "replicaScheduling", "weightPreference", "staticWeightList")
    for n, weight in enumerate(maps(weights)):
        where = f"{path}.replicaScheduling.weightPreference.staticWeightList[{n}].targetCluster"
        found += validate_affinity(weight.get("targetCluster"), where)
    return found + _workload_affinity(placement.get("workloadAffinity"), f"{path}.workloadAffinity")


def validate_affinity(affinity: Any, path: str) -> list[FieldError]:
    """The rules of a ClusterAffinity at `path`."""
    found: list[FieldError] = []
    for n, term in enumerate(maps(at(affinity, "fieldSelector", "matchExpressions"))):
        where = f"{path}.fieldSelector.matchExpressions[{n}]"
        if term.get("key") not in _AFFINITY_FIELDS:
            found.append(errors.unsupported(f"{where}.key", term.get("key"), _AFFINITY_FIELDS))
        if term.get("operator") not in ("In", "NotIn"):
            found.append(errors.unsupported(f"{where}.operator", term.get("operator"), ("In", "NotIn")))
        if not term.get("values"):
            found.append(
                errors.required(f"{where}.values", "must be specified when `operator` is 'In' or 'NotIn'")
            )
    return found + validate_label_selector(at(affinity, "labelSelector"), f"{path}.labelSelector")


def _affinity_terms(placement: Mapping[str, Any], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for n, term in enumerate(maps(placement.get("clusterAffinities"))):
        where = f"{path}[{n}]"
        found += _affinity_name(term, where, seen)
        found += validate_affinity(term, where)
        overflows = maps(term.get("overflowAffinities"))
        if not overflows:
            continue
        if not _divides_by_room(placement):
            message = (
                "only takes effect when replicas are divided and the preference is Aggregated, or Weighted with a "
                "dynamicWeight"
            )
            found.append(errors.forbidden(f"{where}.overflowAffinities", message))
        if not any(
            term.get(field) for field in ("labelSelector", "fieldSelector", "clusterNames", "exclude")
        ):
            found.append(
                errors.invalid(where, term.get("affinityName"), "must select clusters when it overflows")
            )
        inner = {str(term.get("affinityName"))}
        for m, overflow in enumerate(overflows):
            found += _affinity_name(overflow, f"{where}.overflowAffinities[{m}]", inner)
            found += validate_affinity(overflow, f"{where}.overflowAffinities[{m}]")
    return found


def _affinity_name(term: Mapping[str, Any], path: str, seen: set[str]) -> list[FieldError]:
    name = str(term.get("affinityName") or "")
    found = [errors.invalid(f"{path}.affinityName", name, m) for m in names.validate_qualified_name(name)]
    if name in seen:
        found.append(
            errors.invalid(
                f"{path}.affinityName", name, "each affinity term in a policy must have a unique name"
            )
        )
    seen.add(name)
    return found


def _divides_by_room(placement: Mapping[str, Any]) -> bool:
    scheduling = table(placement.get("replicaScheduling"))
    preference = scheduling.get("replicaDivisionPreference")
    dynamic = at(scheduling, "weightPreference", "dynamicWeight")
    return scheduling.get("replicaSchedulingType") == "Divided" and (
        preference == "Aggregated" or (preference == "Weighted" and bool(dynamic))
    )


def _tolerations(tolerations: Any, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for n, toleration in enumerate(maps(tolerations)):
        where = f"{path}[{n}]"
        key, value = (str(toleration.get(f) or "") for f in ("key", "value"))
        operator = str(toleration.get("operator") or "Equal")
        if key:
            found += [errors.invalid(f"{where}.key", key, m) for m in names.validate_qualified_name(key)]
        elif operator != "Exists":
            message = (
                'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            )
            found.append(errors.invalid(f"{where}.operator", toleration.get("operator") or "", message))
        if toleration.get("tolerationSeconds") is not None and toleration.get("effect") != "NoExecute":
            message = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            found.append(errors.invalid(f"{where}.effect", toleration.get("effect"), message))
        found += _toleration_value(operator, value, where)
        if toleration.get("effect") and toleration.get("effect") not in EFFECTS:
            found.append(errors.unsupported(f"{where}.effect", toleration.get("effect"), EFFECTS))
    return found


def _toleration_value(operator: str, value: str, path: str) -> list[FieldError]:
    if operator not in _TOLERATION_OPERATORS:
        return [errors.unsupported(f"{path}.operator", operator, _TOLERATION_OPERATORS)]
    if operator == "Exists":
        message = "value must be empty when `operator` is 'Exists'"
        return [errors.invalid(f"{path}.operator", operator, message)] if value else []
    if operator in ("Lt", "Gt"):
        message = f"must be a 64-bit integer without leading zeros when `operator` is '{operator}'"
        return [errors.invalid(f"{path}.value", value, message)] if integer(value) is None else []
    return [errors.invalid(f"{path}.value", value, m) for m in names.validate_label_value(value)]


def _spread_constraints(constraints: Any, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    fields: list[str] = []
    for n, constraint in enumerate(maps(constraints)):
        where = f"{path}[{n}]"
        field, label = constraint.get("spreadByField"), constraint.get("spreadByLabel")
        if field and label:
            found.append(
                errors.invalid(where, constraint, "spreadByLabel should not co-exist with spreadByField")
            )
        if label:
            where_label = f"{where}.spreadByLabel"
            found += [
                errors.invalid(where_label, label, m) for m in names.validate_qualified_name(str(label))
            ]
        if field in fields:
            found.append(errors.duplicate(f"{where}.spreadByField", field))
        if field:
            fields.append(str(field))
        low, high = constraint.get("minGroups") or 0, constraint.get("maxGroups") or 0
        for name, count in (("minGroups", low), ("maxGroups", high)):
            if isinstance(count, int) and count < 0:
                found.append(errors.invalid(f"{where}.{name}", count, f"{name} lower than 0"))
        if isinstance(low, int) and isinstance(high, int) and 0 < high < low:
            found.append(errors.invalid(f"{where}.maxGroups", high, "maxGroups lower than minGroups"))
    if fields and "cluster" not in fields:
        message = "the cluster spread constraint must be enabled in one of the constraints in case of SpreadByField is enabled"
        found.append(errors.invalid(path, constraints, message))
    return found


def _workload_affinity(affinity: Any, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    keys = [at(affinity, part, "groupByLabelKey") for part in ("affinity", "antiAffinity")]
    for part, key in zip(("affinity", "antiAffinity"), keys, strict=True):
        if key is not None:
            where = f"{path}.{part}.groupByLabelKey"
            found += [errors.invalid(where, key, m) for m in names.validate_qualified_name(str(key))]
    if keys[0] is not None and keys[0] == keys[1]:
        found.append(
            errors.invalid(
                f"{path}.antiAffinity.groupByLabelKey", keys[1], "must differ from the affinity's key"
            )
        )
    return found
