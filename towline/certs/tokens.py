"""Join tokens: one string that lets one cluster, and no other, ask the hub for a certificate once."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

import orjson

PREFIX = "towline1."
TTL_SECONDS = 3600
_SECRET_BYTES = 32
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


class TokenError(ValueError):
    """A string that is not a join token; the message is one sentence and never holds the secret."""


@dataclass(frozen=True, slots=True)
class JoinToken:
    """`hub` is host:port of the hub's API, of several hubs on one store with commas between, `ca` the fingerprint of its CA, in
    a rotation those of both, `name` the cluster."""

    hub: str
    ca: str
    name: str
    secret: str

    def __repr__(self) -> str:
        return f"JoinToken(hub={self.hub!r}, name={self.name!r})"

    def encode(self) -> str:
        value = {"hub": self.hub, "ca": self.ca, "name": self.name, "secret": self.secret}
        return PREFIX + base64.urlsafe_b64encode(orjson.dumps(value)).rstrip(b"=").decode()


def parse(text: str) -> JoinToken:
    """The inverse of `JoinToken.encode`. Raises TokenError."""
    text = text.strip()
    if not text.startswith(PREFIX):
        raise TokenError(f"This is not a join token: it must begin with {PREFIX!r}.")
    encoded = text.removeprefix(PREFIX)
    try:
        decoded = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        value = orjson.loads(decoded)
    except (binascii.Error, ValueError):
        raise TokenError("This join token is damaged: it was not copied whole.") from None
    fields = (
        [value.get(field) for field in ("hub", "ca", "name", "secret")] if isinstance(value, dict) else []
    )
    strings = [field for field in fields if isinstance(field, str) and field]
    if len(strings) != 4:
        raise TokenError("This join token is damaged: it lacks a part.")
    token = JoinToken(*strings)
    if not all(map(_FINGERPRINT.fullmatch, token.ca.split(","))):
        raise TokenError("This join token is damaged: its CA fingerprint is not one.")
    addresses = [hub.rpartition(":") for hub in token.hub.split(",")]
    if not all(host and port.isdigit() for host, _, port in addresses):
        raise TokenError("This join token is damaged: its hub address is not host:port.")
    return token


def new_secret() -> str:
    return secrets.token_urlsafe(_SECRET_BYTES)


def hash_of(secret: str) -> str:
    """What the hub stores of a secret. The secret has 256 random bits, so one plain SHA-256 is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


def matches(secret: str, stored_hash: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(hash_of(secret), stored_hash)
