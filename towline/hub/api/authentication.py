"""Who asks: client certificates, then bearer tokens, and the first, plain rule of who may.

A certificate's common name is the user and its organizations are the groups, as in Kubernetes. The TLS layer has verified it.
As in Kubernetes it comes first, whatever token is beside it; without one, a token that nobody accepts is 401, and so is
no token.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from aiohttp import web

from towline.hub.api import status
from towline.hub.api.paths import Attributes
from towline.hub.api.status import StatusError
from towline.hub.api.user import AUTHENTICATED, MASTERS, User
from towline.kube.rbac import EVERYTHING, Rule

log = logging.getLogger(__name__)

ANONYMOUS = "system:anonymous"
UNAUTHENTICATED = "system:unauthenticated"

_UID_OID = "1.3.6.1.4.1.57683.2"
"""Where Kubernetes looks for the user's uid in a certificate's subject."""

Authenticate = Callable[[web.BaseRequest], Awaitable[User | None]]
"""The request's user; None for nobody (401). It may wait for others, such as an issuer's keys."""


class Decision(NamedTuple):
    allowed: bool
    reason: str = ""


class Authorize(Protocol):
    """Who may. Cheap: it is asked on every request."""

    def __call__(self, user: User, at: Attributes, /) -> Decision: ...

    def rules_for(self, user: User, namespace: str) -> tuple[Sequence[Rule], str]:
        """All that `user` may in `namespace` and everywhere, and what went wrong in finding it."""


def denied(user: User, at: Attributes, reason: str = "") -> StatusError:
    """403 in Kubernetes' words."""
    if not at.resource_request:
        return status.forbidden_path(user.name, at.verb, at.path)
    where = f' in the namespace "{at.namespace}"' if at.namespace else " at the cluster scope"
    resource = f"{at.resource}/{at.subresource}" if at.subresource else at.resource
    message = f'User "{user.name}" cannot {at.verb} resource "{resource}" in API group "{at.group}"{where}'
    if reason:
        message += f": {reason}"
    return status.forbidden(at.resource, at.group, at.name, message)


class InvalidToken(Exception):
    """The token is a verifier's own, but it is not good. The message is for the log and for reviews, not for whoever sent it."""


Verify = Callable[[str], Awaitable[User | None]]
"""The user of a bearer token, AUTHENTICATED among its groups; None for a token of somebody else's. May raise InvalidToken."""


def certificates_and_tokens(*verifiers: Verify) -> Authenticate:
    """Client certificates, and bearer tokens that one of `verifiers` accepts; they are asked in order."""

    async def authenticate(request: web.BaseRequest) -> User | None:
        transport = request.transport
        if transport is not None:
            user = of_certificate(transport.get_extra_info("peercert"))
            if user is not None:
                return user
        token = bearer_token(request.headers.get("Authorization", ""))
        try:
            return await first_of(verifiers, token) if token else None
        except InvalidToken as error:
            log.debug("a bearer token is refused: %s", error)
            return None

    return authenticate


async def first_of(verifiers: Sequence[Verify], token: str) -> User | None:
    """Whom the first verifier that accepts `token` names. Raises InvalidToken when none does and one refuses it."""
    refused: InvalidToken | None = None
    for verify in verifiers:
        try:
            user = await verify(token)
        except InvalidToken as error:
            refused = error
        else:
            if user is not None:
                return user
    if refused is not None:
        raise refused
    return None


def bearer_token(header: str) -> str:
    """The token of an Authorization header; "" for another scheme."""
    scheme, _, rest = header.strip().partition(" ")
    return rest.partition(" ")[0] if scheme.lower() == "bearer" else ""


def of_certificate(certificate: Mapping[str, Any] | None) -> User | None:
    """The user that a verified certificate (as `ssl` describes it) names; None without a common name, or with more
    than one uid."""
    name, groups, uids = "", [], []
    for relative in (certificate or {}).get("subject", ()):
        for attribute, value in relative:
            if attribute == "commonName":
                name = value
            elif attribute == "organizationName":
                groups.append(value)
            elif attribute == _UID_OID:
                uids.append(value)
    if not name or len(uids) > 1 or "" in uids:
        return None
    return User(name, (*groups, AUTHENTICATED), "".join(uids))


class _MastersOnly:
    def __call__(self, user: User, at: Attributes) -> Decision:
        if MASTERS in user.groups:
            return Decision(True)
        return Decision(False, f"only members of {MASTERS} are allowed")

    def rules_for(self, user: User, namespace: str) -> tuple[Sequence[Rule], str]:
        return (EVERYTHING if MASTERS in user.groups else ()), ""


masters_only = _MastersOnly()
"""The rule where there is no RBAC: administrators may everything, others nothing."""
