"""What the agent must not forget, in one sqlite file: the desired table, the hub it synced with, what it applied.

A worker thread writes; what came in while a transaction was running goes into the next one. WAL without fsync for each
commit: a process that is killed loses nothing that was said to be durable. A machine that loses power may lose the last
moments, which the next digest exchange brings back: nothing is ever removed because it is missing here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from towline.agent.desired import HeldWork, HubSeen, Persist, Ref
from towline.agent.execution import Applied

log = logging.getLogger("towline.agent.disk")

LOCK_SECONDS = 5.0
"""How long to wait for another agent to let go of the file."""
GATHER_SECONDS = 0.02
"""What comes together is written together: the member is urgent, the disk is not, though the hub's credit waits for it."""
_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS works (name TEXT PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reports (name TEXT PRIMARY KEY, report BLOB NOT NULL, hash BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS applied (
  work TEXT NOT NULL, api_version TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
  manifest BLOB NOT NULL, uid TEXT NOT NULL, entry BLOB NOT NULL,
  PRIMARY KEY (work, api_version, kind, namespace, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(HeldWork)


class DiskUnusable(Exception):
    """The file cannot be opened or is not ours."""

    next_step = "Another agent may be running on this --data-dir; or move the file away to start anew, the hub sends everything again."


@dataclass(frozen=True, slots=True)
class Kept:
    """What an earlier run left."""

    works: list[HeldWork]
    hub: HubSeen
    applied: dict[str, dict[Ref, Applied]]
    heard_at: float | None = None
    """See Persist."""


Statement = tuple[str, tuple[Any, ...]]


class Disk:
    """The file. All methods are called on the event loop; `run` writes until it is cancelled, then writes the rest."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="disk")
        self._connection: sqlite3.Connection | None = None
        self._pending: list[Statement] = []
        self._callbacks: list[Callable[[], None]] = []
        self._wake = asyncio.Event()
        self._kept: dict[str, HeldWork] = {}
        """Rows as they are on disk (shared with the desired table): a new status does not write manifests again."""

    async def open(self) -> Kept:
        """Raises DiskUnusable."""
        try:
            kept: Kept = await self._in_thread(self._open)
            return kept
        except (sqlite3.Error, OSError, msgspec.DecodeError) as error:
            raise DiskUnusable(f"{self._path} cannot be used: {error}") from error

    async def close(self) -> None:
        """Write what is left and close the file."""
        with contextlib.suppress(sqlite3.Error):
            await self._drain()
        await self._in_thread(self._close)
        self._thread.shutdown()

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._wake.clear()
            try:
                await self._drain()
            except sqlite3.Error as error:
                # What was not written stays pending; the hub is not told that it is durable.
                log.error("%s cannot be written: %s; trying again", self._path, error)
                await asyncio.sleep(1)
                self._wake.set()

    def persist(self, change: Persist, durable: Callable[[], None] | None = None) -> None:
        """Keep `change`; `durable` is called when it and everything before it is on disk."""
        for row in change.rows:
            self._keep(row)
        for name in change.deleted:
            self._kept.pop(name, None)
            self._put("DELETE FROM works WHERE name = ?", name)
            self._put("DELETE FROM reports WHERE name = ?", name)
            self._put("DELETE FROM applied WHERE work = ?", name)
        if change.hub is not None:
            self._put("INSERT OR REPLACE INTO meta VALUES ('store_id', ?)", change.hub.store_id)
            self._put("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", str(change.hub.epoch))
        if change.heard_at is not None:
            self._put("INSERT OR REPLACE INTO meta VALUES ('heard_at', ?)", repr(change.heard_at))
        if durable is not None:
            self._callbacks.append(durable)
            self._wake.set()

    def put_applied(self, work: str, ref: Ref, applied: Applied) -> None:
        self._put(
            "INSERT OR REPLACE INTO applied VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            work, *ref, applied.manifest, applied.uid, applied.entry,
        )  # fmt: skip

    def drop_applied(self, work: str, refs: Iterable[Ref]) -> None:
        for ref in refs:
            self._put(
                "DELETE FROM applied WHERE work = ? AND api_version = ? AND kind = ? AND namespace = ? AND name = ?",
                work, *ref,
            )  # fmt: skip

    def _keep(self, row: HeldWork) -> None:
        plain = replace(row, report=b"", report_hash=b"")
        if self._kept.get(row.name) != plain:
            self._kept[row.name] = plain
            self._put("INSERT OR REPLACE INTO works VALUES (?, ?)", row.name, _encoder.encode(plain))
        self._put("INSERT OR REPLACE INTO reports VALUES (?, ?, ?)", row.name, row.report, row.report_hash)

    def _put(self, sql: str, *values: Any) -> None:
        self._pending.append((sql, values))
        self._wake.set()

    async def _drain(self) -> None:
        while self._pending or self._callbacks:
            pending, self._pending = self._pending, []
            callbacks, self._callbacks = self._callbacks, []
            try:
                if pending:
                    await self._in_thread(self._write, pending)
            except BaseException:
                self._pending[:0] = pending
                self._callbacks[:0] = callbacks
                raise
            for callback in callbacks:
                callback()

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    # --- in the thread -------------------------------------------------------------------------------------------

    def _open(self) -> Kept:
        connection = sqlite3.connect(
            self._path, isolation_level=None, timeout=LOCK_SECONDS, check_same_thread=False
        )
        self._connection = connection
        self._path.chmod(0o600)
        # One agent a directory: the lock is held until the process ends, however it ends.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -512")  # KiB; rows are read once, at the start
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            raise sqlite3.DatabaseError(f"it was written by another version of towline ({version})")
        connection.executescript(_SCHEMA)
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        reports = {name: found for name, *found in connection.execute("SELECT * FROM reports")}
        works: list[HeldWork] = []
        for (encoded,) in connection.execute("SELECT row FROM works ORDER BY name"):
            row = _decoder.decode(encoded)
            self._kept[row.name] = row
            report, hashed = reports.get(row.name, (b"", b""))
            works.append(replace(row, report=report, report_hash=hashed))
        meta = dict(connection.execute("SELECT key, value FROM meta"))
        applied: dict[str, dict[Ref, Applied]] = {}
        for work, *ref, manifest, uid, entry in connection.execute("SELECT * FROM applied"):
            applied.setdefault(work, {})[Ref(*ref)] = Applied(manifest, uid, entry)
        heard = float(meta["heard_at"]) if "heard_at" in meta else None
        return Kept(works, HubSeen(meta.get("store_id", ""), int(meta.get("epoch", "0"))), applied, heard)

    def _write(self, statements: list[Statement]) -> None:
        connection = self._connection
        assert connection is not None
        with _transaction(connection):
            for sql, values in statements:
                connection.execute(sql, values)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
