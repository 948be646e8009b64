"""The hub's side of one session, without I/O: batches, changes and the time in, effects and batches out.

`fleet.proto` is the specification. Delivery derives from state: what an agent needs is the difference between the
table of Works and what its inventory says, and the outbox is a set of names, never a queue of events.

    session.receive(batch, now)       every batch of the agent
    session.tell(settings)            what the agent has to know: Settings, Trust, Hubs; first and on change
    session.works_changed(names)      whenever Works of this cluster were computed anew
    session.questions.ask(wish, now)  what the agent is to count, if its hello says that it does
    session.tick(now)                 at `session.deadline` or later
    session.take_effects()            after each of these and after next_batch
    session.next_batch(now)           until it answers None, after any of these
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from towline.hub.decide.wire import Phase, WireWork, WorkReport
from towline.hub.gateway.breaker import Breaker, hold_of, is_from_the_future
from towline.hub.gateway.capacity import read_capacity
from towline.hub.gateway.effects import (
    Answered,
    CapacitySeen,
    Close,
    DeletionsHeld,
    Effect,
    FactsSeen,
    HeartbeatSeen,
    HubIdentity,
    Reported,
    Synced,
    UnknownHeld,
    Welcomed,
)
from towline.hub.gateway.outbox import Credit, Standing, order_of, removal_of, shared, upsert_of
from towline.hub.gateway.questions import Questions
from towline.hub.gateway.reports import ReadReport, read_report
from towline.proto import fleet_pb2 as fleet
from towline.proto.digest import BUCKETS, HASH_BYTES, Digests, bucket_of

PROTOCOL_VERSION = 1
HELLO_SECONDS_MAX = 30.0
EXCHANGE_SECONDS_MAX = 60.0
"""How long an agent may take to list the buckets it was asked for; then the exchange begins again."""
HEARTBEATS_MISSED_MAX = 3
_TRUSTS_MAX = 8
_ASKED_REPORTS_MAX = 1000
"""How many reports one frame asks for; names are up to 253 bytes."""

_WORDS: Mapping[type, str] = {fleet.Settings: "settings", fleet.Trust: "trust", fleet.Hubs: "hubs"}


class _Violation(Exception):
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


class HubSession:
    """One session. `cluster` is the certificate's; `works` answers the cluster's Works by name, `loaded` whether that
    table is complete; `member_uid` is the uid of the member that joined under this name, empty when not known."""

    def __init__(
        self,
        cluster: str,
        hub: HubIdentity,
        *,
        works: Callable[[], Mapping[str, WireWork]],
        loaded: Callable[[], bool],
        breaker: Breaker,
        now: float,
        member_uid: str = "",
    ) -> None:
        self.cluster = cluster
        self.hub = hub
        self.breaker = breaker
        self.hello: fleet.Hello | None = None
        self.closed: Close | None = None
        self._works = works
        self._loaded = loaded
        self._member_uid = member_uid
        self._effects: list[Effect] = []
        self.questions = Questions(lambda key, room: self._effects.append(Answered(key, room)))
        self._seen = self._sent = 0
        self._heard_at = now
        self._control: list[fleet.HubFrame] = []
        self._standing = Standing()
        self._holds: dict[str, _Holds | None] = {}
        self._dirty: dict[str, None] = {}
        self._order: list[str] | None = None
        self._unknown: dict[str, _Holds] = {}
        self._overruled: set[str] = set()
        """Works that overrides block. The hub said so instead of what the agent reported, which therefore is asked for when that
        ends and there is nothing to send."""
        self._deletions_held = DeletionsHeld(0, "")
        self._credit = Credit()
        self._exchange: _Exchange | None = None
        self._sends = self._synced_due = self._awaits_load = False
        self._held_works = 0

    # --- in ------------------------------------------------------------------------------------------------------

    def receive(self, batch: fleet.AgentBatch, now: float) -> None:
        """Take one batch in. What breaks the protocol closes the session and changes nothing."""
        if self.closed is not None or batch.sequence <= self._seen:
            return
        gap = batch.sequence != self._seen + 1
        self._seen = batch.sequence
        self._heard_at = now
        try:
            for frame in batch.frames:
                self._frame(frame, now)
        except _Violation as error:
            self.close(str(error), reconnect=False, violation=True)
        if gap and self.hello is not None:
            self._ask_inventory()

    def tell(self, word: fleet.Settings | fleet.Trust | fleet.Hubs) -> None:
        """What the agent is to know while it is connected; sent when it is another than before."""
        kind = _WORDS[type(word)]
        frame: dict[str, Any] = {kind: word}
        self._standing.put(kind, shared(fleet.HubFrame(**frame).SerializeToString(deterministic=True)))

    def works_changed(self, names: Iterable[str]) -> None:
        """These Works of the cluster were computed anew, appeared or went."""
        works = self._works()
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
            if held is not None and not held.removing:
                self._ask_inventory()

    def tick(self, now: float) -> None:
        """Cut off who is silent or stalls; go on with what waited for time to pass."""
        self.questions.tick(now)
        if self.closed is not None:
            return
        if self.hello is None:
            if now - self._heard_at >= HELLO_SECONDS_MAX:
                self.close("no Hello")
            return
        if now - self._heard_at >= HEARTBEATS_MISSED_MAX * self.hub.heartbeat_seconds:
            self.close(f"nothing heard for {HEARTBEATS_MISSED_MAX} heartbeats")
        elif self._credit.is_stalled(now):
            self.close("Works were not acknowledged in time")
        elif self._exchange is not None and now - self._exchange.asked_at >= EXCHANGE_SECONDS_MAX:
            self._exchange.asked_at = now
            self._ask_inventory()

    def close(
        self, reason: str, *, reconnect: bool = True, violation: bool = False, detached: fleet.Detached | None = None,
        gateways: Sequence[str] = (), superseded: bool = False,
    ) -> None:  # fmt: skip
        """End the session: the next batch is a GoAway. `gateways`: of a hub that has room for it. `superseded`: by a newer session."""
        if self.closed is not None:
            return
        self.closed = Close(reason, reconnect, violation)
        self._effects.append(self.closed)
        said = fleet.GoAway(reason=reason, reconnect=reconnect, detached=detached, gateways=gateways)
        said.superseded = superseded
        self._control = [fleet.HubFrame(go_away=said)]

    def take_effects(self) -> list[Effect]:
        """What happened since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    @property
    def deadline(self) -> float:
        """When `tick` and `next_batch` have something to do next although nothing else happens."""
        if self.hello is None:
            return self._heard_at + HELLO_SECONDS_MAX
        silent_at = self._heard_at + HEARTBEATS_MISSED_MAX * self.hub.heartbeat_seconds
        times = [silent_at, self._credit.stalls_at, self.questions.deadline]
        if self._exchange is not None:
            times.append(self._exchange.asked_at + EXCHANGE_SECONDS_MAX)
        if self._unknown and self._sends and not self._credit.is_spent:
            times.append(self.breaker.opens_at)
        return min(times)

    # --- out -----------------------------------------------------------------------------------------------------

    def next_batch(self, now: float) -> fleet.HubBatch | None:
        """The next batch to send, if there is anything to say and credit to say it."""
        if self._awaits_load and self._loaded():
            self._awaits_load = False
            self._ask_inventory()  # the one that came is old by now, and what was reported since is not in it
        frames = [self._control.pop(0)] if self._control else []
        if not frames and self.closed is None and self.hello is not None:
            frames += self._next_words()
        if not frames and self.closed is None and self._sends:
            works = self._next_works(now)
            if works is not None:
                frames.append(fleet.HubFrame(works=works))
            frames += [self._control.pop(0)] if self._control else []
            if self._synced_due and self._exchange is None and not self._dirty:
                self._synced_due = False
                frames.append(fleet.HubFrame(synced=fleet.Synced()))
                self._effects.append(Synced())
        if not frames:
            return None
        self._sent += 1
        batch = fleet.HubBatch(sequence=self._sent, frames=frames)
        if any(frame.HasField("works") for frame in frames):
            self._credit.spend(self._sent, batch.ByteSize(), now)
        return batch

    def _next_words(self) -> list[fleet.HubFrame]:
        """What is neither about Works nor an answer: what the agent is to know, then questions."""
        standing = self._standing.next()
        if standing is not None:
            return [standing]
        questions = self.questions.next_frame(self.hub.batch_bytes_max)
        return [] if questions is None else [fleet.HubFrame(questions=questions)]

    def _next_works(self, now: float) -> fleet.Works | None:
        """As many of the outbox as fit into a batch: upserts first (namespaces and definitions before what needs
        them), then removals in the opposite order."""
        if self._credit.is_spent:
            return None
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
                if size > self.hub.batch_bytes_max and (frame.upserts or frame.removals):
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
            self._control.append(fleet.HubFrame(ask=fleet.Ask(reports=asked)))

    def _let_unknown_go(self, table: Mapping[str, WireWork], now: float) -> None:
        """Queue the removal of as many unknown Works as the breaker lets through."""
        waiting = [name for name in self._unknown if name not in self._dirty]
        for name in [name for name in waiting if name in table]:
            del self._unknown[name]  # somebody wants it after all
            self._dirty[name] = self._order = None
        waiting = [name for name in waiting if name in self._unknown]
        granted = self.breaker.take(len(waiting), self._held_works, now) if waiting else 0
        for name in waiting[:granted]:
            self._dirty[name] = self._order = None
        left = len(waiting) - granted
        held = DeletionsHeld(left, self.breaker.reason if left else "")
        if held != self._deletions_held:
            self._deletions_held = held
            self._effects.append(held)

    # --- the agent's frames --------------------------------------------------------------------------------------

    def _frame(self, frame: fleet.AgentFrame, now: float) -> None:
        if self.closed is not None:
            return
        kind = frame.WhichOneof("frame")
        if kind is None:
            raise _Violation("a frame of no known kind")
        if (self.hello is None) != (kind == "hello"):
            raise _Violation(f"{kind} is not what may come {'first' if self.hello is None else 'twice'}")
        if kind == "hello":
            self._hello(frame.hello)
        elif kind == "inventory":
            self._inventory(frame.inventory, now)
        elif kind == "ack":
            if frame.ack.sequence > self._sent:
                raise _Violation("an Ack of a batch that was never sent")
            self._credit.repay(frame.ack.sequence)
        elif kind == "reports":
            self._reports(frame.reports)
        elif kind == "facts":
            self._effects.append(FactsSeen(frame.facts))
        elif kind == "capacity":
            self._capacity(frame.capacity)
        elif kind == "answers":
            self.questions.answered(frame.answers)
        else:
            self._effects.append(HeartbeatSeen(frame.heartbeat.api_server_ready))
            if frame.heartbeat.number:
                self._control.append(fleet.HubFrame(heard=fleet.Heard(number=frame.heartbeat.number)))

    def _hello(self, hello: fleet.Hello) -> None:
        if hello.cluster != self.cluster:
            says = hello.cluster[:64]
            raise _Violation(f"the certificate is of cluster {self.cluster}, the agent says {says!r}")
        if self._member_uid and hello.cluster_uid != self._member_uid:
            raise _Violation(f"cluster {self.cluster} is another member than the one that joined")
        if hello.protocol_version != PROTOCOL_VERSION:
            theirs = hello.protocol_version
            self.close(f"this hub speaks protocol version {PROTOCOL_VERSION}, the agent {theirs}")
            return
        if len(hello.trusts) > _TRUSTS_MAX or any(len(each) != 64 for each in hello.trusts):
            raise _Violation("a Hello whose trusts are no fingerprints")
        self.hello = hello
        self.breaker.hold = hold_of(self.hub, hello) or self.breaker.hold
        welcome = fleet.Welcome(
            store_id=self.hub.store_id,
            epoch=self.hub.epoch,
            heartbeat_seconds=self.hub.heartbeat_seconds,
            resync_seconds=self.hub.resync_seconds,
            batch_bytes_max=self.hub.batch_bytes_max,
        )
        self._control.append(fleet.HubFrame(welcome=welcome))
        self._effects.append(Welcomed(hello))

    def _capacity(self, capacity: fleet.Capacity) -> None:
        try:
            self._effects.append(CapacitySeen(read_capacity(capacity)))
        except ValueError as error:
            raise _Violation(f"the cluster's capacity cannot be: {error}") from None

    def _reports(self, reports: fleet.Reports) -> None:
        try:
            read = list(map(read_report, reports.reports))
        except ValueError as error:
            raise _Violation(str(error)) from None
        works = self._works()
        taken: list[WorkReport] = []
        for report in read:
            work = works.get(report.value.name)
            removed = report.value.phase == Phase.REMOVED
            if removed and not self._is_removal_done(report):
                continue
            if work is not None and work.uid == report.value.uid and (work.removing or not removed):
                taken.append(report.value)
        if taken:
            self._effects.append(Reported(tuple(taken)))

    def _is_removal_done(self, report: ReadReport) -> bool:
        """REMOVED answers the last thing that was sent, or it is about a removal that was taken back since."""
        holds = self._holds.get(report.value.name)
        if holds is None or not holds.removing or report.revision < holds.revision:
            return False
        self._holds[report.value.name] = None
        return True

    # --- the exchange --------------------------------------------------------------------------------------------

    def _ask_inventory(self) -> None:
        if self.closed is None and not any(
            frame.HasField("ask") and frame.ask.inventory for frame in self._control
        ):
            self._control.append(fleet.HubFrame(ask=fleet.Ask(inventory=True)))

    def _inventory(self, inventory: fleet.Inventory, now: float) -> None:
        if inventory.digests:
            if len(inventory.digests) != BUCKETS * HASH_BYTES:
                raise _Violation(f"{len(inventory.digests)} bytes of digests")
            self._standing.again()
            self._compare(inventory.digests, now)
        elif self._exchange is not None:
            self._listed(inventory)

    def _compare(self, theirs: bytes, now: float) -> None:
        """Find the buckets that differ; what is in the others the agent holds as it should."""
        self._awaits_load = not self._loaded()
        if self._awaits_load:
            return
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
            self._control.append(fleet.HubFrame(ask=fleet.Ask(buckets=sorted(differing))))
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

    def _listed(self, inventory: fleet.Inventory) -> None:
        exchange = self._exchange
        assert exchange is not None
        buckets = exchange.awaited.intersection(inventory.buckets)
        if any(bucket >= BUCKETS for bucket in inventory.buckets):
            raise _Violation("a bucket that does not exist")
        entries = {held.name: held for held in inventory.entries if bucket_of(held.name) in buckets}
        table = self._works()
        lacking: list[str] = []
        for name, work in table.items():
            if bucket_of(name) in buckets:
                self._match(work, entries.pop(name, None), lacking)
        self._strangers(entries)
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

    def _strangers(self, entries: Mapping[str, fleet.Held]) -> None:
        """What the agent listed and the table lacks."""
        unknown = [held for held in entries.values() if not held.removing]
        for held in unknown:
            holds = _Holds(held.uid, held.work_hash, held.revision, False)
            self._holds[held.name] = self._unknown[held.name] = holds
        if unknown:
            if self.hello is not None and is_from_the_future(self.hub, self.hello, unknown):
                self.breaker.doubt()
            self._effects.append(UnknownHeld(tuple(held.name for held in unknown)))

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
        self._sends = self._synced_due = True
