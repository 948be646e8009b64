"""Keeps the agent's identity good: a new certificate at two thirds of the old one's life or when the hub asks for one, the
authorities that the hub says are to be trusted, and where it says that hubs are.

What is new is on disk before it is used, and used in a new session; the old one serves until then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import grpc

from towline.agent import identity as identities
from towline.agent.identity import Identity
from towline.certs.authority import CertificateError
from towline.proto import fleet_pb2 as fleet

log = logging.getLogger("towline.agent.renewal")

RETRY_SECONDS = 60.0
CLOCK_STEP_SECONDS = 3600.0
"""Timers for far-off days look at the wall clock at least so often: it may be set meanwhile."""
SPREAD_SECONDS = 5.0
"""A hub that asks asks all its agents at once; they come within so long."""


class Renewal:
    """`renew(csr)` asks the hub, None when there is no session; `changed()` is told that `identity` is another, `expired` that its
    certificate is good for nothing any more, again and again. `now` is epoch seconds, `jitter` gives 0..1."""

    def __init__(
        self, identity: Identity, *, save: Callable[[Identity], Awaitable[None]],
        renew: Callable[[bytes], Awaitable[fleet.RenewResponse | None]], changed: Callable[[], None],
        expired: Callable[[Identity], Awaitable[None]], now: Callable[[], float], jitter: Callable[[], float],
    ) -> None:  # fmt: skip
        self.identity = identity
        self._save = save
        self._renew = renew
        self._changed = changed
        self._expired = expired
        self._now = now
        self._jitter = jitter
        self._bundle_pem = b""
        self._gateways: tuple[str, ...] = ()
        self._asked_for = 0.0
        """When the hub's wish for a new certificate is to be met; 0: it has none."""
        self._wake = asyncio.Event()

    def told(self, trust: fleet.Trust) -> None:
        """The hub said whom to trust, and whether to renew."""
        self._bundle_pem = trust.ca_bundle_pem
        if not trust.renew:
            self._asked_for = 0.0
        elif not self._asked_for:
            self._asked_for = self._now() + self._jitter() * SPREAD_SECONDS
        self._wake.set()

    def hubs_at(self, gateways: Sequence[str], reached: str) -> None:
        """The hub said where the hubs are; `reached` is where this one was."""
        if gateways:
            # An address that works stays, whatever hubs think of where they are.
            self._gateways = tuple(dict.fromkeys([reached, *gateways]))
            self._wake.set()

    def enrolled(self, identity: Identity) -> None:
        """The agent was given another identity, which is kept already: what the hub said to the one before counts no more."""
        self._bundle_pem, self._gateways, self._asked_for = b"", (), 0.0
        self.identity = identity
        self._changed()
        self._wake.set()

    async def run(self) -> None:
        while True:
            self._wake.clear()
            wait_seconds = await self.step()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await self._wake.wait()

    async def step(self) -> float:
        """Do what is due; how many seconds later something may be due again."""
        kept = await self._learn()
        due = min(self.identity.renew_at, self._asked_for or self.identity.renew_at)
        if due > self._now():
            return min(due - self._now(), CLOCK_STEP_SECONDS if kept else RETRY_SECONDS)
        renewed = await self._renewed()
        if renewed is None or not await self._keep(renewed, "the certificate was renewed"):
            if self._now() > self.identity.expires_at:
                self._say_expired()
                await self._expired(self.identity)
            return RETRY_SECONDS * (0.5 + self._jitter())
        self._asked_for = 0.0
        self._changed()
        return min(max(self.identity.renew_at - self._now(), 0.0), CLOCK_STEP_SECONDS)

    async def _learn(self) -> bool:
        """Take over what the hub said last. Whether that is kept."""
        if self._gateways and set(self._gateways) != set(self.identity.gateways):
            known = replace(self.identity, gateways=self._gateways)
            if not await self._keep(known, f"the hubs are at {', '.join(self._gateways)}"):
                return False
        trusting = identities.trusting(self.identity, self._bundle_pem)
        if trusting is None:
            return True
        kept = await self._keep(trusting, "the hub's authorities are others now")
        if kept:
            self._changed()
        return kept

    async def _renewed(self) -> Identity | None:
        key_pem = identities.new_key_pem()
        try:
            answer = await self._renew(identities.csr_of(key_pem))
            if answer is None:
                return None
            return identities.renewed(self.identity, key_pem, answer.certificate_pem, answer.ca_bundle_pem)
        except grpc.aio.AioRpcError as error:
            log.warning("the certificate could not be renewed: %s", error.details())
        except CertificateError as error:
            log.warning("the hub sent no usable certificate: %s", error)
        return None

    async def _keep(self, identity: Identity, why: str) -> bool:
        """Whether `identity` is on disk, and so the one from now on. With a full disk the one before serves."""
        before = self.identity
        try:
            await self._save(identity)
        except OSError as error:
            log.error("%s, and that cannot be kept (%s); the identity before serves", why, error)
            return False
        if self.identity is not before:  # the agent enrolled anew meanwhile, which counts more
            return False
        self.identity = identity
        log.info("%s", why)
        return True

    def _say_expired(self) -> None:
        log.error(
            "the certificate has expired, the hub will not talk to this agent; what it had asked for stays in "
            "force; make a new token with `towline join %s --token-only` and give it to the agent",
            self.identity.cluster,
        )
