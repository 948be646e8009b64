"""Grades of nodes, `spec.resourceModels` of a Cluster: by how much a node has left, so that a few counts stand for
thousands of nodes (Karmada 1.1). Half-open intervals that join; only their lower ends matter to the arithmetic."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from towline.kube import amounts
from towline.kube.cells import at, maps
from towline.kube.objects import Object


class Grade(NamedTuple):
    """`least`: what a node of this grade has at least left of each resource, in base units (`kube.amounts`)."""

    grade: int
    least: Mapping[str, int]


def grades_of(cluster: Object) -> tuple[Grade, ...]:
    """The Cluster's grades, lowest first."""
    return _read(orjson.dumps(at(cluster, "spec", "resourceModels")))


@lru_cache(maxsize=256)
def _read(models: bytes) -> tuple[Grade, ...]:
    """Most clusters of a fleet are graded alike, and each reports all the time."""
    return tuple(
        Grade(_number(model.get("grade")), amounts.needed(_lower_ends(model)))
        for model in maps(orjson.loads(models))
    )


class Scale:
    """Grades prepared for asking again and again."""

    def __init__(self, grades: tuple[Grade, ...]) -> None:
        self.grades = grades
        names = grades[0].least if grades else ()
        self._columns = [(name, [grade.least.get(name, 0) for grade in grades]) for name in names]

    def place(self, left: Callable[[str], int]) -> int:
        """The index of the highest grade whose least amounts are all left; `left(resource)` may be below 0, which
        is the lowest grade as 0 is."""
        places = (bisect_right(least, left(name)) - 1 for name, least in self._columns)
        return max(0, min(places, default=0))


def _lower_ends(model: Mapping[str, Any]) -> dict[str, Any]:
    return {str(bounds.get("name")): bounds.get("min") for bounds in maps(model.get("ranges"))}


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
