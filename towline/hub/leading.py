"""Who leads among the hubs of one store: a lease that is renewed while the store can be reached, and let go of in time when not.

Every commit that a leader makes as a leader names its lease, so that two never write as leaders; what is here only sees to it that
there is one soon, and that a hub that is cut off does not go on deciding what it could not write.
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
"""How many times a hub that does not lead asks for the lease within its time."""


class Leading:
    """`lease` is held while this hub leads, None meanwhile. `catch_up()` waits until this hub has seen all that was committed before;
    `began()` is called when it leads from now on; `elapsed` is any clock that only goes forward, in seconds."""

    def __init__(
        self, store: Store, holder: str, ttl_seconds: float, *, catch_up: Callable[[], Awaitable[None]],
        began: Callable[[], None], elapsed: Callable[[], float],
    ) -> None:  # fmt: skip
        self._store = store
        self._holder = holder
        self._ttl_seconds = ttl_seconds
        self._catch_up = catch_up
        self._began = began
        self._elapsed = elapsed
        self._wake = asyncio.Event()
        self.lease: Lease | None = None

    @property
    def leads(self) -> bool:
        return self.lease is not None

    def look(self) -> None:
        """Another hub has stopped: the lease may be free."""
        self._wake.set()

    def fenced(self, lease: Lease) -> None:
        """A commit with `lease` was refused: another hub leads."""
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
                    await self._lead(lease, asked)
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
            return await self._store.acquire(LEADER, self._holder, self._ttl_seconds)
        except Unavailable as error:
            log.warning("the store cannot be asked for leadership: %s", error)
            return None

    async def _lead(self, lease: Lease, asked: float) -> None:
        """Until the lease is lost, or cannot be renewed for so long that another hub may have it soon."""
        try:
            async with asyncio.timeout(self._ttl_seconds / _RENEWALS):
                await self._catch_up()  # what the last leader wrote is what this one begins with
        except (Unavailable, TimeoutError) as error:
            log.warning("this hub cannot lead yet, it does not see the latest of its store: %s", error)
            return
        self.lease = lease
        log.info("this hub leads")
        self._began()
        until = asked + self._ttl_seconds * _LET_GO
        while self.lease is lease:
            if self._elapsed() >= until:
                log.warning("the lease could not be renewed in time: this hub does not lead any more")
                return
            await self._pause(self._ttl_seconds / _RENEWALS)
            asked = self._elapsed()
            if await self._renewed(lease, max(until - asked, 0.0)):
                until = asked + self._ttl_seconds * _LET_GO
        log.warning("another hub leads now")

    async def _renewed(self, lease: Lease, seconds_max: float) -> bool:
        try:
            async with asyncio.timeout(min(seconds_max, self._ttl_seconds / _RENEWALS)):
                await self._store.renew(lease, self._ttl_seconds)
            return True
        except Fenced:
            self.fenced(lease)
        except (Unavailable, TimeoutError) as error:
            log.warning("the lease cannot be renewed now: %s", error or "no answer in time")
        return False

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()
