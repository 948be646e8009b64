"""Getting an identity: against the hub's real enrolment over real TLS, with everything that can be wrong."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from towline.agent import identity as identities
from towline.agent.desired import HubSeen
from towline.agent.identity import HubUnreachable, Identity, Unenrollable
from towline.certs import authority, tokens
from towline.certs.rotation import Authorities
from towline.hub.gateway.enrolment import Enrolment
from towline.hub.store.contract import Conflict, Write
from towline.kube.objects import Key, Object, decode, name_of, parse_path

NOW = 1_800_000_000.0


@dataclass
class Row:
    object: Object
    revision: int


@dataclass
class Rows:
    """A store of join tokens."""

    rows: dict[str, Row] = field(default_factory=dict)

    def get(self, key: Key) -> Row | None:
        return self.rows.get(key.path())

    def list(self, group: str, resource: str) -> list[Row]:
        return [row for path, row in self.rows.items() if parse_path(path)[:2] == (group, resource)]

    async def commit(self, writes: Sequence[Write]) -> int:
        for write in writes:
            row = self.rows.get(write.key)
            if (row.revision if row else 0) != write.expected:
                raise Conflict(write.key)
            assert write.value is not None
            self.rows[write.key] = Row(decode(write.value), (row.revision if row else 0) + 1)
        return 1


@dataclass
class Clusters:
    objects: dict[str, Object] = field(default_factory=dict)

    def get(self, name: str) -> Object | None:
        return self.objects.get(name)

    def list(self) -> list[Object]:
        return list(self.objects.values())

    async def write(self, obj: Object) -> Object:
        obj["metadata"]["uid"] = f"uid-of-{name_of(obj)}"
        self.objects[name_of(obj)] = obj
        return obj


@dataclass
class Hub:
    enrolment: Enrolment
    address: str = ""
    ca: authority.Authority | None = None
    lose_answers: int = 0
    refuses: tuple[int, dict[str, str]] | None = None
    answers: str = ""
    seen: list[tuple[str, bool]] = field(default_factory=list)

    async def token(self, name: str = "member1") -> tokens.JoinToken:
        answer = await self.enrolment.create_token({"name": name}, user="admin", refused="")
        return replace(tokens.parse(answer.body["token"]), hub=self.address)


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    ca = authority.create(NOW)
    enrolment = Enrolment(
        Authorities(ca),
        Rows(),
        Clusters(),
        lambda: ["hub:1"],
        lambda: ["gateway:7443"],
        lambda event: None,
        lambda: NOW,
    )
    hub = Hub(enrolment, ca=ca)

    async def get_ca(request: web.Request) -> web.Response:
        hub.seen.append(("ca", False))
        assert hub.ca is not None
        if hub.answers == "endless":
            return web.Response(body=b"x" * 1_000_000)
        if hub.answers == "elsewhere" and len(hub.seen) == 1:
            raise web.HTTPFound("/towline/v1/ca")
        return web.json_response({"ca": hub.ca.bundle_pem.decode()})

    async def enroll(request: web.Request) -> web.Response:
        body: Any = await request.json()
        hub.seen.append(("enroll", "secret" in body))
        if hub.refuses is not None:
            return web.json_response(hub.refuses[1], status=hub.refuses[0])
        answer = await enrolment.enroll(body)
        if hub.lose_answers:
            hub.lose_answers -= 1
            assert request.transport is not None
            request.transport.close()
        return web.json_response(answer.body, status=answer.status)

    async def farewell(request: web.Request) -> web.Response:
        if hub.refuses is not None:
            return web.json_response(hub.refuses[1], status=hub.refuses[0])
        return web.json_response({"remains": "REMOVE", "removeAgent": False})

    app = web.Application()
    app.router.add_get("/towline/v1/ca", get_ca)
    app.router.add_post("/towline/v1/enroll", enroll)
    app.router.add_post("/towline/v1/farewell", farewell)
    runner = web.AppRunner(app)
    await runner.setup()
    leaf = ca.issue_server(["127.0.0.1"], 1_000_000_000, 20_000)
    pair = tmp_path / "server.pem"
    pair.write_bytes(leaf.certificate_pem + leaf.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    hub.address = f"127.0.0.1:{port}"
    yield hub
    await runner.cleanup()


@pytest.fixture(autouse=True)
def _lasting_ca(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's clock stands in the future; the TLS stack's does not."""
    create = authority.create
    monkeypatch.setattr(authority, "create", lambda now, days=20_000: create(1_000_000_000, days))


async def enrolled(hub: Hub, token: tokens.JoinToken, before: Identity | None = None) -> Identity:
    return await identities.enrol(before or identities.new(token, "member-uid"), token)


async def test_a_token_of_several_hubs_is_redeemed_where_one_answers(hub: Hub) -> None:
    token = await hub.token()
    identity = await enrolled(hub, replace(token, hub=f"127.0.0.1:1,{token.hub}"))
    assert identity.certificate_pem and identity.hub == f"127.0.0.1:1,{hub.address}"
    said = await identities.farewell(identity, HubSeen())
    assert said is not None and said.cluster_uid == "uid-of-member1", "also when it asks how its cluster left"


async def test_a_token_buys_a_certificate_for_its_name_and_our_key(hub: Hub) -> None:
    identity = await enrolled(hub, await hub.token())
    who = authority.agent_identity(identity.certificate_pem.encode())
    assert who == authority.AgentIdentity("member1", "uid-of-member1")
    assert identity.gateways == ("gateway:7443",)
    assert identity.renew_at < identity.expires_at
    assert "PRIVATE" not in repr(identity)


async def test_a_lost_answer_is_repeated_with_the_same_key(hub: Hub) -> None:
    token = await hub.token()
    pending = identities.new(token, "member-uid")
    hub.lose_answers = 1
    with pytest.raises(HubUnreachable):
        await enrolled(hub, token, pending)
    assert (await enrolled(hub, token, pending)).certificate_pem


async def test_a_token_does_not_serve_twice(hub: Hub) -> None:
    token = await hub.token()
    await enrolled(hub, token)
    with pytest.raises(Unenrollable, match="used already") as caught:
        await enrolled(hub, token)
    assert "towline join member1" in caught.value.next_step


@pytest.mark.parametrize(
    "spoil", [{"secret": "wrong"}, {"name": "member2"}], ids=["another secret", "another name"]
)
async def test_a_wrong_token_is_refused(hub: Hub, spoil: dict[str, str]) -> None:
    token = replace(await hub.token(), **spoil)
    with pytest.raises(Unenrollable, match="not valid"):
        await enrolled(hub, token)


async def test_a_hub_with_another_ca_never_gets_the_secret(hub: Hub) -> None:
    token = replace(await hub.token(), ca="0" * 64)
    with pytest.raises(Unenrollable, match="its CA is another"):
        await enrolled(hub, token)
    assert hub.seen == [("ca", False)]


async def test_a_token_of_a_rotation_outlives_it(hub: Hub) -> None:
    assert hub.ca is not None
    both = f"{'0' * 64},{hub.ca.fingerprint}"
    assert (await enrolled(hub, replace(await hub.token(), ca=both))).certificate_pem


async def test_a_server_that_only_shows_the_right_ca_never_gets_the_secret(hub: Hub) -> None:
    """Somebody in between can hand out the hub's public CA, but has no certificate of it."""
    stranger = authority.create(NOW)
    hub.ca = stranger
    token = replace(await hub.token(), ca=stranger.fingerprint)
    with pytest.raises(HubUnreachable):
        await enrolled(hub, token)
    assert ("enroll", True) not in hub.seen


@pytest.mark.parametrize("answer", ["endless", "elsewhere"])
async def test_a_server_that_is_not_trusted_yet_is_not_listened_to_for_long(hub: Hub, answer: str) -> None:
    hub.answers = answer
    with pytest.raises(HubUnreachable, match={"endless": "is longer than", "elsewhere": "302"}[answer]):
        await enrolled(hub, await hub.token())
    assert hub.seen == [("ca", False)]


@pytest.mark.parametrize(
    ("status", "message", "told"),
    [
        (503, "the store is away", "the store is away"),
        (500, "", "it answered 500"),
        (429, "", "it answered 429"),
    ],
)
async def test_a_hub_that_is_not_well_is_tried_again(hub: Hub, status: int, message: str, told: str) -> None:
    hub.refuses = status, {"message": message}
    with pytest.raises(HubUnreachable, match=told):
        await enrolled(hub, await hub.token())


@pytest.mark.parametrize(
    ("status", "next_step"),
    [
        (409, "Then start this agent again."),
        (499, "Make a new token with `towline join member1 --token-only`."),
    ],
)
async def test_who_is_refused_is_told_what_to_do(hub: Hub, status: int, next_step: str) -> None:
    hub.refuses = status, {"message": "it is being detached."}
    with pytest.raises(Unenrollable, match=r"member1: it is being detached$") as caught:
        await enrolled(hub, await hub.token())
    assert caught.value.next_step == next_step


@pytest.mark.parametrize("answer", [{}, {"certificate": "x", "ca": "y", "gateways": ""}])
async def test_an_answer_that_is_no_certificate_is_none(hub: Hub, answer: dict[str, str]) -> None:
    hub.refuses = 200, answer
    with pytest.raises(HubUnreachable, match="sent no usable certificate"):
        await enrolled(hub, await hub.token())


async def test_only_a_hub_that_knows_of_an_end_tells_one(hub: Hub) -> None:
    identity = await enrolled(hub, await hub.token())
    hub.refuses = 404, {"remains": "REMOVE"}
    assert await identities.farewell(identity, HubSeen()) is None
    hub.refuses = 200, {"remains": "EVERYTHING"}
    with pytest.raises(HubUnreachable, match="does not answer like a hub"):
        await identities.farewell(identity, HubSeen())


async def test_a_hub_that_is_not_there_is_tried_again(hub: Hub) -> None:
    token = replace(await hub.token(), hub="127.0.0.1:1")
    with pytest.raises(HubUnreachable, match="cannot be reached"):
        await enrolled(hub, token)


def test_the_identity_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    assert identities.load(tmp_path) is None
    identity = Identity("member1", "hub:1", "uid", identities.new_key_pem(), "cert", "ca", ("g:1", "g:2"))
    identities.save(tmp_path, identity)
    assert identities.load(tmp_path) == identity
    assert (tmp_path / "identity.json").stat().st_mode & 0o777 == 0o600


def test_a_damaged_identity_is_told(tmp_path: Path) -> None:
    (tmp_path / "identity.json").write_text("{")
    with pytest.raises(Unenrollable, match=r"identity\.json cannot be read") as caught:
        identities.load(tmp_path)
    assert "new token" in caught.value.next_step
