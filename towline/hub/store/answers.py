"""What agents said about the room in their clusters, for as long as it is worth something; and who waits for which answer.

Volatile and bounded. Decisions read it, the loop asks through it, the gateway carries the questions to the sessions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from towline.hub.decide.plan import Ask
from towline.hub.decide.scheduling.estimates import HOLD_SECONDS
from towline.kube.wishes import Wish

ANSWERS_MAX = 200_000
_NEVER = (0, 0.0)

Place = tuple[str, str]
"""Cluster and key of a wish."""


@dataclass(slots=True)
class _Said:
    """To one wish: room and time by cluster."""

    rows: dict[str, tuple[int, float]] = field(default_factory=dict)
    last: float = 0.0


class AnswerTable:
    """Times are epoch seconds."""

    def __init__(self) -> None:
        self.able: set[str] = set()
        """Clusters whose agents are connected and count."""
        self.abroad: Collection[str] = frozenset()
        """Clusters whose agents another hub can ask."""
        self._said: OrderedDict[str, _Said] = OrderedDict()
        """By wish, the one answered last at the end."""
        self._rows = 0
        self._changed: dict[str, tuple[int, float]] = {}
        """The openings of a cluster, and when its room was last known to change."""
        self._subscribers: dict[object, Callable[[str], None]] = {}
        self._open: dict[Place, dict[Hashable, None]] = {}
        """Questions under way, and who waits for them."""
        self._waits: dict[Hashable, tuple[set[Place], Callable[[], None]]] = {}
        self._asked: dict[Hashable, float] = {}
        """When those asked who have not decided since."""
        self._carry: Callable[[str, Wish], None] = lambda cluster, wish: None

    def at(self, now: float, who: Hashable = None) -> AnswersNow:
        """The answers as a decision that `who` makes now sees them.

        Once, what came since `who` asked holds although the room changed meanwhile: who asks a thousand clusters has to see
        all answers together, or it would ask for ever in a fleet where room changes all the time."""
        return AnswersNow(self, now, self._asked.pop(who, float("inf")))

    def __len__(self) -> int:
        return self._rows

    # --- the loop's side -----------------------------------------------------------------------------------------

    def ask(self, who: Hashable, asks: Iterable[Ask], then: Callable[[], None], now: float) -> None:
        """Get answers, and call `then` when each question has one or is known to get none. A question that is under way is not
        asked again; `who` waits for what it asked last only."""
        self._forget(who)
        places: set[Place] = set()
        fresh: list[Ask] = []
        held: dict[str, Mapping[str, int]] = {}
        for cluster, wish in asks:
            if wish.key not in held:
                held[wish.key] = self.holding(wish.key, now)
            if (cluster not in self.able and cluster not in self.abroad) or cluster in held[wish.key]:
                continue
            place = (cluster, wish.key)
            places.add(place)
            if place not in self._open:
                self._open[place] = {}
                fresh.append(Ask(cluster, wish))
            self._open[place][who] = None
        if not places:
            then()
            return
        self._waits[who] = places, then
        self._asked[who] = now
        for cluster, wish in fresh:
            self._carry(cluster, wish)

    def _forget(self, who: Hashable) -> None:
        places, _ = self._waits.pop(who, (set[Place](), None))
        for place in places:
            self._open[place].pop(who, None)

    def subscribe(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call `callback(cluster)` when there may be more room in a cluster although its sums are the same."""
        ticket = object()
        self._subscribers[ticket] = callback

        def unsubscribe() -> None:
            self._subscribers.pop(ticket, None)

        return unsubscribe

    # --- the gateway's side --------------------------------------------------------------------------------------

    def carried_by(self, carry: Callable[[str, Wish], None]) -> None:
        """`carry(cluster, wish)` takes a question to an agent. Each leads to `answered`, or the cluster to `disconnected`."""
        self._carry = carry

    def connected(self, cluster: str) -> None:
        """A session began whose agent counts. An earlier one is over."""
        self.disconnected(cluster)
        self.able.add(cluster)

    def disconnected(self, cluster: str) -> None:
        """Nobody waits for this cluster any more."""
        self.able.discard(cluster)
        for place in [place for place in self._open if place[0] == cluster]:
            self._close(place)

    def answered(self, cluster: str, key: str, room: int, now: float) -> None:
        """What the agent said, or NO_ANSWER, which holds as well: it is not asked again at once."""
        said = self._said.setdefault(key, _Said())
        self._rows += cluster not in said.rows
        said.rows[cluster] = room, now
        said.last = now
        self._said.move_to_end(key)
        self._make_room(now)
        self._close((cluster, key))

    def room_changed(self, cluster: str, openings: int, now: float) -> None:
        """The cluster's room changed: what its agent said before is not worth much any more. Another number of `openings` than
        last time: there may be more of it although its sums are the same."""
        before, _ = self._changed.get(cluster, (openings, now))
        self._changed[cluster] = openings, now
        if openings != before:
            self._tell(cluster)

    def opened(self, cluster: str, now: float) -> None:
        """Another hub says that there may be more room in a cluster although its sums are the same."""
        self.outdated(cluster, now)
        self._tell(cluster)

    def _tell(self, cluster: str) -> None:
        for callback in list(self._subscribers.values()):
            callback(cluster)

    def outdated(self, cluster: str, now: float) -> None:
        """Replicas are known to be there that earlier answers may not have counted."""
        openings, _ = self._changed.get(cluster, _NEVER)
        self._changed[cluster] = openings, now

    def forget(self, cluster: str) -> None:
        """The cluster is no member any more."""
        self.disconnected(cluster)
        self._changed.pop(cluster, None)

    def _close(self, place: Place) -> None:
        for who in self._open.pop(place, ()):
            places, then = self._waits[who]
            places.discard(place)
            if not places:
                del self._waits[who]
                then()

    def _make_room(self, now: float) -> None:
        while self._said:
            key, oldest = next(iter(self._said.items()))
            if self._rows <= ANSWERS_MAX and now < oldest.last + HOLD_SECONDS:
                return
            del self._said[key]
            self._rows -= len(oldest.rows)

    def when(self, key: str, cluster: str) -> float:
        """When `cluster` said last what it says to this wish."""
        said = self._said.get(key)
        return said.rows[cluster][1] if said is not None and cluster in said.rows else 0.0

    def holding(self, key: str, now: float, since: float = float("inf")) -> Mapping[str, int]:
        """By cluster, what holds of the answers to a wish. Those from `since` on hold in spite of changes."""
        said = self._said.get(key)
        if said is None:
            return {}
        changed = self._changed
        return {
            cluster: room
            for cluster, (room, at) in said.rows.items()
            if now < at + HOLD_SECONDS and (at >= since or changed.get(cluster, _NEVER)[1] <= at)
        }


@dataclass(frozen=True, slots=True)
class AnswersNow:
    """`scheduling.estimates.Answers` at one moment."""

    table: AnswerTable
    now: float
    since: float

    @property
    def able(self) -> Collection[str]:
        table = self.table
        return {*table.able, *table.abroad} if table.abroad else table.able

    def said(self, key: str) -> Mapping[str, int]:
        return self.table.holding(key, self.now, self.since)

    def when(self, key: str, cluster: str) -> float:
        return self.table.when(key, cluster)
