"""What pods, and templates of pods, must satisfy beyond their schemas: the rules that users meet.

Every function answers errors with field paths, and stands parts of any shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from towline.kube import errors, names
from towline.kube.cells import at, maps, table
from towline.kube.field_rules import PROTOCOLS, amount, one_of, port, port_name
from towline.kube.objects import Object
from towline.kube.schemas import FieldError

_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_CONTAINERS = ("initContainers", "containers")
_CHANGEABLE = ("activeDeadlineSeconds", "tolerations", "schedulingGates")
_OVERCOMMITTED = ("cpu", "memory", "ephemeral-storage")
"""Resources of which a request may be below the limit."""


def validate_pod(new: Object, old: Object | None) -> list[FieldError]:
    """The hook of Pod."""
    found = validate_pod_spec(new.get("spec"), "spec")
    if old is not None:
        before, after = _settled(old.get("spec")), _settled(new.get("spec"))
        if len(maps(before.get("containers"))) != len(maps(after.get("containers"))):
            found.append(errors.forbidden("spec.containers", "pod updates may not add or remove containers"))
        elif before != after:
            allowed = ", ".join(f"`spec.{field}`" for field in ("containers[*].image", *_CHANGEABLE))
            found.append(errors.forbidden("spec", f"pod updates may not change fields other than {allowed}"))
    return found


def _settled(spec: Any) -> dict[str, Any]:
    """What of a running pod's spec never changes. Where it runs is filled in once."""
    kept = {k: v for k, v in table(spec).items() if k not in (*_CHANGEABLE, "nodeName")}
    for field in _CONTAINERS:
        if field in kept:
            kept[field] = [{k: v for k, v in c.items() if k != "image"} for c in maps(kept[field])]
    return kept


def validate_pod_spec(spec: Any, path: str, claims: Set[Any] = frozenset()) -> list[FieldError]:
    """`claims` are volumes that come from outside the pod's spec (a StatefulSet's claim templates)."""
    found: list[FieldError] = []
    if not at(spec, "containers"):
        found.append(errors.required(f"{path}.containers"))
    found += one_of(at(spec, "restartPolicy"), f"{path}.restartPolicy", _RESTART_POLICIES)
    found += one_of(at(spec, "dnsPolicy"), f"{path}.dnsPolicy", _DNS_POLICIES)
    volumes = claims | {volume.get("name") for volume in maps(at(spec, "volumes"))}
    found += _unique_names(maps(at(spec, "volumes")), f"{path}.volumes", set())
    seen: set[Any] = set()
    for field in _CONTAINERS:
        containers = maps(at(spec, field))
        found += _unique_names(containers, f"{path}.{field}", seen)
        for index, container in enumerate(containers):
            found += _container(container, f"{path}.{field}[{index}]", volumes)
    return found


def _unique_names(items: list[Mapping[str, Any]], path: str, seen: set[Any]) -> list[FieldError]:
    """Each has a name, a label that none before it has."""
    found: list[FieldError] = []
    for index, item in enumerate(items):
        where, name = f"{path}[{index}].name", item.get("name")
        if not name:
            found.append(errors.required(where))
            continue
        found += [errors.invalid(where, name, message) for message in names.validate_label(str(name))]
        if name in seen:
            found.append(errors.duplicate(where, name))
        seen.add(name)
    return found


def _container(container: Mapping[str, Any], path: str, volumes: Set[Any]) -> list[FieldError]:
    found: list[FieldError] = []
    if not container.get("image"):
        found.append(errors.required(f"{path}.image"))
    found += one_of(container.get("imagePullPolicy"), f"{path}.imagePullPolicy", _PULL_POLICIES)
    for index, given in enumerate(maps(container.get("ports"))):
        where = f"{path}.ports[{index}]"
        if given.get("containerPort") == 0:
            found.append(errors.required(f"{where}.containerPort"))
        else:
            found += port(given.get("containerPort"), f"{where}.containerPort")
        found += one_of(given.get("protocol"), f"{where}.protocol", PROTOCOLS)
        found += port_name(str(given["name"]), f"{where}.name") if given.get("name") else []
    for index, variable in enumerate(maps(container.get("env"))):
        if not variable.get("name"):
            found.append(errors.required(f"{path}.env[{index}].name"))
        if variable.get("value") and variable.get("valueFrom"):
            message = "may not be specified when `value` is not empty"
            found.append(errors.invalid(f"{path}.env[{index}].valueFrom", "", message))
    for index, mount in enumerate(maps(container.get("volumeMounts"))):
        if mount.get("name") not in volumes:
            where = f"{path}.volumeMounts[{index}].name"
            found.append(errors.not_found(where, mount.get("name")))
        if not mount.get("mountPath"):
            found.append(errors.required(f"{path}.volumeMounts[{index}].mountPath"))
    return found + _resources(table(container.get("resources")), f"{path}.resources")


def _resources(resources: Mapping[str, Any], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    limits = table(resources.get("limits"))
    for part in ("limits", "requests"):
        for name, given in table(resources.get(part)).items():
            value = amount(given)
            if value is not None and value < 0:
                message = "must be greater than or equal to 0"
                found.append(errors.invalid(f"{path}.{part}[{name}]", given, message))
    for name, given in table(resources.get("requests")).items():
        request, limit = amount(given), amount(limits.get(name))
        if request is None or limit is None:
            continue
        if request > limit:
            message = f"must be less than or equal to {name} limit of {limits[name]}"
            found.append(errors.invalid(f"{path}.requests", given, message))
        elif request != limit and name not in _OVERCOMMITTED:
            message = f"must be equal to {name} limit of {limits[name]}"
            found.append(errors.invalid(f"{path}.requests", given, message))
    return found
