"""Who asks: client certificates and static bearer tokens, and the first, plain rule of who may.

A certificate's common name is the user and its organizations are the groups, as in Kubernetes. The TLS layer has verified it;
a connection without one is anonymous.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from aiohttp import web

from towline.hub.api.paths import Attributes
from towline.hub.api.user import User

ANONYMOUS = "system:anonymous"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
MASTERS = "system:masters"

_UID_OID = "1.3.6.1.4.1.57683.2"
"""Where Kubernetes looks for the user's uid in a certificate's subject."""

Authenticate = Callable[[web.BaseRequest], Awaitable[User | None]]
"""The request's user; None for nobody (401). It may wait for others, such as an issuer's keys."""


class Decision(NamedTuple):
    allowed: bool
    reason: str = ""


Authorize = Callable[[User, Attributes], Decision]


def certificates_and_tokens(tokens: Mapping[str, User] | None = None) -> Authenticate:
    """Client certificates, and `tokens` as bearer tokens."""
    known = dict(tokens or {})

    async def authenticate(request: web.BaseRequest) -> User | None:
        header = request.headers.get("Authorization", "")
        if header:
            scheme, _, token = header.partition(" ")
            return _by_token(known, token.strip()) if scheme.lower() == "bearer" else None
        transport = request.transport
        return of_certificate(transport.get_extra_info("peercert")) if transport is not None else None

    return authenticate


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


def masters_only(user: User, attributes: Attributes) -> Decision:
    """The rule until RBAC: administrators may everything, others nothing."""
    if MASTERS in user.groups:
        return Decision(True)
    return Decision(False, f"only members of {MASTERS} are allowed")


def _by_token(known: Mapping[str, User], token: str) -> User | None:
    found = None
    for candidate, user in known.items():
        if hmac.compare_digest(candidate.encode(), token.encode()):
            found = user
    return found
