"""The store contract. Three backends keep it (etcd, sqlite, memory); `tests/contract/test_store.py` is its proof.

A store is an ordered map from keys to bytes with one revision that grows with every commit; an empty store is at
revision 1. A row's revision is the commit that wrote it last; it becomes the object's resourceVersion.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple, Protocol

from towline.kube.objects import STORE_PREFIX

VALUE_BYTES_MAX = 1_572_864
"""1.5 MiB: the largest value a store takes (etcd's own default bound for a request)."""

COMMIT_WRITES_MAX = 127
"""The most writes in one commit: etcd's default bound for a transaction (128), less one for the lease."""

COMMIT_BYTES_MAX = 8 * 1024 * 1024
"""The most bytes (keys and values) in one commit. An etcd must allow as much: `--max-request-bytes=10485760`."""


class Row(NamedTuple):
    key: str
    value: bytes
    revision: int


class Write(NamedTuple):
    """One write of a commit. `value` None deletes. `expected` is the revision of the row that the writer decided
    on; 0 says that the key must not exist."""

    key: str
    value: bytes | None
    expected: int


class Change(NamedTuple):
    """One committed write, as `changes` yields it. `value` None is a deletion; `revision` is its commit's."""

    key: str
    value: bytes | None
    revision: int


class Lease(NamedTuple):
    """Leadership. `token` tells two tenures of the same holder apart; it is what a fenced commit checks."""

    name: str
    holder: str
    token: int


class StoreError(Exception):
    """Something a store refused or could not do."""


class Conflict(StoreError):
    """A row is not at the revision that a write was decided on. Nothing was written. `keys` are the ones found."""

    def __init__(self, keys: Sequence[str]) -> None:
        super().__init__(f"changed by somebody else: {', '.join(keys)}")
        self.keys = tuple(keys)


class Fenced(StoreError):
    """The lease that a commit named is not held any more. Nothing was written."""


class Compacted(StoreError):
    """The changes asked for are gone; load again."""


class TooLarge(StoreError):
    """A value over VALUE_BYTES_MAX, or a commit that the store cannot take. Nothing was written."""


class Unavailable(StoreError):
    """The store cannot be reached. `maybe_committed` says that the commit's outcome is not known."""

    def __init__(self, message: str, *, maybe_committed: bool = False) -> None:
        super().__init__(message)
        self.maybe_committed = maybe_committed


def check_writes(writes: Sequence[Write]) -> None:
    """What every backend refuses before it looks at its rows. Raises ValueError or TooLarge."""
    if not writes:
        raise ValueError("a commit without writes")
    if len(writes) > COMMIT_WRITES_MAX:
        raise TooLarge(f"{len(writes)} writes in one commit, {COMMIT_WRITES_MAX} are allowed")
    total = 0
    for key, value, expected in writes:
        if not key.startswith(STORE_PREFIX):
            raise ValueError(f"{key!r} is not under {STORE_PREFIX}")
        total += len(key)
        if value is not None:
            total += len(value)
            if len(value) > VALUE_BYTES_MAX:
                raise TooLarge(f"{key}: {len(value)} bytes, {VALUE_BYTES_MAX} are allowed")
        elif not expected:
            raise ValueError(f"{key}: a deletion needs the revision that it was decided on")
    if total > COMMIT_BYTES_MAX:
        raise TooLarge(f"{total} bytes in one commit, {COMMIT_BYTES_MAX} are allowed")
    if len(writes) > 1 and len({write.key for write in writes}) < len(writes):
        raise ValueError("a key stands twice in one commit")


class Store(Protocol):
    """What a backend does. All methods raise Unavailable when the backend cannot be reached."""

    async def open(self) -> None:
        """Connect, create what is missing. Idempotent."""

    async def close(self) -> None:
        """Stop. A commit that was acknowledged stays; one under way finishes or fails."""

    def load(self) -> AsyncGenerator[tuple[int, list[Row]], None]:
        """All rows as of one revision, in key order, in pages of (revision, rows). At least one page, which may be
        empty; every page carries the same revision. Raises Compacted when it took so long that this revision is gone."""

    async def commit(self, writes: Sequence[Write], *, fence: Lease | None = None) -> int:
        """All writes or none, durable when this returns; answers the commit's revision.

        Raises Conflict, Fenced, TooLarge, Unavailable; ValueError for what no caller may send: no writes, a key
        that stands twice or is outside `/towline/`, a deletion that expects no row."""

    def changes(self, after: int) -> AsyncGenerator[list[Change], None]:
        """Every change with a revision above `after`, once, ordered, live, until closed. Each list holds whole
        revisions. Reconnects by itself. Ends when the store is closed. Raises Compacted when the changes after
        `after` are gone."""

    async def compact(self, revision: int) -> None:
        """Forget the changes up to and including `revision`; rows stay."""

    async def acquire(self, name: str, holder: str, ttl_seconds: float) -> Lease | None:
        """The lease, if nobody (or this holder) has it; None while somebody else does. A holder that acquires
        again starts a new tenure: what it held before is fenced out."""

    async def renew(self, lease: Lease, ttl_seconds: float) -> None:
        """Prolong, by the time that it was acquired for (etcd fixes it then). Raises Fenced when it was lost."""

    async def release(self, lease: Lease) -> None:
        """Give up. Never fails for a lease that is lost already."""
