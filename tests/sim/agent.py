"""An agent: the real session, table and execution rules, around them a disk and a watch that may be late."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson

from tests.sim.member import Member, Refused, Unreachable
from tests.sim.network import Connection
from towline.agent import execution
from towline.agent.cutoff import Cutoff
from towline.agent.desired import Changed, Desired, HeldWork, HubSeen, Persist, Reconcile, Ref
from towline.agent.execution import ABSENT, UNKNOWN, Applied, Mode, Observation, Owner, Seen
from towline.agent.session import AgentSession, Closed, Configure, Detached, Effect, Estimate, NotCutOff
from towline.hub.decide.wire import canonical
from towline.kube import interpreter, names
from towline.kube.objects import Object
from towline.proto import fleet_pb2 as fleet

RETRY_SECONDS = 5.0


class Crashed(Exception):
    """The process died at this instant."""


@dataclass
class Disk:
    """What is durable."""

    rows: dict[str, HeldWork] = field(default_factory=dict)
    hub: HubSeen = field(default_factory=HubSeen)
    applied: dict[str, dict[Ref, Applied]] = field(default_factory=dict)
    heard_at: float | None = None


class Agent:
    """One cluster's agent. `die()` answers whether it crashes now; asked between any two writes."""

    def __init__(
        self, member: Member, rng: random.Random, now: Callable[[], float], die: Callable[[], bool]
    ) -> None:
        self.member = member
        self.cluster = member.cluster
        self.namespace = names.execution_namespace(member.cluster)
        self.disk = Disk()
        self.clock_rate = 1.0
        """How much faster than the hub's its clock runs."""
        self.running = False
        self.object_uid = ""
        """Of the Cluster object that its certificate is for."""
        self.unwelcome = False
        self._rng, self._die = rng, die
        self._now: Callable[[], float] = lambda: now() * self.clock_rate
        self.connection: Connection | None = None
        self.session: AgentSession | None = None
        self.start()

    # --- life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """From what is on disk: look at every Work again, watch everything again."""
        self.running = True
        self.desired = Desired(self.disk.rows.values(), self.disk.hub)
        self.cutoff = Cutoff(self.disk.heard_at, self._now(), self._now())
        self.stopped: set[str] = set()
        self.applied = {name: dict(refs) for name, refs in self.disk.applied.items()}
        self.unwritten: list[tuple[Effect, AgentSession | None]] = []
        self.queue: dict[str, float] = {row.name: 0.0 for row in self.desired}
        self.removable = {row.name for row in self.desired if row.removing}
        self.records: dict[Ref, Object] = {}
        self.settled: dict[str, bytes] = {}
        self.grades: list[int] = []
        self.found_up: bool | None = None
        self.said: tuple[int, list[int]] | None = None
        self._refs: dict[str, tuple[HeldWork, tuple[Ref, ...]]] = {}
        for ref in self.member.objects:
            self.member.events.append(ref)

    def crash(self) -> None:
        self.hang_up()
        self.running = False

    def lose_disk(self) -> None:
        self.disk = Disk()

    def connect(self, connection: Connection) -> None:
        self.hang_up()
        self.connection = connection
        self.session = AgentSession(
            self.desired, cluster=self.cluster, cluster_uid=f"uid-{self.cluster}", agent_version="0",
            jitter=self._rng.random(), object_uid=self.object_uid,
        )  # fmt: skip
        self.session.open(self._now())
        self.found_up = None
        self._say_up()
        self.said = None

    @property
    def hung_up(self) -> bool:
        return self.session is None

    def hang_up(self) -> None:
        if self.connection is not None:
            self.connection.open = False
        self.connection = self.session = None

    # --- the session ---------------------------------------------------------------------------------------------

    def talk(self, most: int = 1000) -> None:
        """Take in what has come, send what there is to say."""
        if self.session is None or self.connection is None:
            return
        if not self.connection.open:
            self.hang_up()
            return
        for _ in range(most):
            batch = self.connection.at_agent()
            if batch is None:
                break
            self._carry_out(self.session.receive(batch, self._now()))
            if self.hung_up:
                return
        self._carry_out(self.session.tick(self._now()))
        self._say_up()
        self._count()
        while self.session is not None and (out := self.session.next_batch(self._now())) is not None:
            self.connection.to_hub(out)

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Closed):
                self.unwelcome = not effect.reconnect
                self.hang_up()
                return
            if isinstance(effect, Detached):
                self._search(effect)
            if isinstance(effect, Configure):
                self.grades = [row.grade for row in effect.settings.grades]
            if isinstance(effect, Estimate) and self.session is not None:
                for question in effect.questions:
                    self.session.answer(fleet.Answer(id=question.id, room=len(self.member.objects)))
            if isinstance(effect, NotCutOff) and self.cutoff.heard(effect.since):
                self.disk.heard_at = effect.since
            if isinstance(effect, Persist | Reconcile):
                self.unwritten.append((effect, self.session))

    def _say_up(self) -> None:
        """Whether the member is up, when that is news."""
        if self.session is not None and self.member.up != self.found_up:
            self.found_up = self.member.up
            self.session.state(fleet.Facts(kubernetes_version="v1.32.0", api_server_ready=self.found_up))

    def _search(self, said: Detached) -> None:
        """A lost disk does not know what is in the member."""
        if self.desired.hub.store_id or said.remains == fleet.LEAVE:
            return
        changed = Changed()
        for ref, owner in self.member.managed().items():
            preserve = said.remains != fleet.REMOVE or ref.kind == "Namespace"
            self.desired.adopt(owner.name, [ref], preserve, changed)
        effects: list[Effect] = [changed.persist(), *map(Reconcile, changed.names)]
        self.unwritten += [(effect, None) for effect in effects]

    def _count(self) -> None:
        """As if each object of the member were a pod, and each grade of the hub's had one node more than the last."""
        counted = (len(self.member.objects), self.grades)
        if self.session is not None and self.grades and counted != self.said:
            self.said = counted
            graded = [fleet.Graded(grade=grade, nodes=n) for n, grade in enumerate(self.grades)]
            self.session.room(fleet.Capacity(nodes=1, allocated={"pods": counted[0]}, graded=graded))

    def flush(self) -> None:
        """The disk has written everything so far; what waited for that may begin."""
        effects, self.unwritten = self.unwritten, []
        for effect, session in effects:
            if isinstance(effect, Reconcile):
                self.queue[effect.name] = 0.0
                row = self.desired.get(effect.name)
                if row is not None and row.removing:
                    self.removable.add(effect.name)
                else:
                    self.removable.discard(effect.name)
                self.settled.pop(effect.name, None)
            elif isinstance(effect, Persist):
                for row in effect.rows:
                    self.disk.rows[row.name] = row
                for name in effect.deleted:
                    self.disk.rows.pop(name, None)
                    self.disk.applied.pop(name, None)
                if effect.hub is not None:
                    self.disk.hub = effect.hub
                self.desired.durable(effect)
                if effect.sequence and session is not None:
                    session.persisted(effect.sequence)
        for name, refs in self.applied.items():
            self.disk.applied[name] = dict(refs)

    # --- the member ----------------------------------------------------------------------------------------------

    def watch(self, late: bool = False) -> None:
        """The watch tells of changes; a late one of some only."""
        events, self.member.events = self.member.events, []
        if not events:
            return
        if late:
            self.member.events = events[len(events) // 2 :]
            events = events[: len(events) // 2]
        changed = dict.fromkeys(events)
        for ref in changed:
            obj = self.member.objects.get(ref)
            if obj is None:
                self.records.pop(ref, None)
            else:
                self.records[ref] = obj
        for row in self.desired:
            if any(ref in changed for ref in self._refs_of(row)):
                if self._is_settled(row):
                    self._report(row)
                else:
                    self.queue.setdefault(row.name, 0.0)

    def _refs_of(self, row: HeldWork) -> tuple[Ref, ...]:
        known = self._refs.get(row.name)
        if known is None or known[0] is not row:
            known = self._refs[row.name] = row, (*row.refs, *row.leftovers)
        return known[1]

    def _is_settled(self, row: HeldWork) -> bool:
        if row.removing or self.settled.get(row.name) != row.hash:
            return False
        for ref, applied in self.applied.get(row.name, {}).items():
            live = self.records.get(ref)
            if live is None:
                return False
            seen = execution.see(live)
            if (seen.uid, seen.entry, seen.owner) != (applied.uid, applied.entry, self._owner(row)):
                return False
        return True

    def reconcile(self, most: int = 1000) -> None:
        """Work through the queue."""
        now = self._now()
        stopped = self.cutoff.stopped(self.desired, now)
        self.queue |= dict.fromkeys(stopped ^ self.stopped, 0.0)
        self.stopped = stopped
        due = [name for name, at in self.queue.items() if at <= now]
        due = sorted(due, key=lambda name: name not in stopped)[:most]
        for name in due:
            del self.queue[name]
            row = self.desired.get(name)
            if row is None or (row.removing and name not in self.removable):
                continue
            try:
                self._reconcile(row)
            except Unreachable:
                self.queue[name] = now + RETRY_SECONDS

    def _reconcile(self, row: HeldWork) -> None:
        owner = self._owner(row)
        problems: list[str] = []
        stops = self.cutoff.stops(row, self._now())
        for manifest in row.manifests:
            body = execution.prepared(orjson.loads(manifest), owner)
            body = execution.stopped(body) if stops else body
            problem = self._apply(execution.ref_of(body), body, owner, row)
            problems += [problem] if problem else []
        mine = self.applied.setdefault(row.name, {})
        cleared: list[Ref] = []
        for ref in dict.fromkeys((*row.leftovers, *(r for r in mine if r not in row.refs))):
            problem = self._remove(ref, owner, row.preserve)
            if problem:
                problems.append(problem)
            else:
                mine.pop(ref, None)
                cleared.append(ref)
        if (persist := self.desired.cleared(row.name, cleared)) is not None:
            self.unwritten.append((persist, None))
        if stops and not problems:
            self.settled.pop(row.name, None)
            self._tell(fleet.Report(
                name=row.name, uid=row.uid, work_hash=row.hash, phase=fleet.FAILED, message="stopped"
            ))  # fmt: skip
        elif problems:
            self.queue[row.name] = self._now() + RETRY_SECONDS
            self._tell(fleet.Report(
                name=row.name, uid=row.uid, work_hash=row.hash, phase=fleet.FAILED, message="; ".join(problems)
            ))  # fmt: skip
        elif row.removing:
            self.applied.pop(row.name, None)
            self.settled.pop(row.name, None)
            self._tell(fleet.Report(name=row.name, uid=row.uid, phase=fleet.REMOVED))
        else:
            self.settled[row.name] = row.hash
            self._report(row)

    def _apply(self, ref: Ref, body: Object, owner: Owner, row: HeldWork) -> str:
        mine = self.applied.setdefault(row.name, {})
        observed = self._look(ref, mine.get(ref), owner)
        for _ in range(5):
            action = execution.to_apply(
                body, execution.body_hash(body), owner, Mode(row.conflict), observed, mine.get(ref),
                cluster=self.cluster, rival_held=self._rival_held(observed, owner),
            )  # fmt: skip
            if isinstance(action, execution.Nothing | execution.Share):
                if isinstance(action, execution.Share):
                    mine.pop(ref, None)
                return ""
            if isinstance(action, execution.Conflict | execution.Wait):
                return action.message
            if isinstance(action, execution.Apply):
                self._maybe_die()
                try:
                    live = self.member.apply(action.body, owner, overwrite=row.conflict == fleet.OVERWRITE)
                except Refused as refused:
                    if refused.code != 409:
                        return str(refused)
                else:
                    self._maybe_die()
                    seen = execution.see(live)
                    self.records[ref] = live
                    mine[ref] = Applied(execution.body_hash(body), seen.uid, seen.entry)
                    return ""
            observed = self._read(ref)
        return f"{ref} keeps changing"

    def _remove(self, ref: Ref, owner: Owner, preserve: bool) -> str:
        record = self.records.get(ref)
        observed: Observation = execution.see(record) if record is not None and not preserve else UNKNOWN
        for _ in range(5):
            action = execution.to_remove(ref, owner, preserve, observed)
            if isinstance(action, execution.Nothing):
                return ""
            if isinstance(action, execution.Wait):
                return action.message
            if not isinstance(action, execution.Read):
                self._maybe_die()
                try:
                    if isinstance(action, execution.Delete):
                        self.member.delete(ref, action.uid, owner)
                    else:
                        self.member.release(ref, action.patch, owner)
                    self.records.pop(ref, None)
                    self._maybe_die()
                    return ""
                except Refused:
                    pass
            observed = self._read(ref)
        return f"{ref} keeps changing"

    def _look(self, ref: Ref, applied: Applied | None, owner: Owner) -> Observation:
        record = self.records.get(ref)
        if applied is None:
            return UNKNOWN
        if record is None:
            return self._read(ref)
        seen = execution.see(record)
        if (seen.uid, seen.entry, seen.owner) == (applied.uid, applied.entry, owner):
            return seen
        return self._read(ref)

    def _read(self, ref: Ref) -> Observation:
        obj = self.member.get(ref)
        return execution.see(obj, keep=True) if obj is not None else ABSENT

    def _rival_held(self, observed: Observation, owner: Owner) -> bool:
        if not isinstance(observed, Seen) or observed.owner is None or observed.owner == owner:
            return False
        return (
            observed.owner.namespace == owner.namespace and self.desired.get(observed.owner.name) is not None
        )

    def _report(self, row: HeldWork) -> None:
        report = fleet.Report(name=row.name, uid=row.uid, work_hash=row.hash, phase=fleet.APPLIED)
        for ordinal, ref in enumerate(row.refs):
            live = self.records.get(ref)
            if live is None:
                return
            report.statuses.add(
                ordinal=ordinal, api_version=ref.api_version, kind=ref.kind, namespace=ref.namespace, name=ref.name,
                status=canonical(interpreter.reflect_status(live)), health=interpreter.health(live),
            )  # fmt: skip
        self._tell(report)

    def _tell(self, report: fleet.Report) -> None:
        persist = self.desired.report(report)
        if persist is not None:
            self.unwritten.append((persist, None))

    def _owner(self, row: HeldWork) -> Owner:
        return Owner(self.namespace, row.name)

    def _maybe_die(self) -> None:
        if self._die():
            raise Crashed
