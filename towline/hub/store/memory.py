"""The store in memory: for tests and for simulated members. Nothing survives the process.

`ChangeLog` and `Leases` are what any store needs that one process owns; the sqlite store has them too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from towline.hub.store.contract import (
    Change,
    Compacted,
    Conflict,
    Fenced,
    Lease,
    Row,
    Unavailable,
    Write,
    check_writes,
)

FIRST_REVISION = 1
"""The revision of an empty store. Not 0: to a Kubernetes client resourceVersion 0 says "any"."""

_PAGE_ROWS = 1000
_BATCH_COMMITS = 500
_TAIL_COMMITS = 64


class MemoryStore:
    """Rows in a dict, and the last `commits_max` commits. `now` (epoch seconds) is read for leases only; without a
    clock they never expire."""

    def __init__(self, *, now: Callable[[], float] = lambda: 0.0, commits_max: int = 10_000) -> None:
        self._rows: dict[str, Row] = {}
        self._log = ChangeLog(FIRST_REVISION, commits_max)
        self._leases = Leases(now)
        self._open = True

    async def open(self) -> None:
        self._open = True
        self._log.reopen()

    async def close(self) -> None:
        self._open = False
        self._log.close()

    async def load(self) -> AsyncGenerator[tuple[int, list[Row]], None]:
        # The copy is what makes all pages one revision, whatever is committed between them.
        revision, rows = self._log.revision, sorted(self._rows.values())
        for start in range(0, len(rows) or 1, _PAGE_ROWS):
            yield revision, rows[start : start + _PAGE_ROWS]

    async def commit(self, writes: Sequence[Write], *, fence: Lease | None = None) -> int:
        if not self._open:
            raise Unavailable("The store is closed.")
        check_writes(writes)
        if fence is not None:
            self._leases.check(fence)
        rows = self._rows
        stale = [
            key for key, _, expected in writes if (row.revision if (row := rows.get(key)) else 0) != expected
        ]
        if stale:
            raise Conflict(stale)
        revision = self._log.revision + 1
        for key, value, _ in writes:
            if value is None:
                del rows[key]
            else:
                rows[key] = Row(key, value, revision)
        self._log.append([Change(key, value, revision) for key, value, _ in writes])
        return revision

    def changes(self, after: int) -> AsyncGenerator[list[Change], None]:
        return self._log.follow(after)

    async def compact(self, revision: int) -> None:
        self._log.forget(revision)

    async def acquire(self, name: str, holder: str, ttl_seconds: float) -> Lease | None:
        return self._leases.acquire(name, holder, ttl_seconds)

    async def renew(self, lease: Lease, ttl_seconds: float) -> None:
        self._leases.renew(lease, ttl_seconds)

    async def release(self, lease: Lease) -> None:
        self._leases.release(lease)


class ChangeLog:
    """The last commits, numbered without a gap, and those who follow them. Lives on one event loop."""

    def __init__(self, revision: int, commits_max: int) -> None:
        self.revision = revision
        self._floor = revision
        """The newest revision that is forgotten: `_commits[i]` is the commit of revision `_floor + 1 + i`."""
        self._commits: list[list[Change]] = []
        self._commits_max = commits_max
        self._waiting: list[asyncio.Future[None]] = []
        self._followers: dict[object, int] = {}
        """How far each has read."""
        self._closed = False

    def append(self, commit: list[Change]) -> None:
        """The commit of the next revision."""
        self.revision += 1
        self._commits.append(commit)
        # Trimmed in steps of a quarter: deleting from the front of a list moves all of it.
        if len(self._commits) > self._commits_max + self._commits_max // 4:
            self.forget(self.revision - self._commits_max)
        if self._waiting:
            self._wake()

    def forget(self, revision: int) -> None:
        count = min(revision, self.revision) - self._floor
        if count > 0:
            del self._commits[:count]
            self._floor += count

    async def follow(self, after: int) -> AsyncGenerator[list[Change], None]:
        ticket = object()
        try:
            while not self._closed:
                if after < self._floor:
                    raise Compacted(f"changes after {after} are gone, the oldest kept is {self._floor + 1}")
                start = after - self._floor
                batch = self._commits[start : start + _BATCH_COMMITS]
                if batch:
                    after += len(batch)
                    yield [change for commit in batch for change in commit]
                else:
                    self._followers[ticket] = after
                    self._forget_read()
                    turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiting.append(turn)
                    await turn
        finally:
            self._followers.pop(ticket, None)

    def _forget_read(self) -> None:
        """What all have read is kept only in a short tail: a log of values would hold as much as the rows themselves."""
        read = min(self._followers.values())
        if read - self._floor > 2 * _TAIL_COMMITS:
            self.forget(read - _TAIL_COMMITS)

    def close(self) -> None:
        self._closed = True
        self._wake()

    def reopen(self) -> None:
        self._closed = False

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)


class Leases:
    """Leases of a store that one process owns: nobody outside the process can hold one."""

    def __init__(self, now: Callable[[], float], first_token: int = 1) -> None:
        self._now = now
        self._next_token = first_token
        self._held: dict[str, tuple[Lease, float]] = {}
        """The lease and when it ends, by name. Replaced as a whole, so that another thread may call `check`."""

    def acquire(self, name: str, holder: str, ttl_seconds: float) -> Lease | None:
        held = self._held.get(name)
        if held is not None and held[0].holder != holder and held[1] > self._now():
            return None
        lease = Lease(name, holder, self._next_token)
        self._next_token += 1
        self._held[name] = (lease, self._now() + ttl_seconds)
        return lease

    def check(self, lease: Lease) -> None:
        """Raises Fenced unless `lease` is held now."""
        held = self._held.get(lease.name)
        if held is None or held[0].token != lease.token or held[1] <= self._now():
            raise Fenced(f"{lease.holder} does not hold the lease {lease.name} any more")

    def renew(self, lease: Lease, ttl_seconds: float) -> None:
        self.check(lease)
        self._held[lease.name] = (lease, self._now() + ttl_seconds)

    def release(self, lease: Lease) -> None:
        held = self._held.get(lease.name)
        if held is not None and held[0].token == lease.token:
            del self._held[lease.name]
