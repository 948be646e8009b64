"""The store contract. Three backends keep it (etcd, sqlite, memory); `tests/contract/test_store.py` is its proof.

A store is an ordered map from keys to bytes with one revision that grows with every commit. A row's revision is
the commit that wrote it last; it becomes the object's resourceVersion.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

VALUE_BYTES_MAX = 1_572_864
"""1.5 MiB: the largest value a store takes (etcd's own default bound for a request)."""

COMMIT_WRITES_MAX = 128
"""The most writes in one commit (etcd's default bound for a transaction)."""


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


class Store(Protocol):
    """What a backend does. All methods raise Unavailable when the backend cannot be reached."""

    async def open(self) -> None:
        """Connect, create what is missing. Idempotent."""

    async def close(self) -> None:
        """Stop. A commit that was acknowledged stays; one under way finishes or fails."""

    def load(self) -> AsyncIterator[tuple[int, list[Row]]]:
        """All rows as of one revision, in key order, in pages of (revision, rows). At least one page, which may be
        empty; every page carries the same revision."""

    async def commit(self, writes: Sequence[Write], *, fence: Lease | None = None) -> int:
        """All writes or none, durable when this returns; answers the commit's revision.

        Raises Conflict, Fenced, TooLarge, Unavailable. A key may stand only once in `writes` (ValueError)."""

    def changes(self, after: int) -> AsyncIterator[list[Change]]:
        """Every change with a revision above `after`, once, ordered, live, until closed. Each list holds whole
        revisions. Reconnects by itself. Raises Compacted when the changes after `after` are gone."""

    async def compact(self, revision: int) -> None:
        """Forget the changes up to and including `revision`; rows stay."""

    async def acquire(self, name: str, holder: str, ttl_seconds: float) -> Lease | None:
        """The lease, if nobody (or this holder) has it; None while somebody else does."""

    async def renew(self, lease: Lease, ttl_seconds: float) -> None:
        """Prolong. Raises Fenced when it was lost meanwhile."""

    async def release(self, lease: Lease) -> None:
        """Give up. Never fails for a lease that is lost already."""
