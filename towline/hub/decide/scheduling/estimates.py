"""Room for more: how many more replicas, or whole sets of components, a cluster can take, and how that is known (Karmada 3.6).

The Cluster's own status answers for every cluster: the sums of its resourceSummary, and the nodes of its resource models where
it has some. Where an agent can look at its nodes and quotas, its answer takes the models' place. A cluster whose agent does not answer is
judged by its status alone, and no other cluster is affected by that.

Amounts are whole numbers in base units (`kube.amounts`): what is free is rounded down, what is requested up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

from towline.hub.decide.plan import Ask
from towline.kube import amounts
from towline.kube.amounts import PODS
from towline.kube.cells import at, maps, table
from towline.kube.grades import grades_of
from towline.kube.objects import Object
from towline.kube.packing import UNLIMITED, Nodes, Part, sets_in
from towline.kube.wishes import Wish

PODS_A_NODE = 110
"""Of a node that is known by its grade only: Kubernetes' default."""
NO_ANSWER = -1
"""An agent was asked in vain: it did not answer in time, or could not count."""

HOLD_SECONDS = 10.0
"""How long an answer holds, unless the cluster's room changes before."""

NO_SUMMARY = "no resourceSummary"
MODELS = "resource models"
AGENT = "agent"

_KNOWN_MAX = 64
"""Wishes that a Room remembers its models' answer to."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a Cluster's status says of its room. Made once for each version of the Cluster."""

    free: Mapping[str, int]
    """Allocatable, less what pods have or wait for; with "pods"."""
    grades: tuple[tuple[int, Mapping[str, int]], ...] = ()
    """Of nodes by resource model: how many there are, and what each has left at least."""
    known: dict[str, int] = field(default_factory=dict, compare=False)
    """What the models answered, by wish."""


class Answers(Protocol):
    """What agents said. Holds still while a decision is made."""

    @property
    def able(self) -> Collection[str]:
        """Clusters that are connected and whose agents count room when they are asked."""

    def said(self, key: str) -> Mapping[str, int]:
        """By cluster, the answers that hold now to the wish with this key, or NO_ANSWER."""

    def when(self, key: str, cluster: str) -> float:
        """When it was said (epoch seconds)."""


def room_of(cluster: Object) -> Room | None:
    """The room of a Cluster. None: its status has no resourceSummary, and nothing is known to fit."""
    summary = at(cluster, "status", "resourceSummary")
    if not isinstance(summary, Mapping):
        return None
    free = amounts.offered(table(summary.get("allocatable")))
    for taken in ("allocated", "allocating"):
        for name, amount in amounts.needed(table(summary.get(taken))).items():
            free[name] = free.get(name, 0) - amount
    return Room({name: max(0, amount) for name, amount in free.items()}, _grades(cluster, summary))


def replicas_in(
    room: Room | None,
    wish: Wish,
    assumed: Mapping[str, int],
    said: int = NO_ANSWER,
    unseen: Mapping[str, int] | None = None,
) -> tuple[int, str]:
    """How many more units of `wish` (replicas, or whole sets) fit, and where that number comes from: of what there is too
    little, or who says so. `assumed` (with "pods") was promised to the cluster, and its status does not show it yet; `said` is
    its agent's answer, and `unseen` what that has not counted (None: what is assumed).

    The least of what the sums leave and what fits on nodes: as the agent counted them, or else as the models describe them, which
    is coarse (Karmada lets a coarse model overrule an exact count). A resource that the models do not know counts in the sums."""
    if room is None:
        return 0, NO_SUMMARY
    free = room.free
    if not wish.pod_count:
        return UNLIMITED, "nothing to run"
    if assumed:
        free = {name: amount - assumed.get(name, 0) for name, amount in free.items()}
    fits, source = free.get(PODS, 0) // wish.pod_count, PODS
    for name, amount in wish.totals:
        more = free.get(name, 0) // amount
        if more < fits:
            fits, source = more, name
    if fits <= 0:
        return 0, _short_of(source)
    if said != NO_ANSWER or room.grades:
        counted, by = (said, AGENT) if said != NO_ANSWER else (_modelled(room, wish), MODELS)
        counted = _less(counted, wish, assumed if unseen is None or said == NO_ANSWER else unseen)
        if counted < fits:
            return counted, by
    return (fits if fits < UNLIMITED else UNLIMITED), _short_of(source)


@lru_cache(maxsize=1024)
def _short_of(resource: str) -> str:
    return f"resourceSummary: {resource}"


class _Nobody:
    able: Collection[str] = frozenset()

    def said(self, key: str) -> Mapping[str, int]:
        return {}

    def when(self, key: str, cluster: str) -> float:
        return 0.0


NOBODY: Answers = _Nobody()
"""Where no agent is connected."""


def missing(wish: Wish, clusters: Iterable[str], answers: Answers) -> tuple[Ask, ...]:
    """What the decision could still learn of `clusters`: their agents can count, and have not said."""
    able = answers.able
    if not able:
        return ()
    said = answers.said(wish.key)
    return tuple(Ask(name, wish) for name in clusters if name in able and name not in said)


# --- resource models -------------------------------------------------------------------------------------------


def _grades(cluster: Object, summary: Mapping[str, Any]) -> tuple[tuple[int, Mapping[str, int]], ...]:
    """Nodes by grade, with the least that each has left. Nodes of a grade that the spec has no more (it was changed, and the
    agent has not counted anew) leave the models out altogether: half of them would say too little."""
    least = {grade.grade: grade.least for grade in grades_of(cluster)}
    counted = [
        (int(row.get("grade") or 0), int(row.get("count") or 0))
        for row in maps(summary.get("allocatableModelings"))
    ]
    if any(count and grade not in least for grade, count in counted):
        return ()
    return tuple((count, least[grade]) for grade, count in counted if grade in least)


def _modelled(room: Room, wish: Wish) -> int:
    """How many units fit on the nodes that the models describe; UNLIMITED when they describe nothing of what is requested."""
    known = room.known.get(wish.key)
    if known is None:
        if len(room.known) >= _KNOWN_MAX:
            room.known.clear()
        known = room.known[wish.key] = _packed(room, wish)
    return known


def _packed(room: Room, wish: Wish) -> int:
    described = {name for _, least in room.grades for name in least}
    names = [name for name, _ in wish.totals if name in described]
    if not names:
        return UNLIMITED
    nodes = [
        Nodes(count, (*(least.get(name, 0) for name in names), PODS_A_NODE)) for count, least in room.grades
    ]
    parts = [Part(pods.replicas, (*(pods.requests.get(name, 0) for name in names), 1)) for pods in wish.pods]
    return sets_in(nodes, parts)


def _less(fits: int, wish: Wish, assumed: Mapping[str, int]) -> int:
    """`fits`, counted on nodes, when `assumed` goes somewhere on them too: it takes the place of so many units."""
    if not assumed:
        return fits
    taken = max((-(-assumed.get(name, 0) // amount) for name, amount in wish.totals), default=0)
    if not wish.totals:
        taken = -(-assumed.get(PODS, 0) // max(1, wish.pod_count))
    return max(0, fits - taken)
