"""Tokens of an OpenID Connect issuer, which a test runs itself over TLS."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from towline.certs import authority
from towline.hub.api.authentication import InvalidToken
from towline.hub.api.oidc import (
    DISCOVERY_PATH,
    REFRESH_SECONDS_MIN,
    OidcIssuer,
    user_of,
)
from towline.hub.config import OidcConfig

NOW = 1_800_000_000.0
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())


@dataclass
class Issuer:
    """A running issuer. `keys` is what it publishes; `asked` counts how often somebody looked."""

    url: str = ""
    ca_pem: str = ""
    keys: dict[str, Any] = field(default_factory=lambda: {"one": RSA})
    calls_itself: str = ""
    asked: int = 0
    elapsed: float = 0.0

    def config(self, **fields: Any) -> OidcConfig:
        return replace(OidcConfig(self.url, "towline", ca_pem=self.ca_pem), **fields)

    def verifier(self, **fields: Any) -> OidcIssuer:
        return OidcIssuer(self.config(**fields), now=lambda: NOW, elapsed=lambda: self.elapsed)

    def token(self, key: Any = RSA, kid: str = "one", algorithm: str = "RS256", **claims: Any) -> str:
        said = {"iss": self.url, "aud": "towline", "sub": "ann", "exp": NOW + 60, **claims}
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(said, key, algorithm=algorithm, headers={"kid": kid})

    async def discovery(self, request: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response({"issuer": self.calls_itself or self.url, "jwks_uri": f"{self.url}/keys"})

    async def jwks(self, request: web.Request) -> web.Response:
        rows: list[dict[str, Any]] = [{"kty": "strange", "kid": "strange"}]
        for kid, key in self.keys.items():
            algorithm = jwt.algorithms.ECAlgorithm if key is EC else jwt.algorithms.RSAAlgorithm
            rows.append({**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"})
        return web.json_response({"keys": rows})


@pytest.fixture
async def issuer(tmp_path: Path) -> AsyncIterator[Issuer]:
    made = Issuer()
    ca = authority.create(1_700_000_000.0)
    leaf = ca.issue_server(["127.0.0.1"], 1_780_000_000.0, 3650)
    pair = tmp_path / "pair.pem"
    pair.write_bytes(leaf.certificate_pem + leaf.key_pem)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair)
    app = web.Application()
    app.router.add_get(DISCOVERY_PATH, made.discovery)
    app.router.add_get("/keys", made.jwks)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    made.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    made.ca_pem = ca.bundle_pem.decode()
    yield made
    await runner.cleanup()


async def test_a_token_names_a_user_and_groups(issuer: Issuer) -> None:
    user = await issuer.verifier(groups_claim="teams", groups_prefix="oidc:").verify(
        issuer.token(teams=["a", "b"])
    )
    assert user is not None
    assert (user.name, user.groups) == (f"{issuer.url}#ann", ("oidc:a", "oidc:b", "system:authenticated"))


async def test_keys_are_fetched_once_and_again_for_a_new_one_but_not_all_the_time(issuer: Issuer) -> None:
    verifier = issuer.verifier(signing_algorithms=("RS256", "ES256"))
    for _ in range(3):
        assert await verifier.verify(issuer.token())
    assert issuer.asked == 1
    issuer.keys["two"] = EC
    token = issuer.token(EC, "two", "ES256")
    with pytest.raises(InvalidToken, match="no key 'two'"):
        await verifier.verify(token)
    assert issuer.asked == 1  # it looked a moment ago
    issuer.elapsed = REFRESH_SECONDS_MIN
    assert await verifier.verify(token)
    with pytest.raises(InvalidToken):
        await verifier.verify(issuer.token(EC, "absent", "ES256"))
    assert issuer.asked == 2


async def test_what_is_not_of_the_issuer_is_somebody_elses(issuer: Issuer) -> None:
    verifier = issuer.verifier()
    nested = "W1tb" * 3000 + ".e30.e30"
    for token in ("", "abc", "a.b.c", "x" * 20_000, nested, issuer.token(iss="https://other.example.com")):
        assert await verifier.verify(token) is None
    assert issuer.asked == 0


REFUSED = {
    "another key": {"key": OTHER},
    "another algorithm": {"key": EC, "kid": "ec", "algorithm": "ES256"},
    "a shared secret": {"key": "s" * 32, "algorithm": "HS256"},
    "another audience": {"aud": "other"},
    "no audience": {"aud": None},
    "expired": {"exp": NOW - 60},
    "no end": {"exp": None},
    "not yet": {"nbf": NOW + 60},
    "no name": {"sub": None},
    "a required claim is absent": {"hd": None},
    "a required claim is another": {"hd": "other"},
}


@pytest.mark.parametrize("spoilt", REFUSED.values(), ids=REFUSED.keys())
async def test_tokens_that_are_refused(issuer: Issuer, spoilt: dict[str, Any]) -> None:
    issuer.keys["ec"] = EC
    verifier = issuer.verifier(required_claims={"hd": "example.com"})
    assert await verifier.verify(issuer.token(hd="example.com"))
    with pytest.raises(InvalidToken):
        await verifier.verify(issuer.token(**{"hd": "example.com", **spoilt}))


async def test_an_issuer_that_cannot_be_trusted_gives_no_keys(issuer: Issuer) -> None:
    issuer.calls_itself = "https://other.example.com"
    with pytest.raises(InvalidToken):
        await issuer.verifier().verify(issuer.token())
    with pytest.raises(InvalidToken):  # not signed by an authority that we know
        await issuer.verifier(ca_pem="").verify(issuer.token())


USERNAMES: list[tuple[dict[str, str], dict[str, Any], str]] = [
    ({}, {"sub": "ann"}, "https://i#ann"),
    ({"username_prefix": "-"}, {"sub": "ann"}, "ann"),
    ({"username_prefix": "o:"}, {"sub": "ann"}, "o:ann"),
    ({"username_claim": "email"}, {"email": "a@b"}, "a@b"),
    ({"username_claim": "email"}, {"email": "a@b", "email_verified": True}, "a@b"),
    ({"username_claim": "email"}, {"email": "a@b", "email_verified": False}, ""),
    ({"groups_claim": "g"}, {"sub": "ann", "g": {"a": 1}}, ""),
    ({"groups_claim": "g"}, {"sub": "ann", "g": [1]}, ""),
    ({"username_prefix": "-"}, {"sub": "system:admin"}, ""),
]


@pytest.mark.parametrize(("fields", "claims", "name"), USERNAMES)
def test_the_name_of_a_user(fields: dict[str, Any], claims: dict[str, Any], name: str) -> None:
    config = OidcConfig("https://i", "c", **fields)
    if name:
        assert user_of({"exp": NOW, **claims}, config, NOW).name == name
    else:
        with pytest.raises(InvalidToken):
            user_of({"exp": NOW, **claims}, config, NOW)


def test_no_issuer_makes_masters() -> None:
    config = OidcConfig("https://i", "c", groups_claim="g")
    user = user_of({"exp": NOW, "sub": "ann", "g": ["system:masters", "team"]}, config, NOW)
    assert user.groups == ("team", "system:authenticated")
