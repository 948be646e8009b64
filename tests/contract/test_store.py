"""The store contract, proved on every backend."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import pytest

from tests.contract.store_servers import Backend, collect, load, tenure, values
from towline.hub.store.contract import (
    COMMIT_BYTES_MAX,
    COMMIT_WRITES_MAX,
    VALUE_BYTES_MAX,
    Change,
    Compacted,
    Conflict,
    Fenced,
    Row,
    Store,
    TooLarge,
    Unavailable,
    Write,
)

A, B, C = (f"/towline/core/configmaps/default/{name}" for name in "abc")


async def test_an_empty_store_loads_one_empty_page(backend: Backend) -> None:
    revision, rows = await load(backend.store)
    assert rows == []
    assert revision >= 1


async def test_a_row_has_the_revision_of_the_commit_that_wrote_it_last(backend: Backend) -> None:
    store = backend.store
    first = await store.commit([Write(A, b"1", 0), Write(B, b"1", 0)])
    second = await store.commit([Write(A, b"2", first)])
    assert await load(store) == (second, [Row(A, b"2", second), Row(B, b"1", first)])
    third = await store.commit([Write(B, None, first)])
    assert await load(store) == (third, [Row(A, b"2", second)])
    fourth = await store.commit([Write(B, b"3", 0)])
    assert first < second < third < fourth
    assert await values(await backend.beside()) == {A: b"2", B: b"3"}


@pytest.mark.parametrize(
    ("write", "stale"),
    [
        (Write(A, b"x", 0), "it exists"),
        (Write(A, b"x", 1), "an older revision"),
        (Write(A, b"x", 10**9), "a revision that never was"),
        (Write(A, None, 1), "a deletion of an older revision"),
        (Write(C, b"x", 1), "it does not exist"),
        (Write(C, None, 1), "a deletion of what does not exist"),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
async def test_one_stale_write_refuses_the_whole_commit_and_is_named(
    backend: Backend, write: Write, stale: str
) -> None:
    store = backend.store
    revision = await store.commit([Write(A, b"1", 0), Write(B, b"1", 0)])
    with pytest.raises(Conflict) as refused:
        await store.commit(
            [Write("/towline/core/configmaps/default/new", b"2", 0), write, Write(B, None, revision)]
        )
    assert refused.value.keys == (write.key,)
    assert await values(store) == {A: b"1", B: b"1"}
    # Nothing happened, so the next change is the next commit's.
    follower = store.changes(revision)
    after = await store.commit([Write(C, b"1", 0)])
    assert await collect(follower, after) == [Change(C, b"1", after)]
    await follower.aclose()


async def test_all_stale_keys_are_named(backend: Backend) -> None:
    store = backend.store
    revision = await store.commit([Write(A, b"1", 0), Write(B, b"1", 0)])
    with pytest.raises(Conflict) as refused:
        await store.commit([Write(A, b"2", 0), Write(B, b"2", revision), Write(C, b"2", revision)])
    assert set(refused.value.keys) == {A, C}


async def test_changes_are_whole_revisions_in_order_for_every_follower(backend: Backend) -> None:
    store = backend.store
    start, _ = await load(store)
    early, late = store.changes(start), (await backend.beside()).changes(start)
    waiting = asyncio.ensure_future(collect(early, start + 1))
    await asyncio.sleep(0)  # it waits before anything happens
    one = await store.commit([Write(A, b"1", 0), Write(B, b"1", 0)])
    first = await waiting
    two = await store.commit([Write(A, b"2", one), Write(B, None, one), Write(C, b"1", 0)])
    three = await store.commit([Write(A, None, two)])
    expected = [
        Change(A, b"1", one), Change(B, b"1", one),
        Change(A, b"2", two), Change(B, None, two), Change(C, b"1", two), Change(A, None, three),
    ]  # fmt: skip
    assert first + await collect(early, three) == expected
    assert await collect(late, three) == expected
    middle = store.changes(one)
    assert await collect(middle, three) == expected[2:]
    for follower in (early, late, middle):
        await follower.aclose()


async def test_each_batch_holds_whole_revisions(backend: Backend) -> None:
    store = backend.store
    start, _ = await load(store)
    keys = [f"{A}{i}" for i in range(20)]
    last = start
    for _ in range(30):
        expected = 0 if last == start else last
        last = await store.commit([Write(key, b"x", expected) for key in keys])
    follower, seen = store.changes(start), 0
    async for batch in follower:
        assert len(batch) % len(keys) == 0
        seen += len(batch)
        if batch[-1].revision == last:
            break
    assert seen == 30 * len(keys)
    await follower.aclose()


async def test_no_change_is_lost_or_repeated_across_interruptions(backend: Backend) -> None:
    store = backend.store
    seen, _ = await load(store)
    start, told, committed = seen, [], []

    async def follow() -> None:
        nonlocal seen
        while True:  # a closed store ends the iterator; an etcd that goes away does not
            async with contextlib.aclosing(store.changes(seen)) as batches:
                async for batch in batches:
                    told.extend(batch)
                    seen = batch[-1].revision
            await reopened.wait()

    reopened = asyncio.Event()
    follower = asyncio.ensure_future(follow())
    revision = 0
    for round_ in range(4):
        for i in range(25):
            value = b"%d.%d" % (round_, i)
            revision = await store.commit([Write(A, value, revision)])
            committed.append(Change(A, value, revision))
        if backend.name != "etcd":
            # What was not read before a restart of the owner is Compacted, so read it.
            async with asyncio.timeout(20):
                while seen < revision:
                    await asyncio.sleep(0)
        reopened.clear()
        if round_ < 3:
            await backend.interrupt()
            reopened.set()
            revision = await _retry(store, Write(B, b"x", 0))
            committed.append(Change(B, b"x", revision))
            gone = await store.commit([Write(B, None, revision)])
            committed.append(Change(B, None, gone))
            revision = committed[-3].revision
    async with asyncio.timeout(20):
        while seen < committed[-1].revision:
            await asyncio.sleep(0.01)
    follower.cancel()
    assert told == committed
    assert start < committed[0].revision


async def _retry(store: Store, write: Write) -> int:
    for _ in range(200):
        try:
            return await store.commit([write])
        except Unavailable as unavailable:
            assert not unavailable.maybe_committed
            await asyncio.sleep(0.05)
    raise AssertionError("the store did not come back")


async def test_compaction_forgets_changes_and_keeps_rows(backend: Backend) -> None:
    store = backend.store
    start, _ = await load(store)
    one = await store.commit([Write(A, b"1", 0), Write(B, b"1", 0)])
    two = await store.commit([Write(B, None, one)])
    three = await store.commit([Write(C, b"1", 0)])
    await store.compact(two)
    for after in (start, one):
        with pytest.raises(Compacted):
            await anext(store.changes(after))
    follower = store.changes(two)
    assert await collect(follower, three) == [Change(C, b"1", three)]
    await follower.aclose()
    await store.compact(two)  # again: nothing to do
    assert await values(store) == {A: b"1", C: b"1"}


# --- bounds --------------------------------------------------------------------------------------------------


async def test_the_largest_value_is_stored_and_one_byte_more_refused(backend: Backend) -> None:
    store = backend.store
    start, _ = await load(store)
    largest = b"v" * VALUE_BYTES_MAX
    revision = await store.commit([Write(A, largest, 0), Write(B, largest, 0)])
    follower = store.changes(start)
    assert [change.value for change in await collect(follower, revision)] == [largest, largest]
    await follower.aclose()
    with pytest.raises(TooLarge):
        await store.commit([Write(C, b"1", 0), Write(A, largest + b"v", revision)])
    assert await values(store) == {A: largest, B: largest}


async def test_a_commit_is_bounded_in_writes_and_bytes(backend: Backend) -> None:
    store = backend.store
    lease = await tenure(store, "leader", "me")
    full = [Write(f"{A}{i:03}", b"x", 0) for i in range(COMMIT_WRITES_MAX)]
    await store.commit(full, fence=lease)
    assert len(await values(store)) == COMMIT_WRITES_MAX
    with pytest.raises(TooLarge):
        await store.commit([*full, Write(B, b"x", 0)])
    count = COMMIT_BYTES_MAX // VALUE_BYTES_MAX + 1
    with pytest.raises(TooLarge):
        await store.commit([Write(f"{C}{i}", b"v" * VALUE_BYTES_MAX, 0) for i in range(count)])
    assert len(await values(store)) == COMMIT_WRITES_MAX


@pytest.mark.parametrize(
    "writes",
    [
        pytest.param([], id="nothing"),
        pytest.param([Write(A, b"1", 0), Write(B, b"1", 0), Write(A, b"2", 0)], id="a key twice"),
        pytest.param([Write("/elsewhere/a", b"1", 0)], id="not under the prefix"),
        pytest.param([Write(A, None, 0)], id="a deletion of nothing"),
    ],
)
async def test_what_no_caller_may_send(backend: Backend, writes: Sequence[Write]) -> None:
    with pytest.raises(ValueError):
        await backend.store.commit(writes)
    assert await values(backend.store) == {}


async def test_fifty_thousand_rows_load_in_order_at_one_revision(backend: Backend) -> None:
    store = backend.store
    keys = [f"/towline/core/configmaps/ns-{i % 100:03}/row-{i:05}" for i in range(50_000)]
    chunks = [keys[i : i + COMMIT_WRITES_MAX] for i in range(0, len(keys), COMMIT_WRITES_MAX)]
    slots = asyncio.Semaphore(16)

    async def put(chunk: list[str]) -> int:
        async with slots:
            return await store.commit([Write(key, b"x" * 100, 0) for key in chunk])

    revision = max(await asyncio.gather(*map(put, chunks)))
    pages = store.load()
    at, page = await anext(pages)
    # What is committed while the load is under way is not in it.
    await store.commit(
        [Write(keys[-1], None, revision)] if page[-1].revision == revision else [Write(A, b"1", 0)]
    )
    rows = [*page, *[row for _, more in [p async for p in pages] for row in more]]
    assert at == revision
    assert [row.key for row in rows] == sorted(keys)


# --- concurrency ---------------------------------------------------------------------------------------------


async def test_concurrent_committers_lose_no_update(backend: Backend) -> None:
    """Each adds one to two counters in one commit, and decides again after a conflict."""
    stores = [backend.store, await backend.beside()]
    rows = {A: (0, 0), B: (0, 0)}
    commits = 0

    async def add(times: int) -> None:
        nonlocal commits
        while times:
            writes = [Write(key, b"%d" % (rows[key][0] + 1), rows[key][1]) for key in (A, B)]
            try:
                revision = await stores[times % 2].commit(writes)
            except Conflict:
                await asyncio.sleep(0)
                continue
            for write in writes:
                if revision > rows[write.key][1]:
                    rows[write.key] = (int(write.value or b""), revision)
            times -= 1
            commits += 1

    async with asyncio.timeout(30):
        await asyncio.gather(*(add(20) for _ in range(8)))
    assert commits == 160
    assert await values(backend.store) == {A: b"160", B: b"160"}


# --- leases --------------------------------------------------------------------------------------------------


async def test_a_lease_has_one_holder_until_it_is_released(backend: Backend) -> None:
    mine, theirs = backend.store, await backend.beside()
    lease = await tenure(mine, "leader", "me")
    assert await theirs.acquire("leader", "they", 5.0) is None
    assert await theirs.acquire("another", "they", 5.0) is not None
    await mine.renew(lease, 5.0)
    await mine.release(lease)
    after = await tenure(theirs, "leader", "they")
    assert after.token != lease.token
    await mine.release(lease)  # lost already: nothing to do, and nothing done
    await theirs.renew(after, 5.0)
    with pytest.raises(Fenced):
        await mine.renew(lease, 5.0)


async def test_a_leader_that_lost_its_lease_writes_nothing(backend: Backend) -> None:
    mine, theirs = backend.store, await backend.beside()
    lease = await tenure(mine, "leader", "me", 1.0)
    revision = await mine.commit([Write(A, b"1", 0)], fence=lease)
    their_lease = await backend.expire(lambda: theirs.acquire("leader", "they", 30.0))
    for writes in (
        [Write(A, b"2", revision)],
        [Write(A, None, revision), Write(B, b"2", 0)],
        [Write(A, b"2", 0)],
    ):
        with pytest.raises(Fenced):
            await mine.commit(writes, fence=lease)
    assert await values(mine) == {A: b"1"}
    with pytest.raises(Conflict):
        await theirs.commit([Write(A, b"2", 0)], fence=their_lease)
    await theirs.commit([Write(A, b"2", revision)], fence=their_lease)
    assert await values(mine) == {A: b"2"}


async def test_a_holder_that_acquires_again_fences_out_its_former_self(backend: Backend) -> None:
    before, now = backend.store, await backend.beside()
    old = await tenure(before, "leader", "me")
    new = await tenure(now, "leader", "me")
    with pytest.raises(Fenced):
        await before.commit([Write(A, b"1", 0)], fence=old)
    with pytest.raises(Fenced):
        await before.renew(old, 5.0)
    await before.release(old)
    await now.renew(new, 5.0)
    await now.commit([Write(A, b"1", 0)], fence=new)


async def test_a_lease_that_ended_fences_without_a_successor(backend: Backend) -> None:
    store = backend.store
    lease = await tenure(store, "leader", "me", 1.0)

    async def is_fenced() -> bool | None:
        try:
            await store.commit([Write(C, b"1", 10**9)], fence=lease)
        except Fenced:
            return True
        except Conflict:
            return None
        raise AssertionError("a stale write went through")

    assert await backend.expire(is_fenced)
    with pytest.raises(Fenced):
        await store.renew(lease, 5.0)


# --- closing -------------------------------------------------------------------------------------------------


async def test_closing_ends_followers_and_refuses_commits(backend: Backend) -> None:
    store = backend.store
    start, _ = await load(store)
    await store.open()  # again: nothing to do
    revision = await store.commit([Write(A, b"1", 0)])
    follower = store.changes(start)
    assert await anext(follower) == [Change(A, b"1", revision)]
    waiting = asyncio.ensure_future(anext(follower, "ended"))
    await asyncio.sleep(0.05 if backend.name == "etcd" else 0)
    await store.close()
    await store.close()
    assert await waiting == "ended"
    with pytest.raises(Unavailable) as refused:
        await store.commit([Write(B, b"1", 0)])
    assert not refused.value.maybe_committed
    await store.open()
    assert await values(store) == {A: b"1"}
