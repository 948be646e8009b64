"""Candidates as selection works on them: with their groups, and compared by rank."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import NamedTuple

from towline.hub.decide.scheduling.request import Candidate
from towline.hub.decide.scheduling.selection.spread import Level


class Ranked(NamedTuple):
    """Compares by what comes first: overflow tier, the most points, the most room, name (Karmada 3.4)."""

    tier: int
    minus_score: int
    minus_room: int
    name: str
    groups: tuple[Sequence[str], ...]
    """Those that it is in, for each level."""
    candidate: Candidate


def ranked_of(
    candidates: Sequence[Candidate], levels: Sequence[Level], room: Callable[[Candidate], int]
) -> list[Ranked]:
    """In order. A candidate that is in no group of some level is left out."""
    held: Iterable[tuple[Sequence[str], ...]] = repeat(())
    if levels:
        held = zip(*(map(level.groups_of, candidates) for level in levels), strict=True)
    return sorted(
        _ranked(Ranked, (c.tier, -c.score, -room(c), c.name, groups, c))
        for c, groups in zip(candidates, held, strict=False)
        if all(groups)
    )


_ranked: Callable[[type[Ranked], tuple[int, int, int, str, tuple[Sequence[str], ...], Candidate]], Ranked] = (
    tuple.__new__
)
"""What one costs counts: there is one for every cluster in every decision."""


def room_of(chosen: Iterable[Ranked]) -> int:
    return -sum([cluster.minus_room for cluster in chosen])


def by_room(cluster: Ranked) -> tuple[int, int, int, str]:
    """The roomiest first, then by rank."""
    return (cluster.minus_room, cluster.tier, cluster.minus_score, cluster.name)
