"""The fleet as scheduling reads it: each Cluster compiled once for each of its versions, sets of clusters as bit masks.

What depends on labels, fields, taints and APIs alone (which clusters does this affinity mean, who has that API) is worked out
once and kept until one of those changes; a Cluster's status, which changes every few seconds, leaves it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, TypeVar

import orjson

from towline.hub.decide.scheduling.affinity import Affinity, Place, place_matcher, place_of
from towline.hub.decide.scheduling.estimates import Room, room_of
from towline.hub.decide.tolerance import Trouble, troubles_of
from towline.kube.objects import Object, is_deleting
from towline.kube.taints import Taint, repelling

T = TypeVar("T")

KNOWN_MAX = 10_000
"""How many derived facts one fleet keeps; then they are worked out anew."""

Api = tuple[str, str]
"""groupVersion and kind."""


@dataclass(frozen=True, slots=True)
class Member:
    """One cluster."""

    name: str
    place: Place
    taints: tuple[Taint, ...]
    """Those that keep new work away."""
    terminating: bool
    apis: frozenset[Api]
    room: Room | None
    """None while it did not say what it has."""
    troubles: tuple[Trouble, ...] = ()
    """Why copies may have to leave it."""

    @property
    def lost(self) -> bool:
        """Whether nobody can say how copies there do: it is not ready or not reachable."""
        return any(trouble.lost for trouble in self.troubles)

    def lost_before(self, at: float) -> bool:
        """Whether it is lost, and was already at that time, in epoch seconds."""
        times = [(trouble.since, trouble.unwell_since) for trouble in self.troubles if trouble.lost]
        return any(since is not None and since < at for since in chain.from_iterable(times))

    def stands_like(self, other: Member) -> bool:
        """Whether all is the same that `Members.known` may depend on."""
        return (self.place, self.taints, self.terminating, self.apis) == (
            other.place,
            other.taints,
            other.terminating,
            other.apis,
        )


def member_of(cluster: Object) -> Member:
    place = place_of(cluster)
    return Member(
        name=place.name,
        place=place,
        taints=repelling((cluster.get("spec") or {}).get("taints")),
        terminating=is_deleting(cluster),
        apis=_apis(orjson.dumps((cluster.get("status") or {}).get("apiEnablements") or [])),
        room=room_of(cluster),
        troubles=troubles_of(cluster),
    )


@lru_cache(maxsize=256)
def _apis(enablements: bytes) -> frozenset[Api]:
    """Most clusters of a fleet serve the same: their sets are one."""
    return frozenset(
        (str(row.get("groupVersion")), str(resource.get("kind")))
        for row in orjson.loads(enablements)
        for resource in row.get("resources") or ()
    )


class Members:
    """All clusters in the order of their names. A mask has bit n set for the cluster `all[n]`. Immutable."""

    __slots__ = ("_known", "all", "everyone", "index", "names", "terminating")

    def __init__(self, members: Iterable[Member], before: Members | None = None) -> None:
        self.all: tuple[Member, ...] = tuple(sorted(members, key=lambda member: member.name))
        self.names: tuple[str, ...] = tuple(member.name for member in self.all)
        if before is not None and before.names == self.names:
            self.names = before.names
        self.index: Mapping[str, int] = {name: at for at, name in enumerate(self.names)}
        self.everyone = (1 << len(self.all)) - 1
        self.terminating = self.mask_where(lambda member: member.terminating)
        self._known: dict[Any, Any] = {}

    @classmethod
    def of(cls, clusters: Iterable[Object]) -> Members:
        return cls(map(member_of, clusters))

    def with_changed(self, changed: Mapping[str, Object | None]) -> Members:
        """The fleet after these Clusters changed (None: is gone). What stays true of it stays known."""
        kept = {member.name: member for member in self.all}
        same = True
        for name, cluster in changed.items():
            before = kept.get(name)
            if cluster is None:
                kept.pop(name, None)
                same = same and before is None
                continue
            kept[name] = after = member_of(cluster)
            same = same and before is not None and before.stands_like(after)
        if not same:
            return Members(kept.values(), self)
        again = Members.__new__(Members)
        again.all = tuple(kept.values())
        again.names, again.index, again.everyone = self.names, self.index, self.everyone
        again.terminating, again._known = self.terminating, self._known
        return again

    def __len__(self) -> int:
        return len(self.all)

    def get(self, name: str) -> Member | None:
        at = self.index.get(name)
        return None if at is None else self.all[at]

    def mask(self, names: Iterable[str]) -> int:
        """The clusters with these names; unknown ones are left out."""
        found = 0
        for name in names:
            at = self.index.get(name)
            if at is not None:
                found |= 1 << at
        return found

    def mask_where(self, holds: Callable[[Member], bool]) -> int:
        return sum(1 << at for at, member in enumerate(self.all) if holds(member))

    def within(self, mask: int) -> Iterator[Member]:
        """The clusters of a mask, by name."""
        everyone = self.all
        if mask == self.everyone:
            yield from everyone
            return
        while mask:
            lowest = mask & -mask
            yield everyone[lowest.bit_length() - 1]
            mask ^= lowest

    # --- derived once ----------------------------------------------------------------------------------------

    def meant_by(self, affinity: Affinity | None) -> int:
        """The clusters that an affinity means."""
        if not affinity:
            return self.everyone
        return self.known(("affinity", encoded(affinity)), lambda: self._meant_by(affinity))

    def _meant_by(self, affinity: Affinity) -> int:
        matches = place_matcher(affinity)
        return self.mask_where(lambda member: matches(member.place))

    def serving(self, api: Api) -> int:
        """The clusters that have this kind."""
        return self.known(("api", api), lambda: self.mask_where(lambda member: api in member.apis))

    def tainted(self) -> Mapping[Taint, int]:
        """The clusters with each taint that keeps work away."""
        return self.known("taints", self._tainted)

    def _tainted(self) -> Mapping[Taint, int]:
        masks: dict[Taint, int] = {}
        for at, member in enumerate(self.all):
            for taint in member.taints:
                masks[taint] = masks.get(taint, 0) | 1 << at
        return masks

    def known(self, question: Any, answer: Callable[[], T]) -> T:
        """`answer()`, worked out once. It may depend on everything but the members' room."""
        try:
            found: T = self._known[question]
        except KeyError:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            found = self._known[question] = answer()
        return found


def encoded(value: Any) -> bytes:
    """A part of a placement as something to look up by."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
