"""Kinds that get addresses from a load balancer."""

from __future__ import annotations

from typing import Any

import orjson

from towline.kube.cells import at, maps
from towline.kube.interpreter.operations import Items, reported
from towline.kube.objects import Object


def reflect(obj: Object) -> Object | None:
    """reflect_status: `{loadBalancer}` alone."""
    balancer = at(obj, "status", "loadBalancer")
    return None if not isinstance(obj.get("status"), dict) else {"loadBalancer": balancer or {}}


def has_address(obj: Object) -> bool:
    """healthy: somebody can reach it."""
    entries = maps(at(obj, "status", "loadBalancer", "ingress"))
    return any(entry.get("ip") or entry.get("hostname") for entry in entries)


def aggregate(template: Object, items: Items) -> Object:
    """All members' addresses, each once, in order."""
    found: dict[bytes, Any] = {}
    for _, status in reported(items):
        for entry in maps(at(status, "loadBalancer", "ingress")):
            found[orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)] = entry
    entries = sorted(found.values(), key=lambda e: (str(e.get("ip") or ""), str(e.get("hostname") or "")))
    return {**(template.get("status") or {}), "loadBalancer": {"ingress": entries} if entries else {}}
