"""The agent's side of one session, without I/O: batches and the time in, effects and batches out.

`fleet.proto` is the specification. The shell makes one AgentSession for every connection over the one Desired table, and

    session.open(now)                       once, when the stream is there
    effects = session.receive(batch, now)   for every batch of the hub
    session.persisted(sequence)             when a Persist with that sequence is durable
    effects = session.report(report)        what execution found; any time, also through Desired without a session
    session.state(facts) / session.ready(x) what the cluster is like
    session.room(capacity)                  what it has and what is taken of it
    session.answer(answer)                  to one of an Estimate's questions
    effects = session.tick(now)             at `session.deadline` or later
    batch = session.next_batch(now)         until it answers None, after any of the above
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from towline.agent.desired import Changed, Desired, HeldWork, Persist, Reconcile
from towline.proto import fleet_pb2 as fleet
from towline.proto.digest import BUCKETS, bucket_of

PROTOCOL_VERSION = 1
WELCOME_SECONDS_MAX = 30.0
"""How long a hub may take to answer Hello."""
SYNC_SECONDS_MAX = 60.0
"""How long an exchange may take before it is begun again."""
HEARTBEATS_OPEN_MAX = 16
"""Heartbeats whose answers are waited for; older ones count for nothing."""
_BATCH_BYTES_MAX = 256 * 1024
_ENTRY_OVERHEAD_BYTES = 64
_HUBS_MAX = 16
_OTHER_FRAMES_BYTES = 8 * 1024
"""Room beside reports for digests, an Ack and a heartbeat. Facts go alone."""


@dataclass(frozen=True, slots=True)
class Synced:
    """The hub has sent all differences: what the table holds is what it wants."""


@dataclass(frozen=True, slots=True)
class NotCutOff:
    """The hub heard what we sent at `since` (the clock of `receive`), and had told us all differences before."""

    since: float


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over; the shell ends the stream. `reconnect` False: this cluster is not welcome any more; go on
    enforcing and try again only rarely, or when told to. `gateways`: of another hub, to which the agent is asked to go. `superseded`: by
    the session of another agent with the same identity."""

    reason: str
    reconnect: bool
    gateways: tuple[str, ...] = ()
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class Detached:
    """The cluster was detached. What becomes of the Works is in effects before this; when they are gone the agent has nothing left to
    do, and removes itself if it is to. `remains` is a `fleet.Remains` value."""

    remains: int
    remove_agent: bool


@dataclass(frozen=True, slots=True)
class Configure:
    """What the hub wants counted, and how."""

    settings: fleet.Settings


@dataclass(frozen=True, slots=True)
class Estimate:
    """The hub wants to know what there is room for: `answer` when it is counted."""

    questions: tuple[fleet.Question, ...]


@dataclass(frozen=True, slots=True)
class Trusting:
    """Whom the hub wants trusted, and whether it wants the certificate renewed now."""

    trust: fleet.Trust


@dataclass(frozen=True, slots=True)
class HubsAt:
    """Where the hubs are, HOST:PORT."""

    gateways: tuple[str, ...]


Effect = (
    Persist | Reconcile | Configure | Estimate | Trusting | HubsAt | Synced | NotCutOff | Detached | Closed
)


@dataclass(slots=True)
class _Outgoing:
    """What is to be sent, as state: a thing asked for twice is sent once."""

    hello: fleet.Hello | None = None
    digests: bool = False
    listings: list[fleet.Inventory] = field(default_factory=list)
    ack: bool = False
    facts: bool = False
    capacity: bool = False
    answers: list[fleet.Answer] = field(default_factory=list)
    heartbeat: bool = False


class AgentSession:
    """One session. `cluster` is the name in our certificate and `object_uid` the uid of its Cluster object, `trusts` are the
    fingerprints of the authorities that we trust, `jitter` is a random number in [0, 1)."""

    def __init__(
        self, desired: Desired, *, cluster: str, cluster_uid: str, agent_version: str, jitter: float = 0.5,
        trusts: Iterable[str] = (), object_uid: str = "",
    ) -> None:  # fmt: skip
        self.desired = desired
        self.synced = False
        self.closed: Closed | None = None
        self._hello = fleet.Hello(
            protocol_version=PROTOCOL_VERSION, cluster=cluster, cluster_uid=cluster_uid, agent_version=agent_version,
            estimates=True, trusts=trusts,
        )  # fmt: skip
        self._jitter = jitter
        self._object_uid = object_uid
        self._welcome: fleet.Welcome | None = None
        self._sent = self._seen = self._stored = 0
        self._out = _Outgoing()
        self._facts: fleet.Facts | None = None
        self._capacity: fleet.Capacity | None = None
        self._ready = True
        self._opened_at = self._heartbeat_at = self._exchange_at = 0.0
        self._in_exchange = False
        self._beats = 0
        self._beaten: dict[int, float] = {}
        """When each heartbeat was sent that is not answered."""

    def open(self, now: float) -> None:
        """The stream is there: say who we are."""
        self._hello.store_id, self._hello.epoch = self.desired.hub.store_id, self.desired.hub.epoch
        self._out.hello = self._hello
        self._opened_at = now

    def receive(self, batch: fleet.HubBatch, now: float) -> list[Effect]:
        """Take one batch in. Persist comes before what depends on it."""
        if self.closed is not None or batch.sequence <= self._seen:
            return []
        gap = batch.sequence != self._seen + 1
        self._seen = batch.sequence
        effects: list[Effect] = []
        changed = Changed()
        works = False
        for frame in batch.frames:
            kind = frame.WhichOneof("frame")
            if kind == "welcome":
                self._welcomed(frame.welcome, now)
            elif kind == "go_away":
                said = frame.go_away
                gateways = tuple(said.gateways)[:_HUBS_MAX]
                self.closed = Closed(said.reason, said.reconnect, gateways, said.superseded)
                effects += self._detached(frame.go_away)
            elif self._welcome is None:
                self.closed = Closed("the hub's first frame was not a Welcome", True)
            elif kind == "works":
                works = True
                self._works(frame.works, changed)
            elif kind == "ask":
                self._asked(frame.ask, now)
            elif kind == "settings":
                effects.append(Configure(frame.settings))
            elif kind == "trust":
                effects.append(Trusting(frame.trust))
            elif kind == "hubs":
                effects.append(HubsAt(tuple(frame.hubs.gateways[:_HUBS_MAX])))
            elif kind == "questions":
                effects.append(Estimate(tuple(frame.questions.questions)))
            elif kind == "synced":
                effects += self._exchanged()
            elif kind == "heard":
                effects += self._heard(frame.heard.number)
            if self.closed is not None:
                break
        if works:
            effects[:0] = [changed.persist(batch.sequence), *map(Reconcile, changed.names)]
        if self.closed is not None:
            effects.append(self.closed)
        elif gap and self._welcome is not None:
            self._begin_exchange(now)
        return effects

    def persisted(self, sequence: int) -> None:
        """Everything in the hub's batches of this session up to `sequence` is on disk."""
        if sequence > self._stored:
            self._stored = sequence
            self._out.ack = True

    def report(self, report: fleet.Report) -> list[Effect]:
        """What `Desired.report` does, as effects."""
        persist = self.desired.report(report)
        return [persist] if persist is not None else []

    def state(self, facts: fleet.Facts) -> None:
        """What to say of the cluster; said again in the next session if the shell hands it in again."""
        self._facts = facts
        self._out.facts = True
        self._ready = facts.api_server_ready

    def room(self, capacity: fleet.Capacity) -> None:
        """What the cluster has and what is taken of it; like `state` it is the shell's to hand in again."""
        self._capacity = capacity
        self._out.capacity = True

    def answer(self, answer: fleet.Answer) -> None:
        """What was counted for one question of this session."""
        self._out.answers.append(answer)

    def ready(self, api_server_ready: bool) -> None:
        """What heartbeats say of the member's API server."""
        self._ready = api_server_ready

    def tick(self, now: float) -> list[Effect]:
        """Do what is due."""
        if self.closed is not None:
            return []
        if self._welcome is None:
            if now - self._opened_at < WELCOME_SECONDS_MAX:
                return []
            self.closed = Closed("the hub did not answer", True)
            return [self.closed]
        if now >= self._heartbeat_at:
            self._beat(now)
            self._heartbeat_at = now + self._welcome.heartbeat_seconds
        if now >= self._exchange_at:
            self._begin_exchange(now)
        return []

    @property
    def deadline(self) -> float:
        """When `tick` has something to do next."""
        if self._welcome is None:
            return self._opened_at + WELCOME_SECONDS_MAX
        return min(self._heartbeat_at, self._exchange_at)

    def next_batch(self, now: float) -> fleet.AgentBatch | None:
        """The next batch to send, if there is anything to say."""
        frames = self._frames()
        if not frames:
            return None
        self._sent += 1
        return fleet.AgentBatch(sequence=self._sent, frames=frames)

    # --- the hub's frames ----------------------------------------------------------------------------------------

    def _detached(self, go_away: fleet.GoAway) -> list[Effect]:
        said = go_away.detached
        if not go_away.HasField("detached") or said.cluster_uid != self._object_uid or not self._object_uid:
            return []
        return parting(self.desired, said)

    def _welcomed(self, welcome: fleet.Welcome, now: float) -> None:
        self._welcome = welcome
        self._heartbeat_at = now + welcome.heartbeat_seconds
        self._begin_exchange(now)

    def _works(self, works: fleet.Works, changed: Changed) -> None:
        assert self._welcome is not None
        epoch, store_id = self._welcome.epoch, self._welcome.store_id
        for work in works.upserts:
            self.desired.upsert(work, epoch, store_id, changed)
        for removal in works.removals:
            self.desired.remove(removal, epoch, store_id, changed)

    def _asked(self, ask: fleet.Ask, now: float) -> None:
        if ask.inventory:
            self._begin_exchange(now)
        if ask.buckets:
            self._out.listings += self._listings(
                sorted({bucket for bucket in ask.buckets if bucket < BUCKETS})
            )
        self.desired.ask(ask.reports)

    def _beat(self, now: float) -> None:
        """A heartbeat, which is answered if what was sent before is not any more."""
        self._out.heartbeat = True
        self._beats += 1
        self._beaten[self._beats] = now
        self._beaten.pop(self._beats - HEARTBEATS_OPEN_MAX, None)

    def _heard(self, number: int) -> list[Effect]:
        """Before the first Synced it proves nothing: what went to another cluster meanwhile may not have been taken back here yet."""
        since = self._beaten.pop(number, None)
        return [NotCutOff(since)] if since is not None and self.synced else []

    def _exchanged(self) -> list[Effect]:
        assert self._welcome is not None
        # That it heard our Hello is proven by the Welcome; the heartbeats come later.
        heard = [] if self.synced else [NotCutOff(self._opened_at)]
        self._in_exchange = False
        self.synced = True
        self._exchange_at = self._exchange_at - SYNC_SECONDS_MAX + self._resync_seconds()
        hub = self.desired.synced(self._welcome.epoch, self._welcome.store_id)
        return [*heard, Synced()] if hub is None else [*heard, Persist(hub=hub), Synced()]

    # --- exchange ------------------------------------------------------------------------------------------------

    def _begin_exchange(self, now: float) -> None:
        self._in_exchange = True
        self._out.digests = self._out.facts = self._out.capacity = True
        self._exchange_at = now + SYNC_SECONDS_MAX

    def _resync_seconds(self) -> float:
        """Between 0.9 and 1.1 of what the hub said, so that agents that came together do not resync together."""
        assert self._welcome is not None
        return max(SYNC_SECONDS_MAX, self._welcome.resync_seconds * (0.9 + 0.2 * self._jitter))

    def _listings(self, buckets: list[int]) -> list[fleet.Inventory]:
        """What we hold in `buckets`, in frames that fit into batches; each lists its buckets completely."""
        entries: dict[int, list[HeldWork]] = {bucket: [] for bucket in buckets}
        for row in self.desired:
            bucket = bucket_of(row.name)
            if bucket in entries:
                entries[bucket].append(row)
        frames: list[fleet.Inventory] = []
        size = self._batch_bytes_max + 1
        for bucket, rows in entries.items():
            rows_bytes = sum(len(row.name) + len(row.uid) + _ENTRY_OVERHEAD_BYTES for row in rows)
            if size + rows_bytes > self._batch_bytes_max:
                frames.append(fleet.Inventory())
                size = 0
            size += rows_bytes
            frames[-1].buckets.append(bucket)
            frames[-1].entries.extend(map(_listed, rows))
        return frames

    # --- out -----------------------------------------------------------------------------------------------------

    @property
    def _batch_bytes_max(self) -> int:
        if self._welcome is None:
            return _BATCH_BYTES_MAX
        return self._welcome.batch_bytes_max or _BATCH_BYTES_MAX

    def _frames(self) -> list[fleet.AgentFrame]:
        """One batch's frames. Before the Welcome only Hello: the hub may not want us."""
        out = self._out
        if out.hello is not None:
            frame = fleet.AgentFrame(hello=out.hello)
            out.hello = None
            return [frame]
        if self._welcome is None or self.closed is not None:
            return []
        if out.facts and self._facts is not None:
            out.facts = False
            return [fleet.AgentFrame(facts=self._facts)]
        if out.capacity and self._capacity is not None:
            out.capacity = False
            return [fleet.AgentFrame(capacity=self._capacity)]
        if out.answers:
            answers, out.answers = out.answers, []
            return [fleet.AgentFrame(answers=fleet.Answers(answers=answers))]
        if out.listings:
            return [fleet.AgentFrame(inventory=out.listings.pop(0))]
        frames: list[fleet.AgentFrame] = []
        if out.digests:
            out.digests = False
            frames.append(fleet.AgentFrame(inventory=fleet.Inventory(digests=self.desired.digests.pack())))
        if out.ack:
            out.ack = False
            frames.append(fleet.AgentFrame(ack=fleet.Ack(sequence=self._stored)))
        if out.heartbeat:
            out.heartbeat = False
            frames.append(
                fleet.AgentFrame(heartbeat=fleet.Heartbeat(api_server_ready=self._ready, number=self._beats))
            )
        if self.desired.has_reports:
            reports = self.desired.take_reports(self._batch_bytes_max - _OTHER_FRAMES_BYTES)
            frames.append(fleet.AgentFrame(reports=fleet.Reports(reports=reports)))
        return frames


def parting(desired: Desired, said: fleet.Detached) -> list[Effect]:
    """What to do about all that is held, now that the cluster is detached."""
    changed = Changed()
    desired.detach(said.remains, changed)
    return [changed.persist(), *map(Reconcile, changed.names), Detached(said.remains, said.remove_agent)]


def _listed(row: HeldWork) -> fleet.Held:
    return fleet.Held(
        name=row.name, uid=row.uid, work_hash=row.hash, report_hash=row.report_hash,
        removing=row.removing, revision=row.revision,
    )  # fmt: skip
