"""The store in one sqlite file: the embedded default for a single hub.

One process owns the file, so revisions are compared in memory and the last changes are kept there too; the file holds
only the rows. One thread writes: it takes whatever commits wait for it, carries them out in one transaction, and thus
pays one fsync for all of them. Each commit is still atomic by itself: one that conflicts fails alone.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from towline.hub.store.contract import (
    COMMIT_BYTES_MAX,
    Change,
    Conflict,
    Lease,
    Row,
    StoreError,
    Unavailable,
    Write,
    check_writes,
)
from towline.hub.store.memory import FIRST_REVISION, ChangeLog, Leases

log = logging.getLogger(__name__)

_LAYOUT = 1
_PAGE_ROWS = 256
_GROUP_COMMITS = 1000
_SCHEMA = """
CREATE TABLE rows (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL);
CREATE TABLE numbers (name TEXT NOT NULL PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
"""
_PUT = """
INSERT INTO rows (key, value, revision) VALUES (?, ?, ?)
ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision
"""


class _Commit(NamedTuple):
    """A commit on its way to the writer thread, and who waits for it."""

    writes: Sequence[Write]
    fence: Lease | None
    answer: asyncio.Future[int]


class _Committed(NamedTuple):
    commit: _Commit
    revision: int


class SqliteStore:
    """Rows in the file at `path`. `now` (epoch seconds) is read for leases only; without a clock they never expire.
    The last `commits_max` commits are kept for `changes`; older ones, and those of an earlier process, are Compacted."""

    def __init__(
        self, path: Path | str, *, now: Callable[[], float] = lambda: 0.0, commits_max: int = 10_000
    ) -> None:
        self._path = Path(path)
        self._now = now
        self._commits_max = commits_max
        self._file: _File | None = None
        self._log = ChangeLog(FIRST_REVISION, commits_max)
        self._leases = Leases(now)
        self._queue: queue.SimpleQueue[_Commit | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        if self._writer is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._file = file = await asyncio.to_thread(_File.open, self._path)
        self._log = ChangeLog(file.revision, self._commits_max)
        # Tokens of an earlier process must not look like ours: it may have been us, before a restart.
        self._leases = Leases(self._now, first_token=(file.openings << 32) + 1)
        self._queue = queue.SimpleQueue()
        self._writer = threading.Thread(
            target=self._write, args=(file, self._queue), name="towline-sqlite", daemon=True
        )
        self._writer.start()

    async def close(self) -> None:
        writer, file, self._writer, self._file = self._writer, self._file, None, None
        if writer is None or file is None:
            return
        self._queue.put(None)
        await asyncio.to_thread(writer.join)
        await asyncio.to_thread(file.close)
        self._log.close()

    async def load(self) -> AsyncGenerator[tuple[int, list[Row]], None]:
        self._must_be_open()
        reader = await asyncio.to_thread(_Reader, self._path)
        try:
            revision, rows = reader.revision, await asyncio.to_thread(reader.read)
            yield revision, rows
            while rows := await asyncio.to_thread(reader.read):
                yield revision, rows
        finally:
            reader.close()

    async def commit(self, writes: Sequence[Write], *, fence: Lease | None = None) -> int:
        self._must_be_open()
        check_writes(writes)
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.put(_Commit(writes, fence, answer))
        return await answer

    def changes(self, after: int) -> AsyncGenerator[list[Change], None]:
        return self._log.follow(after)

    async def compact(self, revision: int) -> None:
        self._log.forget(revision)

    async def acquire(self, name: str, holder: str, ttl_seconds: float) -> Lease | None:
        self._must_be_open()
        return self._leases.acquire(name, holder, ttl_seconds)

    async def renew(self, lease: Lease, ttl_seconds: float) -> None:
        self._must_be_open()
        self._leases.renew(lease, ttl_seconds)

    async def release(self, lease: Lease) -> None:
        self._must_be_open()
        self._leases.release(lease)

    def _must_be_open(self) -> None:
        if self._writer is None:
            raise Unavailable("The store is closed.")

    # --- the writer thread -----------------------------------------------------------------------------------

    def _write(self, file: _File, commits: queue.SimpleQueue[_Commit | None]) -> None:
        assert self._loop is not None
        open_ = True
        while open_:
            group, open_ = _next_group(commits)
            try:
                committed, failed = file.write(group, self._leases)
            except (
                Exception
            ) as error:  # whatever it is: those who wait must hear of it, and the thread must go on
                log.exception("a group of commits failed")
                committed, failed = [], [(commit, _unavailable(error)) for commit in group]
            # One call for the whole group; the changes show in the log before anybody's commit returns.
            self._loop.call_soon_threadsafe(self._answer, committed, failed)

    def _answer(self, committed: list[_Committed], failed: list[tuple[_Commit, StoreError]]) -> None:
        for commit, revision in committed:
            self._log.append([Change(key, value, revision) for key, value, _ in commit.writes])
        for commit, revision in committed:
            if not commit.answer.done():
                commit.answer.set_result(revision)
        for commit, error in failed:
            if not commit.answer.done():
                commit.answer.set_exception(error)


class _File:
    """The open file. After `open`, only the writer thread calls it, until that thread has ended."""

    def __init__(self, path: Path, lock: int) -> None:
        self._lock = lock
        self._connection = _connect(path)
        self._revisions: dict[str, int] = {}
        self.revision = FIRST_REVISION
        self.openings = 1

    @classmethod
    def open(cls, path: Path) -> _File:
        """Raises Unavailable when another process owns the file, or when it is not a store that we can read."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = _lock(path)
            # Secrets are in it. The files that sqlite puts beside it take their mode from it.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            reason = f"{path} cannot be opened ({error.strerror})"
            raise Unavailable(f"{reason}; give the hub a data directory that it may write.") from error
        try:
            file = cls(path, lock)
            try:
                file._prepare(path)
            except BaseException:
                file._connection.close()
                raise
        except sqlite3.Error as error:
            os.close(lock)
            reason = f"{path} is not a usable store ({error})"
            raise Unavailable(f"{reason}; restore it from a backup or move it away.") from error
        except BaseException:
            os.close(lock)
            raise
        return file

    def close(self) -> None:
        self._connection.close()
        os.close(self._lock)

    def write(
        self, group: Sequence[_Commit], leases: Leases
    ) -> tuple[list[_Committed], list[tuple[_Commit, StoreError]]]:
        """Carry out a group of commits in one transaction, each on top of those before it."""
        committed: list[_Committed] = []
        failed: list[tuple[_Commit, StoreError]] = []
        staged: dict[str, tuple[bytes | None, int]] = {}
        revision = self.revision
        for commit in group:
            try:
                if commit.fence is not None:
                    leases.check(commit.fence)
                self._check(commit.writes, staged)
            except StoreError as error:
                failed.append((commit, error))
                continue
            revision += 1
            for key, value, _ in commit.writes:
                staged[key] = (value, revision)
            committed.append(_Committed(commit, revision))
        if staged:
            try:
                self._store(staged, revision)
            except (Unavailable, sqlite3.Error) as error:
                refused = error if isinstance(error, Unavailable) else _unavailable(error)
                return [], failed + [(done.commit, refused) for done in committed]
        return committed, failed

    def _check(self, writes: Sequence[Write], staged: dict[str, tuple[bytes | None, int]]) -> None:
        stale = []
        for key, _, expected in writes:
            pending = staged.get(key)
            if pending is None:
                current = self._revisions.get(key, 0)
            else:
                current = 0 if pending[0] is None else pending[1]
            if current != expected:
                stale.append(key)
        if stale:
            raise Conflict(stale)

    def _store(self, staged: dict[str, tuple[bytes | None, int]], revision: int) -> None:
        """Only the last state of each key goes to the file: nobody can see the ones between."""
        puts = [(key, value, at) for key, (value, at) in staged.items() if value is not None]
        gone = [(key,) for key, (value, _) in staged.items() if value is None]
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.executemany(_PUT, puts)
            connection.executemany("DELETE FROM rows WHERE key = ?", gone)
            connection.execute("UPDATE numbers SET number = ? WHERE name = 'revision'", (revision,))
        except BaseException:
            _roll_back(connection)
            raise
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            # The frames may have reached the disk before its fsync failed.
            _roll_back(connection)
            raise _unavailable(error, maybe_committed=True) from error
        for key, (value, at) in staged.items():
            if value is None:
                self._revisions.pop(key, None)
            else:
                self._revisions[key] = at
        self.revision = revision

    def _prepare(self, path: Path) -> None:
        connection = self._connection
        layout = connection.execute("PRAGMA user_version").fetchone()[0]
        if layout > _LAYOUT:
            raise Unavailable(f"{path} was written by a newer Towline (layout {layout}); start that one.")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        # Rows are read once, at the start, and then only written: pages in memory would be of no use.
        connection.execute("PRAGMA cache_size = -512")
        connection.execute("BEGIN IMMEDIATE")
        if not layout:
            for statement in _SCHEMA.strip().split(";\n"):
                connection.execute(statement)
            connection.execute(
                "INSERT INTO numbers VALUES ('revision', ?), ('openings', 0)", (FIRST_REVISION,)
            )
            connection.execute(f"PRAGMA user_version = {_LAYOUT}")
        connection.execute("UPDATE numbers SET number = number + 1 WHERE name = 'openings'")
        connection.execute("COMMIT")
        numbers = dict(connection.execute("SELECT name, number FROM numbers"))
        self.revision, self.openings = numbers["revision"], numbers["openings"]
        self._revisions = dict(connection.execute("SELECT key, revision FROM rows"))


class _Reader:
    """All rows as of the moment it was made, on a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._connection = _connect(path)
        self._connection.execute("BEGIN")
        (self.revision,) = self._connection.execute(
            "SELECT number FROM numbers WHERE name = 'revision'"
        ).fetchone()
        self._rows = self._connection.execute("SELECT key, value, revision FROM rows ORDER BY key")

    def read(self) -> list[Row]:
        return [Row(*row) for row in self._rows.fetchmany(_PAGE_ROWS)]

    def close(self) -> None:
        self._connection.close()


def _next_group(commits: queue.SimpleQueue[_Commit | None]) -> tuple[list[_Commit], bool]:
    """Wait for a commit, take those that wait behind it; False after the last."""
    group: list[_Commit] = []
    size = 0
    while size < COMMIT_BYTES_MAX and len(group) < _GROUP_COMMITS:
        try:
            commit = commits.get(block=not group)
        except queue.Empty:
            break
        if commit is None:
            return group, False
        group.append(commit)
        size += sum(len(write.value or b"") for write in commit.writes)
    return group, True


def _connect(path: Path) -> sqlite3.Connection:
    # Transactions are written out (isolation_level None), and a connection wanders between threads but is used by one
    # at a time.
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)


def _lock(path: Path) -> int:
    """Own the file, as long as the answered descriptor is open; the kernel lets go when the process dies."""
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        if isinstance(error, BlockingIOError):
            reason = f"Another hub uses {path}"
            raise Unavailable(f"{reason}; stop it, or start this one with another data directory.") from error
        raise
    return lock


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _unavailable(error: Exception, *, maybe_committed: bool = False) -> Unavailable:
    return Unavailable(f"The store cannot write ({error}); see to the disk.", maybe_committed=maybe_committed)
