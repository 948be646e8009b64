"""v1 Pod."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towline.kube.cells import at, conditions, maps
from towline.kube.interpreter.operations import Items, Operations, Replicas, reported, with_spec
from towline.kube.interpreter.requirements import requirements_of
from towline.kube.objects import Object

_PHASES = ("Failed", "Pending", "Running", "Succeeded")
_GIVEN = ("nodeName", "serviceAccountName", "volumes")


def _replicas(obj: Object) -> Replicas:
    return 1, requirements_of(obj.get("spec"))


def _healthy(obj: Object) -> bool:
    phase = at(obj, "status", "phase")
    ready = conditions(obj).get("Ready", {}).get("status") == "True"
    return phase == "Succeeded" or (phase == "Running" and ready)


def _aggregate(template: Object, items: Items) -> Object:
    """The worst phase (a member that has not reported is Pending), and all containers."""
    statuses = [status for _, status in reported(items)]
    phases = {str(status.get("phase") or "Pending") for status in statuses}
    if len(statuses) < len(items) or not items:
        phases.add("Pending")
    merged = {**(template.get("status") or {})}
    merged["phase"] = next((phase for phase in _PHASES if phase in phases), "Pending")
    for field in ("initContainerStatuses", "containerStatuses"):
        merged[field] = [_container(c) for status in statuses for c in maps(status.get(field))]
    return {k: v for k, v in merged.items() if v}


def _container(status: Mapping[str, Any]) -> Object:
    """Ready and state; the other fields are there because a Pod's schema requires them."""
    kept = {"name": "", "image": "", "imageID": "", "restartCount": 0, "ready": False}
    kept |= {field: status[field] for field in ("name", "ready", "state") if field in status}
    return kept


def _retain(desired: Object, observed: Object) -> Object:
    """What a member's scheduler and admission put in."""
    given = {field: at(observed, "spec", field) for field in _GIVEN if at(observed, "spec", field)}
    for field in ("containers", "initContainers"):
        mounts = {c.get("name"): c.get("volumeMounts") for c in maps(at(observed, "spec", field))}
        if containers := maps(at(desired, "spec", field)):
            given[field] = [
                {**c, "volumeMounts": mounts[c.get("name")]} if mounts.get(c.get("name")) else c
                for c in containers
            ]
    return with_spec(desired, **given) if given else desired


OPERATIONS = Operations(replicas=_replicas, healthy=_healthy, aggregate=_aggregate, retain=_retain)
