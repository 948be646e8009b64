"""What quotas must satisfy beyond their schemas: ResourceQuota and FederatedResourceQuota.

Every function answers errors with field paths, and stands parts of any shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from towline.kube import errors, names
from towline.kube.cells import at, maps, table
from towline.kube.field_rules import amount
from towline.kube.objects import Object
from towline.kube.schemas import FieldError

_COUNTED = frozenset(
    {
        "pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "persistentvolumeclaims",
        "configmaps", "services.nodeports", "services.loadbalancers",
    }
)  # fmt: skip
"""Whole numbers of objects."""

_MEASURED = frozenset(
    {
        "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.storage",
        "requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage",
    }
)  # fmt: skip
_HUGE_PAGES = ("hugepages-", "requests.hugepages-")


def validate_quota(new: Object, old: Object | None) -> list[FieldError]:
    """The hook of ResourceQuota."""
    found = _resources(at(new, "spec", "hard"), "spec.hard")
    found += _resources(at(new, "status", "hard"), "status.hard")
    found += _resources(at(new, "status", "used"), "status.used")
    if old is not None and _set(at(old, "spec", "scopes")) != _set(at(new, "spec", "scopes")):
        found.append(errors.invalid("spec.scopes", at(new, "spec", "scopes"), errors.IMMUTABLE))
    return found


def validate_federated_quota(new: Object, old: Object | None) -> list[FieldError]:
    """The hook of FederatedResourceQuota. Its name becomes a label's value in the members."""
    name = str(at(new, "metadata", "name") or "")
    found: list[FieldError] = []
    if len(name) > names.LABEL_LENGTH_MAX:
        message = f"must be no more than {names.LABEL_LENGTH_MAX} characters"
        found.append(errors.invalid("metadata.name", name, message))
    overall = table(at(new, "spec", "overall"))
    found += _resources(overall, "spec.overall")
    sums: dict[str, Fraction] = {}
    for n, assignment in enumerate(maps(at(new, "spec", "staticAssignments"))):
        path, cluster = f"spec.staticAssignments[{n}]", str(assignment.get("clusterName") or "")
        wrong = names.validate_cluster_name(cluster)
        found += [errors.invalid(f"{path}.clusterName", cluster, message) for message in wrong]
        hard = table(assignment.get("hard"))
        found += _resources(hard, f"{path}.hard")
        for resource, given in hard.items():
            if resource not in overall:
                message = "must be one of the resources in spec.overall"
                found.append(errors.invalid(f"{path}.hard[{resource}]", resource, message))
            sums[resource] = sums.get(resource, Fraction()) + (amount(given) or 0)
    for resource, total in sums.items():
        bound = amount(overall.get(resource))
        if bound is not None and bound < total:
            message = "must be greater than or equal to the sum of the static assignments"
            found.append(errors.invalid(f"spec.overall[{resource}]", overall[resource], message))
    return found


def _resources(resources: Any, path: str) -> list[FieldError]:
    """Names that a quota may bound, and amounts that it can have."""
    found: list[FieldError] = []
    for name, given in table(resources).items():
        where = f"{path}[{name}]"
        if "/" in name or not (name in _COUNTED or name in _MEASURED or name.startswith(_HUGE_PAGES)):
            wrong = names.validate_qualified_name(name)
            found += [errors.invalid(where, name, message) for message in wrong]
            if "/" not in name and not wrong:
                found.append(errors.invalid(where, name, "must be a standard resource for quota"))
        value = amount(given)
        if value is not None and value < 0:
            found.append(errors.invalid(where, given, "must be greater than or equal to 0"))
        elif value is not None and name in _COUNTED and value.denominator != 1:
            found.append(errors.invalid(where, given, "must be an integer"))
    return found


def _set(scopes: Any) -> Mapping[str, None]:
    return dict.fromkeys(map(str, scopes)) if isinstance(scopes, list) else {}
