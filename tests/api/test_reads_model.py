"""Whatever was written: the pages of a list are the list, a list of an old revision is what was listed then, and who watches
from any revision ends where a list is. Of stored objects, and of Works, which are computed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from towline.hub.api import paths, reads, requests, watching
from towline.hub.api.bodies import PLAIN
from towline.hub.api.engine import Engine
from towline.hub.api.requests import Call
from towline.hub.api.status import StatusError
from towline.hub.api.user import User
from towline.hub.store.cache import Cache
from towline.hub.store.memory import MemoryStore
from towline.kube import builtin, karmada
from towline.kube.kinds import Kind, KindTable

KINDS = KindTable.of([*builtin.kinds(), *karmada.kinds()])
WINDOW = 12
"""Events that are kept of stored objects: fewer than a long example makes."""
ADMIN = User("admin", ("system:masters",))
Objects = dict[tuple[str, str], Any]
Query = dict[str, str]

SELECTIONS: tuple[Query, ...] = (
    {}, {"labelSelector": "k=x"}, {"labelSelector": "!k"}, {"fieldSelector": "metadata.name!=b"},
    {"fieldSelector": "metadata.name=a"}, {"labelSelector": "k", "fieldSelector": "metadata.namespace!=s"},
)  # fmt: skip
WRITES = st.tuples(
    st.sampled_from(("s", "s-t")), st.sampled_from("abcd"), st.sampled_from(("x", "y", "", "delete"))
)
CHECKS = st.tuples(
    st.sampled_from(("pages", "exact", "exact pages", "watch", "initial")),
    st.integers(1, 4),
    st.sampled_from(SELECTIONS),
    st.sampled_from((0, 0, 1)),
    st.integers(0, 30),
)  # fmt: skip
STEPS = st.lists(st.tuples(st.lists(WRITES, max_size=4), CHECKS), min_size=1, max_size=9)


class Reader:
    """Lists and watches one kind; `states` is what it was at each revision that was listed."""

    def __init__(self, engine: Engine, kind: Kind, namespaces: tuple[str, ...]) -> None:
        self.engine = engine
        self.kind = kind
        self.namespaces = namespaces
        self.states: dict[int, Objects] = {}

    async def look(self) -> None:
        told = await self.list({})
        self.states[int(told["metadata"]["resourceVersion"])] = by_key(told["items"])

    async def check(
        self, check: tuple[str, int, Query, int, int], write: Callable[[], Awaitable[None]]
    ) -> None:
        revisions = sorted(self.states)
        revision = revisions[-1 - check[-1] % len(revisions)]
        try:
            await self._check(check, revision, write)
        except StatusError as error:
            assert error.code == 410
            assert sum(later > revision for later in self.states) >= WINDOW, "what is kept is shown"

    async def _check(
        self, check: tuple[str, int, Query, int, int], revision: int, write: Callable[[], Awaitable[None]]
    ) -> None:
        what, limit, selection, where, _ = check
        space = self.namespaces[where - 1] if where else ""
        exact = {"resourceVersion": str(revision), "resourceVersionMatch": "Exact"}
        if what == "exact":
            told = await self.list({**selection, **exact}, space)
            assert by_key(told["items"]) == self.selected(revision, selection, space)
        elif what == "watch":
            await self.replay(revision, selection, space)
        elif what == "initial":
            query = {"resourceVersion": "0", **selection}
            newest = self.selected(max(self.states), selection, space)
            assert await self.watched({}, query, space, 0) == newest
        else:
            first = {**selection, "limit": str(limit), **(exact if what == "exact pages" else {})}
            await self.pages(first, selection, limit, space, write)

    async def pages(
        self, first: Query, selection: Query, limit: int, space: str, write: Callable[[], Awaitable[None]]
    ) -> None:
        told = await self.list(first, space)
        revision, found = int(told["metadata"]["resourceVersion"]), list(told["items"])
        assert len(found) <= limit
        while token := told["metadata"].get("continue"):
            left = told["metadata"].get("remainingItemCount")
            assert left is None or left == len(self.selected(revision, selection, space)) - len(found)
            await write()
            told = await self.list({**selection, "limit": str(limit), "continue": token}, space)
            assert int(told["metadata"]["resourceVersion"]) == revision
            assert 0 < len(told["items"]) <= limit
            found += told["items"]
        assert by_key(found) == self.selected(revision, selection, space)
        assert len(by_key(found)) == len(found)

    async def replay(self, revision: int, selection: Query, space: str) -> None:
        newest = max(self.states)
        state = dict(self.selected(revision, selection, space))
        query = {**selection, "resourceVersion": str(revision)}
        assert await self.watched(state, query, space, newest) == self.selected(newest, selection, space)

    async def watched(self, state: Objects, query: Query, space: str, until: int) -> Objects:
        """`state` and all events up to revision `until`."""
        at = paths.attributes("GET", self.url(space), {**query, "watch": "1"})
        feed = watching.Feed(self.engine, self.kind, reads.selection(self.kind, at, query), PLAIN, query)
        lines = await feed.open()
        seen = int(query["resourceVersion"])
        try:
            while seen < until:
                events = await anext(feed.watch)
                assert all(event.entry.revision >= seen for event in events)
                seen = events[-1].entry.revision
                lines += feed.lines(events)
        finally:
            feed.watch.close()
        for line in lines.splitlines():
            event = orjson.loads(line)
            [(key, value)] = by_key([event["object"]]).items()
            assert (key in state) is (event["type"] != "ADDED")
            if event["type"] == "DELETED":
                del state[key]
            else:
                state[key] = value
        return state

    async def list(self, query: Query, space: str = "") -> Any:
        at = paths.attributes("GET", self.url(space), query)
        chosen = reads.selection(self.kind, at, query)
        return orjson.loads(await reads.list_objects(self.engine, self.kind, chosen, PLAIN, query))

    def url(self, space: str) -> str:
        root = f"/apis/{self.kind.api_version}" if self.kind.group else f"/api/{self.kind.version}"
        return f"{root}/namespaces/{space}/{self.kind.plural}" if space else f"{root}/{self.kind.plural}"

    def selected(self, revision: int, selection: Mapping[str, str], space: str) -> Objects:
        """What a list of that revision shows, by the meaning of SELECTIONS."""
        labels, fields = selection.get("labelSelector", ""), selection.get("fieldSelector", "")

        def holds(key: tuple[str, str], obj: Any) -> bool:
            label = obj["metadata"].get("labels", {}).get("k")
            by_label = {"": True, "k=x": label == "x", "!k": label is None, "k": label is not None}[labels]
            by_field = {
                "": True,
                "metadata.name!=b": key[1] != "b",
                "metadata.name=a": key[1] == "a",
                "metadata.namespace!=s": key[0] != "s",
            }[fields]
            return by_label and by_field and space in ("", key[0])

        return {key: obj for key, obj in self.states[revision].items() if holds(key, obj)}


def by_key(objects: list[Any]) -> Objects:
    """Items of a list say no kind, those of a watch do: without it they are the same."""
    return {
        (obj["metadata"]["namespace"], obj["metadata"]["name"]): {
            name: value for name, value in obj.items() if name not in ("kind", "apiVersion")
        }
        for obj in objects
    }


@cases(250)
@given(STEPS)
def test_stored_objects(steps: list[Any]) -> None:
    asyncio.run(_stored(steps))


async def _stored(steps: list[Any]) -> None:
    store = MemoryStore()
    await store.open()
    cache = Cache(store, KINDS, window_events=WINDOW)
    started = asyncio.Event()
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        following = tasks.create_task(cache.run(started))
        await started.wait()
        uids = iter(range(10**6))
        engine = Engine(
            cache, KINDS, lambda: 1_800_000_000.0, lambda: f"{next(uids):08x}-0000-4000-8000-000000000000"
        )
        kind = KINDS.resource("", "v1", "configmaps")
        assert kind is not None
        reader = Reader(engine, kind, ("s", "s-t"))

        async def ask(method: str, url: str, body: Any) -> None:
            type = "application/merge-patch+json" if method == "PATCH" else "application/json"
            at = paths.attributes(method, url, {})
            await requests.answer(engine, Call(ADMIN, at, {}, "", type, "test", orjson.dumps(body)))

        async def write(space: str, name: str, label: str) -> None:
            present = (space, name) in reader.states[max(reader.states)]
            one = f"{reader.url(space)}/{name}"
            if label == "delete":
                if present:
                    await ask("DELETE", one, {})
            elif present:
                await ask("PATCH", one, {"metadata": {"labels": {"k": label or None}}})
            else:
                await ask(
                    "POST",
                    reader.url(space),
                    {"metadata": {"name": name, "labels": {"k": label} if label else {}}},
                )
            await reader.look()

        for space in reader.namespaces:
            await ask("POST", "/api/v1/namespaces", {"metadata": {"name": space}})
        await reader.look()
        for writes, check in steps:
            for one in writes:
                await write(*one)
            again = iter(writes)

            async def meanwhile(again: Iterator[Any] = again) -> None:
                for one in again:
                    await write(*one)
                    return

            await reader.check(check, meanwhile)
        following.cancel()
