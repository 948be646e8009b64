"""How the agent comes by its identity: from its disk, from the Secret in the member, or with a join token; and by another one when it is
given another token, which is how a cluster comes back whose certificates were revoked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from towline.agent import identity as identities
from towline.agent.config import AgentConfig
from towline.agent.facts import cluster_uid
from towline.agent.identity import HubUnreachable, Identity, Unenrollable
from towline.agent.kubernetes import Member, MemberUnreachable, Refused
from towline.agent.patience import patiently
from towline.certs import tokens

log = logging.getLogger("towline.agent.enrolment")

TOKEN_LOOK_SECONDS = 10.0
"""How often the file of the join token is looked at; a kubelet takes up to a minute to write it."""
_TOKEN_BYTES_MAX = 16 * 1024


class AgentError(Exception):
    """Why the agent cannot run: one sentence, and what to do."""

    def __init__(self, sentence: str, next_step: str) -> None:
        super().__init__(sentence)
        self.next_step = next_step


class Enrolment:
    """`secret` is NAMESPACE/NAME of the Secret that keeps the identity as well; empty: none does. `jitter` gives 0..1."""

    def __init__(self, config: AgentConfig, member: Member, secret: str, jitter: Callable[[], float]) -> None:
        self._config = config
        self._member = member
        self._secret = secret
        self._jitter = jitter
        self._useless = ""
        """Hash of the token that buys nothing here: it is not tried again."""
        self._damaged = ""
        """What was given and is no token: it is told once."""

    async def identity(self) -> Identity:
        """The one that an earlier run kept, or a new one for the join token. Raises AgentError and Unenrollable."""
        known = identities.load(self._config.data_dir) or await self._kept_in_member()
        if known is not None and known.certificate_pem:
            # It may have expired, or be revoked: then it goes on enforcing what it was asked for, and looks for another token.
            another = self._another(known)
            return known if another is None else await self._anew(known, another) or known
        text = self._given()
        if not text:
            raise AgentError(
                f"this agent has no identity in {self._config.data_dir} yet",
                "Give it a --join-token, from `towline join NAME --token-only`.",
            )
        try:
            token = tokens.parse(text)
        except tokens.TokenError as error:
            raise AgentError(str(error), "Make a new one with `towline join NAME --token-only`.") from None
        return await self._first(known, token)

    async def follow(
        self, known: Callable[[], Identity], become: Callable[[Identity], Awaitable[None]]
    ) -> None:
        """Look whether there is another token, for ever, and trade it for the identity that the agent is to `become`."""
        while True:
            await asyncio.sleep(TOKEN_LOOK_SECONDS)
            token = self._another(known())
            if token is not None and (enrolled := await self._anew(known(), token)) is not None:
                await become(enrolled)

    async def save(self, identity: Identity) -> None:
        """On the disk and in the Secret."""
        identities.save(self._config.data_dir, identity)
        if not self._secret:
            return
        try:
            await identities.save_to_secret(self._member, self._secret, identity)
        except (MemberUnreachable, Refused) as error:
            log.warning(
                "the identity could not be kept in Secret %s: %s; a rescheduled pod will need a token",
                self._secret,
                error,
            )

    async def _kept_in_member(self) -> Identity | None:
        if not self._secret:
            return None
        known = await patiently(
            "the identity's Secret",
            lambda: identities.load_from_secret(self._member, self._secret),
            (MemberUnreachable, Refused),
            self._jitter,
        )
        if known is not None:
            identities.save(self._config.data_dir, known)
        return known

    async def _first(self, known: Identity | None, token: tokens.JoinToken) -> Identity:
        uid = await patiently(
            "the member", lambda: cluster_uid(self._member), (MemberUnreachable, Refused), self._jitter
        )
        pending = identities.pending(known, token, uid)
        await self.save(pending)
        where = "the hub (the join token says where it is, as `towline hub --advertise` had it)"
        enrolled = await patiently(
            where, lambda: identities.enrol(pending, token), (HubUnreachable,), self._jitter
        )
        await self.save(enrolled)
        log.info("enrolled as cluster %s", enrolled.cluster)
        return enrolled

    async def _anew(self, known: Identity, token: tokens.JoinToken) -> Identity | None:
        """The identity that `token` buys. None where it buys none now: the old one may still serve."""
        folder, name = self._config.data_dir, identities.NEXT_FILE
        try:
            pending = identities.pending(identities.load(folder, name), token, known.cluster_uid)
            identities.save(folder, pending, name)
            enrolled = await identities.enrol(pending, token)
            await self.save(enrolled)
        except (HubUnreachable, Unenrollable, OSError) as error:
            if isinstance(error, Unenrollable):
                self._useless = tokens.hash_of(token.secret)
            log.warning(
                "the new join token is of no use now: %s; going on with the certificate that there is", error
            )
            return None
        (folder / name).unlink(missing_ok=True)
        log.info("enrolled anew as cluster %s", enrolled.cluster)
        return enrolled

    def _another(self, known: Identity) -> tokens.JoinToken | None:
        """A token for the same cluster that `known` was not asked for with."""
        text = self._given()
        try:
            token = tokens.parse(text)
        except tokens.TokenError as error:
            if text and text != self._damaged:
                log.warning("%s Going on with the certificate that there is.", error)
                self._damaged = text
            return None
        hashed = tokens.hash_of(token.secret)
        if known.token_hash in ("", hashed) or hashed == self._useless:
            return None
        if token.name == known.cluster:
            return token
        log.warning(
            "the join token is for cluster %s, and this agent is of %s: to join as another, give it an empty --data-dir",
            token.name,
            known.cluster,
        )
        self._useless = hashed
        return None

    def _given(self) -> str:
        """The token that the file holds, else the one that the agent was started with; empty: there is none."""
        file = self._config.join_token_file
        try:
            held = file.read_bytes()[:_TOKEN_BYTES_MAX].decode(errors="replace").strip() if file else ""
        except OSError as error:
            log.debug("the join token cannot be read: %s", error)
            held = ""
        return held or self._config.join_token
