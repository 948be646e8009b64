"""The keys that sign ServiceAccounts' tokens, as files of a hub: `sa-0001.key` and so on, mode 0600.

The newest signs; all of them verify, so that a new key can come and an old one go without cutting anybody off. Hubs that share a
store share them through it (hub/shared_keys.py).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from towline.certs.authority import CertificateError, key_pem, load_key, new_key, write_private

ALGORITHM = "ES256"
FIRST = "sa-0001.key"


class SignatureError(ValueError):
    """A token that is not signed by one of these keys; the message is one sentence."""


class SigningKeys:
    """P-256 keys, the oldest first."""

    def __init__(self, keys: list[ec.EllipticCurvePrivateKey]) -> None:
        self._keys = {key_id(key.public_key()): key for key in keys}
        self._newest = key_id(keys[-1].public_key())

    @classmethod
    def of_pems(cls, pems: Sequence[bytes]) -> SigningKeys:
        """Raises CertificateError for what is no P-256 key."""
        return cls([_signing_key(pem, "a stored key") for pem in pems])

    @property
    def pems(self) -> list[str]:
        """With the private parts."""
        return [key_pem(key).decode() for key in self._keys.values()]

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A token (compact JWS) that says `claims`."""
        headers = {"kid": self._newest, "typ": ""}  # Kubernetes' tokens have no typ
        return jwt.encode(dict(claims), self._keys[self._newest], ALGORITHM, headers=headers)

    def claims(self, token: str) -> dict[str, Any]:
        """What `token` says. Only the signature is checked here. Raises SignatureError."""
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            keys = [self._keys[kid]] if kid in self._keys else [] if kid else list(self._keys.values())
        except (jwt.PyJWTError, TypeError, RecursionError):
            raise SignatureError("this is not a signed token") from None
        if not keys:
            raise SignatureError("invalid signature, no keys found")
        for key in keys:
            try:
                claims: dict[str, Any] = jwt.decode(
                    token, key.public_key(), [ALGORITHM], options=_SIGNATURE_ONLY
                )
                return claims
            except jwt.PyJWTError:
                continue
        raise SignatureError("the token's signature is not valid")

    def jwks(self) -> dict[str, Any]:
        """The public keys as a JSON Web Key Set, the newest first."""
        return {"keys": [_jwk(kid, key.public_key()) for kid, key in reversed(self._keys.items())]}


_SIGNATURE_ONLY: Any = {
    f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")
} | {"verify_signature": True}


def load_or_create(directory: Path) -> SigningKeys:
    """The keys in `directory`, in the order of their names; the first is made when there is none. Raises
    CertificateError for a file that is no P-256 key: a damaged key is never replaced."""
    paths = sorted(directory.glob("sa-*.key"))
    if not paths:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        paths = [directory / FIRST]
        write_private(paths[0], key_pem(new_key()))
    return SigningKeys([_signing_key(path.read_bytes(), str(path)) for path in paths])


def _signing_key(pem: bytes, where: str) -> ec.EllipticCurvePrivateKey:
    key = load_key(pem)
    if not isinstance(key.curve, ec.SECP256R1):
        raise CertificateError(f"{where} is not a P-256 key")
    return key


def key_id(key: ec.EllipticCurvePublicKey) -> str:
    """How tokens and key sets name a key, as Kubernetes does: the hash of its DER, base64url."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return _base64url(hashlib.sha256(der).digest())


def _jwk(kid: str, key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    numbers = key.public_numbers()
    x, y = (_base64url(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
    return {"use": "sig", "kty": "EC", "kid": kid, "crv": "P-256", "alg": ALGORITHM, "x": x, "y": y}


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
