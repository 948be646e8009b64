"""How many whole sets of pods fit on nodes.

Nodes that are equal are one row, and pods of one kind are placed all at once, so that the cost grows with the kinds of
nodes and pods and not with their numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

UNLIMITED = 2**31 - 1
"""More than anybody asks for."""

Vector = tuple[int, ...]
"""Amounts in columns that the caller chose."""


class Nodes(NamedTuple):
    """`number` nodes that are equal: what each has free; bit i of `allows`: pods of part i may run there."""

    number: int
    free: Vector
    allows: int = -1


class Part(NamedTuple):
    """Equal pods: how many of them belong to a set, and what each needs."""

    replicas: int
    needs: Vector


def sets_in(nodes: Sequence[Nodes], parts: Sequence[Part], at_most: int = UNLIMITED) -> int:
    """How many sets of `parts` can run on `nodes` at the same time, up to `at_most`.

    Exact for one part. For several it is what first-fit finds, part by part: never more than there is room for."""
    for index, part in enumerate(parts):
        if part.replicas:
            at_most = min(at_most, _room(nodes, index, part) // part.replicas)
    if len(parts) < 2:
        return at_most
    fits, unknown = 0, at_most
    while fits < unknown:
        middle = (fits + unknown + 1) // 2
        if _fit(nodes, parts, middle):
            fits = middle
        else:
            unknown = middle - 1
    return fits


def _room(nodes: Sequence[Nodes], index: int, part: Part) -> int:
    """How many pods of one part fit when it is alone."""
    return sum(each.number * _on(each.free, part.needs) for each in nodes if each.allows >> index & 1)


def _fit(nodes: Sequence[Nodes], parts: Sequence[Part], sets: int) -> bool:
    left = list(nodes)
    for index, part in enumerate(parts):
        placed = _place(left, index, part, sets * part.replicas)
        if placed is None:
            return False
        left = placed
    return True


def _place(nodes: Sequence[Nodes], index: int, part: Part, pods: int) -> list[Nodes] | None:
    """The nodes after `pods` pods of a part were put on the first that have room for them; None: some found none."""
    left: list[Nodes] = []
    for each in nodes:
        on_one = min(_on(each.free, part.needs), pods) if pods and each.allows >> index & 1 else 0
        if not on_one:
            left.append(each)
            continue
        full = min(each.number, pods // on_one)
        left.append(_less(each, full, part.needs, on_one))
        pods -= full * on_one
        rest = each.number - full
        if rest and pods and pods < on_one:
            left.append(_less(each, 1, part.needs, pods))
            pods, rest = 0, rest - 1
        if rest:
            left.append(each._replace(number=rest))
    return None if pods else left


def _on(free: Vector, needs: Vector) -> int:
    """How many pods fit on one node. Pods that need nothing at all are not asked about: every pod takes a slot."""
    return max(0, min(has // need for has, need in zip(free, needs, strict=True) if need))


def _less(nodes: Nodes, number: int, needs: Vector, pods: int) -> Nodes:
    free = tuple(has - pods * need for has, need in zip(nodes.free, needs, strict=True))
    return nodes._replace(number=number, free=free)
