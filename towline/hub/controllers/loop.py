"""The only reconcile loop: takes a key, calls its decision on the live snapshot, carries the plan out.

Decisions are synchronous and run one after the other; commits for different keys overlap, so that a burst of bindings shares
the store's group commits. Two plans that want the same row never overlap.

It runs at every hub of a store. Which keys it decides there depends on whether the hub leads, and on whose sessions it holds
(`Controller.whose`); that is asked when a key's turn comes, so that nothing has to be taken back when it changes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from towline.hub.controllers.queue import Item, Queue, Urgency
from towline.hub.controllers.recorder import Recorder
from towline.hub.controllers.table import CONTROLLERS
from towline.hub.controllers.waiting import Waiting, helping
from towline.hub.controllers.world import Controller, World, no_keys
from towline.hub.decide import bindings, overrides
from towline.hub.decide.conditions import rfc3339
from towline.hub.decide.explaining import Recorded
from towline.hub.decide.plan import Delete, Detail, EventNote, Plan, Put
from towline.hub.decide.scheduling.request import CAPACITY
from towline.hub.decide.wakes import WITHDRAWN
from towline.hub.store.cache import WatchEvent
from towline.hub.store.contract import COMMIT_WRITES_MAX, Conflict, Fenced, Lease, StoreError, Write
from towline.hub.store.works import Record
from towline.kube.objects import Key, Object, encode, with_metadata

log = logging.getLogger(__name__)

COMMITS_IN_FLIGHT = 32
DECISIONS_A_TURN = 16
"""How many decisions are made before others on the event loop get their turn."""
STORIES = 4_000
STORY_LENGTH = 4
DETAILS_NUMBERS_MAX = 2_000_000
"""How much of the details of last decisions is kept: some 16 MB at most."""

_ROOM = frozenset((CAPACITY,))


class Chapter(NamedTuple):
    """What was once decided about a key."""

    at: float
    controller: str
    revision: int
    writes: tuple[str, ...]
    reasons: Mapping[str, Any]
    error: str | None


class Loop:
    """Runs the controllers. `now` is epoch seconds, `new_uid` a fresh UUID; `leads` says whether this hub leads, `fence` is the lease
    that its commits carry then; `lives` and `life` say the same of its sessions; `fenced` is told of a lease that is lost."""

    def __init__(
        self,
        world: World,
        recorder: Recorder,
        *,
        now: Callable[[], float],
        new_uid: Callable[[], str],
        controllers: Sequence[Controller] = CONTROLLERS,
        leads: Callable[[], bool] = lambda: True,
        fence: Callable[[], Lease | None] = lambda: None,
        lives: Callable[[], bool] = lambda: True,
        life: Callable[[], Lease | None] = lambda: None,
        fenced: Callable[[Lease], None] = lambda lease: None,
    ) -> None:
        self._world = world
        self._recorder = recorder
        self._now = now
        self._new_uid = new_uid
        self._controllers = {row.name: row for row in controllers}
        self._hear_reports = [row for row in controllers if row.on_report is not no_keys]
        self._hear_works = [row for row in controllers if row.on_work is not no_keys]
        self._hear_contacts = [row for row in controllers if row.on_contact is not no_keys]
        self._leads = leads
        self._fence = fence
        self._lives = lives
        self._life = life
        self._fenced = fenced
        self.queue = Queue(
            now,
            spacing=lambda item: self._controllers[item.controller].min_interval_seconds,
            priority=self._priority,
        )
        self.waiting = Waiting(now, self._priority)
        self._wake = asyncio.Event()
        self._in_flight = 0
        self._writing: dict[Key, dict[Item, None]] = {}
        """Rows of commits under way, and who waits to decide again once they are through."""
        self._stories: OrderedDict[Key, deque[Chapter]] = OrderedDict()
        self._details: OrderedDict[Key, Recorded] = OrderedDict()
        self._details_numbers = 0
        self._errors: dict[Item, str] = {}
        self.decisions = 0
        self.commits: Counter[str] = Counter()
        """Commits by controller."""

    # --- running ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Decide everything once, then whatever changes concern, until cancelled.

        The cache is synced and the Work table loaded before."""
        async with asyncio.TaskGroup() as commits:
            with _Following(self):
                self.enqueue_all()
                while True:
                    self._wake.clear()
                    if self._turn(commits):
                        await asyncio.sleep(0)
                        continue
                    due = self.queue.next_due() if self._in_flight < COMMITS_IN_FLIGHT else None
                    seconds = None if due is None else max(0.0, due - self._now())
                    try:
                        async with asyncio.timeout(seconds):
                            await self._wake.wait()
                    except TimeoutError:
                        pass

    async def settle(self) -> None:
        """Work until nothing is ready and no commit is under way: for tests and the simulation, which turn the clock."""
        async with asyncio.TaskGroup() as commits:
            while True:
                self._wake.clear()
                if self._turn(commits):
                    continue
                if not self._in_flight:
                    return
                await self._wake.wait()

    def follow(self) -> Callable[[], None]:
        """Turn changes into keys from now on (`run` does it by itself). Answers how to stop."""
        following = _Following(self)
        following.__enter__()
        return lambda: following.__exit__()

    def enqueue_all(self) -> None:
        """At the start, and when this hub begins to lead."""
        self._world.turns.begin(self._now())
        for row in self._mine(self._controllers.values()):
            self._enqueue(row.name, row.initial(self._world), Urgency.RESYNC)

    def enqueue_sessions(self) -> None:
        """What sessions show, when this hub may write again what its own do."""
        for row in self._controllers.values():
            if row.whose is not None:
                self._enqueue(row.name, row.initial(self._world), Urgency.RESYNC)

    def story(self, key: Key) -> Sequence[Chapter]:
        """The last plans made for a key, oldest first."""
        return tuple(self._stories.get(key, ()))

    def reasons(self, key: Key, controller: str = "propagation") -> Mapping[str, Any]:
        """Why things are as they are with a key: what the last decision gave."""
        for chapter in reversed(self.story(key)):
            if chapter.controller == controller and chapter.reasons:
                found: Mapping[str, Any] = chapter.reasons
                return found
        return {}

    def recorded(self, key: Key) -> Recorded | None:
        """The last decision about a key that had details and changed something (or was the first since the start); None when
        there was none, or they were too many to keep."""
        return self._details.get(key)

    def details(self, key: Key) -> Sequence[Detail]:
        """Its details alone."""
        found = self._details.get(key)
        return () if found is None else found.details

    def pending(self) -> Mapping[str, int]:
        """How many templates are to be placed, in the words of Karmada's queues (10.4): now, when their backoff has passed, or
        when something helps."""
        return {
            "active": self.queue.ready("propagation"),
            "backoff": self.waiting.backing_off,
            "unschedulable": self.waiting.unschedulable,
        }

    # --- one turn --------------------------------------------------------------------------------------------

    def _turn(self, commits: asyncio.TaskGroup) -> bool:
        """Make some decisions. False when there is nothing to decide now, or no room for another commit."""
        for made in range(DECISIONS_A_TURN):
            if self._in_flight >= COMMITS_IN_FLIGHT:
                return False
            item = self.queue.pop()
            if item is None:
                return made > 0
            self._decide(item, commits)
        return True

    def _decide(self, item: Item, commits: asyncio.TaskGroup) -> None:
        if self.waiting.stands_back(item):
            self.queue.done(item)
            return
        row, now = self._controllers[item.controller], self._now()
        ours, fence = self._standing(row, item.key)
        if not ours:
            self._drop(item)
            return
        revision = self._world.cache.revision
        self.decisions += 1
        try:
            plan = row.decide(self._world, item.key, now)
        except Exception as failure:
            self._failed(item, revision, f"{type(failure).__name__}: {failure}", failure)
            self.waiting.decided(item, frozenset())  # it is retried, and nobody stands back for it
            self._release()
            self.queue.retry(item, Urgency.RESYNC)
            self.queue.done(item)
            return
        # Before anything is awaited: what happens from here on can help already.
        if plan.asks:
            self.waiting.asks(item, _ROOM)
        elif (seconds := self.waiting.decided(item, plan.waits)) is not None:
            self.queue.add(item, Urgency.RESYNC, seconds)
        self._release()
        busy = [write.key for write in plan.writes if write.key in self._writing]
        if busy:
            # The snapshot is about to change under this plan: decide again when it has.
            self._writing[busy[0]][item] = None
            self.queue.done(item)
            return
        self._tell_story(item, plan, now, revision)
        if not plan.writes:
            self._finish(item, plan, revision, ())
            return
        for write in plan.writes:
            self._writing[write.key] = {}
        self._in_flight += 1
        self._world.placing.decided(plan.writes)
        # The lease of this moment: a plan must not outlive what gave the right to it.
        commit = self._commit(item, plan, revision, fence)
        commits.create_task(commit, name=f"commit {item.controller} {item.key}")

    def _standing(self, row: Controller, key: Key) -> tuple[bool, Lease | None]:
        """Whether this hub decides on the key now, and by which lease."""
        whose = row.whose(self._world, key) if row.whose is not None else None
        if whose is None:
            return self._leads(), self._fence()
        return whose and self._lives(), self._life()

    def _drop(self, item: Item) -> None:
        """Another hub decides on it."""
        self.waiting.decided(item, frozenset())
        self.queue.forget(item)
        self._errors.pop(item, None)
        self.queue.done(item)

    async def _commit(self, item: Item, plan: Plan, revision: int, fence: Lease | None) -> None:
        through = False
        try:
            written = [self._filled(write, plan) for write in plan.writes]
            for start in range(0, len(written), COMMIT_WRITES_MAX):
                part = [write for write, _ in written[start : start + COMMIT_WRITES_MAX]]
                await self._world.cache.commit(part, fence=fence)
                self.commits[item.controller] += 1
            self._finish(item, plan, revision, [obj for _, obj in written if obj is not None])
            through = True
        except Conflict:
            # Then with a pause that grows: until this hub sees what the other writer did, it decides the same again.
            self.queue.retry(item, first_at_once=True)
            self.queue.done(item)
        except Fenced:
            if fence is not None:
                self._fenced(fence)
            self.queue.retry(item, first_at_once=True)  # it may be this hub's without leadership
            self.queue.done(item)
        except asyncio.CancelledError:
            self.queue.done(item)
            raise
        except Exception as failure:
            bug = None if isinstance(failure, StoreError) else failure
            self._failed(item, revision, f"{type(failure).__name__}: {failure}", bug)
            self.queue.retry(item)
            self.queue.done(item)
        finally:
            self._in_flight -= 1
            self._world.placing.settled(plan.writes)
            if not through:
                self._help(WITHDRAWN)
            for write in plan.writes:
                for waiting in self._writing.pop(write.key, ()):
                    self.queue.add(waiting)
            self._wake.set()

    def _filled(self, write: Put | Delete, plan: Plan) -> tuple[Write, Object | None]:
        if isinstance(write, Delete):
            return Write(write.key.path(), None, write.expected), None
        obj = write.object
        metadata = obj["metadata"]
        if write.expected == 0:
            obj = with_metadata(
                obj,
                uid=metadata.get("uid") or self._new_uid(),
                creationTimestamp=metadata.get("creationTimestamp") or rfc3339(self._now()),
            )
        return Write(write.key.path(), encode(obj), write.expected), obj

    def _finish(self, item: Item, plan: Plan, revision: int, written: Sequence[Object]) -> None:
        for note in plan.events:
            self._recorder.record(note, written)
        if plan.error is not None:
            self._failed(item, revision, plan.error, None)
            self.queue.retry(item, Urgency.RESYNC)
        else:
            self.queue.forget(item)
            self._errors.pop(item, None)
        if plan.requeue_after_seconds is not None:
            self.queue.add(item, Urgency.RESYNC, plan.requeue_after_seconds)
        if plan.asks:
            again = partial(self._enqueue, item.controller, (item.key,), Urgency.USER)
            self._world.placing.answers.ask(item.key, plan.asks, again, self._now())
        # A decision that wrote nothing must not delay the next one.
        self.queue.done(item, spaced=bool(plan.writes))

    def _failed(self, item: Item, revision: int, error: str, failure: BaseException | None) -> None:
        """Said once, not on every attempt: a retry that fails the same way is no news."""
        if self._errors.get(item) == error:
            return
        self._errors[item] = error
        log.warning(
            "%s cannot settle %s at revision %d: %s",
            item.controller,
            item.key,
            revision,
            error,
            exc_info=failure,
        )

    def _tell_story(self, item: Item, plan: Plan, now: float, revision: int) -> None:
        if plan.details and (plan.writes or item.key not in self._details):
            # One that changes nothing says less than the one that it agrees with: how it came about.
            self._keep_details(item.key, Recorded(now, revision, plan.reasons, plan.details))
        if not (plan.writes or plan.reasons or plan.error):
            return
        chapters = self._stories.get(item.key)
        if chapters is None:
            chapters = self._stories[item.key] = deque(maxlen=STORY_LENGTH)
            if len(self._stories) > STORIES:
                self._stories.popitem(last=False)
        last = chapters[-1] if chapters else None
        writes = tuple(f"{type(write).__name__.lower()} {write.key}" for write in plan.writes)
        chapter = Chapter(now, item.controller, revision, writes, plan.reasons, plan.error)
        if last is not None and not writes and last[1] == chapter[1] and last[3:] == chapter[3:]:
            chapters.pop()  # nothing new: keep the latest only
        chapters.append(chapter)
        self._stories.move_to_end(item.key)

    def _keep_details(self, key: Key, made: Recorded) -> None:
        before = self._details.pop(key, None)
        self._details_numbers += made.numbers - (0 if before is None else before.numbers)
        self._details[key] = made
        while self._details_numbers > DETAILS_NUMBERS_MAX:
            _, oldest = self._details.popitem(last=False)
            self._details_numbers -= oldest.numbers

    # --- what concerns whom ----------------------------------------------------------------------------------

    def _enqueue(self, controller: str, keys: Iterable[Key], urgency: Urgency) -> None:
        for key in keys:
            self.queue.add(Item(controller, key), urgency)
        self._wake.set()

    def _mine(self, rows: Iterable[Controller]) -> Iterable[Controller]:
        """Those that may have keys for this hub."""
        leads = self._leads()
        return [row for row in rows if leads or row.whose is not None]

    def changed(self, revision: int, events: Sequence[WatchEvent]) -> None:
        rows = self._mine(self._controllers.values())
        for event in events:
            for row in rows:
                keys = self._concerned(row, event)
                if keys:
                    # What concerns many keys at once is bulk work: a user's own change goes before it.
                    self._enqueue(row.name, keys, Urgency.USER if len(keys) == 1 else Urgency.RESYNC)
            if self.waiting:
                self._help(helping(event))

    def _concerned(self, row: Controller, event: WatchEvent) -> Sequence[Key]:
        """The keys that a change concerns; all of them where that cannot be told, so that a mistake here loses nothing."""
        try:
            return list(dict.fromkeys(row.on_change(self._world, event)))
        except Exception:
            log.exception(
                "cannot tell what of %s %s concerns: all is decided anew", row.name, event.entry.key
            )
            return list(dict.fromkeys(row.initial(self._world)))

    def _help(self, causes: frozenset[str]) -> None:
        for item, seconds in self.waiting.helped(causes).items():
            self.queue.add(item, Urgency.RESYNC, seconds)
        self._wake.set()

    def _release(self) -> None:
        for item, seconds in self.waiting.released().items():
            self.queue.add(item, Urgency.RESYNC, seconds)

    def _priority(self, item: Item) -> int:
        return self._controllers[item.controller].priority(self._world, item.key)

    def opened(self, cluster: str) -> None:
        """There may be room in a cluster that its status does not show."""
        self._help(_ROOM)

    def reported(self, owners: Iterable[Key]) -> None:
        rows = self._mine(self._hear_reports)
        for owner in owners:
            for row in rows:
                self._enqueue(row.name, row.on_report(owner), Urgency.REPORT)

    def drifted(self, owner: Key, cluster: str, what: str) -> None:
        """An agent put its member right."""
        regarding = self._regarding(owner)
        if regarding is not None:
            message = f"Put back in cluster {cluster}: {what}"
            self._recorder.record(EventNote(regarding, "Warning", "DriftReverted", message))

    def _regarding(self, owner: Key) -> Object | None:
        """Where users look: the template, or the owner itself where there is none."""
        snapshot = self._world.snapshot
        regarding = snapshot.get(owner)
        if regarding is not None and bindings.is_binding(owner):
            at = bindings.template_key(snapshot.kinds, regarding)
            regarding = (snapshot.get(at) if at else None) or regarding
        return regarding

    def works_changed(self, changes: Iterable[tuple[str, str, Record | None, Record | None]]) -> None:
        rows = self._mine(self._hear_works)
        for cluster, _, before, after in changes:
            record = after or before
            if record is None:
                continue
            if self._leads() and after is not None and (after.work.overrides or after.work.blocked):
                self._overridden(cluster, before, after)
            for row in rows:
                self._enqueue(row.name, row.on_work(self._world, cluster, record.owner), Urgency.REPORT)

    def _overridden(self, cluster: str, before: Record | None, after: Record) -> None:
        work = None if before is None else before.work
        if work is not None and (work.overrides, work.blocked) == (after.work.overrides, after.work.blocked):
            return
        regarding = self._regarding(after.owner)
        if regarding is not None:
            for note in overrides.notes(regarding, cluster, work, after.work):
                self._recorder.record(note)

    def contact_changed(self, cluster: str) -> None:
        for row in self._mine(self._hear_contacts):
            self._enqueue(row.name, row.on_contact(cluster), Urgency.REPORT)


class _Following:
    """The loop's subscriptions, while it runs."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._stops: list[Callable[[], None]] = []

    def __enter__(self) -> None:
        loop, world = self._loop, self._loop._world
        self._stops = [
            world.cache.subscribe(loop.changed),
            world.works.subscribe_reports(loop.reported),
            world.works.subscribe_drifts(loop.drifted),
            world.works.subscribe_records(loop.works_changed),
            world.fleet.subscribe(loop.contact_changed),
            world.placing.answers.subscribe(loop.opened),
        ]

    def __exit__(self, *_: object) -> None:
        for stop in self._stops:
            stop()
