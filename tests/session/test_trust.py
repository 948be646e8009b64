"""Authorities and what agents showed, as several hubs on one store see them; the clock is turned by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from towline.certs import authority, kubeconfig
from towline.certs.authority import AgentIdentity, CertificateError
from towline.certs.rotation import Stage
from towline.hub.agents import AGENTS, Agents, agent_of, described
from towline.hub.gateway.enrolment import CLUSTER_API_VERSION, TOKENS
from towline.hub.gateway.revocation import revoked
from towline.hub.gateway.surroundings import Shown
from towline.hub.store.cache import Cache
from towline.hub.store.contract import Write
from towline.hub.store.memory import MemoryStore
from towline.hub.trust import AUTHORITIES, Trust, opened
from towline.kube import builtin, karmada
from towline.kube.kinds import KindTable
from towline.kube.objects import Key, Object, encode

KINDS = KindTable.of([*builtin.kinds(), *karmada.kinds()])
DAY = 86_400.0
NOW = 1_800_000_000.0


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


class Hub:
    """What of a hub these parts need."""

    def __init__(self, store: MemoryStore, name: str, clock: Clock) -> None:
        self.name = name
        self.clock = clock
        self.cache = Cache(store, KINDS)
        self.audited: list[dict[str, Any]] = []
        self.told = 0

    async def open(self, folder: Path) -> None:
        self.agents = Agents(self.cache, self.name, self.clock, lambda: self.trust.look())
        self.trust = Trust(
            self.cache, await opened(self.cache, folder, self.clock()), hosts=["127.0.0.1"], server_days=9, client_days=365,
            agent_seconds=3600, holders=self.agents.holders, audit=self.audited.append, now=self.clock,
        )  # fmt: skip
        self.trust.tell(self.count)
        self.trust.start()
        self.agents.start()

    def count(self) -> None:
        self.told += 1

    @property
    def stage(self) -> Stage:
        return self.trust.authorities.stage

    async def rotate(self, **body: bool) -> Object:
        answer = await self.trust.rotate(body, "ann", "")
        assert answer.status == 200, answer
        return answer.body

    async def cluster(self, name: str) -> None:
        metadata = {"name": name, "uid": f"object-{name}"}
        obj = {
            "apiVersion": CLUSTER_API_VERSION,
            "kind": "Cluster",
            "metadata": metadata,
            "spec": {"syncMode": "Pull"},
        }
        await self.cache.commit(
            [Write(Key("cluster.karmada.io", "clusters", "", name).path(), encode(obj), 0)]
        )

    def shows(self, name: str, *, generation: int = 0) -> None:
        """The agent connects here, with a certificate of the moment."""
        trust = self.trust
        identity = AgentIdentity(name, f"object-{name}", generation)
        ends = self.clock() + 7 * DAY
        trusts = tuple(each.fingerprint for each in trust.authorities.trusted)
        self.agents.shown(Shown(identity, ends, trust.issuing_key_id, "1.2.3", trusts))

    async def row(self, name: str, test: Callable[[Any], bool]) -> None:
        await until(lambda: (agent := self.agents.get(name)) is not None and test(agent))


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def hubs(tmp_path: Path, *names: str, store: MemoryStore | None = None) -> AsyncIterator[list[Hub]]:
    clock = Clock()
    store = store or MemoryStore()
    await store.open()
    made = [Hub(store, name, clock) for name in names]
    async with asyncio.TaskGroup() as group:
        tasks = []
        for hub in made:
            started = asyncio.Event()
            tasks.append(group.create_task(hub.cache.run(started)))
            await started.wait()
            await hub.open(tmp_path / hub.name)
            tasks += [group.create_task(hub.trust.run()), group.create_task(hub.agents.run())]
        yield made
        for hub in made:
            hub.trust.stop()
            await hub.agents.stop()
        for task in tasks:
            task.cancel()


# --- authorities -----------------------------------------------------------------------------------------------


async def test_hubs_on_one_store_are_of_one_authority(tmp_path: Path) -> None:
    async with hubs(tmp_path, "one", "two") as (one, two):
        assert one.trust.bundle_pem == two.trust.bundle_pem
        for hub in (one, two):
            assert authority.issuer_of(hub.trust.leaf.certificate_pem) == one.trust.issuing_key_id
        assert one.trust.leaf != two.trust.leaf, "each shows a certificate of its own"


async def test_hubs_that_start_at_once_agree(tmp_path: Path) -> None:
    store = MemoryStore()
    await store.open()
    caches = [Cache(store, KINDS) for _ in range(3)]
    async with asyncio.TaskGroup() as group:
        tasks = []
        for cache in caches:
            started = asyncio.Event()
            tasks.append(group.create_task(cache.run(started)))
            await started.wait()
        found = await asyncio.gather(*(opened(cache, tmp_path, NOW) for cache in caches))
        for task in tasks:
            task.cancel()
    assert len({each.fingerprints for each in found}) == 1


async def test_a_given_authority_is_taken_over_once(tmp_path: Path) -> None:
    given, later = authority.create(NOW), authority.create(NOW)
    given.save(tmp_path / "one")
    later.save(tmp_path / "two")
    async with hubs(tmp_path, "one", "two") as (one, two):
        assert one.trust.fingerprints == two.trust.fingerprints == (given.fingerprint,)


async def test_a_damaged_authority_is_never_replaced(tmp_path: Path) -> None:
    store = MemoryStore()
    await store.open()
    row = {
        "apiVersion": "towline.io/v1",
        "kind": "A",
        "metadata": {"name": "hub"},
        "spec": {"stage": "Steady"},
    }
    await store.commit([Write(AUTHORITIES.path(), encode(row), 0)])
    with pytest.raises(ExceptionGroup) as caught:
        async with hubs(tmp_path, "one", store=store):
            pass
    assert caught.group_contains(CertificateError)


async def test_a_rotation_goes_through_all_hubs_and_waits_for_their_agents(tmp_path: Path) -> None:
    async with hubs(tmp_path, "one", "two") as (one, two):
        await one.cluster("a")
        await one.cluster("b")
        one.shows("a")
        two.shows("b")
        await one.row("b", lambda agent: agent.connected)
        await two.row("a", lambda agent: agent.connected)
        (first,) = one.trust.fingerprints
        body = await one.rotate()
        assert (body["stage"], sorted(body["waiting"])) == ("Spreading", ["a", "b"])
        await until(lambda: two.stage is Stage.SPREADING)
        one.shows("a")
        await one.row("a", lambda agent: len(agent.trusts) == 2)
        assert one.stage is Stage.SPREADING, "b has not heard yet"
        two.shows("b")
        await until(lambda: one.stage is two.stage is Stage.RENEWING)
        assert one.trust.fingerprints[0] == first, "what the hub shows is still by the old one"
        assert (
            one.trust.leaf.certificate_pem
            and authority.issuer_of(one.trust.leaf.certificate_pem) != one.trust.issuing_key_id
        )
        refused = await two.trust.rotate({"finish": True}, "ann", "")
        assert (
            refused.status == 409
            and "a (its agent has a certificate of the old authority" in refused.body["message"]
        )
        one.shows("a")
        two.shows("b")
        await until(lambda: not two.trust.status("").body["waiting"])
        assert two.stage is Stage.RENEWING, "an administrator's certificate may need the old one for a year"
        await two.rotate(finish=True)
        await until(
            lambda: one.stage is Stage.STEADY and one.trust.fingerprints == two.trust.fingerprints != (first,)
        )
        for hub in (one, two):
            assert authority.issuer_of(hub.trust.leaf.certificate_pem) == hub.trust.authorities.current.key_id
        assert [event["stage"] for event in one.audited] == ["Spreading"]
        assert [event["decision"] for event in two.audited] == ["refused", "granted"]


async def test_the_old_authority_goes_when_nobody_can_need_it(tmp_path: Path) -> None:
    async with hubs(tmp_path, "one") as (hub,):
        await hub.rotate()
        await until(lambda: hub.stage is Stage.RENEWING)
        hub.clock.now += 365 * DAY
        hub.trust.look()
        await until(lambda: hub.stage is Stage.STEADY)


async def test_tokens_that_know_only_the_old_authority_are_told_before_it_goes(tmp_path: Path) -> None:
    async with hubs(tmp_path, "one") as (hub,):
        ends = NOW + DAY

        async def token(name: str, **spec: Any) -> None:
            spec = {"expires": ends, "authorities": list(hub.trust.fingerprints), **spec}
            row = {
                "apiVersion": "towline.io/v1",
                "kind": "JoinToken",
                "metadata": {"name": name},
                "spec": spec,
            }
            await hub.cache.commit([Write(Key(*TOKENS, "", name).path(), encode(row), 0)])

        await token("old")
        await token("used", usedBy="x")
        await token("expired", expires=NOW)
        await hub.rotate()
        await token("new")
        await until(lambda: hub.stage is Stage.RENEWING)
        refused = await hub.trust.rotate({"finish": True}, "ann", "")
        assert refused.status == 409
        assert (
            "needed yet: old (its join token is from before, and not used yet); with"
            in refused.body["message"]
        )
        assert list(hub.trust.status("").body["waiting"]) == ["old"]
        hub.clock.now = ends
        await hub.rotate(finish=True)


@pytest.mark.parametrize("body", [None, [], "x", {"finish": 1}, {"finish": True, "force": "no"}])
async def test_what_cannot_be_read_begins_nothing(tmp_path: Path, body: Any) -> None:
    async with hubs(tmp_path, "one") as (hub,):
        assert (await hub.trust.rotate(body, "ann", "")).status == 400
        assert hub.stage is Stage.STEADY and hub.audited[-1]["decision"] == "refused"


async def test_a_rotation_outlives_its_hub(tmp_path: Path) -> None:
    store = MemoryStore()
    async with hubs(tmp_path, "one", store=store) as (hub,):
        await hub.cluster("a")
        hub.shows("a")
        await hub.row("a", lambda agent: agent.connected)
        await hub.rotate()
        bundle_pem = hub.trust.bundle_pem
    async with hubs(tmp_path, "one", store=store) as (hub,):
        assert (hub.stage, hub.trust.bundle_pem) == (Stage.SPREADING, bundle_pem)


async def test_force_drops_it_under_those_who_lag(tmp_path: Path) -> None:
    async with hubs(tmp_path, "one") as (hub,):
        await hub.cluster("a")
        hub.shows("a")
        await hub.row("a", lambda agent: agent.connected)
        assert (await hub.trust.rotate({"finish": True}, "ann", "")).status == 409, "none is under way"
        await hub.rotate()
        assert (await hub.rotate(finish=True, force=True))["stage"] == "Steady"
    assert (await hub.trust.rotate({}, "ann", "ann may not")).status == 403
    assert hub.trust.status("ann may not").status == 403


async def test_the_servers_certificate_is_renewed_while_the_hub_runs(tmp_path: Path) -> None:
    async with hubs(tmp_path, "one") as (hub,):
        before = hub.trust.leaf
        hub.trust.look()
        hub.clock.now += 7 * DAY  # of nine
        hub.trust.look()
        await until(lambda: hub.trust.leaf != before)
        assert hub.told == 1


async def test_agents_certificates_last_as_long_as_the_hub_is_told(tmp_path: Path) -> None:
    async with hubs(tmp_path, "one") as (one,):
        key = authority.new_key().public_key()
        pem = one.trust.issue_agent(AgentIdentity("c", "u"), key, one.clock())
        assert authority.ends_at(pem) == one.clock() + 3600


def test_a_kubeconfig_fits_or_is_made_again(tmp_path: Path) -> None:
    ca, other = authority.create(NOW), authority.create(NOW)
    path = tmp_path / "config"
    assert not kubeconfig.fits(path, "https://hub", ca.bundle_pem, ca.key_id)
    kubeconfig.write(path, kubeconfig.admin_kubeconfig("https://hub", ca.bundle_pem, ca.issue_admin(NOW)))
    assert kubeconfig.fits(path, "https://hub", ca.bundle_pem, ca.key_id)
    for server, bundle_pem, issuer in (
        ("https://hub2", ca.bundle_pem, ca.key_id),
        ("https://hub", ca.bundle_pem + other.bundle_pem, ca.key_id),
        ("https://hub", ca.bundle_pem, other.key_id),
    ):
        assert not kubeconfig.fits(path, server, bundle_pem, issuer)
    path.write_text("users: 5")
    assert not kubeconfig.fits(path, "https://hub", ca.bundle_pem, ca.key_id)


# --- agents' rows ------------------------------------------------------------------------------------------------


async def test_rows_are_written_when_sessions_begin_and_end(tmp_path: Path) -> None:
    async with hubs(tmp_path, "one") as (hub,):
        for name in ("a", "b"):
            await hub.cluster(name)
            hub.shows(name)
        before = hub.cache.commits
        await hub.row("b", lambda agent: agent.connected)
        assert hub.cache.commits == before + 1, "those of a moment in one commit"
        hub.clock.now += 60
        hub.agents.left("a")
        await hub.row("a", lambda agent: not agent.connected and agent.since == NOW + 60)


async def test_the_end_of_an_old_session_does_not_hide_a_new_one_elsewhere(tmp_path: Path) -> None:
    async with hubs(tmp_path, "one", "two") as (one, two):
        await one.cluster("a")
        one.shows("a")
        await two.row("a", lambda agent: agent.hub == "one")
        two.shows("a")
        await one.row("a", lambda agent: agent.hub == "two")
        one.agents.left("a")
        await one.cluster("later")
        one.shows("later")
        await one.row("later", lambda agent: agent.connected)
        found = one.agents.get("a")
        assert found is not None and (found.hub, found.connected) == ("two", True)


async def test_a_hub_that_was_killed_says_at_its_start_that_its_sessions_are_over(tmp_path: Path) -> None:
    store = MemoryStore()
    async with hubs(tmp_path, "one", "two", store=store) as (one, two):
        for hub, name in ((one, "a"), (two, "b")):
            await hub.cluster(name)
            hub.shows(name)
            await hub.row(name, lambda agent: agent.connected)
    async with hubs(tmp_path, "one", store=store) as (one,):
        await one.row("a", lambda agent: not agent.connected)
        await one.row("b", lambda agent: agent.connected and agent.hub == "two")


async def test_a_detached_clusters_rows_go(tmp_path: Path) -> None:
    async with hubs(tmp_path, "one") as (hub,):
        await hub.cluster("a")
        hub.shows("a")
        await hub.row("a", lambda agent: agent.connected)
        entry = hub.cache.get(Key("cluster.karmada.io", "clusters", "", "a"))
        assert entry is not None
        await hub.cache.commit([revoked(hub.cache, entry.object, "ann", NOW)])
        await hub.cache.commit([Write(entry.key.path(), None, entry.revision)])
        await until(lambda: not hub.cache.list(*AGENTS) and not hub.cache.list("towline.io", "revocations"))


async def test_who_was_revoked_keeps_no_rotation_waiting(tmp_path: Path) -> None:
    async with hubs(tmp_path, "one") as (hub,):
        await hub.cluster("a")
        hub.shows("a")
        await hub.row("a", lambda agent: agent.connected)
        assert list(hub.agents.holders()) == ["a"]
        entry = hub.cache.get(Key("cluster.karmada.io", "clusters", "", "a"))
        assert entry is not None
        await hub.cache.commit([revoked(hub.cache, entry.object, "ann", NOW)])
        assert hub.agents.holders() == {}


# --- what is shown of them -----------------------------------------------------------------------------------------

CLUSTER: Object = {
    "metadata": {"name": "a", "uid": "object-a"},
    "spec": {"region": "eu"},
    "status": {"kubernetesVersion": "v1.32.1", "conditions": [{"type": "Ready", "status": "True", "reason": "ClusterReady"}]},
}  # fmt: skip
AGENT = agent_of(
    {
        "cluster_uid": "object-a", "generation": 0, "version": "1", "trusts": [], "issuer": "", "certificate_ends": 9.0,
        "hub": "two", "connected": True, "since": 50.0,
    }
)  # fmt: skip


@pytest.mark.parametrize(
    ("agent", "generation", "connected", "heard", "says"),
    [
        pytest.param(AGENT, 0, True, 0.0, {"connected": True, "lastContact": 100.0}, id="at another hub"),
        pytest.param(AGENT, 0, False, 0.0, {"connected": False, "lastContact": 50.0}, id="another hub died"),
        pytest.param(AGENT, 0, True, 90.0, {"connected": True, "lastContact": 100.0}, id="here"),
        pytest.param(AGENT, 0, False, 70.0, {"connected": False, "lastContact": 70.0}, id="not here any more"),
        pytest.param(AGENT, 1, False, 0.0, {"revoked": True}, id="revoked"),
        pytest.param(replace(AGENT, cluster_uid="older"), 0, False, 0.0, {"revoked": True}, id="joined anew"),
        pytest.param(
            None, 0, False, 0.0, {"connected": False, "lastContact": 0.0, "certificateEnds": 0.0, "revoked": False},
            id="never came",
        ),
    ],
)  # fmt: skip
def test_what_is_shown_of_a_cluster(
    agent: Any, generation: int, connected: bool, heard: float, says: Object
) -> None:
    told = described(CLUSTER, agent, generation, connected=connected, heard=heard, now=100.0)
    assert says.items() <= told.items() and told["leaving"] is False


def test_who_is_leaving_is_shown() -> None:
    leaving = {**CLUSTER, "metadata": {**CLUSTER["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert described(leaving, AGENT, 0, connected=True, heard=0.0, now=100.0)["leaving"] is True
