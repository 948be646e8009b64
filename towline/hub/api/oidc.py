"""Bearer tokens of an OpenID Connect issuer, as kube-apiserver's `--oidc-*` flags have them.

A token is taken when its issuer is ours, a key of the issuer signed it, it is meant for our client, it is not out of date, and it
has the claims that are required. PyJWT checks the signature; times are compared with the hub's own clock. The issuer's keys are fetched when the
first token comes, and again when one names a key that is not known, but never more often than every ten seconds: a hub starts
without its issuer, and nobody can make it flood one.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import jwt
import orjson

from towline.hub.api.authentication import InvalidToken
from towline.hub.api.user import AUTHENTICATED, User
from towline.hub.config import OidcConfig

log = logging.getLogger(__name__)

DISCOVERY_PATH = "/.well-known/openid-configuration"
DOCUMENT_BYTES_MAX = 1024 * 1024
FETCH_SECONDS_MAX = 10.0
REFRESH_SECONDS_MIN = 10.0
LEEWAY_SECONDS = 10.0
TOKEN_BYTES_MAX = 16 * 1024
RESERVED = "system:"
"""Names and groups that begin so mean something to the hub itself: no issuer gives them away."""


class OidcIssuer:
    """Verifies the tokens of one issuer. `now` is epoch seconds, `elapsed` monotonic ones."""

    def __init__(self, config: OidcConfig, *, now: Callable[[], float], elapsed: Callable[[], float]) -> None:
        self._config = config
        self._now = now
        self._elapsed = elapsed
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = -REFRESH_SECONDS_MIN
        self._fetching = asyncio.Lock()
        self._tls = ssl.create_default_context(cadata=config.ca_pem or None)

    async def verify(self, token: str) -> User | None:
        """The user that a token names; None for a token that is not of this issuer. Raises InvalidToken."""
        if len(token) > TOKEN_BYTES_MAX or token.count(".") != 2:
            return None
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, RecursionError):
            return None
        if claims.get("iss") != self._config.issuer_url:
            return None
        key = await self._key(str(header.get("kid") or ""))
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=list(self._config.signing_algorithms),
                audience=self._config.client_id,
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "require": ["exp"]},
            )
        except jwt.PyJWTError as error:
            raise InvalidToken(str(error)) from None
        return user_of(claims, self._config, self._now())

    async def _key(self, kid: str) -> jwt.PyJWK:
        found = self._keys.get(kid)
        if found is not None:
            return found
        async with self._fetching:
            if kid not in self._keys and self._elapsed() - self._fetched >= REFRESH_SECONDS_MIN:
                self._fetched = self._elapsed()
                try:
                    self._keys = await self._fetch()
                except (aiohttp.ClientError, TimeoutError, ValueError, jwt.PyJWTError) as error:
                    log.warning("the keys of %s cannot be fetched: %s", self._config.issuer_url, error)
        found = self._keys.get(kid)
        if found is None:
            raise InvalidToken(f"no key {kid!r} of the issuer is known")
        return found

    async def _fetch(self) -> dict[str, jwt.PyJWK]:
        issuer = self._config.issuer_url
        timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS_MAX)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            about = await self._document(session, issuer.rstrip("/") + DISCOVERY_PATH)
            if about.get("issuer") != issuer:
                raise ValueError(f"the issuer calls itself {about.get('issuer')!r}")
            where = str(about.get("jwks_uri") or "")
            if not where.startswith("https://"):
                raise ValueError(f"jwks_uri {where!r} is not https")
            listed = (await self._document(session, where)).get("keys")
        keys: dict[str, jwt.PyJWK] = {}
        for row in listed if isinstance(listed, list) else ():
            try:
                keys[str(row.get("kid") or "")] = jwt.PyJWK(row)
            except (jwt.PyJWTError, AttributeError):
                continue  # a key of a kind that is not known here may stand beside others
        return keys

    async def _document(self, session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
        async with session.get(url, ssl=self._tls, allow_redirects=False) as answer:
            if answer.status != 200:
                raise ValueError(f"{url} answers {answer.status}")
            body = bytearray()
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) > DOCUMENT_BYTES_MAX:
                    raise ValueError(f"{url} answers more than {DOCUMENT_BYTES_MAX} bytes")
        document = orjson.loads(body)
        if not isinstance(document, dict):
            raise ValueError(f"{url} answers no object")
        return document


def user_of(claims: Mapping[str, Any], config: OidcConfig, now: float) -> User:
    """Who the verified `claims` name. Pure. Raises InvalidToken."""
    expires, starts = claims.get("exp"), claims.get("nbf", 0)
    if not isinstance(expires, int | float) or now > expires + LEEWAY_SECONDS:
        raise InvalidToken("the token has expired")
    if not isinstance(starts, int | float) or now < starts - LEEWAY_SECONDS:
        raise InvalidToken("the token is not valid yet")
    for claim, wanted in config.required_claims.items():
        if claims.get(claim) != wanted:
            raise InvalidToken(f"the required claim {claim!r} is not {wanted!r}")
    name = claims.get(config.username_claim)
    if not isinstance(name, str) or not name:
        raise InvalidToken(f"the claim {config.username_claim!r} is no text")
    if config.username_claim == "email" and claims.get("email_verified", True) is not True:
        raise InvalidToken("the email is not verified")
    groups = claims.get(config.groups_claim, ()) if config.groups_claim else ()
    if isinstance(groups, str):
        groups = (groups,)
    if not isinstance(groups, list | tuple) or not all(isinstance(group, str) for group in groups):
        raise InvalidToken(f"the claim {config.groups_claim!r} is no list of texts")
    name = _username_prefix(config) + name
    if name.startswith(RESERVED):
        raise InvalidToken(f"the name {name!r} is reserved")
    prefixed = tuple(config.groups_prefix + group for group in groups)
    given = (group for group in prefixed if not group.startswith(RESERVED))
    return User(name, (*given, AUTHENTICATED))


def _username_prefix(config: OidcConfig) -> str:
    if config.username_prefix:
        return "" if config.username_prefix == "-" else config.username_prefix
    return "" if config.username_claim == "email" else f"{config.issuer_url}#"
