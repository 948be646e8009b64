"""batch/v1 Job. Its parallelism is what is divided; dividing completions is scheduling's business."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towline.kube.cells import at, conditions, maps
from towline.kube.interpreter.operations import (
    Items,
    Operations,
    Replicas,
    number,
    reported,
    suspended,
    with_spec,
    without_zeros,
)
from towline.kube.interpreter.pruning import without_keys
from towline.kube.interpreter.requirements import requirements_of
from towline.kube.objects import Object

_REFLECTED = ("active", "succeeded", "failed", "conditions", "startTime", "completionTime")
_COUNTERS = ("active", "succeeded", "failed")
_GIVEN_LABELS = (
    "controller-uid",
    "job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
)
"""Labels that an API server makes from the Job's own uid: the member's differ from the hub's."""


def _replicas(obj: Object) -> Replicas:
    parallelism, completions = at(obj, "spec", "parallelism"), at(obj, "spec", "completions")
    count = parallelism if isinstance(parallelism, int) else 1
    if isinstance(completions, int):
        count = min(count, completions)
    return count, requirements_of(at(obj, "spec", "template", "spec"))


def _revise_replicas(obj: Object, count: int) -> Object:
    present = at(obj, "spec", "parallelism")
    return obj if present is None or present == count else with_spec(obj, parallelism=count)


def _reflect_status(obj: Object) -> Object | None:
    status = obj.get("status")
    return (
        without_zeros({name: status.get(name) for name in _REFLECTED}) if isinstance(status, dict) else None
    )


def _aggregate(template: Object, items: Items) -> Object:
    """Finished for good once it was finished; failed when it failed anywhere; complete when it is so everywhere."""
    before: Object = template.get("status") or {}
    if finished(template):
        return before
    statuses = reported(items)
    sums = {name: sum(number(status.get(name)) for _, status in statuses) for name in _COUNTERS}
    merged = {k: v for k, v in {**before, **sums}.items() if v or k not in _COUNTERS}
    if statuses and len(statuses) == len(items):
        starts = [status.get("startTime") for _, status in statuses]
        ends = [status.get("completionTime") for _, status in statuses]
        if all(starts):
            merged["startTime"] = min(str(start) for start in starts)
        if all(ends):
            merged["completionTime"] = max(str(end) for end in ends)
    found = _conditions(statuses, len(items))
    if found:
        types = {condition["type"] for condition in found}
        merged["conditions"] = [
            c for c in maps(before.get("conditions")) if c.get("type") not in types
        ] + found
    return merged


def _conditions(statuses: list[tuple[str, Mapping[str, Any]]], expected: int) -> list[Object]:
    def having(name: str) -> dict[str, Mapping[str, Any]]:
        met = {cluster: conditions({"status": status}).get(name, {}) for cluster, status in statuses}
        return {cluster: condition for cluster, condition in met.items() if condition.get("status") == "True"}

    failed, complete, satisfied = having("Failed"), having("Complete"), having("SuccessCriteriaMet")
    found: list[Object] = []
    if failed:
        message = f"Job executed failed in member clusters {','.join(sorted(failed))}"
        found.append(_condition("Failed", "JobFailed", message, failed))
    if expected and len(satisfied) == expected:
        found.append(_condition("SuccessCriteriaMet", "CompletionsReached", "Job completed", satisfied))
    if expected and len(complete) == expected:
        found.append(_condition("Complete", "Completed", "Job completed", complete))
    return found


def _condition(name: str, reason: str, message: str, sources: Mapping[str, Mapping[str, Any]]) -> Object:
    """Its time is the members' latest: a decision has no clock."""
    times = [str(c["lastTransitionTime"]) for c in sources.values() if c.get("lastTransitionTime")]
    condition = {"type": name, "status": "True", "reason": reason, "message": message}
    return (
        {**condition, "lastProbeTime": max(times), "lastTransitionTime": max(times)} if times else condition
    )


def finished(obj: Object) -> bool:
    """Whether a Job is complete, or failed for good."""
    found = conditions(obj)
    return any(found.get(name, {}).get("status") == "True" for name in ("Complete", "Failed"))


def _retain(desired: Object, observed: Object) -> Object:
    """The member made selector and labels from its own Job's uid."""
    if at(desired, "spec", "manualSelector") is True:
        return desired
    changes: Object = {}
    selected = at(observed, "spec", "selector", "matchLabels")
    if selected:
        changes["selector"] = {**(at(desired, "spec", "selector") or {}), "matchLabels": selected}
    labels, template = at(observed, "spec", "template", "metadata", "labels"), at(desired, "spec", "template")
    if labels and isinstance(template, dict):
        given = {key: labels[key] for key in _GIVEN_LABELS if key in labels}
        metadata = template.get("metadata") or {}
        kept = {**(metadata.get("labels") or {}), **given}
        changes["template"] = {**template, "metadata": {**metadata, "labels": kept}}
    return with_spec(desired, **changes) if changes else desired


def _prune(manifest: Object) -> Object:
    spec = manifest.get("spec")
    if not isinstance(spec, dict):
        return manifest
    # A Job that a member removes after it finished would be made again and run again.
    pruned = {k: v for k, v in spec.items() if k != "ttlSecondsAfterFinished"}
    if spec.get("manualSelector") is not True:
        selector = spec.get("selector")
        if isinstance(selector, dict):
            selector = {**selector, "matchLabels": without_keys(selector.get("matchLabels"), _GIVEN_LABELS)}
            pruned["selector"] = {k: v for k, v in selector.items() if v}
            if not pruned["selector"]:
                del pruned["selector"]
        template = spec.get("template")
        labels = at(template, "metadata", "labels")
        if isinstance(template, dict) and labels:
            metadata = {**template["metadata"], "labels": without_keys(labels, _GIVEN_LABELS)}
            pruned["template"] = {
                **template,
                "metadata": {k: v for k, v in metadata.items() if v is not None},
            }
    return {**manifest, "spec": pruned}


OPERATIONS = Operations(
    replicas=_replicas,
    revise_replicas=_revise_replicas,
    halted=suspended,
    reflect_status=_reflect_status,
    aggregate=_aggregate,
    retain=_retain,
    prune=_prune,
)
