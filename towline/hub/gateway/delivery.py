"""What one agent holds of its cluster's Works, as far as its session knows, and so what it has yet to be told. Without I/O.

The difference between the table of Works and what the inventory says: a set of names, never a queue of events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from towline.hub.decide.wire import WireWork
from towline.hub.gateway.breaker import Breaker, is_from_the_future
from towline.hub.gateway.effects import DeletionsHeld, Effect, HubIdentity, UnknownHeld
from towline.hub.gateway.outbox import order_of, removal_of, upsert_of
from towline.hub.gateway.reports import ReadReport
from towline.proto import fleet_pb2 as fleet
from towline.proto.digest import BUCKETS, Digests, bucket_of

EXCHANGE_SECONDS_MAX = 60.0
"""How long an agent may take to list the buckets it was asked for; then the exchange begins again."""
_ASKED_REPORTS_MAX = 1000
"""How many reports one frame asks for; names are up to 253 bytes."""


class Violation(Exception):
    """The agent broke the protocol."""


class _Holds(NamedTuple):
    """What the agent holds of a Work, as far as this session knows: what it listed, or what was sent to it last."""

    uid: str
    hash: bytes
    revision: int
    removing: bool


@dataclass(slots=True)
class _Exchange:
    """Buckets that differ and that the agent has yet to list."""

    awaited: set[int] = field(default_factory=set)
    asked_at: float = 0.0
    listed_works: int = 0


class Delivery:
    """Of one session. `works` answers the cluster's Works by name; `say` is given frames for the agent, `happened` what the hub is to know.
    `sends`: the agent has listed what it holds, so what it lacks may be sent."""

    def __init__(
        self,
        works: Callable[[], Mapping[str, WireWork]],
        hub: HubIdentity,
        breaker: Breaker,
        say: Callable[[fleet.HubFrame], None],
        happened: Callable[[Effect], None],
    ) -> None:
        self.sends = False
        self._works = works
        self._hub = hub
        self._breaker = breaker
        self._say = say
        self._happened = happened
        self._holds: dict[str, _Holds | None] = {}
        self._dirty: dict[str, None] = {}
        self._order: list[str] | None = None
        self._unknown: dict[str, _Holds] = {}
        self._overruled: set[str] = set()
        """Works that overrides block. The hub said so instead of what the agent reported, which therefore is asked for when that
        ends and there is nothing to send."""
        self._deletions_held: DeletionsHeld | None = None
        """What was told last. The first is always told: an earlier session may have said otherwise, and it was released since."""
        self._exchange: _Exchange | None = None
        self._synced_due = False
        self._held_works = 0

    def changed(self, names: Iterable[str]) -> bool:
        """These Works were computed anew, appeared or went. True: the agent holds one that is not known any more."""
        works, lost = self._works(), False
        for name in names:
            if name in works:
                if works[name].blocked is not None:
                    self._overruled.add(name)
                self._dirty[name] = None
                self._order = None
                continue
            self._dirty.pop(name, None)
            self._overruled.discard(name)
            held = self._holds.pop(name, None)
            lost = lost or (held is not None and not held.removing)
        return lost

    def take_synced(self) -> bool:
        """True once after each exchange, when all that differed has been sent."""
        if not self._synced_due or self._exchange is not None or self._dirty:
            return False
        self._synced_due = False
        return True

    def is_unanswered(self, now: float) -> bool:
        """Whether the agent has not listed what it was asked for in time; asked anew, it has as long again."""
        if self._exchange is None or now - self._exchange.asked_at < EXCHANGE_SECONDS_MAX:
            return False
        self._exchange.asked_at = now
        return True

    def deadline(self, *, may_send: bool) -> float:
        """When there is something to do although nothing happens: a question for buckets is unanswered, or the breaker opens."""
        asked, waits = self._exchange, self._unknown and self.sends and may_send
        return min(
            asked.asked_at + EXCHANGE_SECONDS_MAX if asked is not None else float("inf"),
            self._breaker.opens_at if waits else float("inf"),
        )

    # --- out -----------------------------------------------------------------------------------------------------

    def next_works(self, now: float) -> fleet.Works | None:
        """As many of the outbox as fit into a batch: upserts first (namespaces and definitions before what needs
        them), then removals in the opposite order."""
        table = self._works()
        self._let_unknown_go(table, now)
        if self._order is None:
            self._order = sorted(self._dirty, key=lambda name: order_of(table.get(name)), reverse=True)
        frame, size = fleet.Works(), 0
        unreported: list[str] = []
        while self._order:
            name = self._order[-1]
            work = table.get(name)
            message = self._message(name, work)
            if work is not None and work.blocked is None and name in self._overruled:
                self._overruled.discard(name)
                unreported += [name] if message is None else []
            if message is not None:
                size += message.ByteSize()
                if size > self._hub.batch_bytes_max and (frame.upserts or frame.removals):
                    break
                if isinstance(message, fleet.Work):
                    frame.upserts.append(message)
                    self._holds[name] = _Holds(message.uid, message.hash, message.revision, False)
                else:
                    frame.removals.append(message)
                    self._holds[name] = _Holds(message.uid, b"", message.revision, True)
            self._order.pop()
            self._dirty.pop(name, None)
            self._unknown.pop(name, None)
        self._ask_reports(unreported)
        return frame if frame.upserts or frame.removals else None

    def _message(self, name: str, work: WireWork | None) -> fleet.Work | fleet.Removal | None:
        """What the agent has to be told of a Work, or None when it holds what it should."""
        holds = self._holds.get(name)
        if work is None:
            unknown = self._unknown.get(name)
            if unknown is None:
                return None
            return fleet.Removal(name=name, uid=unknown.uid, revision=unknown.revision)
        if work.removing:
            same = holds is not None and holds.removing and holds.uid == work.uid
            return None if same else removal_of(work)
        if work.held_back:
            return None
        same = holds is not None and not holds.removing and (holds.uid, holds.hash) == (work.uid, work.hash)
        return None if same else upsert_of(work)

    def _ask_reports(self, lacking: Sequence[str]) -> None:
        for start in range(0, len(lacking), _ASKED_REPORTS_MAX):
            asked = lacking[start : start + _ASKED_REPORTS_MAX]
            self._say(fleet.HubFrame(ask=fleet.Ask(reports=asked)))

    def _let_unknown_go(self, table: Mapping[str, WireWork], now: float) -> None:
        """Queue the removal of as many unknown Works as the breaker lets through."""
        waiting = [name for name in self._unknown if name not in self._dirty]
        for name in [name for name in waiting if name in table]:
            del self._unknown[name]  # somebody wants it after all
            self._dirty[name] = self._order = None
        waiting = [name for name in waiting if name in self._unknown]
        granted = self._breaker.take(len(waiting), self._held_works, now) if waiting else 0
        for name in waiting[:granted]:
            self._dirty[name] = self._order = None
        left = len(waiting) - granted
        held = DeletionsHeld(left, self._breaker.reason if left else "")
        if self.sends and held != self._deletions_held:
            self._deletions_held = held
            self._happened(held)

    # --- what the agent says it holds ----------------------------------------------------------------------------

    def is_removal_done(self, report: ReadReport) -> bool:
        """REMOVED answers the last thing that was sent, or it is about a removal that was taken back since."""
        holds = self._holds.get(report.value.name)
        if holds is None or not holds.removing or report.revision < holds.revision:
            return False
        self._holds[report.value.name] = None
        return True

    def compare(self, theirs: bytes, now: float) -> None:
        """Find the buckets that differ; what is in the others the agent holds as it should."""
        table, digests = self._works(), Digests()
        for name, work in table.items():
            holds = self._presumed(work)
            if holds is not None:
                digests.put(name, holds.uid, holds.hash, work.report_hash)
        differing = set(digests.differing(theirs))
        self._exchange = exchange = _Exchange(differing, now)
        for name in digests.names():
            if bucket_of(name) not in differing:
                self._holds[name] = self._presumed(table[name])
                exchange.listed_works += 1
        for name in [name for name in self._unknown if bucket_of(name) not in differing]:
            del self._unknown[name]
        if differing:
            self._say(fleet.HubFrame(ask=fleet.Ask(buckets=sorted(differing))))
        else:
            self._exchanged(exchange)

    def _presumed(self, work: WireWork) -> _Holds | None:
        """What the agent holds of a Work if all is well. Of one that is held back that is what it does hold."""
        if work.removing:
            return None
        if work.held_back and work.name in self._holds:
            holds = self._holds[work.name]
            return None if holds is None or holds.removing else holds
        return _Holds(work.uid, work.hash, work.revision, False)

    def listed(self, inventory: fleet.Inventory, hello: fleet.Hello) -> None:
        """What the agent holds in some of the buckets that it was asked for. One that nobody asked is ignored."""
        exchange = self._exchange
        if exchange is None:
            return
        buckets = exchange.awaited.intersection(inventory.buckets)
        if any(bucket >= BUCKETS for bucket in inventory.buckets):
            raise Violation("a bucket that does not exist")
        entries = {held.name: held for held in inventory.entries if bucket_of(held.name) in buckets}
        table = self._works()
        lacking: list[str] = []
        for name, work in table.items():
            if bucket_of(name) in buckets:
                self._match(work, entries.pop(name, None), lacking)
        self._strangers(entries, hello)
        exchange.awaited -= buckets
        exchange.listed_works += len(inventory.entries)
        self._ask_reports(lacking)
        if not exchange.awaited:
            self._exchanged(exchange)

    def _match(self, work: WireWork, held: fleet.Held | None, lacking: list[str]) -> None:
        """A Work of the table beside what the agent listed of it."""
        holds = _Holds(held.uid, held.work_hash, held.revision, held.removing) if held is not None else None
        self._holds[work.name] = holds
        self._dirty[work.name] = self._order = None
        self._unknown.pop(work.name, None)
        if held is None or held.removing or work.removing or not held.report_hash:
            return
        right = work.held_back or (held.uid, held.work_hash) == (work.uid, work.hash)
        if right and held.report_hash != work.report_hash:
            lacking.append(work.name)

    def _strangers(self, entries: Mapping[str, fleet.Held], hello: fleet.Hello) -> None:
        """What the agent listed and the table lacks."""
        unknown = [held for held in entries.values() if not held.removing]
        for held in unknown:
            holds = _Holds(held.uid, held.work_hash, held.revision, False)
            self._holds[held.name] = self._unknown[held.name] = holds
        if unknown:
            if is_from_the_future(self._hub, hello, unknown):
                self._breaker.doubt()
            self._happened(UnknownHeld(tuple(held.name for held in unknown)))

    def _exchanged(self, exchange: _Exchange) -> None:
        """All is listed. Whatever waits to be removed is named again, whether the agent lists it or not."""
        for name, work in self._works().items():
            if work.blocked is not None:
                self._overruled.add(name)
            if work.removing:
                self._holds[name] = None
                self._dirty[name] = self._order = None
        self._exchange = None
        self._held_works = exchange.listed_works
        self.sends = self._synced_due = True
