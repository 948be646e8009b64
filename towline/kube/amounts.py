"""Amounts of resources as whole numbers, for arithmetic over nodes and pods.

The base unit of cpu is a thousandth of a core, that of every other resource is one: bytes, pieces. What is needed is
rounded up and what is offered rounded down, so that nothing is ever promised more than there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from towline.kube import quantities

Amounts = dict[str, int]

PODS = "pods"
"""The slots for pods of a node, among its resources."""

_BINARY = ("memory", "ephemeral-storage", "storage", "requests.storage")
_MILLI = 1000


def needed(requests: Mapping[str, Any]) -> Amounts:
    """A ResourceList of requests, rounded up. What is no quantity counts as nothing."""
    return _amounts(requests, up=True)


def offered(allocatable: Mapping[str, Any]) -> Amounts:
    """A ResourceList of what there is, rounded down. What is no quantity counts as nothing."""
    return _amounts(allocatable, up=False)


def quantity(name: str, amount: int) -> str:
    """`amount` base units of the resource as Kubernetes writes them: `3500m` of cpu, `16393244Ki` of memory."""
    if name == "cpu":
        return f"{amount}m" if amount % _MILLI else quantities.format_quantity(amount // _MILLI)
    binary = name in _BINARY or name.startswith("hugepages-")
    return quantities.format_quantity(amount, "binary" if binary else "decimal")


def _amounts(resources: Mapping[str, Any], *, up: bool) -> Amounts:
    found: Amounts = {}
    for name, text in resources.items():
        try:
            found[name] = _amount(name, text, up)
        except (quantities.QuantityError, TypeError):
            continue
    return found


@lru_cache(maxsize=4096, typed=True)
def _amount(name: str, text: str | int | float, up: bool) -> int:
    value = quantities.parse(text) * (_MILLI if name == "cpu" else 1)
    return -(-value // 1) if up else value // 1
