"""What Karmada's kinds must satisfy beyond their schemas.

Hooks are `(new, old) -> errors` with field paths. They run after defaulting, and stand objects of any shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from towline.kube import errors, exits, names
from towline.kube.autoscaling_validation import validate_cron_autoscaler, validate_federated_autoscaler
from towline.kube.cells import at, maps, table
from towline.kube.karmada_defaults import FORMER_PURGE_MODES
from towline.kube.networking_validation import validate_ingress, validate_multi_cluster_service
from towline.kube.objects import Object
from towline.kube.override_validation import validate_override_policy, warn_of_variables
from towline.kube.placement_validation import validate_affinity, validate_placement
from towline.kube.quantities import QuantityError, parse
from towline.kube.quota_validation import validate_federated_quota
from towline.kube.schemas import FieldError
from towline.kube.selector_validation import validate_resource_selectors
from towline.kube.taints import EFFECTS
from towline.kube.webhook_validation import url_with_host, validate_interpreter_webhooks

_STATUSES = ("True", "False", "Unknown")
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
        found += validate_resource_selectors(new)
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
    path, value = f"metadata.labels[{label}]", at(new, "metadata", "labels", label)
    if not value:
        return [errors.required(path)]
    before = at(old, "metadata", "labels", label)
    return [errors.invalid(path, value, errors.IMMUTABLE)] if before and before != value else []


def _failover(spec: Mapping[str, Any]) -> list[FieldError]:
    found: list[FieldError] = []
    for part in ("application", "cluster"):
        for n, rule in enumerate(maps(at(spec, "failover", part, "statePreservation", "rules"))):
            path, label = (
                f"spec.failover.{part}.statePreservation.rules[{n}].aliasLabelName",
                rule.get("aliasLabelName"),
            )
            found += [errors.invalid(path, label, m) for m in names.validate_qualified_name(str(label or ""))]
    found += _stop_after(spec)
    found += _failback(at(spec, "failover", "cluster", "failback"), "spec.failover.cluster.failback")
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


STOP_AFTER_SECONDS_MIN = 30
"""Agents are heard every ten seconds: one that is slow for a moment must not stop anything."""


def _stop_after(spec: Mapping[str, Any]) -> list[FieldError]:
    """What must never run twice leaves directly, for whatever reason it leaves."""
    path, found = "spec.failover", list[FieldError]()
    seconds = at(spec, "failover", "cluster", "stopAfterSeconds")
    if not isinstance(seconds, int):
        return found
    if seconds < STOP_AFTER_SECONDS_MIN:
        message = f"must be greater than or equal to {STOP_AFTER_SECONDS_MIN}"
        found.append(errors.invalid(f"{path}.cluster.stopAfterSeconds", seconds, message))
    if spec.get("preserveResourcesOnDeletion"):
        message = "must not be true when stopAfterSeconds is set: the copy that is left would run on beside its replacement"
        found.append(errors.invalid("spec.preserveResourcesOnDeletion", True, message))
    for part in ("cluster", "application"):
        rule = at(spec, "failover", part)
        if isinstance(rule, Mapping) and rule.get("purgeMode") != "Directly":
            message = "must be Directly when stopAfterSeconds is set: otherwise two copies run for a while"
            found.append(errors.invalid(f"{path}.{part}.purgeMode", rule.get("purgeMode"), message))
    return found


def _failback(failback: Any, path: str) -> list[FieldError]:
    """A time of at least 0 s, and at least one at a time: to have nothing return, say Keep."""
    if not isinstance(failback, Mapping):
        return []
    bounds = (("stabilizationSeconds", 0), ("maxConcurrent", 1))
    return [
        errors.invalid(f"{path}.{field}", value, f"must be greater than or equal to {least}")
        for field, least in bounds
        if isinstance(value := failback.get(field), int) and value < least
    ]


def _suspension(suspension: Any, path: str) -> list[FieldError]:
    if at(suspension, "dispatching") and at(suspension, "dispatchingOnClusters"):
        message = "suspension dispatching cannot co-exist with dispatchingOnClusters.clusterNames"
        return [errors.invalid(path, suspension, message)]
    return []


# --- bindings and clusters -----------------------------------------------------------------------------------


def _binding(new: Object, old: Object | None) -> list[FieldError]:
    found = _suspension(at(new, "spec", "suspension"), "spec.suspension")
    dependencies = at(new, "metadata", "annotations", _DEPENDENCIES)
    if dependencies is not None:
        try:
            orjson.loads(str(dependencies))
        except orjson.JSONDecodeError:
            found.append(
                errors.invalid(f"metadata.annotations[{_DEPENDENCIES}]", dependencies, "must be JSON")
            )
    components = maps(at(new, "spec", "components"))
    seen: set[Any] = set()
    for n, component in enumerate(components):
        path, name = f"spec.components[{n}].name", component.get("name")
        if not name and len(components) > 1:
            found.append(errors.required(path, "several components are told apart by their names"))
        elif name in seen:
            found.append(errors.duplicate(path, name))
        seen.add(name)
    return found


def _work(new: Object, old: Object | None) -> list[FieldError]:
    return [
        errors.required(f"spec.workload.manifests[{n}].metadata.name")
        for n, manifest in enumerate(maps(at(new, "spec", "workload", "manifests")))
        if not at(manifest, "metadata", "name")
    ]


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
    return found + _models(maps(spec.get("resourceModels"))) + exits.problems(new)


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
        if effect not in EFFECTS:
            found.append(errors.unsupported(f"{path}.effect", effect, EFFECTS))
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


# --- kinds around them ---------------------------------------------------------------------------------------


def _cluster_taint_policy(new: Object, old: Object | None) -> list[FieldError]:
    """NoExecute is a policy's to say, as it is a user's: no flag has to allow it first."""
    found = validate_affinity(at(new, "spec", "targetClusters"), "spec.targetClusters")
    for field in ("addOnConditions", "removeOnConditions"):
        for n, match in enumerate(maps(at(new, "spec", field))):
            if match.get("operator") not in ("In", "NotIn"):
                path = f"spec.{field}[{n}].operator"
                found.append(errors.unsupported(path, match.get("operator"), ("In", "NotIn")))
    return found + _taints(maps(at(new, "spec", "taints")))


def _warn_of_taint_policy(new: Object, old: Object | None) -> tuple[str, ...]:
    """What such a policy asks for and will never get."""
    found = []
    for n, taint in enumerate(maps(at(new, "spec", "taints"))):
        if taint.get("effect") == "NoSchedule" and taint.get("key") in names.TAINTS_OF_HEALTH:
            told = "follows from the clusters' condition Ready alone: the policy neither adds nor removes it"
            found.append(f"spec.taints[{n}]: {taint['key']}:NoSchedule {told}")
    for field in ("addOnConditions", "removeOnConditions"):
        for n, match in enumerate(maps(at(new, "spec", field))):
            values = match.get("statusValues")
            odd = [v for v in values if v not in _STATUSES] if isinstance(values, list) else []
            if odd:
                path = f"spec.{field}[{n}].statusValues"
                found.append(f"{path}: {', '.join(map(str, odd))}: conditions are True, False or Unknown")
    return tuple(found)


def _resource_registry(new: Object, old: Object | None) -> list[FieldError]:
    found = validate_affinity(at(new, "spec", "targetCluster"), "spec.targetCluster")
    addresses = at(new, "spec", "backendStore", "openSearch", "addresses")
    for n, address in enumerate(addresses if isinstance(addresses, list) else ()):
        if _scheme(str(address)) not in ("http", "https") or url_with_host(str(address)) is None:
            path = f"spec.backendStore.openSearch.addresses[{n}]"
            found.append(errors.invalid(path, address, "must be a URL with http or https and a host"))
    return found


VALIDATIONS: Mapping[str, Callable[[Object, Object | None], list[FieldError]]] = {
    "Cluster": _cluster,
    "PropagationPolicy": _propagation_policy(names.POLICY_ID),
    "ClusterPropagationPolicy": _propagation_policy(names.CLUSTER_POLICY_ID),
    "OverridePolicy": validate_override_policy,
    "ClusterOverridePolicy": validate_override_policy,
    "ResourceBinding": _binding,
    "ClusterResourceBinding": _binding,
    "Work": _work,
    "FederatedHPA": validate_federated_autoscaler,
    "CronFederatedHPA": validate_cron_autoscaler,
    "MultiClusterIngress": validate_ingress,
    "MultiClusterService": validate_multi_cluster_service,
    "FederatedResourceQuota": validate_federated_quota,
    "ClusterTaintPolicy": _cluster_taint_policy,
    "ResourceRegistry": _resource_registry,
    "ResourceInterpreterWebhookConfiguration": validate_interpreter_webhooks,
}


def _warn_of_policy(new: Object, old: Object | None) -> tuple[str, ...]:
    """Names that Karmada had once, and copies that fail over and are there twice."""
    found = []
    for part in ("application", "cluster"):
        mode = at(new, "spec", "failover", part, "purgeMode")
        if isinstance(mode, str) and mode in FORMER_PURGE_MODES:
            told = f"is called {FORMER_PURGE_MODES[mode]} now, and stored so"
            found.append(f"spec.failover.{part}.purgeMode: {mode} {told}")
    if at(new, "spec", "failover") and at(new, "spec", "preserveResourcesOnDeletion"):
        told = "a copy that fails over is left where it was, and runs on beside its replacement"
        found.append(f"spec.preserveResourcesOnDeletion: {told}")
    return tuple(found)


def _push_cluster(new: Object, old: Object | None) -> tuple[str, ...]:
    if at(new, "spec", "syncMode") != "Push" or (old is not None and at(old, "spec", "syncMode") == "Push"):
        return ()
    name = at(new, "metadata", "name")
    return (
        f"spec.syncMode: Push: the hub never reaches into a cluster, its agent dials the hub; `towline join {name}` prints what installs it",
    )


WARNINGS: Mapping[str, Callable[[Object, Object | None], tuple[str, ...]]] = {
    "Cluster": _push_cluster,
    "PropagationPolicy": _warn_of_policy,
    "ClusterPropagationPolicy": _warn_of_policy,
    "OverridePolicy": warn_of_variables,
    "ClusterOverridePolicy": warn_of_variables,
    "ClusterTaintPolicy": _warn_of_taint_policy,
}
"""What is accepted and yet worth a word."""
