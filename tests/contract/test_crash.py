"""`kill -9` at any instant loses no acknowledged write, and leaves no commit half there."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import pytest

from tests.contract import store_writer
from tests.contract.store_servers import EtcdServer, load
from tests.contract.store_writer import WRITERS, Acknowledged, left, mark, right
from towline.hub.store.contract import Change, Row, Store, Unavailable
from towline.hub.store.etcd import EtcdStore
from towline.hub.store.sqlite import SqliteStore

ROUNDS = 25
SEED = int(os.environ.get("TOWLINE_SEED") or random.SystemRandom().randrange(2**32))


@pytest.fixture
def entropy() -> random.Random:
    print(f"TOWLINE_SEED={SEED}")  # pytest shows it when the test fails
    return random.Random(SEED)


async def test_sqlite_survives_the_death_of_its_process(tmp_path: Path, entropy: random.Random) -> None:
    path = tmp_path / "hub.sqlite"
    acknowledged: dict[int, Acknowledged] = {}
    total = 0
    for round_ in range(ROUNDS):
        # Most are killed while they write, a few while they start on what the one before left behind.
        lines = await asyncio.to_thread(
            killed_child,
            path,
            entropy.uniform(0.0, 0.06),
            entropy.uniform(0.05, 0.3) if round_ % 5 == 4 else None,
        )
        acknowledged.update({done.writer: done for done in lines})
        total += len(lines)
        store = SqliteStore(path)
        await store.open()
        await check(store, acknowledged)
        await store.close()
    assert total > ROUNDS * WRITERS, "too little was written for the test to mean anything"


def killed_child(path: Path, write_seconds: float, start_seconds: float | None) -> list[Acknowledged]:
    """What a writing child had acknowledged when it was killed: `write_seconds` after its first commit, or
    `start_seconds` after its start."""
    command = [sys.executable, store_writer.__file__, str(path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.getcwd()}
    ) as child:
        assert child.stdout is not None
        first = b"" if start_seconds is not None else child.stdout.readline()
        try:
            child.wait(write_seconds if start_seconds is None else start_seconds)
            raise AssertionError("the child ended by itself")
        except subprocess.TimeoutExpired:
            child.kill()
        lines = (first + child.stdout.read()).splitlines()
    return [Acknowledged(*map(int, line.split())) for line in lines]


async def test_etcd_survives_the_death_of_its_members(tmp_path: Path, entropy: random.Random) -> None:
    """Three members: one alone may acknowledge before it has written to disk, in versions before 3.5.5."""
    members = EtcdServer.cluster(tmp_path, 3)
    acknowledged: dict[int, Acknowledged] = {}
    revisions: list[int] = []
    told: list[Change] = []

    def acknowledge(done: Acknowledged) -> None:
        acknowledged[done.writer] = done
        revisions.append(done.revision)
        wrote.set()

    wrote, ended = asyncio.Event(), asyncio.Event()
    store = EtcdStore([member.url for member in members], request_seconds=3.0)
    try:
        await asyncio.to_thread(start, members)
        await store.open()
        beginning, _ = await load(store)
        follower = asyncio.ensure_future(follow(store, beginning, told))
        for round_ in range(ROUNDS):
            at = await store_writer.counters(store)
            wrote.clear()
            ended.clear()
            writers = [
                store_writer.write_on(store, writer, at, acknowledge, ended) for writer in range(WRITERS)
            ]
            writing = asyncio.gather(*writers, return_exceptions=True)
            await wrote.wait()
            await asyncio.sleep(entropy.uniform(0.0, 0.06))
            # Mostly the one in use, so that what is under way is cut off; every fifth time all of them.
            everything = round_ % 5 == 4
            for member in members if everything else [members[store._used]]:
                member.kill()
            ended.set()
            assert all(outcome is None or isinstance(outcome, Unavailable) for outcome in await writing)
            if everything:
                await asyncio.to_thread(start, members)
            await check(await reachable(store), acknowledged)
            await asyncio.to_thread(start, members)
        assert len(revisions) > ROUNDS * WRITERS, "too little was written for the test to mean anything"
        await check_told(store, follower, told, revisions)
    finally:
        await store.close()
        for member in members:
            member.kill()


def start(members: list[EtcdServer]) -> None:
    """Those that do not run. A member of a cluster waits for the others, so all at once."""
    for member in members:
        member.spawn()
    for member in members:
        member.wait()


async def check(store: Store, acknowledged: dict[int, Acknowledged]) -> None:
    revision, loaded = await load(store)
    rows = {row.key: row for row in loaded}
    for writer in range(WRITERS):
        counter, twin = rows.get(left(writer)), rows.get(right(writer))
        done = acknowledged.get(writer, Acknowledged(writer, 0, 0))
        count = int(counter.value) if counter else 0
        # A commit that was under way may be there or not; there is at most one a writer.
        assert done.count <= count <= done.count + 1
        assert (counter and counter[1:]) == (twin and twin[1:]), "a commit is half there"
        if counter is not None and count == done.count:
            assert counter.revision == done.revision
        marks = [key for key in rows if key.startswith(mark(writer, 0)[:-6])]
        assert marks == [mark(writer, n) for n in range(1, count + 1)]
        acknowledged_now = Acknowledged(writer, count, counter.revision if counter else 0)
        assert acknowledged_now.revision <= revision
        acknowledged[writer] = acknowledged_now


async def follow(store: Store, start: int, told: list[Change]) -> None:
    """One follower through all the deaths."""
    async with aclosing(store.changes(start)) as batches:
        async for batch in batches:
            told += batch


async def check_told(
    store: Store, follower: asyncio.Future[None], told: list[Change], revisions: list[int]
) -> None:
    revision, rows = await load(store)
    async with asyncio.timeout(20):
        while not told or told[-1].revision < revision:
            await asyncio.sleep(0.01)
    follower.cancel()
    assert set(revisions) <= {change.revision for change in told}
    assert [change.revision for change in told] == sorted(change.revision for change in told)
    assert len({(change.key, change.revision) for change in told}) == len(told)
    last = {change.key: Row(change.key, change.value or b"", change.revision) for change in told}
    assert [last[key] for key in sorted(last)] == rows


async def reachable(store: Store) -> Store:
    async with asyncio.timeout(20):
        while True:
            try:
                await load(store)
                return store
            except Unavailable:
                await asyncio.sleep(0.02)
