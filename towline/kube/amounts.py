"""Amounts of resources as whole numbers, for arithmetic over nodes and pods.

The base unit of cpu is a thousandth of a core, that of every other resource is one: bytes, pieces. What is needed is
rounded up and what is offered rounded down, so that nothing is ever promised more than there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

from towline.kube import quantities

Amounts = dict[str, int]

_BINARY = ("memory", "ephemeral-storage", "storage", "requests.storage")
_MILLI = 1000


def needed(requests: Mapping[str, Any]) -> Amounts:
    """A ResourceList of requests, rounded up. What is no quantity counts as nothing."""
    return {
        name: amount for name, text in requests.items() if (amount := _read(name, text, up=True)) is not None
    }


def offered(allocatable: Mapping[str, Any]) -> Amounts:
    """A ResourceList of what there is, rounded down. What is no quantity counts as nothing."""
    return {
        name: amount
        for name, text in allocatable.items()
        if (amount := _read(name, text, up=False)) is not None
    }


def quantity(name: str, amount: int) -> str:
    """`amount` base units of the resource as Kubernetes writes them: `3500m` of cpu, `16393244Ki` of memory."""
    if name == "cpu":
        return quantities.format_quantity(Fraction(amount, _MILLI))
    binary = name in _BINARY or name.startswith("hugepages-")
    return quantities.format_quantity(amount, "binary" if binary else "decimal")


@lru_cache(maxsize=4096)
def _read(name: str, text: str | int | float, *, up: bool) -> int | None:
    try:
        value = quantities.parse(text)
    except (quantities.QuantityError, TypeError):
        return None
    value = value * _MILLI if name == "cpu" else value
    return -(-value // 1) if up else value // 1
