"""The whole agent in one process: enrolled over real TLS, one session with a real gateway, a member that serves."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from tests.agent.member import SECONDS, User, config_map, config_map_ref, ref_of
from tests.agent.test_applier import WEB, deployment
from tests.ports import free_port
from tests.session.hub_parts import Certificates, ClusterObjects, Rows, Table, Told
from tests.session.pair import HUB, tombstone, work
from towline.agent import app, connection, enrolment, renewal
from towline.agent import identity as identities
from towline.agent.config import AgentConfig
from towline.agent.desired import Ref
from towline.agent.kubernetes import MERGE_PATCH, Member
from towline.certs import authority
from towline.certs.rotation import Authorities
from towline.cli.manifests import agent_manifests
from towline.cli.scope import NAMESPACE, Resource, Scope
from towline.hub.decide.detached import Detached, key_of
from towline.hub.decide.plan import Ask
from towline.hub.decide.scheduling.estimates import NO_ANSWER
from towline.hub.decide.wire import Phase, WireWork
from towline.hub.gateway import farewell
from towline.hub.gateway.enrolment import Enrolment
from towline.hub.gateway.entrance import Entrance
from towline.hub.gateway.farewell import CLUSTERS
from towline.hub.gateway.server import Gateway
from towline.hub.gateway.surroundings import Surroundings
from towline.hub.store.answers import AnswerTable
from towline.kube.objects import Key
from towline.kube.wishes import Wish, of_replicas
from towline.proto.digest import work_hash


@dataclass
class Hub:
    """Gateway, enrolment and their table, without the decisions."""

    folder: Path
    rows: Rows = field(default_factory=Rows)
    table: Table = field(default_factory=Table)
    told: Told = field(default_factory=Told)
    audited: list[dict[str, Any]] = field(default_factory=list)
    answers: AnswerTable = field(default_factory=AnswerTable)
    gateway_port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.ca = authority.create(time.time())
        self.server = self.ca.issue_server(["127.0.0.1"], time.time())
        self.clusters = ClusterObjects(self.rows)
        self.certificates = Certificates(Authorities(self.ca), self.server)
        self.gateway: Gateway | None = None

    async def start(self) -> None:
        given = Surroundings(
            works=self.table, clusters=self.rows, members=self.told, certificates=self.certificates, raise_epoch=self._raise, audit=self.audited.append,
            now=time.time, answers=self.answers,
        )  # fmt: skip
        self.gateway = Gateway(HUB, given)
        self.gateway_port = await self.gateway.start(f"127.0.0.1:{self.gateway_port}")

    async def stop(self) -> None:
        if self.gateway is not None:
            await self.gateway.stop()
            self.gateway = None

    @asynccontextmanager
    async def enrolling(self, cluster: str = "member1") -> AsyncIterator[str]:
        """The enrolment port; gives a join token."""
        enrolling = Enrolment(
            self.certificates.authorities, self.rows, self.clusters, lambda: [""], lambda: [f"127.0.0.1:{self.gateway_port}"], self.audited.append, time.time
        )  # fmt: skip

        async def ca(request: web.Request) -> web.Response:
            return web.json_response(enrolling.ca().body)

        async def enroll(request: web.Request) -> web.Response:
            answer = await enrolling.enroll(await request.json())
            return web.json_response(answer.body, status=answer.status)

        async def left(request: web.Request) -> web.Response:
            answer = farewell.asked(self.rows, HUB, await request.json())
            return web.json_response(answer.body, status=answer.status)

        served = web.Application()
        served.router.add_post("/towline/v1/farewell", left)
        served.router.add_get("/towline/v1/ca", ca)
        served.router.add_post("/towline/v1/enroll", enroll)
        runner = web.AppRunner(served)
        await runner.setup()
        pair = self.folder / "hub.pem"
        pair.write_bytes(self.server.certificate_pem + self.server.key_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair)
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        address = f"127.0.0.1:{runner.addresses[0][1]}"
        made = replace(enrolling, apis=lambda: [address])
        answer = await made.create_token({"name": cluster}, user="admin", refused="")
        try:
            yield str(answer.body["token"])
        finally:
            await runner.cleanup()

    def expire(self, config: AgentConfig) -> None:
        """The certificate of this agent, which does not run, is of last month."""
        identity = identities.load(config.data_dir)
        assert identity is not None
        who = authority.agent_identity(identity.certificate_pem.encode())
        key = authority.load_key(identity.key_pem.encode()).public_key()
        old = self.ca.issue_agent(who, key, time.time() - 30 * 86400)
        identities.save(config.data_dir, replace(identity, certificate_pem=old.decode()))

    def leave(self, config: AgentConfig, *, remove_agent: bool = False) -> None:
        """The cluster of this agent is detached."""
        identity = identities.load(config.data_dir)
        assert identity is not None
        left = asdict(Detached("member1", identity.cluster_uid, 0, False, remove_agent, time.time()))
        row = {"kind": "Detached", "metadata": {"name": identity.object_uid}, "spec": left}
        self.rows.put(key_of(identity.object_uid), row)
        self.rows.delete(Key(*CLUSTERS, "", "member1"))

    def phase(self, name: str) -> Phase | None:
        return next((r.phase for _, r in reversed(self.table.reports) if r.name == name), None)

    async def room(self, wish: Wish) -> int:
        """What the agent of member1 says now."""
        answered = asyncio.Event()
        self.answers.room_changed("member1", 0, time.time())
        self.answers.ask("test", [Ask("member1", wish)], answered.set, time.time())
        async with asyncio.timeout(SECONDS):
            await answered.wait()
        return self.answers.at(time.time(), "test").said(wish.key)["member1"]

    async def _raise(self, at_least: int) -> int:
        return at_least


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    hub = Hub(tmp_path)
    await hub.start()
    yield hub
    await hub.stop()


@asynccontextmanager
async def running(config: AgentConfig) -> AsyncIterator[asyncio.Task[None]]:
    """An agent that is stopped with SIGTERM, as an init system would."""
    task = asyncio.create_task(app.run(config))
    try:
        yield task
    finally:
        if not task.done():
            os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(SECONDS):
            await task


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def config(user: User, tmp_path: Path) -> AgentConfig:
    return AgentConfig(tmp_path / "agent", kubeconfig=user.kubeconfig, facts_seconds=0.2)


async def test_join_apply_cut_off_restart_remove(user: User, hub: Hub, config: AgentConfig) -> None:
    async with hub.enrolling() as token:
        async with running(replace(config, join_token=token)):
            await until(lambda: ("connected", "member1") in hub.told.log)
            await until(lambda: any(entry[0] == "facts" and entry[2] for entry in hub.told.log))
            hub.table.put("member1", work("one"), work("two"), work("three"))
            await until(lambda: all(hub.phase(n) == Phase.APPLIED for n in ("one", "two", "three")))
            assert hub.clusters.list()[0]["spec"]["id"]

    # No token, no hub: the agent goes on enforcing what is on its disk.
    await hub.stop()
    await user.patch(config_map_ref("one"), {"metadata": {"labels": {"karmada.io/managed": None}}})
    await user.delete(config_map_ref("two"))
    async with running(config):
        async with asyncio.timeout(SECONDS):
            while await user.get(config_map_ref("two")) is None:
                await asyncio.sleep(0.02)
        # The hub comes back with a removal.
        hub.table.reports.clear()
        hub.table.works["member1"] = {
            "one": tombstone("one"), "two": work("two", revision=30), "three": work("three")
        }  # fmt: skip
        await hub.start()
        await until(lambda: hub.phase("one") == Phase.REMOVED)
        assert await user.get(config_map_ref("one")) is None
        assert await user.get(config_map_ref("three")) is not None


@pytest.mark.parametrize("expired", [False, True], ids=["in time", "after its certificate's end"])
async def test_an_agent_that_comes_back_after_its_cluster_left_removes_what_it_has_and_ends(
    user: User, hub: Hub, config: AgentConfig, expired: bool
) -> None:
    async with hub.enrolling() as token:
        async with running(replace(config, join_token=token)):
            await until(lambda: ("connected", "member1") in hub.told.log)
            hub.table.put("member1", work("one"), work("kept", preserve=True))
            await until(lambda: all(hub.phase(n) == Phase.APPLIED for n in ("one", "kept")))
        if expired:
            hub.expire(config)
        hub.leave(config)
        async with asyncio.timeout(SECONDS):
            await app.run(config)
    assert await user.get(config_map_ref("one")) is None
    kept = await user.get(config_map_ref("kept"))
    assert kept is not None and "karmada.io/managed" not in (kept["metadata"].get("labels") or {})


async def test_what_must_not_run_twice_stops_while_cut_off_and_goes_on_after(
    user: User, hub: Hub, config: AgentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    steady, ahead = app._steady, [0.0]
    monkeypatch.setattr(app, "_steady", lambda: steady() + ahead[0])
    monkeypatch.setattr(app, "_STOP_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(connection, "BACKOFF_SECONDS", (0.05, 0.2))
    hub.table.put("member1", bounded("web", deployment(2), seconds=3600))

    async def replicas(count: int) -> None:
        async with asyncio.timeout(SECONDS):
            while (await user.get(WEB) or {"spec": {}})["spec"].get("replicas") != count:
                await asyncio.sleep(0.02)

    async with hub.enrolling() as token:
        async with running(replace(config, join_token=token)):
            await until(lambda: hub.phase("web") == Phase.APPLIED)
            await replicas(2)
            await hub.stop()
            ahead[0] = 3601.0
            await replicas(0)
            await hub.start()
            await replicas(2)
            await hub.stop()
    async with running(config):  # an earlier run was heard a moment ago, and its disk says so
        await user.patch(WEB, {"metadata": {"labels": {"karmada.io/managed": None}}})
        async with asyncio.timeout(SECONDS):
            while "karmada.io/managed" not in (await user.get(WEB))["metadata"].get("labels", {}):
                await asyncio.sleep(0.02)
        await replicas(2)
        ahead[0] += 3601.0
        await replicas(0)


def bounded(name: str, obj: dict[str, Any], seconds: int) -> WireWork:
    plain = work(name, manifests=[orjson.dumps(obj)])
    digest = work_hash(plain.manifests, 0, False, seconds)
    return replace(plain, stop_after_seconds=seconds, hash=digest)


@pytest.mark.parametrize(
    "scope", [Scope(), Scope(("shop",), (Resource("configmaps"),))], ids=["cluster", "one namespace"]
)
async def test_a_pod_that_is_asked_to_removes_all_that_join_installed(
    user: User, hub: Hub, config: AgentConfig, monkeypatch: pytest.MonkeyPatch, scope: Scope
) -> None:
    monkeypatch.setattr(app, "_pods_namespace", lambda config: NAMESPACE)
    printed = agent_manifests("token", scope=scope)
    for obj in printed:
        await user.apply(obj, "kubectl")
    config = replace(config, allow_namespaces=scope.namespaces)
    space = scope.namespaces[0] if scope.namespaces else "default"
    async with hub.enrolling() as token:
        async with running(replace(config, join_token=token)) as task:
            await until(lambda: ("connected", "member1") in hub.told.log)
            hub.table.put(
                "member1", work("one", manifests=[orjson.dumps(config_map("one", namespace=space))])
            )
            await until(lambda: hub.phase("one") == Phase.APPLIED)
            hub.leave(config, remove_agent=True)
            async with asyncio.timeout(SECONDS):
                while any(
                    [await user.get(ref_of(obj)) for obj in printed if obj["metadata"]["name"] != "shop"]
                ):
                    await asyncio.sleep(0.02)
            assert await user.get(config_map_ref("one", space)) is None
            assert await user.get(Ref("v1", "Namespace", "", space)) is not None, "it was there before"
            assert not task.done(), "a pod would only be started again"


async def test_a_detached_cluster_goes_on_with_what_it_has(user: User, hub: Hub, config: AgentConfig) -> None:
    async with hub.enrolling() as token:
        async with running(replace(config, join_token=token)) as task:
            hub.table.put("member1", work("one"))
            await until(lambda: hub.phase("one") == Phase.APPLIED)
            hub.rows.delete(Key(*CLUSTERS, "", "member1"))
            await until(lambda: ("disconnected", "member1") in hub.told.log)
            await user.delete(config_map_ref("one"))
            async with asyncio.timeout(SECONDS):
                while await user.get(config_map_ref("one")) is None:
                    await asyncio.sleep(0.02)
            assert not task.done()


async def test_a_certificate_is_renewed_and_the_session_goes_on(
    user: User, hub: Hub, config: AgentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed: list[identities.Identity] = []
    due = authority.renew_at

    def soon(pem: bytes) -> float:
        return due(pem) if renewed else time.time()

    save = identities.save
    monkeypatch.setattr(authority, "renew_at", soon)
    monkeypatch.setattr(renewal, "RETRY_SECONDS", 0.05)
    async with hub.enrolling() as token:
        async with running(replace(config, join_token=token)):
            await until(lambda: ("connected", "member1") in hub.told.log)
            first = identities.load(config.data_dir)

            def saved(folder: Path, identity: identities.Identity) -> None:
                renewed.append(identity)
                hub.table.put(
                    "member1", work("during")
                )  # the old session ends before or after it took this in
                save(folder, identity)

            monkeypatch.setattr(identities, "save", saved)
            await until(lambda: renewed)
            # Twice where it was renewed once more, before anybody looked.
            await until(lambda: hub.told.log.count(("connected", "member1")) >= 2)
            second = identities.load(config.data_dir)
            assert first and second and first.key_pem != second.key_pem
            hub.table.put("member1", work("one"))
            await until(lambda: hub.phase("one") == hub.phase("during") == Phase.APPLIED)
    assert {e["decision"] for e in hub.audited if e["verb"] == "renew"} == {"granted"}


async def test_an_identity_is_not_used_in_another_member(
    user: User, hub: Hub, config: AgentConfig, tmp_path: Path
) -> None:
    async with hub.enrolling() as token:
        async with running(replace(config, join_token=token)):
            await until(lambda: ("connected", "member1") in hub.told.log)
    identity = identities.load(config.data_dir)
    assert identity is not None
    identities.save(config.data_dir, replace(identity, cluster_uid="another"))
    with pytest.raises(ExceptionGroup) as caught:
        await app.run(config)
    [error] = caught.value.exceptions
    assert isinstance(error, app.AgentError) and "belongs to another member" in str(error)


async def test_a_rescheduled_pod_finds_its_identity_in_the_secret(
    user: User, hub: Hub, config: AgentConfig, tmp_path: Path
) -> None:
    config = replace(config, identity_secret="default/towline-agent")
    async with hub.enrolling() as token:
        async with running(replace(config, join_token=token)):
            await until(lambda: ("connected", "member1") in hub.told.log)
    async with running(replace(config, data_dir=tmp_path / "another-node")):
        await until(lambda: hub.told.log.count(("connected", "member1")) == 2)


async def test_without_token_and_identity_it_says_what_to_do(user: User, config: AgentConfig) -> None:
    with pytest.raises(app.AgentError, match="no identity") as caught:
        await app.run(config)
    assert "--join-token" in caught.value.next_step
    with pytest.raises(app.AgentError, match="not a join token"):
        await app.run(replace(config, join_token="nonsense"))


async def test_another_token_in_the_file_is_traded_without_a_restart(
    user: User, hub: Hub, config: AgentConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(enrolment, "TOKEN_LOOK_SECONDS", 0.02)
    file = tmp_path / "token"
    config = replace(config, join_token_file=file, identity_secret="default/towline-agent")
    async with hub.enrolling() as token, hub.enrolling() as another, hub.enrolling("member2") as foreign:
        file.write_text(another + "\n")
        async with running(replace(config, join_token=token)):
            await until(lambda: ("connected", "member1") in hub.told.log)
            first = identities.load(config.data_dir)
            file.write_text(foreign)
            await asyncio.sleep(0.1)
            assert identities.load(config.data_dir) == first, "it is for another cluster"
            assert {event["cluster"] for event in hub.audited if event["verb"] == "enroll"} == {"member1"}
            assert "the join token is for cluster member2" in caplog.text
            async with hub.enrolling() as new:
                file.write_text(new)
                await until(lambda: hub.told.log.count(("connected", "member1")) == 2)
            second = identities.load(config.data_dir)
            assert first and second and first.key_pem != second.key_pem
            assert not (config.data_dir / identities.NEXT_FILE).exists()
            hub.table.put("member1", work("one"))
            await until(lambda: hub.phase("one") == Phase.APPLIED)
    async with running(replace(config, data_dir=tmp_path / "another-node")):
        await until(lambda: hub.told.log.count(("connected", "member1")) == 3)
        assert identities.load(tmp_path / "another-node") == second, "the Secret has the new one"


async def test_an_expired_agent_that_has_its_old_token_goes_on_until_there_is_a_new_one(
    user: User, hub: Hub, config: AgentConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in a pod: the Secret with the token that was used stays."""
    monkeypatch.setattr(enrolment, "TOKEN_LOOK_SECONDS", 0.02)
    config = replace(config, join_token_file=tmp_path / "token")
    async with hub.enrolling() as token:
        (tmp_path / "token").write_text(token)
        async with running(config):
            await until(lambda: ("connected", "member1") in hub.told.log)
            hub.table.put("member1", work("one"))
            await until(lambda: hub.phase("one") == Phase.APPLIED)
        hub.expire(config)
    await user.patch(config_map_ref("one"), {"metadata": {"labels": {"karmada.io/managed": None}}})
    async with running(config):
        async with asyncio.timeout(SECONDS):
            while "karmada.io/managed" not in (await user.get(config_map_ref("one")))["metadata"].get(
                "labels", {}
            ):
                await asyncio.sleep(0.02)
        async with hub.enrolling() as new:
            (tmp_path / "token").write_text(new)
            await until(lambda: hub.told.log.count(("connected", "member1")) == 2)


async def test_a_token_that_buys_nothing_is_tried_once(
    user: User, hub: Hub, config: AgentConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(enrolment, "TOKEN_LOOK_SECONDS", 0.02)
    config = replace(config, join_token_file=tmp_path / "token")
    async with hub.enrolling() as replaced, hub.enrolling() as token:
        async with running(replace(config, join_token=token)):
            await until(lambda: ("connected", "member1") in hub.told.log)
            first = identities.load(config.data_dir)
            (tmp_path / "token").write_text(replaced)
            await until(lambda: [e["decision"] for e in hub.audited if e["verb"] == "enroll"][1:])
            await asyncio.sleep(0.2)
            assert [e["decision"] for e in hub.audited if e["verb"] == "enroll"] == ["granted", "refused"]
            assert identities.load(config.data_dir) == first
            hub.table.put("member1", work("one"))
            await until(lambda: hub.phase("one") == Phase.APPLIED)


async def test_a_pod_whose_cluster_left_ends_when_it_is_given_a_new_token(
    user: User, hub: Hub, config: AgentConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where it may not end before: a pod would only be started again."""
    monkeypatch.setattr(enrolment, "TOKEN_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(app, "_pods_namespace", lambda config: "default")
    config = replace(config, join_token_file=tmp_path / "token")
    async with hub.enrolling() as token, running(replace(config, join_token=token)) as task:
        await until(lambda: ("connected", "member1") in hub.told.log)
        hub.leave(config)
        await until(lambda: ("disconnected", "member1") in hub.told.log)
        async with hub.enrolling() as new:
            assert not task.done()
            (tmp_path / "token").write_text(new)
            async with asyncio.timeout(SECONDS):
                await task
    async with running(config):
        await until(lambda: hub.told.log.count(("connected", "member1")) == 2)


def test_a_damaged_token_is_told_once_where_another_certificate_serves(
    config: AgentConfig, user: User, caplog: pytest.LogCaptureFixture
) -> None:
    known = identities.Identity("member1", "hub:6443", "uid-1", "key")
    damaged = replace(config, join_token="nonsense")
    enrolling = enrolment.Enrolment(damaged, Member(config.kubeconfig, "", 1.0), "", lambda: 0.5)
    assert enrolling._another(known) is None and enrolling._another(known) is None
    assert caplog.messages == [
        "This is not a join token: it must begin with 'towline1.'. Going on with the certificate that there is."
    ]


async def test_health(user: User, hub: Hub, config: AgentConfig) -> None:
    free = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = free.sockets[0].getsockname()[1]
    free.close()
    url = f"http://127.0.0.1:{port}"
    async with hub.enrolling() as token, aiohttp.ClientSession() as http:
        config = replace(config, join_token=token, health_address=f"127.0.0.1:{port}")
        async with running(config):
            hub.table.put("member1", work("one"))
            await until(lambda: hub.phase("one") == Phase.APPLIED)
            async with asyncio.timeout(SECONDS):
                while True:
                    async with http.get(f"{url}/readyz") as response:
                        if response.status == 200:
                            break
                    await asyncio.sleep(0.02)
            async with http.get(f"{url}/livez") as response:
                assert response.status == 200
            async with http.get(f"{url}/metrics") as response:
                text = await response.text()
            assert "towline_agent_applies_total 1.0" in text
            assert "towline_agent_works 1.0" in text


async def test_the_agent_answers_what_its_nodes_and_quotas_have_room_for(
    user: User, hub: Hub, config: AgentConfig
) -> None:
    """The member has a node of its own with 64 cores, and one with a fast disk and 4."""
    ssd = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "ssd", "labels": {"disk": "ssd"}}}
    await user.create(ssd)
    ready = {"allocatable": {"cpu": "4", "pods": "110"}, "conditions": [{"type": "Ready", "status": "True"}]}
    await user.member.call(
        "PATCH", "/api/v1/nodes/ssd/status", body=orjson.dumps({"status": ready}), content_type=MERGE_PATCH
    )
    needs = {"resourceRequest": {"cpu": "1500m"}, "nodeClaim": {"nodeSelector": {"disk": "ssd"}}}
    fast, anywhere = of_replicas(needs, "default"), of_replicas({"resourceRequest": {"cpu": "2"}}, "default")
    async with hub.enrolling() as token:
        async with running(replace(config, join_token=token)):
            await until(lambda: "member1" in hub.answers.able)
            async with asyncio.timeout(SECONDS):
                while await hub.room(fast) == NO_ANSWER:  # it has to count first
                    await asyncio.sleep(0.02)
            assert (await hub.room(fast), await hub.room(anywhere)) == (2, 34)
            bound = {"metadata": {"name": "q", "namespace": "default"}, "spec": {"hard": {"cpu": "7"}}}
            await user.create({"apiVersion": "v1", "kind": "ResourceQuota", **bound})
            async with asyncio.timeout(SECONDS):
                while await hub.room(anywhere) != 3:
                    await asyncio.sleep(0.02)
            assert await hub.room(fast) == 2
    assert hub.answers.at(time.time()).able == set()


async def test_a_renewal_that_a_session_takes_along_is_tried_again(
    hub: Hub, config: AgentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gRPC tells of a channel that is closed as if the one who waits were cancelled."""
    asked, renew = asyncio.Event(), Entrance.renew

    async def never(self: Entrance, request: bytes, context: Any) -> bytes:
        asked.set()
        return await asyncio.Future()

    monkeypatch.setattr(authority, "renew_at", lambda pem: 0.0)
    monkeypatch.setattr(renewal, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(Entrance, "renew", never)
    await hub.stop()
    await hub.start()
    async with hub.enrolling() as token, running(replace(config, join_token=token)):
        await asyncio.wait_for(asked.wait(), SECONDS)
        monkeypatch.setattr(Entrance, "renew", renew)
        await hub.stop()
        await hub.start()
        await until(lambda: any(event["verb"] == "renew" for event in hub.audited))


async def test_an_agent_that_loses_a_part_ends(
    hub: Hub, config: AgentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library's cancellation would end a part without a word; who runs the agent starts it again."""

    async def cancelled(self: Any) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(renewal.Renewal, "run", cancelled)
    async with hub.enrolling() as token, asyncio.timeout(SECONDS):
        with pytest.raises(ExceptionGroup) as caught:
            await app.run(replace(config, join_token=token))
    assert caught.group_contains(RuntimeError, match="the agent's renewal was cancelled")
