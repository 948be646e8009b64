"""The cache: what a list shows, what a watch replays, and what happens when the changes are gone."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.store_servers import Backend
from towline.hub.decide.plan import INDEXED_LABELS, Snapshot
from towline.hub.store.cache import Cache, Gone, Source, Watch, WatchEvent
from towline.hub.store.contract import Change, Compacted, Row, Store, Unavailable, Write
from towline.hub.store.memory import MemoryStore
from towline.kube.kinds import KindTable
from towline.kube.objects import Key, Object, encode, revision_of

LABEL = INDEXED_LABELS[0]
CONFIGMAPS = ("", "configmaps")
BINDINGS = ("work.karmada.io", "resourcebindings")


def key(name: str, namespace: str = "default", at: tuple[str, str] = CONFIGMAPS) -> Key:
    return Key(*at, namespace, name)


def put(at: Key, expected: int = 0, text: str = "", **labels: str) -> Write:
    metadata: dict[str, Any] = {"name": at.name, "namespace": at.namespace}
    if labels:
        metadata["labels"] = {LABEL if name == "indexed" else name: value for name, value in labels.items()}
    return Write(
        at.path(), encode({"apiVersion": "v1", "kind": "K", "metadata": metadata, "text": text}), expected
    )


@asynccontextmanager
async def running(store: Store, **options: Any) -> AsyncIterator[Cache]:
    cache = Cache(store, KindTable(), **options)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(cache.run())
        async with asyncio.timeout(10):
            await cache.synced.wait()
        try:
            yield cache
        finally:
            task.cancel()


def shown(source: Source, at: tuple[str, str] = CONFIGMAPS, namespace: str | None = None) -> dict[Key, bytes]:
    return {entry.key: entry.value for entry in source.list(*at, namespace)}


async def read(watch: Watch, until: int) -> list[WatchEvent]:
    """Events of `watch` up to and including revision `until`."""
    events: list[WatchEvent] = []
    async with asyncio.timeout(10):
        while watch.revision < until:
            events += await anext(watch)
    return events


def replay(state: dict[Key, bytes], events: Sequence[WatchEvent]) -> dict[Key, bytes]:
    """`state` after `events`, as a client keeps it; checks that each event fits what the client has."""
    state = dict(state)
    for event in events:
        at, old = event.entry.key, state.get(event.entry.key)
        assert (old is None) == (event.type == "ADDED")
        assert old == (event.previous.value if event.previous else None)
        assert revision_of(event.entry.object) == event.entry.revision
        if event.type == "DELETED":
            del state[at]
        else:
            state[at] = event.entry.value
    return state


# --- reading -------------------------------------------------------------------------------------------------


async def test_a_commit_shows_in_the_writers_next_read(backend: Backend) -> None:
    async with running(backend.store) as cache:
        a, revision = key("a"), 0
        for n in range(10):
            revision = await cache.commit([put(a, revision, str(n))])
            entry = cache.get(a)
            assert entry is not None and entry.revision == revision <= cache.revision
            assert entry.object["text"] == str(n)
            assert entry.object["metadata"]["resourceVersion"] == str(revision)
        await cache.commit([Write(a.path(), None, revision)])
        assert cache.get(a) is None and cache.list(*CONFIGMAPS) == ()


async def test_two_caches_of_one_store_show_the_same(backend: Backend) -> None:
    other_store = await backend.beside()
    async with running(backend.store) as one, running(other_store) as two:
        revisions = await asyncio.gather(*(one.commit([put(key(f"k{i}"))]) for i in range(50)))
        assert await two.wait(max(revisions), 10.0)
        assert shown(one) == shown(two) and len(shown(one)) == 50


async def test_lists_are_sorted_by_path() -> None:
    names = [
        key(name, namespace) for namespace in ("a", "a-b", "ab", "b", "") for name in ("z", "a", "m-1", "m")
    ]
    store = MemoryStore()
    await store.commit([put(at) for at in names[::2]])
    async with running(store) as cache:
        for at in reversed(names[1::2]):
            await cache.commit([put(at)])
        assert list(shown(cache)) == sorted(names, key=Key.path)
        for namespace in ("a", "a-b", "", "none"):
            assert list(shown(cache, namespace=namespace)) == sorted(
                at for at in names if at.namespace == namespace
            )
        whole, part = cache.list(*CONFIGMAPS), cache.list(*CONFIGMAPS, "a")
        assert cache.list(*CONFIGMAPS) is whole  # nothing changed: nothing is built again
        await cache.commit([put(key("new", "b"))])
        assert cache.list(*CONFIGMAPS) is not whole and cache.list(*CONFIGMAPS, "a") is part
        assert cache.list(*BINDINGS) == ()
        assert cache.counts() == {CONFIGMAPS: len(names) + 1}


async def test_the_index_follows_labels() -> None:
    store = MemoryStore()
    a, b = key("a"), key("b", "x", BINDINGS)
    one = await store.commit([put(a, indexed="p"), put(b, indexed="p", other="p")])
    async with running(store) as cache:
        assert list(cache.labelled(LABEL, "p")) == [a, b]
        two = await cache.commit([put(a, one, indexed="q")])
        assert list(cache.labelled(LABEL, "p")) == [b] and list(cache.labelled(LABEL, "q")) == [a]
        await cache.commit([put(a, two), Write(b.path(), None, one)])
        assert list(cache.labelled(LABEL, "p")) == list(cache.labelled(LABEL, "q")) == []
        with pytest.raises(KeyError):
            cache.labelled("other", "p")


async def test_dependents_are_found_by_their_owner() -> None:
    def owned(at: Key, expected: int, *uids: str) -> Write:
        references = [{"apiVersion": "v1", "kind": "ConfigMap", "name": uid, "uid": uid} for uid in uids]
        metadata = {"name": at.name, "namespace": at.namespace, "ownerReferences": references}
        obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        return Write(at.path(), encode(obj), expected)

    a, b, store = key("a"), key("b"), MemoryStore()
    one = await store.commit([owned(a, 0, "p", "q"), owned(key("x", "x", BINDINGS), 0, "p")])
    async with running(store) as cache:
        assert list(cache.dependents("p")) == [a], "bindings are left to propagation"
        two = await cache.commit([owned(a, one, "q"), owned(b, 0, "q")])
        assert list(cache.dependents("p")) == [] and list(cache.dependents("q")) == [a, b]
        await cache.commit([Write(a.path(), None, two), owned(b, two)])
        assert list(cache.dependents("q")) == [] and list(cache.owned()) == []


async def test_the_snapshot_is_what_decisions_read() -> None:
    async with running(MemoryStore()) as cache:
        snapshot: Snapshot = cache.snapshot
        revision = await cache.commit([put(key("b"), indexed="p"), put(key("a"))])
        assert snapshot.revision == revision and isinstance(snapshot.kinds, KindTable)
        assert [obj["metadata"]["name"] for obj in snapshot.list(*CONFIGMAPS)] == ["a", "b"]
        assert snapshot.get(key("b")) is snapshot.list(*CONFIGMAPS, "default")[1]
        assert snapshot.get(key("c")) is None
        assert list(snapshot.labelled(LABEL, "p")) == [key("b")]


async def test_only_the_parsed_objects_used_last_are_kept() -> None:
    async with running(MemoryStore(), parsed_objects=2) as cache:
        await cache.commit([put(key(name)) for name in "abc"])
        a, b, c = cache.list(*CONFIGMAPS)
        first, second = a.object, b.object
        assert a.object is first  # and thereby used later than b
        assert c.object is c.object
        assert a.object is first and b.object is not second and b.object == second


async def test_a_row_that_is_no_object_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    bad = [
        Write(f"/towline/core/configmaps/default/{name}", value, 0)
        for name, value in [("x", b"no"), ("y", b"{}")]
    ]
    await store.commit([*bad, Write("/towline/odd", b"{}", 0), put(key("a"))])
    async with running(store) as cache:
        assert list(shown(cache)) == [key("a")]
        revision = await cache.commit([Write(bad[0].key, None, 2), Write("/towline/odd", None, 2)])
        await cache.commit([bad[0], put(key("b"))])
        assert list(shown(cache)) == [key("a"), key("b")] and cache.revision == revision + 1
    assert "is ignored" in caplog.text


async def test_wait_tells_whether_a_revision_shows() -> None:
    async with running(MemoryStore()) as cache:
        assert await cache.wait(cache.revision, 0)
        assert not await cache.wait(cache.revision + 1, 0)
        waiting = asyncio.ensure_future(cache.wait(cache.revision + 2, 10))
        await cache.commit([put(key("a"))])
        assert not waiting.done()
        await cache.commit([put(key("b"))])
        assert await waiting


# --- watching ------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.lists(
        st.tuples(st.sampled_from([CONFIGMAPS, BINDINGS]), st.sampled_from("abcd"), st.booleans()),
        min_size=1,
        max_size=3,
        unique_by=lambda step: step[:2],
    ),
    min_size=1,
    max_size=30,
)


@settings(deadline=None, max_examples=150)
@given(steps=STEPS, window=st.integers(1, 40), burst=st.integers(1, 10))
def test_a_watch_from_any_revision_replays_to_what_a_list_shows(
    steps: list[Any], window: int, burst: int
) -> None:
    """And says Gone exactly when an event that it needs has left the window."""
    asyncio.run(watch_from_every_revision(steps, window, burst))


async def watch_from_every_revision(steps: list[Any], window: int, burst: int) -> None:
    store = MemoryStore()
    async with running(store, window_events=window) as cache:
        states = {cache.revision: {at: shown(cache, at) for at in (CONFIGMAPS, BINDINGS)}}
        told: list[WatchEvent] = []
        cache.subscribe(lambda revision, events: told.extend(events))
        live = {at: cache.watch(*at, cache.revision) for at in (CONFIGMAPS, BINDINGS)}
        revisions: dict[Key, int] = {}
        for n, step in enumerate(steps):
            writes = []
            for at, name, delete in step:
                on = key(name, at=at)
                expected = revisions.get(on, 0)
                writes.append(
                    Write(on.path(), None, expected) if delete and expected else put(on, expected, str(n))
                )
            revision = await store.commit(writes)
            for write, (at, name, _) in zip(writes, step, strict=True):
                revisions[key(name, at=at)] = revision if write.value is not None else 0
            if n % burst == 0:  # so that the cache sees one change at a time, or many
                await cache.wait(revision, 10)
                states[revision] = {at: shown(cache, at) for at in (CONFIGMAPS, BINDINGS)}
        await cache.wait(revision, 10)
        lost = told[: max(0, len(told) - window)]
        for at, (after, state) in itertools.product((CONFIGMAPS, BINDINGS), states.items()):
            needed = [
                e
                for e in lost
                if e.entry.revision > after and (e.entry.key.group, e.entry.key.resource) == at
            ]
            try:
                watch = cache.watch(*at, after)
            except Gone:
                assert needed
            else:
                assert not needed
                assert replay(state[at], await read(watch, revision)) == shown(cache, at)
        for at, watch in live.items():
            try:
                assert replay({}, await read(watch, revision)) == shown(cache, at)
            except Gone:
                assert any((e.entry.key.group, e.entry.key.resource) == at for e in lost)


async def test_watches_before_the_load_or_too_old_are_gone() -> None:
    store = MemoryStore()
    before = await store.commit([put(key("a"))])
    await store.commit([put(key("b"))])
    cache = Cache(store, KindTable())
    early = cache.watch(*CONFIGMAPS, 0)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(cache.run())
        with pytest.raises(Gone):
            await anext(early)
        await cache.synced.wait()
        with pytest.raises(Gone, match="too old"):
            cache.watch(*CONFIGMAPS, before)
        with pytest.raises(Gone):
            cache.watch(*BINDINGS, before)
        task.cancel()


async def test_a_reader_that_fell_behind_is_gone_and_others_are_not() -> None:
    async with running(MemoryStore(), window_events=5) as cache:
        slow, fast = cache.watch(*CONFIGMAPS, cache.revision), cache.watch(*CONFIGMAPS, cache.revision)
        quiet = cache.watch(*BINDINGS, cache.revision)
        for i in range(6):
            revision = await cache.commit([put(key(f"k{i}"))])
            assert [event.entry.key.name for event in await anext(fast)] == [f"k{i}"]
        with pytest.raises(Gone):
            await anext(slow)
        assert quiet.revision == revision  # nothing was kept from it: a bookmark may say so
        await cache.commit([put(key("a", at=BINDINGS))])
        assert len(await anext(quiet)) == 1


async def test_the_window_is_bounded_by_bytes_too() -> None:
    """Large objects must not fill the memory because their changes are few."""
    async with running(MemoryStore(), window_bytes=100_000) as cache:
        before = cache.revision
        for i in range(20):
            await cache.commit([Write(key(f"k{i}").path(), encode(large(f"k{i}", 10_000)), 0)])
        with pytest.raises(Gone):
            cache.watch(*CONFIGMAPS, before)
        kept = cache.watch(*CONFIGMAPS, cache.revision - 5)
        assert len(await anext(kept)) == 5


def large(name: str, size: int) -> Object:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"blob": "x" * size}}


async def test_every_watcher_gets_the_same_event_object() -> None:
    """So that the line that the API makes of it is made once."""
    async with running(MemoryStore()) as cache:
        watches = [cache.watch(*CONFIGMAPS, cache.revision) for _ in range(100)]
        waiting = [asyncio.ensure_future(anext(watch)) for watch in watches]
        await asyncio.sleep(0)
        await cache.commit([put(key("a"))])
        batches = await asyncio.gather(*waiting)
        assert len({id(event) for batch in batches for event in batch}) == 1
        assert batches[0][0].line is None


async def test_a_watch_above_what_the_cache_shows_skips_what_its_client_has_seen() -> None:
    async with running(MemoryStore()) as cache:
        watch = cache.watch(*CONFIGMAPS, cache.revision + 1)
        await cache.commit([put(key("a"))])
        await cache.commit([put(key("b"))])
        assert [event.entry.key.name for event in await anext(watch)] == ["b"]


async def test_a_closed_watch_ends_and_a_cancelled_one_goes_on() -> None:
    async with running(MemoryStore()) as cache:
        watch = cache.watch(*CONFIGMAPS, cache.revision)
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await cache.commit([put(key("a"))])
        assert len(await anext(watch)) == 1
        last = asyncio.ensure_future(anext(watch, None))
        await asyncio.sleep(0)
        watch.close()
        assert await last is None


async def test_the_last_state_of_a_deleted_object_has_the_deletions_revision() -> None:
    async with running(MemoryStore()) as cache:
        one = await cache.commit([put(key("a"), text='"resourceVersion":"2"')])
        watch = cache.watch(*CONFIGMAPS, one)
        two = await cache.commit([Write(key("a").path(), None, one)])
        (event,) = await anext(watch)
        assert event.type == "DELETED" and event.entry.revision == two
        last = orjson.loads(event.entry.value)
        assert last["metadata"]["resourceVersion"] == str(two) and last["text"] == '"resourceVersion":"2"'


# --- subscribers ---------------------------------------------------------------------------------------------


async def test_subscribers_are_told_whole_revisions_in_order() -> None:
    store = MemoryStore()
    async with running(store) as cache:
        batches: list[tuple[int, list[WatchEvent]]] = []
        stop = cache.subscribe(lambda revision, events: batches.append((revision, list(events))))
        for i in range(700):  # in one turn of the loop, so that the cache gets them all at once
            last = await store.commit([put(key(f"{name}{i}")) for name in "abc"])
        await cache.wait(last, 10)
        assert len(batches) > 1 and [revision for revision, _ in batches] == sorted({r for r, _ in batches})
        assert all(events[-1].entry.revision == revision for revision, events in batches)
        seen = [event.entry.revision for _, events in batches for event in events]
        assert seen == sorted(seen) and len(seen) == 2100
        firsts = [{event.entry.revision for event in events} for _, events in batches]
        assert sum(map(len, firsts)) == len(set().union(*firsts)), "a revision was told in two pieces"
        stop()
        stop()
        count = len(batches)
        await cache.commit([put(key("more"))])
        assert len(batches) == count


async def test_a_subscriber_that_fails_is_logged_once_and_breaks_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(MemoryStore()) as cache:
        told: list[int] = []

        def fail(revision: int, events: Sequence[WatchEvent]) -> None:
            raise RuntimeError("a defect in a subscriber")

        cache.subscribe(fail)
        cache.subscribe(lambda revision, events: told.append(revision))
        for name in "abc":
            await cache.commit([put(key(name))])
        assert len(told) == 3
        assert [record.message for record in caplog.records] == [
            "a subscriber of the cache failed at revision 2"
        ]


# --- loading again -------------------------------------------------------------------------------------------


async def test_after_compaction_the_differences_come_as_events() -> None:
    store = MemoryStore(commits_max=4)
    async with running(store) as cache:
        one = await cache.commit([put(key(name)) for name in ("stays", "changes", "goes")])
        before = shown(cache)
        stays = cache.get(key("stays"))
        caught_up = cache.watch(*CONFIGMAPS, one)
        told: list[WatchEvent] = []
        cache.subscribe(lambda revision, events: told.extend(events))
        # The store forgets these before the cache has its turn to read them.
        two = await store.commit([put(key("changes"), one, "x"), Write(key("goes").path(), None, one)])
        await store.commit([put(key("comes"), indexed="p")])
        for i in range(20):
            last = await store.commit([put(key(f"brief{i}"))])
            last = await store.commit([Write(key(f"brief{i}").path(), None, last)])
        assert await cache.wait(last, 10)
        assert cache.revision == last
        events = await read(caught_up, last)
        assert replay(before, events) == replay(before, told) == shown(cache)
        assert [(event.type, event.entry.key.name, event.entry.revision) for event in events] == [
            ("MODIFIED", "changes", two), ("ADDED", "comes", two + 1), ("DELETED", "goes", last),
        ]  # fmt: skip
        assert cache.get(key("stays")) is stays
        assert list(cache.labelled(LABEL, "p")) == [key("comes")]
        # And from here on it follows again.
        await cache.commit([put(key("after"))])
        assert key("after") in shown(cache)


class Scripted(MemoryStore):
    """A store whose loads and changes fail when they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[Exception] = []
        self.broken = asyncio.Event()

    async def load(self) -> Any:
        if self.failures:
            raise self.failures.pop(0)
        async for page in super().load():
            yield page

    async def changes(self, after: int) -> Any:
        self.broken.clear()
        await self.broken.wait()
        raise Compacted("as told")
        yield [Change("", None, 0)]  # type: ignore[unreachable]  # makes it a generator

    def restore(self, revision: int, rows: Sequence[Row]) -> None:
        self._rows = {row.key: row for row in rows}
        self._log.revision = self._log._floor = revision
        self._log._commits.clear()


async def test_a_store_that_went_back_in_time_ends_all_watches() -> None:
    store = Scripted()
    one = await store.commit([put(key("a"), text="old"), put(key("b"))])
    backup = list(store._rows.values())
    for i in range(5):
        await store.commit([put(key(f"k{i}"))])
    async with running(store) as cache:
        watch = cache.watch(*CONFIGMAPS, cache.revision)
        # The restored store has a history of its own behind the backup, with revisions that we know otherwise.
        other = put(key("k0"), text="another history")
        store.restore(one + 1, [*backup, Row(other.key, other.value or b"", one + 1)])
        store.broken.set()
        with pytest.raises(Gone):
            await anext(watch)
        assert cache.revision == one + 1
        assert list(shown(cache)) == [key("a"), key("b"), key("k0")]
        k0 = cache.get(key("k0"))
        assert k0 is not None and k0.object["text"] == "another history"
        with pytest.raises(Gone):
            cache.watch(*CONFIGMAPS, one)


async def test_loading_again_is_tried_until_it_works() -> None:
    store, slept = Scripted(), []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with running(store, sleep=sleep) as cache:
        revision = await store.commit([put(key("a"))])
        store.failures = [Unavailable("gone"), Compacted("took too long"), Unavailable("gone")]
        store.broken.set()
        assert await cache.wait(revision, 10)
        assert list(shown(cache)) == [key("a")]
        assert slept == sorted(slept) and len(slept) == 3


async def test_the_first_load_must_succeed() -> None:
    store = Scripted()
    store.failures = [Unavailable("nobody there")]
    cache = Cache(store, KindTable())
    with pytest.raises(Unavailable, match="nobody there"):
        await cache.run()
    assert not cache.synced.is_set()


async def test_closing_the_store_ends_the_run_and_lets_go_of_everybody() -> None:
    store = MemoryStore()
    cache = Cache(store, KindTable())
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(cache.run())
        await cache.synced.wait()
        watch = cache.watch(*CONFIGMAPS, cache.revision)
        watching = tasks.create_task(anext(watch, None))
        waiting = tasks.create_task(cache.wait(10**9, 60))
        await asyncio.sleep(0)
        await store.close()
        await run
        assert await watching is None and await waiting is False
        assert await anext(watch, None) is None


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.booleans()), min_size=1, max_size=30),
    st.integers(2, 40),
)
async def test_a_kept_revision_shows_what_the_list_was_then(
    writes: list[tuple[str, bool]], window: int
) -> None:
    """At any revision that is kept, `at` is the list of then; below, it is Gone."""
    async with running(MemoryStore(), window_events=window) as cache:
        lists = {cache.revision: shown(cache)}
        for number, (name, remove) in enumerate(writes):
            at = key(name)
            entry = cache.get(at)
            if remove and entry is None:
                continue
            expected = 0 if entry is None else entry.revision
            write = Write(at.path(), None, expected) if remove else put(at, expected, str(number))
            await cache.commit([write])
            lists[cache.revision] = shown(cache)
        kept = sorted(lists)[-window:]
        for revision in kept:
            past = cache.at(*CONFIGMAPS, None, revision)
            assert [(e.key, e.value) for e in past] == list(lists[revision].items())
            assert cache.at(*CONFIGMAPS, "other", revision) == ()
        for revision in sorted(lists)[: -window - 1]:
            with pytest.raises(Gone):
                cache.at(*CONFIGMAPS, None, revision)
