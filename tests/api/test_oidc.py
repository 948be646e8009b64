"""Tokens of an OpenID Connect issuer, which a test runs itself over TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.api.oidc_issuer import EC, NOW, Issuer, running
from towline.hub.api.authentication import InvalidToken
from towline.hub.api.oidc import REFRESH_SECONDS_MIN, user_of
from towline.hub.config import OidcConfig

OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
async def issuer(tmp_path: Path) -> AsyncIterator[Issuer]:
    async with running(tmp_path) as made:
        yield made


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
