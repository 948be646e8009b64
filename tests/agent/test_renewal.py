"""When a certificate is renewed and whom the agent trusts, with a clock that is turned by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from towline.agent import identity as identities
from towline.agent.identity import Identity
from towline.agent.renewal import CLOCK_STEP_SECONDS, RETRY_SECONDS, SPREAD_SECONDS, Renewal
from towline.certs import authority
from towline.certs.authority import AgentIdentity, Authority
from towline.proto import fleet_pb2 as fleet

NOW = 1_800_000_000.0
DAY = 86_400.0
CA, OTHER = authority.create(NOW), authority.create(NOW)


class Hub:
    """A hub that signs what it is asked to; `answer` may spoil it."""

    def __init__(self) -> None:
        self.now = NOW
        self.asked = 0
        self.saved: list[Identity] = []
        self.sessions = 0
        self.ended: list[Identity] = []
        self.connected = True
        self.cluster = "member1"
        self.bundle_pem = CA.bundle_pem
        self.seconds = authority.AGENT_SECONDS
        self.jitter = 0.5
        self.answer: Callable[[bytes], bytes] = lambda pem: pem
        key = authority.new_key()
        pem = CA.issue_agent(AgentIdentity("member1", "uid"), key.public_key(), NOW)
        first = Identity(
            "member1", "hub:1", "u", authority.key_pem(key).decode(), pem.decode(), CA.bundle_pem.decode()
        )
        self.renewal = Renewal(
            first, save=self.save, renew=self.renew, changed=self.changed, expired=self.expired,
            now=lambda: self.now, jitter=lambda: self.jitter,
        )  # fmt: skip

    async def save(self, identity: Identity) -> None:
        assert self.sessions == len(self.saved), "it is on disk before it is used"
        self.saved.append(identity)

    def changed(self) -> None:
        self.sessions += 1

    async def expired(self, identity: Identity) -> None:
        self.ended.append(identity)

    async def renew(self, csr_pem: bytes) -> fleet.RenewResponse | None:
        self.asked += 1
        if not self.connected:
            return None
        key = authority.public_key_of_request(csr_pem)
        pem = CA.issue_agent(AgentIdentity(self.cluster, "uid"), key, self.now, self.seconds)
        return fleet.RenewResponse(certificate_pem=self.answer(pem), ca_bundle_pem=self.bundle_pem)

    def trust(self, *authorities: Authority, renew: bool = False) -> None:
        bundle_pem = b"".join(each.bundle_pem for each in authorities)
        self.renewal.told(fleet.Trust(ca_bundle_pem=bundle_pem, renew=renew))


@pytest.fixture
def hub() -> Hub:
    return Hub()


async def test_nothing_is_asked_before_two_thirds_of_the_life(hub: Hub) -> None:
    for days in (0.0, 1.0, 4.0, 4.66):
        hub.now = NOW + days * DAY
        assert 0 < await hub.renewal.step() <= CLOCK_STEP_SECONDS
    assert (hub.asked, hub.sessions) == (0, 0)


async def test_at_two_thirds_there_is_a_new_key_and_certificate(hub: Hub) -> None:
    first = hub.renewal.identity
    hub.now = NOW + 4.67 * DAY
    assert await hub.renewal.step() == CLOCK_STEP_SECONDS
    second = hub.renewal.identity
    assert second.key_pem != first.key_pem and second.expires_at > first.expires_at + 4 * DAY
    assert hub.saved == [second] and hub.sessions == 1
    await hub.renewal.step()
    assert hub.asked == 1, "it is young again"
    hub.seconds, hub.now = 1800, NOW + 10 * DAY
    assert await hub.renewal.step() == 1200, "it is only given for half an hour"


async def test_with_a_full_disk_the_identity_before_serves(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    """It is no reason to end: what was asked for is to be enforced. It is tried again, soon enough."""
    first, room = hub.renewal.identity, False

    async def save(identity: Identity) -> None:
        if not room:
            raise OSError(28, "No space left on device")

    hub.renewal._save = save
    hub.renewal.hubs_at(["other:1"], "hub:1")
    assert await hub.renewal.step() == RETRY_SECONDS
    hub.trust(CA, OTHER)
    assert await hub.renewal.step() == RETRY_SECONDS
    hub.now = NOW + 5 * DAY
    assert await hub.renewal.step() == RETRY_SECONDS
    assert hub.renewal.identity == first and hub.sessions == 0
    assert "the certificate was renewed, and that cannot be kept ([Errno 28] No space left" in caplog.text
    room = True
    await hub.renewal.step()
    assert hub.renewal.identity.renew_at > hub.now and hub.renewal.identity.gateways == ("hub:1", "other:1")


async def test_an_enrolment_meanwhile_counts_more(hub: Hub) -> None:
    """To keep an identity takes a request to the member; another token may come in between."""
    anew = replace(hub.renewal.identity, token_hash="another")

    async def save(identity: Identity) -> None:
        hub.renewal.enrolled(anew)

    hub.renewal._save = save
    hub.trust(CA, OTHER)
    await hub.renewal.step()
    assert hub.renewal.identity is anew


async def test_a_clock_that_was_set_is_noticed_within_the_hour(hub: Hub) -> None:
    assert await hub.renewal.step() == CLOCK_STEP_SECONDS
    hub.now += 30 * DAY
    await hub.renewal.step()
    assert hub.asked == 1


async def test_without_a_session_it_is_tried_again_and_an_end_is_told(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    hub.connected = False
    hub.now = NOW + 5 * DAY
    assert await hub.renewal.step() == RETRY_SECONDS
    assert "expired" not in caplog.text and hub.ended == []
    hub.jitter = 0.0
    assert await hub.renewal.step() == RETRY_SECONDS / 2
    hub.now = NOW + 8 * DAY
    await hub.renewal.step()
    assert hub.ended == [hub.renewal.identity], "it may ask in another way whether its cluster has left"
    assert "towline join member1" in caplog.text and hub.sessions == 0


@pytest.mark.parametrize("wrong", ["another cluster", "another key", "no certificate", "no authority"])
async def test_what_is_not_ours_is_not_used(hub: Hub, wrong: str) -> None:
    first = hub.renewal.identity
    hub.now = NOW + 5 * DAY
    if wrong == "another cluster":
        hub.cluster = "member10"
    elif wrong == "another key":
        hub.answer = lambda pem: first.certificate_pem.encode()
    elif wrong == "no certificate":
        hub.answer = lambda pem: b"x"
    else:
        hub.bundle_pem = b""
    assert await hub.renewal.step() == RETRY_SECONDS
    assert hub.renewal.identity == first and hub.saved == []


async def test_new_authorities_are_kept_and_used_in_a_new_session(hub: Hub) -> None:
    hub.trust(CA, OTHER)
    await hub.renewal.step()
    assert hub.renewal.identity.trusts == (CA.fingerprint, OTHER.fingerprint)
    assert (hub.sessions, hub.asked) == (1, 0)
    hub.trust(OTHER, CA)
    await hub.renewal.step()
    assert hub.sessions == 1, "the order says nothing"


@pytest.mark.parametrize(
    "bundle_pem", [b"", b"x", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"]
)
async def test_a_bundle_that_cannot_be_read_locks_nobody_out(hub: Hub, bundle_pem: bytes) -> None:
    hub.renewal.told(fleet.Trust(ca_bundle_pem=bundle_pem))
    await hub.renewal.step()
    assert hub.renewal.identity.trusts == (CA.fingerprint,) and hub.sessions == 0


async def test_a_hub_that_asks_gets_its_agents_spread_over_some_seconds(hub: Hub) -> None:
    hub.trust(CA, renew=True)
    assert await hub.renewal.step() == SPREAD_SECONDS / 2
    hub.jitter = 1.0
    hub.trust(CA, renew=True)  # said again in the next exchange
    hub.now += SPREAD_SECONDS / 2
    await hub.renewal.step()
    assert hub.asked == 1 and hub.sessions == 1
    hub.now += SPREAD_SECONDS
    await hub.renewal.step()
    assert hub.asked == 1, "it has what it was to ask for"


async def test_what_it_is_told_is_done_at_once(hub: Hub) -> None:
    running = asyncio.create_task(hub.renewal.run())

    async def done() -> Identity:
        for _ in range(5):
            await asyncio.sleep(0)
        return hub.renewal.identity

    first = await done()
    hub.jitter = 0.0
    hub.trust(CA, renew=True)
    assert (await done()).key_pem != first.key_pem
    hub.renewal.hubs_at(["other:1"], "hub:1")
    assert (await done()).gateways == ("hub:1", "other:1")
    hub.now += 5 * DAY
    hub.renewal.enrolled(first)
    assert hub.asked == 1 and (await done()).renew_at > hub.now and hub.asked == 2
    running.cancel()


async def test_a_wish_that_is_taken_back_is_forgotten(hub: Hub) -> None:
    hub.trust(CA, renew=True)
    hub.trust(CA)
    hub.now += SPREAD_SECONDS
    await hub.renewal.step()
    assert hub.asked == 0


def test_a_pending_identity_keeps_its_key_for_the_same_token() -> None:
    from towline.certs.tokens import JoinToken

    token = JoinToken("hub:1", "a" * 64, "member1", "secret")
    first = identities.pending(None, token, "u")
    assert (first.trusts, first.object_uid, first.renew_at, first.expires_at) == ((), "", 0.0, 0.0)
    assert identities.pending(first, token, "u") == first
    for other in (replace(token, secret="another"), replace(token, name="member10")):
        assert identities.pending(first, other, "u").key_pem != first.key_pem
    assert identities.pending(replace(first, certificate_pem="x"), token, "u").key_pem != first.key_pem


async def test_what_the_hub_said_to_an_identity_before_does_not_reach_the_next(hub: Hub) -> None:
    """Another token may be another hub's: its authorities and addresses come with it."""
    hub.trust(OTHER, renew=True)
    hub.renewal.hubs_at(["old:2"], "old:1")
    another = replace(hub.renewal.identity, hub="hub:9", gateways=("new:1",), ca_pem=CA.bundle_pem.decode())
    hub.renewal.enrolled(another)
    await hub.renewal.step()
    assert hub.renewal.identity == another
    assert (hub.sessions, hub.asked, hub.saved) == (1, 0, [])
