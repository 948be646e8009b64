"""Who leads and who lives among the hubs of one store, with the clock turned."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress

import pytest

from tests.controllers.turned import clock, turned
from tests.decide.world import KINDS
from towline.certs import authority
from towline.certs.signing import SigningKeys
from towline.hub import epoch, peers
from towline.hub.agents import AGENTS, Agent
from towline.hub.leases import LEADER, leases_of
from towline.hub.peers import PEERS, Peer, Peers
from towline.hub.shared_keys import shared
from towline.hub.store.cache import Cache
from towline.hub.store.contract import Change, Conflict, Fenced, Lease, Row, Unavailable, Write
from towline.hub.store.memory import MemoryStore
from towline.hub.whereabouts import Whereabouts, came_from_another
from towline.kube.objects import Key

TTL = 10.0
TAKEOVER_SECONDS = 15.0
A_ROW = "/towline/core/configmaps/shop/a"


class Wire:
    """A hub's way to the store: `cut` fails what is asked, `hung` leaves it without an answer."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.cut = self.hung = False
        self.commits = 0

    async def _pass(self) -> None:
        if self.hung:
            await asyncio.Event().wait()
        if self.cut:
            raise Unavailable("no answer")

    def load(self) -> AsyncGenerator[tuple[int, list[Row]], None]:
        return self.store.load()

    async def changes(self, after: int) -> AsyncGenerator[list[Change], None]:
        async for batch in self.store.changes(after):
            while self.cut or self.hung:
                await asyncio.sleep(0.5)
            yield batch

    async def commit(self, writes: Sequence[Write], *, fence: Lease | None = None) -> int:
        await self._pass()
        self.commits += 1
        return await self.store.commit(writes, fence=fence)

    async def acquire(self, name: str, holder: str, ttl_seconds: float) -> Lease | None:
        await self._pass()
        return await self.store.acquire(name, holder, ttl_seconds)

    async def renew(self, lease: Lease, ttl_seconds: float) -> None:
        await self._pass()
        await self.store.renew(lease, ttl_seconds)

    async def release(self, lease: Lease) -> None:
        await self._pass()
        await self.store.release(lease)


class Hub:
    """What a hub has to do with other hubs."""

    def __init__(self, name: str, store: MemoryStore, group: asyncio.TaskGroup) -> None:
        self.wire = Wire(store)
        self.cache = Cache(self.wire, KINDS)  # type: ignore[arg-type]
        mine = Peer((f"{name}:6443",), (f"{name}:7443",))
        self.silent: list[str] = []
        self.peers = Peers(
            self.cache, name, mine, shared=True, dead_seconds=TTL, elapsed=clock, silent=lambda: self.silent
        )
        self.began: list[float] = []
        self.does: list[str] = []
        self.behind = False
        self.leading, self.living = leases_of(
            self.wire, name, TTL, catch_up=self.catch_up, leads=self.leads, lives=lambda: self.does.append("lives"),  # type: ignore[arg-type]
            elapsed=clock,
        )  # fmt: skip
        self.peers.tell(self.leading.look)
        self._group = group
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, leads: bool = True) -> Hub:
        self._tasks = [self._group.create_task(self.cache.run())]
        await self.cache.synced.wait()
        self.peers.start()
        self._tasks.append(self._group.create_task(self.peers.run()))
        if leads:
            self._tasks += [self._group.create_task(tenure.run()) for tenure in (self.leading, self.living)]
        return self

    async def catch_up(self) -> None:
        if self.behind:
            await asyncio.Event().wait()
        await self.peers.catch_up()

    def leads(self) -> None:
        self.began.append(clock())
        self.does.append("leads")

    async def stop(self) -> None:
        """In order."""
        if len(self._tasks) > 2:
            for task in self._tasks[2:]:
                task.cancel()
            await asyncio.wait(self._tasks[2:])
        await self.peers.stop()
        self.kill()

    def kill(self) -> None:
        """As kill -9: nothing that it would say gets through any more."""
        self.wire.cut = True
        for task in self._tasks:
            task.cancel()

    @property
    def others(self) -> set[str]:
        return set(self.peers.roll.others)


@asynccontextmanager
async def hubs(*names: str, leads: bool = True) -> AsyncIterator[tuple[Hub, ...]]:
    store = MemoryStore(now=clock)
    await store.open()
    async with asyncio.TaskGroup() as group:
        found = []
        for name in names:
            found.append(await Hub(name, store, group).start(leads))
            await asyncio.sleep(0.01)
        try:
            yield tuple(found)
        finally:
            for hub in found:
                hub.kill()


@contextmanager
def told() -> Iterator[list[str]]:
    """What is said of leases."""
    said: list[str] = []
    heard = logging.Handler(logging.WARNING)
    heard.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("towline.hub.leases")
    logger.addHandler(heard)
    try:
        yield said
    finally:
        logger.removeHandler(heard)


async def leads_within(seconds_max: float, hub: Hub) -> float:
    """How long it takes."""
    began = clock()
    while not hub.leading.held:
        assert clock() - began < seconds_max, f"not within {seconds_max} s"
        await asyncio.sleep(0.05)
    return clock() - began


# --- who leads -----------------------------------------------------------------------------------------------


@turned
async def test_one_leads_and_goes_on() -> None:
    async with hubs("a", "b") as (a, b):
        for _ in range(600):
            await asyncio.sleep(0.1)
            assert a.leading.held and not b.leading.held
        assert len(a.began) == 1 and not b.began


@turned
async def test_the_other_leads_within_15_s_after_a_kill_at_any_moment() -> None:
    for moment in (0.0, 1.0, 2.5, 3.3, 3.4, 5.0):
        async with hubs("a", "b") as (a, b):
            await asyncio.sleep(20 + moment)
            a.kill()
            await leads_within(TAKEOVER_SECONDS, b)


@turned
async def test_a_hub_that_is_cut_off_stops_before_its_lease_ends() -> None:
    for hangs in (False, True):
        for moment in (30.0, 31.0, 33.2, 33.4, 36.0):
            async with hubs("a", "b") as (a, b):
                await asyncio.sleep(moment)
                assert a.leading.held
                a.wire.cut, a.wire.hung = not hangs, hangs
                for _ in range(300):
                    await asyncio.sleep(0.1)
                    assert not (a.leading.held and b.leading.held)
                assert b.leading.held and a.leading.lease is None
                a.wire.cut = a.wire.hung = False
                await asyncio.sleep(30)
                assert b.leading.held and not a.leading.held, "who comes back waits for its turn"


@turned
async def test_a_lease_that_was_never_renewed_is_let_go_of_in_the_same_time() -> None:
    async with hubs("a") as (a,):
        await leads_within(1.0, a)
        a.wire.cut = True
        await asyncio.sleep(0.8 * TTL - 1)
        assert a.leading.held
        await asyncio.sleep(1)
        assert not a.leading.held


@turned
async def test_a_store_that_is_away_for_a_moment_ends_no_leadership() -> None:
    async with hubs("a") as (a,):
        await asyncio.sleep(20)
        a.wire.cut = True
        await asyncio.sleep(TTL / 2)
        a.wire.cut = False
        await asyncio.sleep(60)
        assert len(a.began) == 1 and a.leading.held


@turned
async def test_a_leader_that_stops_in_order_hands_over_at_once() -> None:
    async with hubs("a", "b", "c") as (a, b, c):
        await asyncio.sleep(21)
        await c.stop()
        assert a.leading.held and not a.peers.is_cut_off, "who does not lead hands nothing over"
        await a.stop()
        assert await leads_within(1.0, b) < 0.2 and not a.leading.held


@turned
async def test_a_hub_that_does_not_see_the_latest_does_not_lead() -> None:
    async with hubs("a") as (a,):
        await asyncio.sleep(5)
        a.behind = True
        lease = a.leading.lease
        assert lease is not None
        a.leading.fenced(lease)
        await asyncio.sleep(20)
        assert a.living.held and not a.leading.held
        a.behind = False
        await leads_within(TTL / 3 + TTL / 5 + 0.1, a)


@turned
async def test_a_question_that_hangs_is_asked_again_and_told_once() -> None:
    with told() as said:
        async with hubs("a") as (a,):
            for _ in range(2):
                await asyncio.sleep(20)
                said.clear()
                a.wire.hung = True
                await asyncio.sleep(31)
                a.wire.hung = False
                assert a.leading.lease is None
                await leads_within(TTL / 3 + TTL / 5 + 0.1, a)
                assert [each for each in said if "this hub leads" in each] == [
                    "whether this hub leads: the store cannot be reached: no answer in time",
                    "it is not sure any more that this hub leads: its lease was not renewed in time",
                    "whether this hub leads: the store cannot be asked: no answer in time",
                ]


@turned
async def test_a_commit_that_is_fenced_ends_leadership_at_once() -> None:
    async with hubs("a") as (a,):
        await asyncio.sleep(5)
        lease = a.leading.lease
        assert lease is not None
        await a.wire.store.acquire(LEADER, "a", TTL)
        with pytest.raises(Fenced):
            await a.cache.commit([Write(A_ROW, b"{}", 0)], fence=lease)
        a.leading.fenced(lease)
        assert (a.leading.held, a.leading.lease) == (False, None)
        a.leading.fenced(lease)  # a second commit of the same tenure
        await leads_within(TTL / 5 + 0.1, a)
        assert a.leading.lease != lease
        a.leading.fenced(lease)
        assert a.leading.held, "it was of the tenure before"


@turned
async def test_a_hub_that_slept_hears_that_it_did_before_it_leads_again() -> None:
    async with hubs("a") as (a,):
        await asyncio.sleep(21)
        assert a.does == ["lives", "leads"]
        for seconds in (8.5, 60, 60, 60):  # the first time its lease has not ended yet
            asyncio.get_running_loop()._turned += seconds  # type: ignore[attr-defined]
            await asyncio.sleep(5)
        assert a.does == ["lives", "leads"] * 5, a.does


@turned
async def test_a_hub_whose_identity_another_has_is_told() -> None:
    with told() as said:
        async with hubs("a") as (a,):
            await asyncio.sleep(20)
            asyncio.get_running_loop()._turned += 60  # type: ignore[attr-defined]
            await asyncio.sleep(5)
            assert not any("--data-dir" in each for each in said), "it only slept"
            await a.wire.store.acquire("hub-a", "a", TTL)
            await asyncio.sleep(5)
            assert any("copy of this one's --data-dir" in each for each in said)


# --- who lives -----------------------------------------------------------------------------------------------


@turned
async def test_a_hub_alone_writes_its_row_once() -> None:
    async with hubs("a", leads=False) as (a,):
        await asyncio.sleep(3 * 3600)
        assert a.wire.commits == 1


@turned
async def test_hubs_see_each_other_and_that_one_died() -> None:
    async with hubs("a", "b", "c", leads=False) as (a, b, c):
        told: list[set[str]] = []
        a.peers.tell(lambda: told.append(a.others))
        for _ in range(600):
            await asyncio.sleep(0.5)
            assert (a.others, b.others, c.others) == ({"b", "c"}, {"a", "c"}, {"a", "b"})
        assert told == [] and a.peers.roll.lives("a") and not a.peers.roll.lives("nobody")
        assert a.peers.gateways() == ("a:7443", "b:7443", "c:7443") and c.peers.apis()[0] == "c:6443"
        assert (a.peers.api_of("b"), a.peers.api_of("nobody")) == ("b:6443", "")
        b.kill()
        await asyncio.sleep(TTL - 4)
        assert a.others == {"b", "c"}
        await asyncio.sleep(8)
        assert (a.others, c.others) == ({"c"}, {"a"})
        assert told == [{"c"}]
        assert a.peers.roll.addresses(lambda peer: peer.gateways) == ("a:7443", "c:7443", "b:7443")


@turned
async def test_a_hub_that_was_cut_off_lives_again() -> None:
    async with hubs("a", "b", leads=False) as (a, b):
        await asyncio.sleep(20)
        told: list[bool] = []
        b.peers.tell(lambda: told.append(b.peers.is_cut_off))
        b.wire.cut = True
        await asyncio.sleep(TTL + 4)
        assert a.others == set() and not a.peers.is_cut_off
        assert (b.peers.is_cut_off, told[-1]) == (True, True), "it knows that others take it for dead"
        await asyncio.sleep(30)
        b.wire.cut = False
        await asyncio.sleep(10)
        assert a.others == {"b"} and b.others == {"a"}
        assert not b.peers.is_cut_off and not told[-1]


@turned
async def test_a_store_that_hangs_cuts_a_hub_off_as_well() -> None:
    async with hubs("a", "b", leads=False) as (a, b):
        await asyncio.sleep(20)
        b.wire.hung = True
        await asyncio.sleep(TTL + 4)
        assert b.peers.is_cut_off and not a.peers.is_cut_off
        with pytest.raises(Unavailable, match="the latest of its store: no answer in time"):
            await b.peers.catch_up()


@turned
async def test_a_hub_alone_is_never_cut_off() -> None:
    async with hubs("a", leads=False) as (a,):
        a.wire.cut = True
        await asyncio.sleep(100)
        assert not a.peers.is_cut_off


@turned
async def test_who_stops_in_order_is_gone_at_once_and_keeps_its_addresses() -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(peers, "FORGET_SECONDS", 600.0)
        async with hubs("a", "b", leads=False) as (a, b):
            await asyncio.sleep(20)
            await b.stop()
            await asyncio.sleep(0.1)
            assert a.others == set()
            assert a.peers.roll.addresses(lambda peer: peer.apis) == ("a:6443", "b:6443")
            await asyncio.sleep(660)
            assert a.peers.roll.addresses(lambda peer: peer.apis) == ("a:6443",)
            assert a.cache.get(Key(*PEERS, "", "b")) is None


@turned
async def test_a_hub_says_whom_it_does_not_hear_as_long_as_it_lives() -> None:
    async with hubs("a", "b", leads=False) as (a, b):
        await asyncio.sleep(TTL)
        b.silent = ["m1", "m2"]
        await asyncio.sleep(TTL / 2)
        assert a.peers.silent() == {"m1", "m2"} and not b.peers.silent()
        b.silent = ["m2"]
        await asyncio.sleep(TTL / 2)
        assert a.peers.silent() == {"m2"}
        b.kill()
        await asyncio.sleep(2 * TTL)
        assert not a.peers.silent(), "its sessions are nobody's"


@turned
async def test_a_hub_that_caught_up_has_seen_what_another_committed_before() -> None:
    async with hubs("a", "b", leads=False) as (a, b):
        for number in range(20):
            key = f"/towline/core/configmaps/shop/c{number}"
            await a.cache.commit([Write(key, b'{"metadata":{}}', 0)])
            await b.peers.catch_up()
            assert b.cache.get(Key("", "configmaps", "shop", f"c{number}")) is not None


@turned
async def test_many_who_catch_up_at_once_cost_a_few_commits() -> None:
    async with hubs("a", leads=False) as (a,):
        await asyncio.sleep(1)
        before = a.wire.commits
        async with asyncio.TaskGroup() as group:
            for _ in range(1000):
                group.create_task(a.peers.catch_up())
        assert a.wire.commits - before <= 2


@turned
async def test_nobody_catches_up_with_a_store_that_cannot_be_reached() -> None:
    async with hubs("a", leads=False) as (a,):
        await asyncio.sleep(1)
        a.wire.cut = True
        with pytest.raises(Unavailable):
            await a.peers.catch_up()
        a.wire.cut = False
        await a.peers.catch_up()


@turned
async def test_who_waits_is_answered_after_a_conflict_and_whoever_else_gave_up() -> None:
    async with hubs("a", leads=False) as (a,):
        await asyncio.sleep(1)
        commit = a.wire.commit
        answers: list[int] = []

        async def refused_once(writes: Sequence[Write], *, fence: Lease | None = None) -> int:
            await asyncio.sleep(0.1)
            if not answers:
                answers.append(0)
                raise Conflict([writes[0].key])
            answers.append(await commit(writes, fence=fence))
            return answers[-1]

        a.wire.commit = refused_once  # type: ignore[method-assign]
        gave_up, waits = (asyncio.ensure_future(a.peers.catch_up()) for _ in range(2))
        await asyncio.sleep(0.05)
        gave_up.cancel()
        await waits
        assert len(answers) == 2, "an earlier write came through that was not seen yet"


@turned
async def test_who_waits_at_a_hub_that_stops_is_told() -> None:
    async with hubs("a", leads=False) as (a,):
        other = Peers(a.cache, "x", Peer(("x:1",), ("x:2",)), shared=True, dead_seconds=TTL, elapsed=clock)
        other.start()
        waits = asyncio.ensure_future(other.catch_up())
        await asyncio.sleep(0)
        await other.stop()
        with pytest.raises(Unavailable, match="is stopping"):
            await waits


@turned
async def test_a_hub_on_a_store_of_its_own_writes_no_row() -> None:
    async with hubs("a", leads=False) as (a,):
        own = Peers(a.cache, "x", Peer(("x:1",), ("x:2",)), shared=False, dead_seconds=TTL, elapsed=clock)
        own.start()
        assert own.roll.others == {"a"}, "who starts reads the rows that are there"
        before = a.wire.commits
        running = asyncio.ensure_future(own.run())
        await own.catch_up()
        await asyncio.sleep(100)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await own.stop()
        assert a.cache.get(Key(*PEERS, "", "x")) is None
        assert a.wire.commits == before


@turned
async def test_all_hubs_have_the_stores_epoch() -> None:
    async with hubs("a", "b", leads=False) as (a, b):
        numbers = [(await epoch.raise_epoch(hub.cache, lambda: "store-1"))[1] for hub in (a, b)]
        await a.peers.catch_up()
        assert numbers == [1, 2]
        assert epoch.current(a.cache) == epoch.current(b.cache) and epoch.current(a.cache)[0] == 2


@turned
async def test_hubs_sign_and_verify_with_the_same_keys() -> None:
    async with hubs("a", "b", leads=False) as (a, b):
        files = [SigningKeys.of_pems([authority.key_pem(authority.new_key())]) for _ in range(2)]
        first = await shared(a.cache, files[0], "https://a")
        await b.peers.catch_up()
        second = await shared(b.cache, files[1], "https://b")
        await a.peers.catch_up()
        assert first.issuer == second.issuer == "https://a"
        for signs, verifies in ((first, second), (second, first)):
            assert verifies.claims(signs.sign({"sub": "x"})) == {"sub": "x"}
        assert files[0].claims(files[0].sign({"sub": "old"})) == first.claims(files[0].sign({"sub": "old"}))
        assert first.jwks() == second.jwks() and len(first.jwks()["keys"]) == 2
        revision = b.cache.revision
        again = await shared(b.cache, files[1], "https://b")
        assert b.cache.revision == revision, "a restart adds nothing"
        for keys in (first, second, again):
            keys.stop()


# --- where sessions are --------------------------------------------------------------------------------------


def row(hub: str, connected: bool = True) -> bytes:
    return Agent("uid", 0, "1", (), "issuer", 0.0, hub, connected, 0.0).row("m1")


@turned
async def test_a_session_is_at_another_hub_while_the_row_says_so_and_that_hub_lives() -> None:
    async with hubs("a", leads=False) as (a,):
        living = {"a", "b"}
        told: list[tuple[str, bool]] = []
        assert not came_from_another(a.cache, "a", "m1"), "nobody knows it"
        where = Whereabouts(
            a.cache, "a", lambda name: name in living, lambda *moved: told.append((moved[0], moved[1]))
        )
        where.start()
        path, revision = Key(*AGENTS, "", "m1").path(), 0
        steps: list[tuple[bytes | None, bool]] = [
            (row("a"), False),
            (row("b"), True),
            (row("b", connected=False), False),
            (row("b"), True),
            (row("a"), False),
            (row("dead"), False),
            (row("b"), True),
            (None, False),
        ]
        there = False
        for value, wanted in steps:
            told.clear()
            revision = await a.cache.commit([Write(path, value, revision)])
            assert told == ([("m1", wanted)] if wanted != there else [])
            there = wanted
            assert came_from_another(a.cache, "a", "m1") is (value not in (None, row("a")))
        revision = await a.cache.commit([Write(path, row("b"), 0), Write(A_ROW, b'{"metadata":{}}', 0)])
        again: list[tuple[str, bool]] = []
        later = Whereabouts(
            a.cache, "a", lambda name: name in living, lambda *moved: again.append((moved[0], moved[1]))
        )
        later.start()
        assert again == [("m1", True)], "a hub that starts reads the rows that are there"
        later.stop()
        living.clear()
        where.look()
        assert told[-2:] == [("m1", True), ("m1", False)] and came_from_another(a.cache, "a", "m1")
        living.add("b")
        where.look()
        assert told[-1] == ("m1", True)
        where.stop()
        await a.cache.commit([Write(path, row("a"), revision)])
        assert told[-1] == ("m1", True) and len(again) == 1, "nobody listens any more"
