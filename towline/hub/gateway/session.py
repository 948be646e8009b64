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
from typing import Any

from towline.hub.decide.wire import Phase, WireWork, WorkReport
from towline.hub.gateway.breaker import Breaker, hold_of
from towline.hub.gateway.capacity import read_capacity
from towline.hub.gateway.delivery import Delivery, Violation
from towline.hub.gateway.effects import (
    Answered,
    CapacitySeen,
    Close,
    Effect,
    FactsSeen,
    HeartbeatSeen,
    HubIdentity,
    Reported,
    Synced,
    Welcomed,
)
from towline.hub.gateway.outbox import Credit, Standing, shared
from towline.hub.gateway.questions import Questions
from towline.hub.gateway.reports import read_report
from towline.proto import fleet_pb2 as fleet
from towline.proto.digest import BUCKETS, HASH_BYTES

PROTOCOL_VERSION = 1
HELLO_SECONDS_MAX = 30.0
HEARTBEATS_MISSED_MAX = 3
_TRUSTS_MAX = 8
_WORDS: Mapping[type, str] = {fleet.Settings: "settings", fleet.Trust: "trust", fleet.Hubs: "hubs"}


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
        self._beat = 0
        """The number of the last heartbeat, until it is answered; it answers for those before."""
        self._standing = Standing()
        self._credit = Credit()
        self._awaits_load = False
        self._delivery = Delivery(
            works, hub, breaker, say=lambda frame: self._control.append(frame), happened=lambda effect: self._effects.append(effect)
        )  # fmt: skip

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
        except Violation as error:
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
        if self._delivery.changed(names):
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
        elif self._delivery.is_unanswered(now):
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
        self._control, self._beat = [fleet.HubFrame(go_away=said)], 0

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
        delivers_at = self._delivery.deadline(may_send=not self._credit.is_spent)
        return min(silent_at, self._credit.stalls_at, self.questions.deadline, delivers_at)

    # --- out -----------------------------------------------------------------------------------------------------

    def next_batch(self, now: float) -> fleet.HubBatch | None:
        """The next batch to send, if there is anything to say and credit to say it."""
        if self._awaits_load and self._loaded():
            self._awaits_load = False
            self._ask_inventory()  # the one that came is old by now, and what was reported since is not in it
        frames = self._next_control()
        if not frames and self.closed is None and self.hello is not None:
            frames += self._next_words()
        if not frames and self.closed is None and self._delivery.sends:
            works = None if self._credit.is_spent else self._delivery.next_works(now)
            if works is not None:
                frames.append(fleet.HubFrame(works=works))
            frames += self._next_control()
            if self._delivery.take_synced():
                frames.append(fleet.HubFrame(synced=fleet.Synced()))
                self._effects.append(Synced())
        if not frames:
            return None
        self._sent += 1
        batch = fleet.HubBatch(sequence=self._sent, frames=frames)
        if any(frame.HasField("works") for frame in frames):
            self._credit.spend(self._sent, batch.ByteSize(), now)
        return batch

    def _next_control(self) -> list[fleet.HubFrame]:
        if self._control:
            return [self._control.pop(0)]
        number, self._beat = self._beat, 0
        return [fleet.HubFrame(heard=fleet.Heard(number=number))] if number else []

    def _next_words(self) -> list[fleet.HubFrame]:
        """What is neither about Works nor an answer: what the agent is to know, then questions."""
        standing = self._standing.next()
        if standing is not None:
            return [standing]
        questions = self.questions.next_frame(self.hub.batch_bytes_max)
        return [] if questions is None else [fleet.HubFrame(questions=questions)]

    # --- the agent's frames --------------------------------------------------------------------------------------

    def _frame(self, frame: fleet.AgentFrame, now: float) -> None:
        if self.closed is not None:
            return
        kind = frame.WhichOneof("frame")
        if kind is None:
            raise Violation("a frame of no known kind")
        if (self.hello is None) != (kind == "hello"):
            raise Violation(f"{kind} is not what may come {'first' if self.hello is None else 'twice'}")
        if kind == "hello":
            self._hello(frame.hello)
        elif kind == "inventory":
            self._inventory(frame.inventory, now)
        elif kind == "ack":
            if frame.ack.sequence > self._sent:
                raise Violation("an Ack of a batch that was never sent")
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
            self._beat = frame.heartbeat.number or self._beat

    def _hello(self, hello: fleet.Hello) -> None:
        if hello.cluster != self.cluster:
            says = hello.cluster[:64]
            raise Violation(f"the certificate is of cluster {self.cluster}, the agent says {says!r}")
        if self._member_uid and hello.cluster_uid != self._member_uid:
            raise Violation(f"cluster {self.cluster} is another member than the one that joined")
        if hello.protocol_version != PROTOCOL_VERSION:
            theirs = hello.protocol_version
            self.close(f"this hub speaks protocol version {PROTOCOL_VERSION}, the agent {theirs}")
            return
        if len(hello.trusts) > _TRUSTS_MAX or any(len(each) != 64 for each in hello.trusts):
            raise Violation("a Hello whose trusts are no fingerprints")
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
            raise Violation(f"the cluster's capacity cannot be: {error}") from None

    def _reports(self, reports: fleet.Reports) -> None:
        try:
            read = list(map(read_report, reports.reports))
        except ValueError as error:
            raise Violation(str(error)) from None
        works = self._works()
        taken: list[WorkReport] = []
        for report in read:
            work = works.get(report.value.name)
            removed = report.value.phase == Phase.REMOVED
            if removed and not self._delivery.is_removal_done(report):
                continue
            if work is not None and work.uid == report.value.uid and (work.removing or not removed):
                taken.append(report.value)
        if taken:
            self._effects.append(Reported(tuple(taken)))

    # --- the exchange --------------------------------------------------------------------------------------------

    def _ask_inventory(self) -> None:
        if self.closed is None and not any(
            frame.HasField("ask") and frame.ask.inventory for frame in self._control
        ):
            self._control.append(fleet.HubFrame(ask=fleet.Ask(inventory=True)))

    def _inventory(self, inventory: fleet.Inventory, now: float) -> None:
        if inventory.digests:
            if len(inventory.digests) != BUCKETS * HASH_BYTES:
                raise Violation(f"{len(inventory.digests)} bytes of digests")
            self._standing.again()
            # What the exchange before asked for is asked anew, and does not pile up for an agent that does not read.
            self._control = [
                frame for frame in self._control if not frame.HasField("ask") or frame.ask.inventory
            ]
            self._awaits_load = not self._loaded()
            if not self._awaits_load:
                self._delivery.compare(inventory.digests, now)
        elif self.hello is not None:
            self._delivery.listed(inventory, self.hello)
