"""What workloads must satisfy beyond their schemas, with Kubernetes' paths and texts: the rules that users meet.

Hooks are `(new, old) -> errors`, and stand objects of any shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towline.kube import errors
from towline.kube.cells import at, maps, table
from towline.kube.field_rules import int_or_percent, not_negative, one_of, unchanged
from towline.kube.objects import Object
from towline.kube.pod_validation import validate_pod_spec
from towline.kube.schedules import schedule_error, time_zone_error
from towline.kube.schemas import FieldError
from towline.kube.selector_validation import validate_label_selector

_STATEFUL_SET_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
_DEPLOYMENT_STRATEGIES = ("Recreate", "RollingUpdate")
_DAEMON_STRATEGIES = ("RollingUpdate", "OnDelete")
_CONCURRENCY_POLICIES = ("Allow", "Forbid", "Replace")
_COMPLETION_MODES = ("NonIndexed", "Indexed")


def validate_deployment(new: Object, old: Object | None) -> list[FieldError]:
    found = _selecting(new, old, "deployment")
    strategy = at(new, "spec", "strategy")
    if strategy and at(strategy, "type") not in _DEPLOYMENT_STRATEGIES:
        found.append(errors.unsupported("spec.strategy", strategy, _DEPLOYMENT_STRATEGIES))
    elif at(strategy, "type") == "Recreate" and at(strategy, "rollingUpdate") is not None:
        message = "may not be specified when strategy `type` is 'Recreate'"
        found.append(errors.forbidden("spec.strategy.rollingUpdate", message))
    else:
        found += _rolling(at(strategy, "rollingUpdate"), "spec.strategy.rollingUpdate")
    ready, deadline = at(new, "spec", "minReadySeconds") or 0, at(new, "spec", "progressDeadlineSeconds")
    if isinstance(ready, int) and isinstance(deadline, int) and deadline <= ready:
        message = "must be greater than minReadySeconds"
        found.append(errors.invalid("spec.progressDeadlineSeconds", deadline, message))
    return found


def validate_replica_set(new: Object, old: Object | None) -> list[FieldError]:
    return _selecting(new, old, "replicaset")


def validate_daemon_set(new: Object, old: Object | None) -> list[FieldError]:
    found = _selecting(new, old, "daemonset")
    strategy = at(new, "spec", "updateStrategy")
    if strategy and at(strategy, "type") not in _DAEMON_STRATEGIES:
        found.append(errors.unsupported("spec.updateStrategy", strategy, _DAEMON_STRATEGIES))
    elif at(strategy, "type") == "RollingUpdate":
        found += _rolling(at(strategy, "rollingUpdate"), "spec.updateStrategy.rollingUpdate")
    return found


def validate_stateful_set(new: Object, old: Object | None) -> list[FieldError]:
    found = _selecting(new, None, "statefulset")
    policy, strategy = at(new, "spec", "podManagementPolicy"), at(new, "spec", "updateStrategy")
    if policy not in (None, "OrderedReady", "Parallel"):
        message = "must be 'OrderedReady' or 'Parallel'"
        found.append(errors.invalid("spec.podManagementPolicy", policy, message))
    if strategy and at(strategy, "type") not in ("RollingUpdate", "OnDelete"):
        message = "must be 'RollingUpdate' or 'OnDelete'"
        found.append(errors.invalid("spec.updateStrategy", strategy, message))
    if old is not None and _fixed_part(old) != _fixed_part(new):
        allowed = ", ".join(f"'{field}'" for field in _STATEFUL_SET_MUTABLE)
        message = f"updates to statefulset spec for fields other than {allowed} are forbidden"
        found.append(errors.forbidden("spec", message))
    return found


def _fixed_part(obj: Object) -> dict[str, Any]:
    return {k: v for k, v in table(at(obj, "spec")).items() if k not in _STATEFUL_SET_MUTABLE}


def validate_replication_controller(new: Object, old: Object | None) -> list[FieldError]:
    found = not_negative(at(new, "spec", "replicas"), "spec.replicas")
    if at(new, "spec", "template") is None:
        return [*found, errors.required("spec.template")]
    selector, labels = at(new, "spec", "selector"), at(new, "spec", "template", "metadata", "labels") or {}
    if not selector:
        found.append(errors.required("spec.selector"))
    elif any(table(labels).get(key) != value for key, value in table(selector).items()):
        found.append(_unselected(labels))
    return found + validate_pod_spec(at(new, "spec", "template", "spec"), "spec.template.spec")


def validate_revision(new: Object, old: Object | None) -> list[FieldError]:
    """ControllerRevision."""
    return unchanged(new, old, "data")


# --- jobs ----------------------------------------------------------------------------------------------------------


def validate_job(new: Object, old: Object | None) -> list[FieldError]:
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
    found = validate_pod_spec(at(spec, "template", "spec"), f"{path}.template.spec")
    policy = at(spec, "template", "spec", "restartPolicy")
    if policy not in ("OnFailure", "Never"):
        where = f"{path}.template.spec.restartPolicy"
        if policy in (None, "Always"):
            found.append(errors.required(where, 'valid values: "OnFailure", "Never"'))
        else:
            found.append(errors.unsupported(where, policy, ("OnFailure", "Never")))
    for field in (
        "parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished",
        "backoffLimitPerIndex", "maxFailedIndexes",
    ):  # fmt: skip
        found += not_negative(at(spec, field), f"{path}.{field}")
    mode = at(spec, "completionMode")
    found += one_of(mode, f"{path}.completionMode", _COMPLETION_MODES)
    if mode == "Indexed" and at(spec, "completions") is None:
        found.append(errors.required(f"{path}.completions", "when completion mode is Indexed"))
    if mode != "Indexed":
        for field in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if at(spec, field) is not None:
                message = "requires indexed completion mode"
                found.append(errors.invalid(f"{path}.{field}", at(spec, field), message))
    return found


def validate_cron_job(new: Object, old: Object | None) -> list[FieldError]:
    found = _job_spec(at(new, "spec", "jobTemplate", "spec"), "spec.jobTemplate.spec")
    schedule, zone = at(new, "spec", "schedule"), at(new, "spec", "timeZone")
    if not schedule:
        found.append(errors.required("spec.schedule"))
    elif why := schedule_error(str(schedule)):
        found.append(errors.invalid("spec.schedule", schedule, why))
    if zone is not None and (why := time_zone_error(str(zone))):
        found.append(errors.invalid("spec.timeZone", zone, why))
    found += one_of(at(new, "spec", "concurrencyPolicy"), "spec.concurrencyPolicy", _CONCURRENCY_POLICIES)
    for field in ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        found += not_negative(at(new, "spec", field), f"spec.{field}")
    name = str(at(new, "metadata", "name") or "")
    if len(name) > 52:
        found.append(errors.invalid("metadata.name", name, "must be no more than 52 characters"))
    return found


# --- selectors and templates ---------------------------------------------------------------------------------------


def _selecting(new: Object, old: Object | None, word: str) -> list[FieldError]:
    """The selector selects something and never changes, the template's pods are among it, and they run for ever."""
    selector, template = at(new, "spec", "selector"), at(new, "spec", "template")
    labels = table(at(template, "metadata", "labels"))
    found: list[FieldError] = []
    for field in ("replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
        found += not_negative(at(new, "spec", field), f"spec.{field}")
    if selector is None:
        found.append(errors.required("spec.selector"))
    elif not at(selector, "matchLabels") and not at(selector, "matchExpressions"):
        found.append(errors.invalid("spec.selector", selector, f"empty selector is invalid for {word}"))
    found += validate_label_selector(selector, "spec.selector")
    if selector is None or not _selects(selector, labels):
        found.append(_unselected(labels))
    claims = {at(claim, "metadata", "name") for claim in maps(at(new, "spec", "volumeClaimTemplates"))}
    found += validate_pod_spec(at(template, "spec"), "spec.template.spec", claims)
    found += unchanged(new, old, "spec", "selector")
    policy = at(template, "spec", "restartPolicy")
    if policy not in (None, "Always"):
        found.append(errors.unsupported("spec.template.spec.restartPolicy", policy, ("Always",)))
    return found


def _unselected(labels: Any) -> FieldError:
    message = "`selector` does not match template `labels`"
    return errors.invalid("spec.template.metadata.labels", labels, message)


def _selects(selector: Any, labels: Mapping[str, Any]) -> bool:
    if any(labels.get(key) != value for key, value in table(at(selector, "matchLabels")).items()):
        return False
    for term in maps(at(selector, "matchExpressions")):
        key, values, operator = term.get("key"), term.get("values") or [], term.get("operator")
        present = key in labels
        met = {
            "In": present and labels.get(str(key)) in values,
            "NotIn": not present or labels.get(str(key)) not in values,
            "Exists": present,
            "DoesNotExist": not present,
        }
        if not met.get(str(operator), True):
            return False
    return True


def _rolling(update: Any, path: str) -> list[FieldError]:
    if not isinstance(update, Mapping):
        return []
    unavailable, surge = update.get("maxUnavailable"), update.get("maxSurge")
    found = int_or_percent(unavailable, f"{path}.maxUnavailable", bounded=True)
    found += int_or_percent(surge, f"{path}.maxSurge")
    if unavailable in (0, "0%") and surge in (0, "0%", None):
        message = "may not be 0 when `maxSurge` is 0"
        found.append(errors.invalid(f"{path}.maxUnavailable", unavailable, message))
    return found
