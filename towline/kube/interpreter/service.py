"""v1 Service."""

from __future__ import annotations

from towline.kube.cells import at
from towline.kube.interpreter import balancers
from towline.kube.interpreter.operations import Items, Operations, with_spec
from towline.kube.objects import Object

_GIVEN = ("clusterIP", "healthCheckNodePort")


def _balanced(obj: Object) -> bool:
    return bool(at(obj, "spec", "type") == "LoadBalancer")


def _reflect_status(obj: Object) -> Object | None:
    return balancers.reflect(obj) if _balanced(obj) else None


def _healthy(obj: Object) -> bool:
    return not _balanced(obj) or balancers.has_address(obj)


def _aggregate(template: Object, items: Items) -> Object:
    return balancers.aggregate(template, items) if _balanced(template) else template.get("status") or {}


def _retain(desired: Object, observed: Object) -> Object:
    """Addresses and ports that a member gave out, where the template does not ask for others."""
    kept = {
        field: at(observed, "spec", field)
        for field in _GIVEN
        if at(observed, "spec", field) and not at(desired, "spec", field)
    }
    return with_spec(desired, **kept) if kept else desired


def _prune(manifest: Object) -> Object:
    """The hub's addresses mean nothing in a member; `None` makes a Service headless and stays."""
    if at(manifest, "spec", "clusterIP") == "None" or not at(manifest, "spec"):
        return manifest
    return with_spec(manifest, clusterIP=None, clusterIPs=None)


OPERATIONS = Operations(
    reflect_status=_reflect_status, healthy=_healthy, aggregate=_aggregate, retain=_retain, prune=_prune
)
