"""Join tokens and the certificates that they buy: every refusal is a Status, is audited, and changes nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.session.hub_parts import ClusterObjects, Rows
from towline.certs import authority, tokens
from towline.certs.authority import AgentIdentity
from towline.certs.rotation import Authorities
from towline.hub.gateway import enrolment
from towline.hub.gateway.enrolment import Answer, Enrolment
from towline.hub.store.contract import Unavailable
from towline.kube.objects import Key, uid_of

CA = authority.create(1_800_000_000.0)


class Hub:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.rows = Rows()
        self.clusters = ClusterObjects(self.rows)
        self.audited: list[dict[str, Any]] = []
        self.enrolment = Enrolment(
            Authorities(CA),
            self.rows,
            self.clusters,
            lambda: ["hub:6443"],
            lambda: ["hub:7443"],
            self.audited.append,
            lambda: self.now,
        )

    async def token(self, name: str = "member1", **body: Any) -> str:
        answer = await self.enrolment.create_token({"name": name, **body}, user="admin", refused="")
        assert answer.status == 201, answer
        return tokens.parse(answer.body["token"]).secret

    async def enroll(
        self, secret: str, *, name: str = "member1", uid: str = "uid-1", csr: bytes | None = None
    ) -> Answer:
        csr = csr if csr is not None else authority.request_pem(authority.new_key())
        return await self.enrolment.enroll(
            {"name": name, "secret": secret, "csr": csr.decode(), "clusterUID": uid}
        )


@pytest.fixture
def hub() -> Hub:
    return Hub()


async def refused(hub: Hub, answer: Answer, revision: int, code: int, reason: str, says: str) -> None:
    assert (answer.status, answer.body["kind"], answer.body["code"]) == (code, "Status", code)
    assert answer.body["reason"] == reason and says in answer.body["message"]
    assert hub.rows.revision == revision, "a refusal changes nothing"
    assert hub.audited[-1]["decision"] == "refused" and hub.audited[-1]["message"] == answer.body["message"]


def test_the_ca_is_public(hub: Hub) -> None:
    answer = hub.enrolment.ca()
    assert answer.status == 200
    assert [*authority.bundle_of(answer.body["ca"].encode())] == [CA.fingerprint]


async def test_what_a_new_token_means_for_others_is_told(hub: Hub) -> None:
    secrets: list[str] = []

    async def told() -> tuple[Any, ...]:
        answer = await hub.enrolment.create_token({"name": "member1"}, user="admin", refused="")
        secrets.append(tokens.parse(answer.body["token"]).secret)
        return answer.body["hubs"], answer.body["replaced"], answer.body["joined"]

    assert await told() == (["hub:6443"], False, False)
    assert await told() == (["hub:6443"], True, False), "the unused one is worthless"
    await hub.enroll(secrets[-1])
    assert await told() == (["hub:6443"], False, True)
    hub.now += tokens.TTL_SECONDS
    assert (await told())[1] is False, "it had expired anyway"


async def test_a_token_buys_a_certificate_and_makes_the_cluster(hub: Hub) -> None:
    secret = await hub.token(region="eu", zone="eu-1", provider="aws", labels={"tier": "prod"})
    answer = await hub.enroll(secret)
    assert answer.status == 200 and answer.body["gateways"] == ["hub:7443"]
    cluster = hub.clusters.get("member1")
    assert cluster is not None
    assert cluster["spec"] == {
        "syncMode": "Pull",
        "id": "uid-1",
        "region": "eu",
        "zones": ["eu-1"],
        "provider": "aws",
    }
    assert cluster["metadata"]["labels"] == {"tier": "prod"}
    identity = authority.agent_identity(answer.body["certificate"].encode())
    assert identity == AgentIdentity("member1", uid_of(cluster))
    assert [event["decision"] for event in hub.audited] == ["granted", "granted"]
    assert secret not in str(hub.audited) and secret not in str(
        [row.object for row in hub.rows.rows.values()]
    )


async def test_a_retry_with_the_same_key_is_answered_again(hub: Hub) -> None:
    secret, csr = await hub.token(), authority.request_pem(authority.new_key())
    first = await hub.enroll(secret, csr=csr)
    revision = hub.rows.revision
    second = await hub.enroll(secret, csr=csr)
    assert first.status == second.status == 200 and hub.rows.revision == revision


async def test_a_used_token_is_refused(hub: Hub) -> None:
    secret = await hub.token()
    assert (await hub.enroll(secret)).status == 200
    revision = hub.rows.revision
    await refused(hub, await hub.enroll(secret), revision, 401, "Unauthorized", "used")


@pytest.mark.parametrize("attempt", ["secret", "name", "garbage", "no token"])
async def test_a_wrong_token_is_refused(hub: Hub, attempt: str) -> None:
    secret = await hub.token() if attempt != "no token" else "x"
    revision = hub.rows.revision
    attempts: dict[str, dict[str, Any]] = {
        "secret": {"secret": secret + "x"},
        "name": {"secret": secret, "name": "member2"},
        "garbage": {"secret": "x", "name": "../../x"},
        "no token": {"secret": "x"},
    }
    answer = await hub.enroll(**attempts[attempt])
    await refused(hub, answer, revision, 401, "Unauthorized", "not valid")


async def test_an_expired_token_is_refused(hub: Hub) -> None:
    secret = await hub.token()
    hub.now += 3599
    revision = hub.rows.revision
    hub.now += 1
    await refused(hub, await hub.enroll(secret), revision, 401, "Expired", "expired")


@pytest.mark.parametrize("later_seconds", [0, 3600])
async def test_a_member_joins_once(hub: Hub, later_seconds: float) -> None:
    """Nor when nothing is reserved for it any more."""
    await hub.enroll(await hub.token())
    hub.now += later_seconds
    secret = await hub.token("member2")
    revision = hub.rows.revision
    answer = await hub.enroll(secret, name="member2", uid="uid-1")
    await refused(hub, answer, revision, 409, "Conflict", "as cluster member1")
    assert (await hub.enroll(secret, name="member2", uid="uid-2")).status == 200, "the token is still good"


async def test_a_name_is_one_member(hub: Hub) -> None:
    await hub.enroll(await hub.token())
    secret = await hub.token()
    revision = hub.rows.revision
    await refused(hub, await hub.enroll(secret, uid="uid-2"), revision, 409, "Conflict", "another member")


async def test_the_hub_is_no_member_of_itself(hub: Hub) -> None:
    """With the kubeconfig of the hub an agent would apply every template to itself."""
    secret = await hub.token()
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system", "uid": "uid-1"}}
    hub.rows.put(Key("", "namespaces", "", "kube-system"), space)
    answer = await hub.enroll(secret)
    await refused(hub, answer, hub.rows.revision, 409, "Conflict", "this member is the hub itself")
    assert (await hub.enroll(secret, uid="uid-2")).status == 200


async def test_a_member_may_join_again_under_its_name(hub: Hub) -> None:
    await hub.enroll(await hub.token())
    before = hub.clusters.get("member1")
    assert (await hub.enroll(await hub.token())).status == 200
    assert hub.clusters.get("member1") == before
    assert before is not None and before["spec"] == {"syncMode": "Pull", "id": "uid-1"}


async def test_a_cluster_made_by_hand_learns_its_member(hub: Hub) -> None:
    hub.clusters.add("member1", region="us")
    assert (await hub.enroll(await hub.token(region="eu"))).status == 200
    cluster = hub.clusters.get("member1")
    assert cluster is not None and cluster["spec"] == {"syncMode": "Pull", "region": "us", "id": "uid-1"}


async def test_nobody_joins_while_detaching(hub: Hub) -> None:
    secret = await hub.token()
    cluster = hub.clusters.add("member1", id="uid-1")
    cluster["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    await hub.clusters.write(cluster)
    await refused(hub, await hub.enroll(secret), hub.rows.revision, 409, "Conflict", "detached")


@pytest.mark.parametrize("field", ["name", "secret", "csr", "clusterUID"])
@pytest.mark.parametrize("value", [None, 5, "", "x" * 20_000])
async def test_enrolment_needs_all_its_fields(hub: Hub, field: str, value: Any) -> None:
    csr = authority.request_pem(authority.new_key()).decode()
    body = {"name": "member1", "secret": await hub.token(), "csr": csr, "clusterUID": "uid-1", field: value}
    revision = hub.rows.revision
    answer = await hub.enrolment.enroll(body)
    await refused(hub, answer, revision, 400, "BadRequest", field)
    assert answer.body["details"]["causes"][0]["field"] == field


@pytest.mark.parametrize("body", [None, [], "x", 5])
async def test_bodies_that_are_no_objects(hub: Hub, body: Any) -> None:
    await refused(hub, await hub.enrolment.enroll(body), 0, 400, "BadRequest", "name")
    answer = await hub.enrolment.create_token(body, user="admin", refused="")
    await refused(hub, answer, 0, 400, "BadRequest", "name")


async def test_a_request_that_is_none(hub: Hub) -> None:
    secret = await hub.token()
    answer = await hub.enroll(secret, csr=b"garbage")
    await refused(hub, answer, hub.rows.revision, 400, "BadRequest", "csr")


async def test_who_may_not_gets_no_token(hub: Hub) -> None:
    answer = await hub.enrolment.create_token({"name": "m"}, user="ann", refused="ann may not")
    await refused(hub, answer, 0, 403, "Forbidden", "ann may not")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "Bad_Name"}, "name"),
        ({"name": "m" * 49}, "name"),
        ({"name": "m", "ttlSeconds": 0}, "ttlSeconds"),
        ({"name": "m", "ttlSeconds": enrolment.TTL_SECONDS_MAX + 1}, "ttlSeconds"),
        ({"name": "m", "ttlSeconds": True}, "ttlSeconds"),
        ({"name": "m", "ttlSeconds": "1"}, "ttlSeconds"),
        ({"name": "m", "region": "not a label!"}, "region"),
        ({"name": "m", "zones": ["ok", 5]}, "zones"),
        ({"name": "m", "zones": "z"}, "labels"),
        ({"name": "m", "labels": {"a b": "c"}}, "labels"),
        ({"name": "m", "labels": {"a": "!"}}, "labels[a]"),
    ],
)
async def test_bad_joins_name_the_field(hub: Hub, body: dict[str, Any], field: str) -> None:
    answer = await hub.enrolment.create_token(body, user="admin", refused="")
    await refused(hub, answer, 0, 422, "Invalid", "")
    assert answer.body["details"]["causes"][0]["field"] == field


async def test_a_new_token_replaces_the_old_one(hub: Hub) -> None:
    old = await hub.token()
    new = await hub.token()
    assert (await hub.enroll(old)).status == 401 and (await hub.enroll(new)).status == 200


# --- tokens and revocations ------------------------------------------------------------------------------------------


async def test_tokens_are_listed_without_their_secrets(hub: Hub) -> None:
    secret = await hub.token("member1")
    for seconds in (1, enrolment.TTL_SECONDS_MAX, 60):
        await hub.token("member2", ttlSeconds=seconds)
    await hub.enroll(secret)
    hub.now += 60
    status, body = await hub.enrolment.tokens(None, "admin", "")
    items = body["items"]
    assert status == 200 and [(item["name"], item["used"], item["expired"]) for item in items] == [
        ("member1", True, False), ("member2", False, True),
    ]  # fmt: skip
    assert set(items[0]) == {"name", "used", "expired", "expires"}


async def test_expired_tokens_are_forgotten_when_another_is_made(hub: Hub) -> None:
    await hub.token("member1")
    for later, listed in ((3600 + enrolment.FORGET_SECONDS, ["member1", "member2"]), (1, ["member2"])):
        hub.now += later
        await hub.token("member2")
        items = (await hub.enrolment.tokens(None, "", "")).body["items"]
        assert [item["name"] for item in items] == listed


async def test_a_revoked_token_buys_nothing(hub: Hub) -> None:
    secret = await hub.token()
    assert (await hub.enrolment.revoke_token({"name": "member1"}, "admin", "")).status == 200
    await refused(hub, await hub.enroll(secret), hub.rows.revision, 401, "Unauthorized", "not valid")
    answer = await hub.enrolment.revoke_token({"name": "member1"}, "admin", "")
    await refused(hub, answer, hub.rows.revision, 404, "NotFound", "no join token")


async def test_revocation_ends_certificates_and_the_token_that_bought_them(hub: Hub) -> None:
    """Within its hour, the key that used a token could buy another certificate with it."""
    secret, csr = await hub.token(), authority.request_pem(authority.new_key())
    assert (await hub.enroll(secret, csr=csr)).status == 200
    answer = await hub.enrolment.revoke({"name": "member1"}, "ann", "")
    assert (answer.status, answer.body) == (201, {"name": "member1", "generation": 1})
    assert hub.audited[-1]["user"] == "ann" and hub.audited[-1]["cluster"] == "member1"
    assert (await hub.enroll(secret, csr=csr)).status == 401
    again = await hub.enroll(await hub.token())
    assert authority.agent_identity(again.body["certificate"].encode()).generation == 1
    assert (await hub.enrolment.revoke({"name": "member1"}, "ann", "")).body["generation"] == 2


async def test_a_cluster_of_the_same_name_begins_anew(hub: Hub) -> None:
    await hub.enroll(await hub.token())
    await hub.enrolment.revoke({"name": "member1"}, "ann", "")
    hub.rows.delete(Key("cluster.karmada.io", "clusters", "", "member1"))
    again = await hub.enroll(await hub.token(), uid="uid-2")
    assert authority.agent_identity(again.body["certificate"].encode()).generation == 0


@pytest.mark.parametrize("replaced", [False, True], ids=["revoked", "and another made"])
async def test_a_revocation_during_an_enrolment_wins(hub: Hub, replaced: bool) -> None:
    secret, write = await hub.token(), hub.clusters.write

    async def revoked_meanwhile(obj: Any) -> Any:
        stored = await write(obj)
        await hub.enrolment.revoke({"name": "member1"}, "ann", "")
        if replaced:
            await hub.token()
        return stored

    hub.clusters.write = revoked_meanwhile  # type: ignore[method-assign]
    answer = await hub.enroll(secret)
    assert answer.status == 401 and "revoked just now" in answer.body["message"]


@pytest.mark.parametrize("hubs", [1, 2])
async def test_a_member_that_asks_for_two_names_at_once_gets_one(hub: Hub, hubs: int) -> None:
    """At one hub, and at two on one store, whose Clusters take their time to be seen."""
    secrets = {name: await hub.token(name) for name in ("member1", "member2")}
    other = Hub()
    other.enrolment = replace(hub.enrolment, one_at_a_time=asyncio.Lock())
    write = hub.clusters.write

    async def slowly(obj: Any) -> Any:
        await asyncio.sleep(0)
        return await write(obj)

    hub.clusters.write = slowly  # type: ignore[method-assign]
    asked = zip(secrets.items(), (hub, other if hubs == 2 else hub), strict=True)
    answers = await asyncio.gather(*(at.enroll(s, name=n, uid="uid-1") for (n, s), at in asked))
    assert sorted(answer.status for answer in answers) == [200, 409]
    hub.now += 61
    assert len([key for key in hub.rows.rows if key.resource == "clusters"]) == 1


async def test_strangers_keep_nobody_waiting(hub: Hub) -> None:
    """To catch up with other hubs takes a commit: whoever asks with garbage again and again must not hold it up for others."""
    gate = asyncio.Event()
    first: list[bool] = []

    async def catch_up() -> None:
        if not first:
            first.append(True)
            await gate.wait()

    hub.enrolment = replace(hub.enrolment, catch_up=catch_up)
    stranger = asyncio.create_task(hub.enroll("garbage", name="member9"))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        assert (await hub.enroll(await hub.token())).status == 200
        gate.set()
        assert (await stranger).status == 401


async def test_a_token_that_two_use_at_two_hubs_at_once_serves_one(hub: Hub) -> None:
    secret, commit = await hub.token(), hub.rows.commit
    other = Hub()
    other.enrolment = replace(hub.enrolment, one_at_a_time=asyncio.Lock())

    async def slowly(writes: Any) -> int:
        await asyncio.sleep(0)  # both have seen that it is not used
        return await commit(writes)

    hub.rows.commit = slowly  # type: ignore[method-assign]
    answers = await asyncio.gather(*(at.enroll(secret) for at in (hub, other)))
    (lost,) = (answer for answer in answers if answer.status != 200)
    assert lost.status == 409 and "somebody else used or replaced" in lost.body["message"]


async def test_a_reservation_of_an_enrolment_that_broke_off_ends(hub: Hub) -> None:
    async def broken(obj: Any) -> Any:
        raise Unavailable("away")

    write, hub.clusters.write = hub.clusters.write, broken  # type: ignore[method-assign]
    assert (await hub.enroll(await hub.token("member1"))).status == 503
    hub.clusters.write = write  # type: ignore[method-assign]
    secret = await hub.token("member2")
    told = await hub.enroll(secret, name="member2")
    assert told.status == 409 and "joining just now, as cluster member1" in told.body["message"]
    hub.now += 60
    assert (await hub.enroll(secret, name="member2")).status == 200
    hub.now += enrolment.FORGET_SECONDS + 3600
    await hub.token("member3")
    assert not hub.rows.list(*enrolment.MEMBERS)


@pytest.mark.parametrize("act", ["tokens", "revoke_token", "revoke"])
async def test_who_may_not_is_refused(hub: Hub, act: str) -> None:
    await hub.enroll(await hub.token())
    revision = hub.rows.revision
    answer = await getattr(hub.enrolment, act)({"name": "member1"}, "ann", "ann may not")
    assert (answer.status, answer.body["reason"], hub.rows.revision) == (403, "Forbidden", revision)


@pytest.mark.parametrize("name", ["member9", "../x", "Bad"])
async def test_what_is_not_there_cannot_be_revoked(hub: Hub, name: str) -> None:
    await refused(
        hub, await hub.enrolment.revoke({"name": name}, "ann", ""), 0, 404, "NotFound", "no cluster"
    )
