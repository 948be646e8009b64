"""Where an agent looks for hubs: what it was told is kept on disk, and what works is never forgotten."""

from __future__ import annotations

from dataclasses import replace

import pytest

from towline.agent.connection import next_address
from towline.agent.identity import Identity
from towline.agent.renewal import Renewal
from towline.certs import authority, tokens

CA = authority.create(1_000_000_000, 20_000)


def identity(*gateways: str) -> Identity:
    key = authority.new_key()
    pem = CA.issue_agent(authority.AgentIdentity("m1", "uid"), key.public_key(), 1_800_000_000)
    return Identity(
        "m1", "hub:6443", "member-uid", authority.key_pem(key).decode(), pem.decode(), CA.bundle_pem.decode(), gateways
    )  # fmt: skip


@pytest.mark.parametrize(
    ("known", "reached", "told", "kept"),
    [
        pytest.param(("a:1",), "a:1", ("a:1", "b:1"), ("a:1", "b:1"), id="another hub came"),
        pytest.param(("a:1", "b:1"), "b:1", ("b:1", "a:1"), ("a:1", "b:1"), id="the other hub says the same"),
        pytest.param(("a:1", "b:1"), "a:1", ("a:1",), ("a:1",), id="a hub is gone for good"),
        pytest.param(("proxy:1",), "proxy:1", ("10.0.0.1:1",), ("proxy:1", "10.0.0.1:1"), id="what works stays"),
        pytest.param(("a:1", "b:1"), "a:1", (), ("a:1", "b:1"), id="a hub that says nothing changes nothing"),
    ],
)  # fmt: skip
async def test_where_hubs_are(
    known: tuple[str, ...], reached: str, told: tuple[str, ...], kept: tuple[str, ...]
) -> None:
    saved: list[tuple[str, ...]] = []
    changed: list[None] = []

    async def save(new: Identity) -> None:
        saved.append(new.gateways)

    async def renew(csr: bytes) -> None:
        raise AssertionError("nothing is old")

    async def expired(identity: Identity) -> None:
        raise AssertionError("nothing ends")

    renewal = Renewal(
        identity(*known), save=save, renew=renew, changed=lambda: changed.append(None), expired=expired,
        now=lambda: 1_800_000_001.0, jitter=lambda: 0.5,
    )  # fmt: skip
    renewal.hubs_at(told, reached)
    await renewal.step()
    await renewal.step()
    assert renewal.identity.gateways == kept
    assert saved == ([kept] if kept != known else []) and not changed, "the session goes on"


@pytest.mark.parametrize(
    ("hub", "good"),
    [("a:1", True), ("a:1,[::1]:2", True), ("a:1,", False), ("a,b:1", False), (":1", False), ("a:x,b:1", False)],
)  # fmt: skip
def test_a_token_may_name_several_hubs(hub: str, good: bool) -> None:
    token = tokens.JoinToken(hub, "0" * 64, "m1", "secret")
    if good:
        assert tokens.parse(token.encode()) == token
    else:
        with pytest.raises(tokens.TokenError):
            tokens.parse(replace(token).encode())


@pytest.mark.parametrize(
    ("last", "asked", "next_one"),
    [
        pytest.param("a:1", (), "b:1", id="the one after"),
        pytest.param("c:1", (), "a:1", id="in turn"),
        pytest.param("gone:1", (), "a:1", id="the first where the last is not known any more"),
        pytest.param("a:1", ("c:1",), "c:1", id="where a hub asked it to go"),
        pytest.param("a:1", ("x:1", "c:1"), "c:1", id="by the address that it knows"),
        pytest.param("a:1", ("x:1",), "b:1", id="nowhere that it does not know"),
    ],
)
def test_which_hub_is_dialled_next(last: str, asked: tuple[str, ...], next_one: str) -> None:
    assert next_address(("a:1", "b:1", "c:1"), last, asked) == next_one


def test_an_only_hub_is_dialled_again() -> None:
    assert next_address(("a:1",), "a:1", ()) == "a:1"
