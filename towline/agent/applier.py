"""Brings the member to what the desired table says, and keeps it there.

One Work at a time each, several Works at once; what is wrong is tried again with growing pauses, and at once when
something that it waits for has come. What the watches tell becomes either a new reconciliation (somebody changed what is
ours) or a new report (only the status changed).
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from towline.agent import execution
from towline.agent.desired import Desired, HeldWork, Persist, Ref
from towline.agent.execution import Applied, Mode, Owner, shown
from towline.agent.kubernetes import MemberUnreachable, Refused
from towline.agent.reports import Reports
from towline.agent.watcher import Record, Watcher
from towline.agent.works import Work
from towline.agent.writer import Done, Problem, Writer, parsed, problem_of
from towline.kube import names

log = logging.getLogger("towline.agent.applier")

BACKOFF_SECONDS = (0.1, 60.0)
_DRIFT_FREE = 3
"""So many times in a row drift is put back at once; then it looks like a fight and is put back ever more slowly."""
_DRIFT_CALM_SECONDS = 60.0
_RANK_REMOVAL = 8
_RANK_STOP = -1
"""What may not run any more goes before all else, however much waits: somebody counts on it (`stopAfterSeconds`)."""
STOPPED = "stopped, because the agent was cut off from the hub for longer than stopAfterSeconds ({} s)"


class AppliedStore(Protocol):
    """Where `Applied` records outlive the process. They may be lost: then objects are applied once more."""

    def put_applied(self, work: str, ref: Ref, applied: Applied) -> None: ...

    def drop_applied(self, work: str, refs: Iterable[Ref]) -> None: ...


class Applier:
    """Reconciles Works with the member. Callers stay on its event loop; tasks live in `group`.

    `persist` keeps what the desired table hands back, and calls back when it is durable; `outbox` is called when there is something new to send;
    `now` is monotonic seconds, `jitter` gives 0..1; `stopped` says of which Works nothing may run now."""

    def __init__(
        self,
        desired: Desired,
        cluster: str,
        store: AppliedStore,
        *,
        persist: Callable[[Persist, Callable[[], None] | None], None],
        outbox: Callable[[], None],
        group: asyncio.TaskGroup,
        now: Callable[[], float],
        jitter: Callable[[], float],
        concurrency: int,
        stopped: Callable[[HeldWork], bool] = lambda row: False,
    ) -> None:
        self._desired = desired
        self._namespace = names.execution_namespace(cluster)
        self._store = store
        self._persist = persist
        self._group = group
        self._now = now
        self._jitter = jitter
        self._concurrency = concurrency
        self._is_stopped = stopped
        self._works: dict[str, Work] = {}
        self._reports = Reports(desired, self._works, persist, outbox)
        self._by_ref: dict[Ref, tuple[str, ...]] = {}
        self._queue: list[tuple[int, int, Work]] = []
        self._order = itertools.count()
        self._running = 0
        self._bases_running = 0
        self._stopped = True
        self._fewer_kinds = False
        """Works have gone since it was last looked which kinds are still to be watched."""
        self._writer: Writer
        self._watcher: Watcher

    def connect(self, writer: Writer, watcher: Watcher) -> None:
        """The watcher tells this applier, which asks the watcher: so one of the two comes later."""
        self._writer, self._watcher = writer, watcher

    def restore(self, applied: Mapping[str, Mapping[Ref, Applied]]) -> None:
        """Begin, from what the disk kept: look at every Work, watch what was applied; what is unchanged costs no
        request. Before this nothing is written."""
        self._stopped = False
        self._reports.begin(self._watcher)
        for row in self._desired:
            work = self._work(row.name)
            work.applied = dict(applied.get(row.name, {}))
            for ref in work.applied:
                self._watcher.need(ref)
            self.reconcile(row.name)

    def reconcile(self, name: str) -> None:
        """What is wanted of this Work has changed: do it now, whatever it was waiting for. Of a removal: once it is durable."""
        work, row = self._work(name), self._desired.get(name)
        work.removable = row is not None and row.removing
        work.attempts = 0
        work.settled = None
        if work.queued and work.rank != _RANK_STOP and self._is_to_stop(row):
            work.queued = False  # it goes ahead, and is passed over where it was
        self._enqueue(work)

    def reconcile_all(self, work_names: Iterable[str]) -> None:
        for name in work_names:
            self.reconcile(name)

    def retry_all(self) -> None:
        """The member can be reached again: nobody needs to wait any longer."""
        for work in list(self._works.values()):
            if work.attempts:
                work.attempts = 0
                self._enqueue(work)

    def stop(self) -> None:
        """Begin nothing new; what runs may finish."""
        self._stopped = True
        for work in self._works.values():
            if work.timer is not None:
                work.timer.cancel()
        self._reports.stop()

    @property
    def running(self) -> int:
        """Works that are being reconciled at this moment."""
        return self._running

    @property
    def held(self) -> int:
        """Works in the desired table."""
        return len(self._desired)

    @property
    def busy(self) -> int:
        """Works that are not as they should be."""
        return sum(1 for work in self._works.values() if work.settled is None)

    # --- what the watches tell -----------------------------------------------------------------------------------

    def object_changed(self, ref: Ref, record: Record | None) -> None:
        for name in self._by_ref.get(ref, ()):
            work = self._works[name]
            applied = work.applied.get(ref)
            if record is None:
                self._enqueue(work, self._drift_pause(work))
            elif applied is not None and self._is_ours_still(name, record, applied):
                self._reports.soon(name)
            elif applied is not None:
                self._enqueue(work, self._drift_pause(work))

    def kind_synced(self, api_version: str, kind: str) -> None:
        for ref, works in list(self._by_ref.items()):
            if ref.api_version == api_version and ref.kind == kind and self._watcher.record(ref) is None:
                for name in works:
                    self._enqueue(self._works[name])
        for name in self._works:
            self._reports.soon(name)

    def _is_ours_still(self, name: str, record: Record, applied: Applied) -> bool:
        seen = record.seen
        return (seen.uid, seen.entry, seen.owner, seen.deleting) == (
            applied.uid,
            applied.entry,
            Owner(self._namespace, name),
            False,
        )

    def _drift_pause(self, work: Work) -> float:
        if self._now() - work.fought_at > _DRIFT_CALM_SECONDS:
            work.fights = 0
        return 0.0 if work.fights < _DRIFT_FREE else self._backoff(work.fights - _DRIFT_FREE)

    # --- the queue -----------------------------------------------------------------------------------------------

    def _work(self, name: str) -> Work:
        work = self._works.get(name)
        if work is None:
            work = self._works[name] = Work(name)
        return work

    def _enqueue(self, work: Work, pause: float = 0.0) -> None:
        if self._stopped or work.queued:
            return
        if work.running:
            work.again = True
            return
        if work.timer is not None:
            work.timer.cancel()
            work.timer = None
        if pause > 0:
            work.timer = asyncio.get_running_loop().call_later(pause, self._enqueue, work)
            return
        row = self._desired.get(work.name)
        if row is None:
            self._unindex(work, ())
            self._works.pop(work.name, None)
            return
        self._index(work, row)
        work.queued = True
        heapq.heappush(self._queue, (work.rank, next(self._order), work))
        self._pump()

    def _index(self, work: Work, row: HeldWork) -> None:
        """Note which objects this Work has, so that the watches' news find it."""
        refs = row.refs
        self._unindex(work, row.leftovers)
        work.refs = refs
        for ref in dict.fromkeys((*refs, *work.applied, *row.leftovers)):
            self._by_ref[ref] = (*self._by_ref.get(ref, ()), work.name)
        ranks = [execution.rank(ref) for ref in refs or row.leftovers]
        work.rank = _RANK_REMOVAL - min(ranks, default=0) if row.removing else min(ranks, default=0)
        if self._is_to_stop(row):
            work.rank = _RANK_STOP

    def _is_to_stop(self, row: HeldWork | None) -> bool:
        return row is not None and not row.removing and self._is_stopped(row)

    def _unindex(self, work: Work, leftovers: Iterable[Ref]) -> None:
        for ref in (*work.refs, *work.applied, *leftovers):
            others = tuple(name for name in self._by_ref.pop(ref, ()) if name != work.name)
            if others:
                self._by_ref[ref] = others

    def _pump(self) -> None:
        while self._queue and self._running < self._concurrency:
            rank, _, work = self._queue[0]
            # Namespaces and CRDs first: what is in them would only be refused. A base that failed holds nobody.
            if rank > 0 and self._bases_running:
                return
            heapq.heappop(self._queue)
            if not work.queued:
                continue
            work.queued = False
            work.running = True
            base = rank == 0 and not work.attempts
            self._running += 1
            self._bases_running += base
            self._group.create_task(self._run(work, base), name=f"reconcile {work.name}")

    async def _run(self, work: Work, base: bool) -> None:
        pause: float | None = None
        try:
            row = self._desired.get(work.name)
            if row is not None and (work.removable or not row.removing):
                self._index(work, row)  # the row may have changed while the Work waited in the queue
                pause = await self._reconcile(work, row)
        except Exception:
            log.exception("Work %s could not be reconciled", work.name)
            pause = self._backoff(work.attempts)
            work.attempts += 1
        finally:
            work.running = False
            self._running -= 1
            self._bases_running -= base
            if work.again:
                work.again = False
                self._enqueue(work)
            elif pause is not None:
                self._enqueue(work, pause)
            self._pump()
            if self._fewer_kinds and not self._running and not self._stopped:
                self._fewer_kinds = False
                self._watcher.keep_only(self._by_ref)

    def _backoff(self, attempts: int) -> float:
        shortest, longest = BACKOFF_SECONDS
        return min(longest, shortest * 2.0 ** min(attempts, 16)) * (0.5 + self._jitter() / 2)

    # --- one reconciliation --------------------------------------------------------------------------------------

    async def _reconcile(self, work: Work, row: HeldWork) -> float | None:
        """Do what is to be done for `row`; answers after how many seconds to try again, None: all is done."""
        owner = Owner(self._namespace, row.name)
        manifests, problems = parsed(row, owner)
        stopped = self._is_stopped(row)
        if stopped:
            manifests = [(ref, execution.stopped(body)) for ref, body in manifests]
        applied = 0
        for ref, body in manifests:
            try:
                outcome = await self._writer.apply(
                    ref, body, owner, Mode(row.conflict), work.applied.get(ref)
                )
            except (MemberUnreachable, Refused) as error:
                outcome = problem_of(ref, error)
            if isinstance(outcome, Problem):
                problems.append(outcome)
            else:
                applied += 1
                self._applied(work, ref, outcome)
        cleared: list[Ref] = []
        if not any(problem.unclear for problem in problems):
            cleared, left = await self._let_go(work, row, owner)
            problems += left
        if self._is_stopped(row) != stopped:
            work.again = True  # what was just applied is not what is wanted any more
            return None
        if stopped and not problems:
            self._stopped_as_told(work, row, cleared)
            return None
        return self._conclude(work, row, applied, cleared, problems)

    async def _let_go(self, work: Work, row: HeldWork, owner: Owner) -> tuple[list[Ref], list[Problem]]:
        """Remove what the Work no longer has: its leftovers, and what only our own records know of."""
        wanted = frozenset(row.refs)
        leftovers = [*row.leftovers, *(r for r in work.applied if r not in wanted and r not in row.leftovers)]
        cleared: list[Ref] = []
        problems: list[Problem] = []
        for ref in sorted(leftovers, key=execution.rank, reverse=True):
            if ref in wanted:
                cleared.append(ref)
                continue
            try:
                problem = await self._writer.remove(ref, owner, row.preserve, was_applied=ref in work.applied)
            except (MemberUnreachable, Refused) as error:
                problem = problem_of(ref, error)
            if problem is None:
                cleared.append(ref)
                work.applied.pop(ref, None)
                work.plurals.pop(ref, None)
            else:
                problems.append(problem)
        if cleared:
            self._store.drop_applied(work.name, cleared)
        return cleared, problems

    def _applied(self, work: Work, ref: Ref, done: Done) -> None:
        work.plurals[ref] = done.plural
        if done.applied is None:
            work.applied.pop(ref, None)
            if done.record is not None:
                work.shared[ref] = done.record
            return
        work.shared.pop(ref, None)
        if work.applied.get(ref) != done.applied:
            work.applied[ref] = done.applied
            self._store.put_applied(work.name, ref, done.applied)
        if done.drift:
            log.info("%s of Work %s: %s", shown(ref), work.name, done.drift)
            work.notes.append(f"{shown(ref)} {done.drift}")
            work.fights += 1
            work.fought_at = self._now()
        if execution.rank(ref) == 0:
            self._base_came()

    def _base_came(self) -> None:
        for work in list(self._works.values()):
            if work.lacks_base:
                work.lacks_base = False
                self._enqueue(work)

    def _conclude(
        self, work: Work, row: HeldWork, applied: int, cleared: list[Ref], problems: list[Problem]
    ) -> float | None:
        now = self._desired.get(row.name)
        if now is None or (now.uid, now.hash, now.removing) != (row.uid, row.hash, row.removing):
            work.again = True  # another version came meanwhile: what this one found says nothing of it
            return None
        if cleared and (persist := self._desired.cleared(row.name, cleared)) is not None:
            self._persist(persist, None)
        if not problems:
            work.attempts = 0
            work.lacks_base = False
            if row.removing:
                self._unindex(work, row.leftovers)
                self._works.pop(row.name, None)
                self._fewer_kinds = True
                self._reports.removed(row)
            else:
                work.settled = row.hash
                self._reports.soon(row.name)
            return None
        self._writer.counters.failures += 1
        work.settled = None
        work.lacks_base = any(problem.lacks_base for problem in problems)
        told = ", ".join(dict.fromkeys(problem.message for problem in problems))
        # Not being able to ask says nothing new of a Work that was reported before.
        if not (row.report and any(problem.unreachable for problem in problems)):
            self._reports.failed(row, applied, told)
        log.log(logging.DEBUG if work.attempts else logging.INFO, "Work %s: %s", row.name, told)
        pause = self._backoff(work.attempts)
        work.attempts += 1
        return max(pause, *(problem.retry_after_seconds for problem in problems))

    def _stopped_as_told(self, work: Work, row: HeldWork, cleared: list[Ref]) -> None:
        """Nothing of it runs; the hub learns that when there is one again."""
        if cleared and (persist := self._desired.cleared(row.name, cleared)) is not None:
            self._persist(persist, None)
        work.attempts, work.settled = 0, None
        log.warning("Work %s is stopped: %s", row.name, STOPPED.format(row.stop_after_seconds))
        self._reports.failed(row, len(row.manifests), STOPPED.format(row.stop_after_seconds))
