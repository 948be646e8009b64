"""What Karmada's kinds must satisfy beyond their schemas.

Hooks are `(new, old) -> errors` with field paths. They run after defaulting, and stand objects of any shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from towline.kube import errors, names
from towline.kube.cells import at, maps, table
from towline.kube.objects import Object, annotations_of, labels_of
from towline.kube.quantities import QuantityError, parse
from towline.kube.schemas import FieldError

_AFFINITY_FIELDS = ("provider", "region", "zone")
_TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_POINTER = re.compile(r"(/([^~/]|~[01])*)*")
_QUANTITY_MAX = 2**63 - 1
_DEPENDENCIES = "resourcebinding.karmada.io/dependencies"


# --- propagation policies ------------------------------------------------------------------------------------


def _propagation_policy(label: str) -> Callable[[Object, Object | None], list[FieldError]]:
    def validate(new: Object, old: Object | None) -> list[FieldError]:
        spec = table(new.get("spec"))
        found = _permanent_id(new, old, label)
        before = at(old, "spec", "schedulerName")
        if old is not None and before is not None and spec.get("schedulerName") != before:
            found.append(
                errors.invalid(
                    "spec.schedulerName", spec.get("schedulerName"), "the schedulerName should not be updated"
                )
            )
        found += _selector_namespaces(new, spec)
        if spec.get("preemption") == "Always":
            found += [
                errors.invalid(
                    f"spec.resourceSelectors[{n}].name", "", "name cannot be empty if preemption is Always"
                )
                for n, selector in enumerate(maps(spec.get("resourceSelectors")))
                if not selector.get("name")
            ]
        found += validate_placement(spec.get("placement"), "spec.placement")
        found += _failover(spec)
        return found + _suspension(spec.get("suspension"), "spec.suspension")

    return validate


def _permanent_id(new: Object, old: Object | None, label: str) -> list[FieldError]:
    path, value = f"metadata.labels[{label}]", labels_of(new).get(label)
    if not value:
        return [errors.required(path)]
    before = labels_of(old or {}).get(label)
    return [errors.invalid(path, value, errors.IMMUTABLE)] if before and before != value else []


def _selector_namespaces(new: Object, spec: Mapping[str, Any]) -> list[FieldError]:
    namespace = at(new, "metadata", "namespace")
    return [
        errors.invalid(
            f"spec.resourceSelectors[{n}].namespace",
            selector.get("namespace"),
            f"the namespace must be the policy's own, {namespace}",
        )
        for n, selector in enumerate(maps(spec.get("resourceSelectors")))
        if namespace and selector.get("namespace") not in (None, "", namespace)
    ]


def _failover(spec: Mapping[str, Any]) -> list[FieldError]:
    found: list[FieldError] = []
    for part in ("application", "cluster"):
        for n, rule in enumerate(maps(at(spec, "failover", part, "statePreservation", "rules"))):
            path, label = (
                f"spec.failover.{part}.statePreservation.rules[{n}].aliasLabelName",
                rule.get("aliasLabelName"),
            )
            found += [errors.invalid(path, label, m) for m in names.validate_qualified_name(str(label or ""))]
    application, path = at(spec, "failover", "application"), "spec.failover.application"
    if not isinstance(application, Mapping):
        return found
    if not spec.get("propagateDeps"):
        found.append(
            errors.invalid(
                "spec.propagateDeps", False, "application failover is set, propagateDeps must be true"
            )
        )
    tolerated = at(application, "decisionConditions", "tolerationSeconds")
    if isinstance(tolerated, int) and tolerated < 0:
        where = f"{path}.decisionConditions.tolerationSeconds"
        found.append(errors.invalid(where, tolerated, "must be greater than or equal to 0"))
    grace, where = application.get("gracePeriodSeconds"), f"{path}.gracePeriodSeconds"
    if application.get("purgeMode") != "Gracefully":
        if grace is not None:
            found.append(errors.invalid(where, grace, "only takes effect when purgeMode is Gracefully"))
    elif grace is None:
        found.append(errors.invalid(where, grace, "should not be empty when purgeMode is Gracefully"))
    elif isinstance(grace, int) and grace <= 0:
        found.append(errors.invalid(where, grace, "must be greater than 0"))
    return found


def _suspension(suspension: Any, path: str) -> list[FieldError]:
    if at(suspension, "dispatching") and at(suspension, "dispatchingOnClusters"):
        message = "suspension dispatching cannot co-exist with dispatchingOnClusters.clusterNames"
        return [errors.invalid(path, suspension, message)]
    return []


# --- placement -----------------------------------------------------------------------------------------------


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
    return found + _label_selector(at(affinity, "labelSelector"), f"{path}.labelSelector")


def _label_selector(selector: Any, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for n, term in enumerate(maps(at(selector, "matchExpressions"))):
        where, operator, values = f"{path}.matchExpressions[{n}]", term.get("operator"), term.get("values")
        if operator in ("In", "NotIn"):
            if not values:
                found.append(
                    errors.required(f"{where}.values", "must be specified when `operator` is 'In' or 'NotIn'")
                )
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                found.append(
                    errors.forbidden(
                        f"{where}.values",
                        "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                    )
                )
        else:
            found.append(errors.invalid(f"{where}.operator", operator, "not a valid selector operator"))
    return found


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
        key, operator, value = (str(toleration.get(f) or "") for f in ("key", "operator", "value"))
        if key:
            found += [errors.invalid(f"{where}.key", key, m) for m in names.validate_qualified_name(key)]
        elif operator != "Exists":
            message = (
                'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            )
            found.append(errors.invalid(f"{where}.operator", operator, message))
        if toleration.get("tolerationSeconds") is not None and toleration.get("effect") != "NoExecute":
            message = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            found.append(errors.invalid(f"{where}.effect", toleration.get("effect"), message))
        if operator not in ("", "Equal", "Exists"):
            found.append(errors.unsupported(f"{where}.operator", operator, ("Equal", "Exists")))
        elif operator == "Exists" and value:
            message = "value must be empty when `operator` is 'Exists'"
            found.append(errors.invalid(f"{where}.operator", operator, message))
        elif operator != "Exists":
            found += [errors.invalid(f"{where}.value", value, m) for m in names.validate_label_value(value)]
        if toleration.get("effect") and toleration.get("effect") not in _TAINT_EFFECTS:
            found.append(errors.unsupported(f"{where}.effect", toleration.get("effect"), _TAINT_EFFECTS))
    return found


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


# --- override policies ---------------------------------------------------------------------------------------


def _override_policy(new: Object, old: Object | None) -> list[FieldError]:
    spec = table(new.get("spec"))
    found = _selector_namespaces(new, spec)
    rules = maps(spec.get("overrideRules"))
    old_style = spec.get("targetCluster") is not None or bool(table(spec.get("overriders")))
    if rules and old_style:
        message = "overrideRules and (overriders or targetCluster) can't co-exist"
        found.append(errors.invalid("spec.overrideRules", len(rules), message))
    found += validate_affinity(spec.get("targetCluster"), "spec.targetCluster")
    found += _overriders(table(spec.get("overriders")), "spec.overriders")
    for n, rule in enumerate(rules):
        found += validate_affinity(rule.get("targetCluster"), f"spec.overrideRules[{n}].targetCluster")
        found += _overriders(table(rule.get("overriders")), f"spec.overrideRules[{n}].overriders")
    return found


def _overriders(overriders: Mapping[str, Any], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for field, check in (
        ("labelsOverrider", names.validate_label_value),
        ("annotationsOverrider", lambda _: []),
    ):
        for n, overrider in enumerate(maps(overriders.get(field))):
            for key, value in table(overrider.get("value")).items():
                where = f"{path}.{field}[{n}].value[{key}]"
                messages = [*names.validate_qualified_name(key), *check(str(value))]
                found += [errors.invalid(where, value, message) for message in messages]
    for n, overrider in enumerate(maps(overriders.get("imageOverrider"))):
        where, pointer = f"{path}.imageOverrider[{n}]", at(overrider, "predicate", "path")
        if pointer is not None:
            found += _pointer(pointer, f"{where}.predicate.path")
        found += _value_rule(overrider, where)
    for n, overrider in enumerate(maps(overriders.get("fieldOverrider"))):
        found += _field_overrider(overrider, f"{path}.fieldOverrider[{n}]")
    return found


def _field_overrider(overrider: Mapping[str, Any], path: str) -> list[FieldError]:
    found = _pointer(overrider.get("fieldPath"), f"{path}.fieldPath")
    given = [name for name in ("json", "yaml") if overrider.get(name)]
    if len(given) != 1:
        message = "fieldOverrider has no json or yaml patch" if not given else "json and yaml cannot co-exist"
        found.append(errors.invalid(path, overrider.get("fieldPath"), message))
    for name in given:
        for n, patch in enumerate(maps(overrider.get(name))):
            where = f"{path}.{name}[{n}]"
            found += _pointer(patch.get("subPath"), f"{where}.subPath")
            found += _value_rule(patch, where, forbidden=True)
    return found


def _value_rule(operation: Mapping[str, Any], path: str, *, forbidden: bool = False) -> list[FieldError]:
    """add and replace need a value; remove may forbid one."""
    value = operation.get("value")
    if operation.get("operator") in ("add", "replace"):
        return (
            []
            if value not in (None, "") or (forbidden and value == "")
            else [errors.required(f"{path}.value")]
        )
    if forbidden and value is not None:
        return [errors.invalid(f"{path}.value", value, "value is not allowed for remove operation")]
    return []


def _pointer(pointer: Any, path: str) -> list[FieldError]:
    if isinstance(pointer, str) and _POINTER.fullmatch(pointer):
        return []
    return [errors.invalid(path, pointer, "must be a JSON pointer: empty, or starting with '/'")]


# --- bindings and clusters -----------------------------------------------------------------------------------


def _binding(new: Object, old: Object | None) -> list[FieldError]:
    found = _suspension(at(new, "spec", "suspension"), "spec.suspension")
    dependencies = annotations_of(new).get(_DEPENDENCIES)
    if dependencies is not None:
        try:
            orjson.loads(dependencies)
        except orjson.JSONDecodeError:
            found.append(
                errors.invalid(f"metadata.annotations[{_DEPENDENCIES}]", dependencies, "must be JSON")
            )
    return found


def _cluster(new: Object, old: Object | None) -> list[FieldError]:
    spec = table(new.get("spec"))
    name = str(at(new, "metadata", "name") or "")
    found: list[FieldError] = []
    if len(name) > names.CLUSTER_NAME_LENGTH_MAX:  # that it is a label, the API engine says
        message = f"must be no more than {names.CLUSTER_NAME_LENGTH_MAX} characters"
        found.append(errors.invalid("metadata.name", name, message))
    if spec.get("apiEndpoint"):
        found += _endpoint(str(spec["apiEndpoint"]))
    if spec.get("proxyURL") and _scheme(str(spec["proxyURL"])) not in ("http", "https", "socks5"):
        message = "the scheme must be http, https or socks5"
        found.append(errors.invalid("spec.proxyURL", spec["proxyURL"], message))
    for field in ("provider", "region", "zone"):
        found += [errors.invalid(f"spec.{field}", spec[field], m) for m in _label_value(spec.get(field))]
    for n, zone in enumerate(spec.get("zones") or () if isinstance(spec.get("zones"), list) else ()):
        found += [errors.invalid(f"spec.zones[{n}]", zone, m) for m in _label_value(zone)]
    if spec.get("zone") and spec.get("zones"):
        found.append(errors.invalid("spec.zone", spec["zone"], "zone and zones cannot co-exist"))
    found += _taints(maps(spec.get("taints")))
    return found + _models(maps(spec.get("resourceModels")))


def _label_value(value: Any) -> list[str]:
    return names.validate_label_value(str(value)) if value else []


def _endpoint(endpoint: str) -> list[FieldError]:
    try:
        url = urlsplit(endpoint)
        host = url.hostname
    except ValueError as error:
        return [errors.invalid("spec.apiEndpoint", endpoint, str(error))]
    if not host or not url.scheme:
        return [errors.invalid("spec.apiEndpoint", endpoint, "must be a URL with a host")]
    refused = (("userinfo", url.username), ("fragment", url.fragment), ("query", url.query))
    return [
        errors.invalid("spec.apiEndpoint", endpoint, f"may not have a {part}")
        for part, text in refused
        if text
    ]


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower() if "://" in url else ""


def _taints(taints: Iterable[Mapping[str, Any]]) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[tuple[Any, Any]] = set()
    for n, taint in enumerate(taints):
        path, key, effect = f"spec.taints[{n}]", str(taint.get("key") or ""), taint.get("effect")
        found += [errors.invalid(f"{path}.key", key, m) for m in names.validate_qualified_name(key)]
        found += [
            errors.invalid(f"{path}.value", taint.get("value"), m) for m in _label_value(taint.get("value"))
        ]
        if effect not in _TAINT_EFFECTS:
            found.append(errors.unsupported(f"{path}.effect", effect, _TAINT_EFFECTS))
        if (key, str(effect)) in seen:
            found.append(errors.duplicate(path, {"key": key, "effect": effect}))
        seen.add((key, str(effect)))
    return found


def _models(models: list[Mapping[str, Any]]) -> list[FieldError]:
    """Grades differ, name the same resources in the same order, and their ranges join without gap or overlap."""
    path = "spec.resourceModels"
    if not models:
        return []
    grades = [model.get("grade") for model in models]
    if len({str(grade) for grade in grades}) < len(grades):
        return [errors.invalid(path, grades, "the grade of each model should be different")]
    order = [[bounds.get("name") for bounds in maps(model.get("ranges"))] for model in models]
    if any(names_ != order[0] for names_ in order) or not order[0]:
        return [errors.invalid(path, order, "every grade must name the same resources in the same order")]
    found: list[FieldError] = []
    for place, resource in enumerate(order[0]):
        try:
            ranges = [
                (parse(bounds["min"]), parse(bounds["max"]))
                for bounds in (maps(model.get("ranges"))[place] for model in models)
            ]
        except (QuantityError, KeyError, TypeError):
            return []  # the schema says so
        if ranges[0][0] != 0:
            found.append(errors.invalid(path, resource, "the minimum value of the first grade must be 0"))
        if ranges[-1][1] != _QUANTITY_MAX:
            found.append(
                errors.invalid(path, resource, "the maximum value of the last grade must be MaxInt64")
            )
        for grade, (low, high) in enumerate(ranges):
            where = f"{path}[{grade}].ranges[{place}]"
            if high <= low:
                found.append(
                    errors.invalid(where, resource, "the max value must be greater than the min value")
                )
            if grade and low != ranges[grade - 1][1]:
                message = "the min value must be equal to the max value of the grade before"
                found.append(errors.invalid(where, resource, message))
    return found


VALIDATIONS: Mapping[str, Callable[[Object, Object | None], list[FieldError]]] = {
    "Cluster": _cluster,
    "PropagationPolicy": _propagation_policy(names.POLICY_ID),
    "ClusterPropagationPolicy": _propagation_policy(names.CLUSTER_POLICY_ID),
    "OverridePolicy": _override_policy,
    "ClusterOverridePolicy": _override_policy,
    "ResourceBinding": _binding,
    "ClusterResourceBinding": _binding,
}
