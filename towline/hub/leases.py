"""The two leases of a hub, renewed while the store can be reached, and let go of in time when not: one of all hubs has the first, and leads; each
has the second for itself, and lives.

Every commit names a lease: what a leader decides that of the leader, what only a session shows that of the hub which holds the session. So two never
write as leaders, and a hub that slept, which others took for dead meanwhile, writes nothing that it heard before. What is here only sees to it
that there is a leader soon, and that a hub that is cut off does not go on deciding what it could not write.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from towline.hub.store.contract import Fenced, Lease, Store, StoreError, Unavailable

log = logging.getLogger(__name__)

LEADER = "controllers"
_RENEWALS = 3
"""How many times a lease is renewed within its time."""
_LET_GO = 0.8
"""The part of its time after which a lease that could not be renewed is not relied on any more."""
_ATTEMPTS = 5
"""How many times a hub asks for a lease that it does not hold within its time."""


def leases_of(
    store: Store, hub: str, ttl_seconds: float, *, catch_up: Callable[[], Awaitable[None]], leads: Callable[[], None],
    lives: Callable[[], None], elapsed: Callable[[], float],
) -> tuple[Tenure, Tenure]:  # fmt: skip
    """By which `hub` leads, and by which it lives. `leads()` and `lives()` are called when it does from now on, and it lives before it leads: who
    slept first hears that it did."""

    async def alive() -> None:
        await living.wait()
        await catch_up()

    living = Tenure(
        store, f"hub-{hub}", "lives", hub, ttl_seconds, catch_up=catch_up, began=lives, elapsed=elapsed
    )
    leading = Tenure(store, LEADER, "leads", hub, ttl_seconds, catch_up=alive, began=leads, elapsed=elapsed)
    return leading, living


class Tenure:
    """`lease` is held while this hub leads, or lives (`does`, by the `name`), None meanwhile. `catch_up()` waits until this hub has seen all that
    was committed before; `began()` is called when it holds the lease from now on; `elapsed` is any clock that only goes forward, in seconds."""

    def __init__(
        self, store: Store, name: str, does: str, holder: str, ttl_seconds: float, *, catch_up: Callable[[], Awaitable[None]],
        began: Callable[[], None], elapsed: Callable[[], float],
    ) -> None:  # fmt: skip
        self._store = store
        self._name = name
        self._does = does
        self._holder = holder
        self._ttl_seconds = ttl_seconds
        self._catch_up = catch_up
        self._began = began
        self._elapsed = elapsed
        self._wake = asyncio.Event()
        self._warned = ""
        self.lease: Lease | None = None
        self._begun = asyncio.Event()
        self._until = 0.0
        """When it is not relied on any more."""

    @property
    def held(self) -> bool:
        return self.lease is not None and self._elapsed() < self._until

    async def wait(self) -> None:
        """Until it is held."""
        if not self.held:
            self._begun.clear()
            await self._begun.wait()

    def look(self) -> None:
        """Another hub has stopped: the lease may be free."""
        self._wake.set()

    def fenced(self, lease: Lease) -> None:
        """A commit with `lease` was refused: it has ended."""
        if self.lease is lease:
            self.lease = None
            self._wake.set()

    async def run(self) -> None:
        """Until cancelled; then the lease is free at once."""
        lease: Lease | None = None
        try:
            while True:
                asked = self._elapsed()
                lease = await self._acquired()
                if lease is not None:
                    await self._hold(lease, asked)
                    self.lease = None
                await self._pause(self._ttl_seconds / _ATTEMPTS)
        finally:
            self.lease = None
            if lease is not None:
                with suppress(StoreError, TimeoutError):
                    async with asyncio.timeout(self._ttl_seconds / _RENEWALS):
                        await self._store.release(lease)

    async def _acquired(self) -> Lease | None:
        try:
            async with asyncio.timeout(self._ttl_seconds / _RENEWALS):
                return await self._store.acquire(self._name, self._holder, self._ttl_seconds)
        except (Unavailable, TimeoutError) as error:
            self._warn("the store cannot be asked", error)
            return None

    async def _hold(self, lease: Lease, asked: float) -> None:
        """Until the lease is lost, or cannot be renewed for so long that it may end soon."""
        try:
            async with asyncio.timeout(self._ttl_seconds / _RENEWALS):
                await self._catch_up()  # what the last holder wrote is what this one begins with
        except (Unavailable, TimeoutError) as error:
            self._warn("this hub does not see the latest of its store", error)
            return
        self.lease = lease
        log.info("this hub %s", self._does)
        self._until = asked + self._ttl_seconds * _LET_GO
        self._began()
        self._begun.set()
        while self.held:
            await self._pause(self._ttl_seconds / _RENEWALS)
            asked = self._elapsed()
            left = self._until - asked
            if left > 0 and await self._renewed(lease, left):
                self._warned = ""
                self._until = asked + self._ttl_seconds * _LET_GO
        if self.lease is lease:
            log.warning(
                "it is not sure any more that this hub %s: its lease was not renewed in time", self._does
            )
            return
        # It had time left, so nobody but this hub could have it, as the store sees it.
        taken = "; has another hub a copy of this one's --data-dir?" if self._elapsed() < self._until else ""
        log.warning("the lease by which this hub %s has ended%s", self._does, taken)

    async def _renewed(self, lease: Lease, seconds_max: float) -> bool:
        try:
            async with asyncio.timeout(min(seconds_max, self._ttl_seconds / _RENEWALS)):
                await self._store.renew(lease, self._ttl_seconds)
            return True
        except Fenced:
            self.fenced(lease)
        except (Unavailable, TimeoutError) as error:
            self._warn("the store cannot be reached", error)
        return False

    def _warn(self, what: str, error: Exception) -> None:
        """Once, not at every attempt."""
        if what != self._warned:
            self._warned = what
            log.warning("whether this hub %s: %s: %s", self._does, what, str(error) or "no answer in time")

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()
