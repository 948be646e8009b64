"""The operations that a kind may have. What is None has the generic answer (see the package)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from towline.kube.objects import Object

Health = Literal["Healthy", "Unhealthy", "Unknown"]
Replicas = tuple[int, Object | None]
Items = Sequence[Mapping[str, Any]]
"""A binding's aggregatedStatus."""


@dataclass(frozen=True, slots=True)
class Operations:
    replicas: Callable[[Object], Replicas] | None = None
    revise_replicas: Callable[[Object, int], Object] | None = None
    halted: Callable[[Object], Object] | None = None
    """So that nothing of it runs, without being deleted."""
    reflect_status: Callable[[Object], Any] | None = None
    healthy: Callable[[Object], bool] | None = None
    aggregate: Callable[[Object, Items], Object] | None = None
    """The template's new status."""
    retain: Callable[[Object, Object], Object] | None = None
    prune: Callable[[Object], Object] | None = None
    """After the metadata was pruned."""


def reported(items: Items) -> list[tuple[str, Mapping[str, Any]]]:
    """(cluster, status) of the items that have a status."""
    return [
        (str(item.get("clusterName") or ""), item["status"])
        for item in items
        if isinstance(item.get("status"), Mapping)
    ]


def foremost_phase(template: Object, items: Items, phases: tuple[str, ...]) -> Object:
    """The template's status with the phase that stands first in `phases` of those that members reported."""
    seen = {str(status.get("phase")) for _, status in reported(items)}
    before: Object = template.get("status") or {}
    found = next((phase for phase in phases if phase in seen), None)
    return {**before, "phase": found} if found else before


def number(value: Any) -> int:
    """`value` if it is a whole number, else 0: a member may report anything, and must not stop the others' sums."""
    return value if isinstance(value, int) else 0


def with_spec(obj: Object, **fields: Any) -> Object:
    """`obj` with fields of its spec replaced; one given as None is removed."""
    spec = {**(obj.get("spec") or {}), **fields}
    return {**obj, "spec": {k: v for k, v in spec.items() if v is not None or k not in fields}}


def without_replicas(obj: Object) -> Object:
    return with_spec(obj, replicas=0)


def suspended(obj: Object) -> Object:
    return with_spec(obj, suspend=True)


def without_zeros(fields: Mapping[str, Any]) -> Object:
    """Without what Kubernetes leaves out of JSON."""
    return {k: v for k, v in fields.items() if v not in (None, 0, "", [], {})}
