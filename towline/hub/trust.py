"""Whom this hub trusts, what it shows and who signs for it: the authorities in the store, and the server's certificate.

The authorities, with their keys, are one row of the store: hubs on one store share them with nothing to copy, a rotation is a change
of that row that all of them see, and whoever can read the store can sign. (It can read every Secret and write every
Cluster, too: the store has to be kept like a key in any case.) A CA that lies in DATA/pki (ca.crt, ca.key) when
there is no row yet is taken over: that is how one is given.

    GET  /towline/v1/authorities  -> {stage, current, incoming?, neededUntil?, waiting}
    POST /towline/v1/authorities  {finish?, force?} -> the same
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from towline.certs import authority, rotation
from towline.certs.authority import AgentIdentity, Authority, CertificateError, Leaf
from towline.certs.rotation import Authorities, Holder, Stage
from towline.hub.gateway.enrolment import TOKENS, TTL_SECONDS_MAX, Answer, Refusal, is_unused
from towline.hub.store.cache import Cache
from towline.hub.store.contract import Conflict, Unavailable, Write
from towline.kube.objects import Key, Object, encode

log = logging.getLogger(__name__)

AUTHORITIES = Key("towline.io", "authorities", "", "hub")
_LOOK_SECONDS = 3600.0
"""How often is looked whether something is old, while nothing happens."""
_RETRY_SECONDS = 5.0
_ATTEMPTS_MAX, _ATTEMPT_SECONDS = 50, 0.2
_ASKED = ("finish", "force")
_NAMED_MAX = 5
"""How many clusters a sentence names."""


async def opened(cache: Cache, directory: Path, now: float) -> Authorities:
    """The store's authorities; made, or taken over from `directory`, when it has none. Raises CertificateError: what is damaged
    is never replaced."""
    for _ in range(_ATTEMPTS_MAX):
        entry = cache.get(AUTHORITIES)
        if entry is not None:
            return rotation.decode(entry.object["spec"])
        first = Authorities(authority.given(directory) or authority.create(now))
        try:
            await cache.commit([_write(first, 0)])
        except Conflict:  # another hub made them just now, and the cache will show them
            await asyncio.sleep(_ATTEMPT_SECONDS)
    raise CertificateError("the authorities in the store are there and cannot be read")


class Trust:
    """Follows the store from `start` to `stop`. `holders()` answers what the agents showed; `hosts` is what the server's
    certificate names; `audit` takes one dict for each change that somebody asked for."""

    def __init__(
        self, cache: Cache, authorities: Authorities, *, hosts: Sequence[str], server_days: int, client_days: int,
        agent_seconds: int, holders: Callable[[], Mapping[str, Holder]], audit: Callable[[dict[str, Any]], None], now: Callable[[], float],
    ) -> None:  # fmt: skip
        self._cache = cache
        self._hosts = hosts
        self._server_days = server_days
        self._client_days = client_days
        self._agent_seconds = agent_seconds
        self._holders = holders
        self._audit = audit
        self._now = now
        self._changed = asyncio.Event()
        self._told: list[Callable[[], None]] = []
        self._unsubscribe: Callable[[], None] = lambda: None
        self.authorities = authorities
        self.leaf = self._new_leaf()
        """What the hub shows."""

    def start(self) -> None:
        self._unsubscribe = self._cache.subscribe(self._rows_changed)
        self._take()

    def stop(self) -> None:
        self._unsubscribe()

    def tell(self, callback: Callable[[], None]) -> None:
        """Call `callback()` whenever something here has become another."""
        self._told.append(callback)

    def look(self) -> None:
        """What the agents show has changed: a step may be due."""
        self._changed.set()

    async def run(self) -> None:
        """Renews the server's certificate at two thirds of its life, and takes the steps of a rotation that are due."""
        pause = 0.0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            self._changed.clear()
            pause = _LOOK_SECONDS
            if self._now() >= authority.renew_at(self.leaf.certificate_pem):
                self._show()
            try:
                await self._advance()
            except (Conflict, Unavailable) as error:
                log.info("the rotation of authorities goes on later: %s", error)
                pause = _RETRY_SECONDS

    # --- what the hub's parts ask ----------------------------------------------------------------------------------

    @property
    def bundle_pem(self) -> bytes:
        return self.authorities.bundle_pem

    @property
    def fingerprints(self) -> tuple[str, ...]:
        return self.authorities.fingerprints

    @property
    def issuing_key_id(self) -> str:
        return self.authorities.issuing.key_id

    def vouches_for(self, issuer: str) -> bool:
        return self.authorities.vouches_for(issuer)

    def issue_agent(self, identity: AgentIdentity, public_key: Any, now: float) -> bytes:
        return self.authorities.issue_agent(identity, public_key, now, self._agent_seconds)

    def issue_admin(self) -> Leaf:
        return self.authorities.issue_admin(self._now(), self._client_days)

    def issue_hub(self, hub: str) -> Leaf:
        return self.authorities.issue_hub(hub, self._now())

    # --- what administrators ask -----------------------------------------------------------------------------------

    def status(self, refused: str) -> Answer:
        if refused:
            return Refusal(403, "Forbidden", refused).answer()
        known = self.authorities
        body: Object = {
            "stage": known.stage.value,
            "current": _described(known.current),
            "waiting": self._waiting(),
        }
        if known.incoming is not None:
            body["incoming"] = _described(known.incoming)
        if known.stage is Stage.RENEWING:
            body["neededUntil"] = known.needed_until
        return Answer(200, body)

    async def rotate(self, body: Any, user: str, refused: str) -> Answer:
        """Begin a rotation, or (`finish`) drop the old authority; `force`: whoever still needs it."""
        event: dict[str, Any] = {"verb": "rotate", "user": user}
        try:
            wanted = await self._rotate(body, refused)
        except Refusal as refusal:
            told = {"decision": "refused", "code": refusal.code, "message": refusal.message}
            self._audit(event | told)
            return refusal.answer()
        self._audit(event | {"decision": "granted", "stage": wanted.stage.value})
        return self.status("")

    async def _rotate(self, asked: Any, refused: str) -> Authorities:
        if refused:
            raise Refusal(403, "Forbidden", refused)
        if not isinstance(asked, Mapping) or not all(type(asked.get(f, False)) is bool for f in _ASKED):
            raise Refusal(400, "BadRequest", "an object is required, with finish and force true or false")
        wanted = self._finished(bool(asked.get("force"))) if asked.get("finish") else self._begun()
        try:
            await self._commit(wanted)
        except Conflict:
            told = "another hub changed the authorities just now; look again"
            raise Refusal(409, "Conflict", told) from None
        except Unavailable:
            told = "the hub's store cannot be reached; try again"
            raise Refusal(503, "ServiceUnavailable", told) from None
        return wanted

    def _begun(self) -> Authorities:
        if self.authorities.incoming is not None:
            return self.authorities
        return rotation.begun(self.authorities, authority.create(self._now()))

    def _finished(self, force: bool) -> Authorities:
        if self.authorities.stage is Stage.STEADY:
            raise Refusal(409, "Conflict", "no rotation is under way; `towline ca rotate` begins one")
        waiting = self._waiting()
        if waiting and not force:
            named = ", ".join(f"{name} ({why})" for name, why in list(waiting.items())[:_NAMED_MAX])
            more = f" and {len(waiting) - _NAMED_MAX} more" if len(waiting) > _NAMED_MAX else ""
            told = f"the old authority is needed yet: {named}{more}; with --force these need new join tokens"
            raise Refusal(409, "Conflict", told)
        return rotation.finished(self.authorities)

    def _waiting(self) -> dict[str, str]:
        """The clusters that need the old authority yet, and why. Tokens keep no step waiting that comes by itself: it comes when they
        have expired."""
        return self._with_old_tokens() | rotation.lagging(self.authorities, self._holders(), self._now())

    def _with_old_tokens(self) -> dict[str, str]:
        incoming = self.authorities.incoming
        if incoming is None:
            return {}
        found = {}
        for row in self._cache.list(*TOKENS):
            spec = row.object["spec"]
            if is_unused(spec, self._now()) and incoming.fingerprint not in spec.get("authorities", ()):
                found[row.key.name] = "its join token is from before, and not used yet"
        return found

    # --- changes ---------------------------------------------------------------------------------------------------

    async def _advance(self) -> None:
        if self.authorities.incoming is not None:
            client_seconds = max(self._client_days * 86_400, TTL_SECONDS_MAX)
            advanced = rotation.advanced(self.authorities, self._holders(), self._now(), client_seconds)
            if advanced is not self.authorities:
                await self._commit(advanced)

    async def _commit(self, wanted: Authorities) -> None:
        if wanted is not self.authorities:
            entry = self._cache.get(AUTHORITIES)
            await self._cache.commit([_write(wanted, entry.revision if entry is not None else 0)])
            log.info("rotation of authorities: %s", wanted.stage.value)

    def _rows_changed(self, revision: int, events: Sequence[Any]) -> None:
        if any(event.entry.key == AUTHORITIES for event in events):
            self._take()

    def _take(self) -> None:
        entry = self._cache.get(AUTHORITIES)
        if entry is None:
            return
        try:
            latest = rotation.decode(entry.object["spec"])
        except CertificateError as error:
            log.error("%s; this hub goes on with those it has", error)
            return
        if rotation.encode(latest) != rotation.encode(self.authorities):
            self.authorities = latest
            self._show()
            self._changed.set()

    def _show(self) -> None:
        issuer = authority.issuer_of(self.leaf.certificate_pem)
        old = self._now() >= authority.renew_at(self.leaf.certificate_pem)
        if old or issuer != self.authorities.current.key_id:
            self.leaf = self._new_leaf()
        for callback in self._told:
            callback()

    def _new_leaf(self) -> Leaf:
        return self.authorities.issue_server(self._hosts, self._now(), self._server_days)


def _write(authorities: Authorities, expected: int) -> Write:
    row: Object = {
        "apiVersion": "towline.io/v1", "kind": "Authorities", "metadata": {"name": AUTHORITIES.name},
        "spec": rotation.encode(authorities),
    }  # fmt: skip
    return Write(AUTHORITIES.path(), encode(row), expected)


def _described(known: Authority) -> Object:
    return {
        "fingerprint": known.fingerprint, "keyID": known.key_id, "ends": authority.ends_at(known.bundle_pem),
    }  # fmt: skip
