"""Reads and watches: selections, representations, revisions, and the order of events."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.api.objects import CONFIGMAPS, DEPLOYMENTS, configmap, deployment
from tests.api.served import Answer, Served, end, serve
from towline.hub.api.engine import Limits
from towline.hub.api.listed import ListBodies
from towline.hub.store.watch import Entry, ParsedObjects, WatchEvent
from towline.kube.objects import Key, Meta

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


def names(answer: Answer) -> list[str]:
    assert answer.code == 200, answer.body
    return [f"{o['metadata']['namespace']}/{o['metadata']['name']}" for o in answer.body["items"]]


@pytest.fixture
async def filled(api: Served) -> Served:
    for namespace, name, tier in (("shop", "a", "x"), ("shop", "b", "y"), ("default", "a", "x")):
        await api.create(
            f"/api/v1/namespaces/{namespace}/configmaps", configmap(name, labels={"tier": tier, "app": name})
        )
    return api


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/configmaps", ["default/a", "shop/a", "shop/b"]),
        (CONFIGMAPS, ["shop/a", "shop/b"]),
        (f"{CONFIGMAPS}?labelSelector=tier%3Dx", ["shop/a"]),
        ("/api/v1/configmaps?labelSelector=tier+in+(x),app!%3Db", ["default/a", "shop/a"]),
        (f"{CONFIGMAPS}?labelSelector=!tier", []),
        (f"{CONFIGMAPS}?fieldSelector=metadata.name%3Db", ["shop/b"]),
        ("/api/v1/configmaps?fieldSelector=metadata.name%3Da", ["default/a", "shop/a"]),
        ("/api/v1/configmaps?fieldSelector=metadata.namespace%3Ddefault", ["default/a"]),
        ("/api/v1/configmaps?fieldSelector=metadata.name!%3Da", ["shop/b"]),
        (f"{CONFIGMAPS}?resourceVersion=0", ["shop/a", "shop/b"]),
        (f"{CONFIGMAPS}?limit=1", ["shop/a"]),
        (f"{CONFIGMAPS}?limit=1&resourceVersion=0", ["shop/a", "shop/b"]),
    ],
)
async def test_lists_and_selectors(filled: Served, path: str, expected: list[str]) -> None:
    assert names(await filled.get(path)) == expected


async def test_a_list_is_one_revision_with_the_stored_bytes(filled: Served) -> None:
    answer = await filled.get(CONFIGMAPS)
    assert (answer.body["kind"], answer.body["apiVersion"]) == ("ConfigMapList", "v1")
    assert answer.body["metadata"]["resourceVersion"] == str(filled.cache.revision)
    stored = filled.cache.list("", "configmaps", "shop")[0].value
    assert stored.removeprefix(b'{"apiVersion":"v1","kind":"ConfigMap",') in answer.raw
    assert "kind" not in answer.body["items"][0]


async def test_events_are_found_by_what_they_are_about(api: Served) -> None:
    for name, about in (("e1", "web"), ("e2", "db")):
        event = {
            "metadata": {"name": name},
            "involvedObject": {"kind": "Deployment", "namespace": "shop", "name": about, "uid": f"u-{about}"},
            "type": "Warning",
            "reason": "Because",
        }
        await api.create("/api/v1/namespaces/shop/events", event)
    query = "involvedObject.name%3Dweb,involvedObject.kind%3DDeployment,involvedObject.uid%3Du-web"
    assert names(await api.get(f"/api/v1/namespaces/shop/events?fieldSelector={query}")) == ["shop/e1"]


@pytest.mark.parametrize(
    ("path", "query", "told"),
    [
        ("/api/v1/pods", "spec.nothing%3Dx", "field label not supported: spec.nothing"),
        ("/api/v1/nodes", "metadata.namespace%3Dx", "field label not supported: metadata.namespace"),
        (CONFIGMAPS, "data.a%3D1", '"data.a" is not a known field selector: only "metadata.name"'),
        ("/apis/apps/v1/replicasets", "status.replicas%3D1", '"status.replicas" is not a known field selector'),
        ("/apis/policy.karmada.io/v1alpha1/propagationpolicies", "spec.a%3D1", "field label not supported: spec.a"),
        ("/api/v1/watch/namespaces/shop/configmaps/a", "metadata.name%3Db", "doesn't match requested name"),
    ],
)  # fmt: skip
async def test_fields_that_are_not_selected_by(api: Served, path: str, query: str, told: str) -> None:
    answer = await api.get(f"{path}?fieldSelector={query}")
    assert (answer.code, answer.body["reason"]) == (400, "BadRequest")
    assert told in answer.body["message"]


async def test_tables_have_the_kinds_columns(api: Served) -> None:
    await api.create(DEPLOYMENTS, deployment())
    api.clock += 300
    table = (await api.get(DEPLOYMENTS, Accept=TABLE)).body
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    columns = {c["name"]: c for c in table["columnDefinitions"]}
    assert list(columns)[:5] == ["Name", "Ready", "Up-to-date", "Available", "Age"]
    assert columns["Images"]["priority"] == 1 and columns["Age"]["type"] == "string"
    [row] = table["rows"]
    assert row["cells"][:5] == ["web", "0/1", 0, 0, "5m"]
    assert row["object"]["kind"] == "PartialObjectMetadata" and "spec" not in row["object"]
    one = (await api.get(f"{DEPLOYMENTS}/web?includeObject=Object", Accept=TABLE)).body
    assert one["rows"][0]["object"]["spec"]["replicas"] == 1
    none = (await api.get(f"{DEPLOYMENTS}/web?includeObject=None", Accept=TABLE)).body
    assert none["rows"][0]["object"] is None


async def test_partial_metadata(api: Served) -> None:
    made = await api.create(DEPLOYMENTS, deployment())
    one = (await api.get(f"{DEPLOYMENTS}/web", Accept=PARTIAL)).body
    assert (one["kind"], one["metadata"]) == ("PartialObjectMetadata", made["metadata"])
    listed = (await api.get(DEPLOYMENTS, Accept=PARTIAL_LIST)).body
    assert listed["kind"] == "PartialObjectMetadataList" and listed["items"] == [one]


async def test_yaml_answers(api: Served) -> None:
    await api.create(CONFIGMAPS, configmap())
    answer = await api.get(f"{CONFIGMAPS}/c", Accept="application/yaml")
    assert answer.headers["Content-Type"] == "application/yaml" and b"kind: ConfigMap" in answer.raw


async def test_large_answers_are_compressed_for_those_who_ask(api: Served) -> None:
    await api.create(CONFIGMAPS, configmap(data={"a": "x" * 200_000}))
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        headers = {"Accept-Encoding": "gzip"}
        async with session.get(api.url + CONFIGMAPS, headers=headers) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            body = await answer.read()
        async with session.get(api.url + CONFIGMAPS, headers={"Accept-Encoding": "identity"}) as plain:
            assert "Content-Encoding" not in plain.headers and await plain.read() == gzip.decompress(body)
        async with session.get(api.url + CONFIGMAPS, headers=headers) as again:
            assert await again.read() == body
        await api.patch(f"{CONFIGMAPS}/c", {"data": {"b": "new"}})
        async with session.get(api.url + CONFIGMAPS, headers=headers) as changed:
            assert b'"b":"new"' in gzip.decompress(await changed.read())


@pytest.mark.parametrize(
    ("query", "code", "reason"),
    [
        ("resourceVersion=abc", 400, "BadRequest"),
        ("resourceVersionMatch=Exact", 422, "Invalid"),
        ("resourceVersionMatch=Exact&resourceVersion=0", 422, "Invalid"),
        ("resourceVersionMatch=Sometimes&resourceVersion=1", 422, "Invalid"),
        ("resourceVersionMatch=Exact&resourceVersion=1&continue=x", 422, "Invalid"),
        (
            "resourceVersion=1&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0",
            400,
            "BadRequest",
        ),
        ("limit=abc", 400, "BadRequest"),
        ("labelSelector=a+in+b", 400, "BadRequest"),
        ("fieldSelector=metadata.name", 400, "BadRequest"),
        ("timeoutSeconds=soon", 400, "BadRequest"),
        ("sendInitialEvents=true", 422, "Invalid"),
        ("watch=1&sendInitialEvents=true", 422, "Invalid"),
        ("watch=1&resourceVersionMatch=NotOlderThan&resourceVersion=1", 422, "Invalid"),
    ],
)
async def test_reads_that_cannot_be(filled: Served, query: str, code: int, reason: str) -> None:
    answer = await filled.get(f"{CONFIGMAPS}?{query}")
    assert (answer.code, answer.reason) == (code, reason)


@pytest.fixture
async def hasty() -> AsyncIterator[Served]:
    """A server that waits for nothing and keeps few events."""
    served = Served()
    limits = Limits(revision_wait_seconds=0.01, bookmark_seconds=0.02, write_seconds=0.5)
    async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as served.session:
        await serve(served, tasks, limits, window_events=4)
        await served.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
        yield served
        await end(served)


async def test_a_revision_from_the_future_times_out(hasty: Served) -> None:
    for path in (f"{CONFIGMAPS}?resourceVersion=99999", f"{CONFIGMAPS}?watch=1&resourceVersion=99999"):
        answer = await hasty.get(path)
        assert (answer.code, answer.reason) == (504, "Timeout")
        assert answer.causes[0]["reason"] == "ResourceVersionTooLarge"


# --- watches ---------------------------------------------------------------------------------------------------


async def test_a_watch_begins_with_what_is_there_and_follows(filled: Served) -> None:
    async with filled.watch(CONFIGMAPS) as watch:
        assert await watch.next(2) == [("ADDED", "a"), ("ADDED", "b")]
        await filled.create(CONFIGMAPS, configmap("n"))
        await filled.create("/api/v1/namespaces/default/configmaps", configmap("elsewhere"))
        await filled.patch(f"{CONFIGMAPS}/n", {"data": {"a": "2"}})
        await filled("DELETE", f"{CONFIGMAPS}/n")
        events = [await anext(watch) for _ in range(3)]
    assert [e["type"] for e in events] == ["ADDED", "MODIFIED", "DELETED"]
    revisions = [int(e["object"]["metadata"]["resourceVersion"]) for e in events]
    assert revisions == sorted(set(revisions)), "a deletion has a revision of its own"
    assert events[2]["object"]["data"] == {"a": "2"}


async def test_a_watch_from_a_revision_replays_what_came_after(filled: Served) -> None:
    at = (await filled.get(CONFIGMAPS)).body["metadata"]["resourceVersion"]
    await filled("DELETE", f"{CONFIGMAPS}/a")
    await filled.create(CONFIGMAPS, configmap("n"))
    async with filled.watch(f"{CONFIGMAPS}?resourceVersion={at}") as watch:
        assert await watch.next(2) == [("DELETED", "a"), ("ADDED", "n")]


async def test_objects_enter_and_leave_a_selection(filled: Served) -> None:
    at = (await filled.get(CONFIGMAPS)).body["metadata"]["resourceVersion"]
    async with filled.watch(f"{CONFIGMAPS}?labelSelector=tier%3Dx&resourceVersion={at}") as watch:
        entered = await filled.patch(f"{CONFIGMAPS}/b", {"metadata": {"labels": {"tier": "x"}}})
        event = await anext(watch)
        assert (event["type"], event["object"]) == ("ADDED", entered.body)
        await filled.patch(f"{CONFIGMAPS}/b", {"data": {"z": "1"}})
        assert await watch.next(1) == [("MODIFIED", "b")]
        left = await filled.patch(f"{CONFIGMAPS}/b", {"metadata": {"labels": {"tier": "y"}}})
        event = await anext(watch)
        assert (event["type"], event["object"]["metadata"]["labels"]["tier"]) == ("DELETED", "x")
        assert event["object"]["metadata"]["resourceVersion"] == left.body["metadata"]["resourceVersion"]
        await filled("DELETE", f"{CONFIGMAPS}/b")
        await filled("DELETE", f"{CONFIGMAPS}/a")
        assert await watch.next(1) == [("DELETED", "a")], "what was not selected is not told"


async def test_a_watch_of_one_object(filled: Served) -> None:
    async with filled.watch("/api/v1/watch/namespaces/shop/configmaps/b") as watch:
        assert await watch.next(1) == [("ADDED", "b")]
    async with filled.watch(f"{CONFIGMAPS}?fieldSelector=metadata.name%3Db") as watch:
        await filled.patch(f"{CONFIGMAPS}/a", {"data": {"z": "1"}})
        await filled.patch(f"{CONFIGMAPS}/b", {"data": {"z": "1"}})
        assert await watch.next(2) == [("ADDED", "b"), ("MODIFIED", "b")]


async def test_initial_events_end_with_a_bookmark(filled: Served) -> None:
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with filled.watch(f"{CONFIGMAPS}?{query}") as watch:
        assert await watch.next(2) == [("ADDED", "a"), ("ADDED", "b")]
        end_of_initial = await anext(watch)
        assert end_of_initial["type"] == "BOOKMARK" and end_of_initial["object"]["kind"] == "ConfigMap"
        metadata = end_of_initial["object"]["metadata"]
        assert metadata["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert metadata["resourceVersion"] == str(filled.cache.revision)
        await filled.create(CONFIGMAPS, configmap("n"))
        assert await watch.next(1) == [("ADDED", "n")]


async def test_idle_watches_get_bookmarks_that_move_on(hasty: Served) -> None:
    since = hasty.cache.revision
    async with hasty.watch(f"{CONFIGMAPS}?allowWatchBookmarks=true&resourceVersion={since}") as watch:
        await hasty.create("/api/v1/namespaces", {"metadata": {"name": "later"}})
        event = await anext(watch)
        assert event["type"] == "BOOKMARK"
        assert event["object"]["metadata"]["resourceVersion"] == str(hasty.cache.revision)


async def test_a_watch_from_before_the_window_is_told_to_list_again(hasty: Served) -> None:
    await hasty.create(CONFIGMAPS, configmap())
    at = hasty.cache.revision
    for n in range(8):
        await hasty.patch(f"{CONFIGMAPS}/c", {"data": {"n": str(n)}})
    async with hasty.watch(f"{CONFIGMAPS}?resourceVersion={at}") as watch:
        event = await anext(watch)
        assert event["type"] == "ERROR"
        assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
        with pytest.raises(StopAsyncIteration):
            await anext(watch)


async def test_a_watch_ends_when_its_time_is_up(filled: Served) -> None:
    async with filled.watch(f"{CONFIGMAPS}?timeoutSeconds=1") as watch:
        await watch.next(2)
        with pytest.raises(StopAsyncIteration):
            await anext(watch)


async def test_watches_end_when_the_server_stops(filled: Served) -> None:
    async with filled.watch(CONFIGMAPS) as watch:
        await watch.next(2)
        async with asyncio.TaskGroup() as tasks:
            stopping = tasks.create_task(filled.server.stop())
            with pytest.raises(StopAsyncIteration):
                await anext(watch)
            await stopping


async def test_a_client_that_leaves_frees_its_watch(filled: Served) -> None:
    async with aiohttp.ClientSession() as session:
        answer = await session.get(f"{filled.url}{CONFIGMAPS}?watch=1")
        await answer.content.readline()
        assert len(filled.server._watches) == 1
        answer.close()
    async with asyncio.timeout(5):
        while filled.server._watches:
            await asyncio.sleep(0.005)


async def test_table_watches_send_columns_once(api: Served) -> None:
    await api.create(DEPLOYMENTS, deployment())
    async with api.watch(DEPLOYMENTS, Accept=TABLE) as watch:
        first = (await anext(watch))["object"]
        assert [c["name"] for c in first["columnDefinitions"]][:2] == ["Name", "Ready"]
        await api.patch(f"{DEPLOYMENTS}/web/status", {"status": {"readyReplicas": 1}})
        second = (await anext(watch))["object"]
        assert second["columnDefinitions"] is None and second["rows"][0]["cells"][:2] == ["web", "1/1"]


async def test_partial_watches(filled: Served) -> None:
    async with filled.watch(CONFIGMAPS, Accept=PARTIAL) as watch:
        event = await anext(watch)
        assert event["object"]["kind"] == "PartialObjectMetadata" and "data" not in event["object"]


async def test_pages_are_one_revision_whatever_is_written_between(filled: Served) -> None:
    first = await filled.get("/api/v1/configmaps?limit=1")
    metadata = first.body["metadata"]
    assert names(first) == ["default/a"]
    assert metadata["remainingItemCount"] == 2
    await filled.create(CONFIGMAPS, configmap("aa"))
    await filled("DELETE", f"{CONFIGMAPS}/b")
    second = await filled.get(f"/api/v1/configmaps?limit=1&continue={metadata['continue']}")
    assert names(second) == ["shop/a"]
    assert second.body["metadata"]["resourceVersion"] == metadata["resourceVersion"]
    last = await filled.get(f"/api/v1/configmaps?limit=5&continue={second.body['metadata']['continue']}")
    assert names(last) == ["shop/b"]
    assert last.body["metadata"] == {"resourceVersion": metadata["resourceVersion"]}
    exact = f"/api/v1/configmaps?resourceVersionMatch=Exact&resourceVersion={metadata['resourceVersion']}"
    assert names(await filled.get(exact)) == ["default/a", "shop/a", "shop/b"]
    assert names(await filled.get("/api/v1/configmaps")) == ["default/a", "shop/a", "shop/aa"]


async def test_a_page_with_a_selector_is_not_counted(filled: Served) -> None:
    first = await filled.get("/api/v1/configmaps?limit=1&labelSelector=tier%3Dx")
    assert names(first) == ["default/a"]
    assert "remainingItemCount" not in first.body["metadata"]
    token = first.body["metadata"]["continue"]
    rest = await filled.get(f"/api/v1/configmaps?limit=1&labelSelector=tier%3Dx&continue={token}")
    assert names(rest) == ["shop/a"]
    assert "continue" not in rest.body["metadata"]


@pytest.mark.parametrize(
    "token", ["x", "e30", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiIuLi9hIn0", "*"]
)
async def test_what_is_no_token_is_refused(filled: Served, token: str) -> None:
    answer = await filled.get(f"{CONFIGMAPS}?continue={token}")
    assert answer.code == 400
    assert answer.body["message"].startswith("invalid continue token: ")


async def test_an_expired_token_comes_with_one_that_goes_on_in_the_newest_state() -> None:
    async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as session:
        served = Served()
        served.session = session
        await serve(served, tasks, window_events=4)
        await served.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
        for name in ("a", "b"):
            await served.create(CONFIGMAPS, configmap(name))
        first = await served.get(f"{CONFIGMAPS}?limit=1")
        for number in range(6):
            await served.create(CONFIGMAPS, configmap(f"c{number}"))
        gone = await served.get(f"{CONFIGMAPS}?limit=1&continue={first.body['metadata']['continue']}")
        assert (gone.code, gone.body["reason"]) == (410, "Expired")
        token = gone.body["metadata"]["continue"]
        assert names(await served.get(f"{CONFIGMAPS}?limit=1&continue={token}")) == ["shop/b"]
        await end(served)


async def test_a_kept_list_is_never_older_than_its_revision(api: Served) -> None:
    """Bodies of lists are kept: whatever changes, here or elsewhere, a list is what a fresh join would answer."""

    async def listed(path: str = CONFIGMAPS) -> tuple[int, list[tuple[str, str]]]:
        body = (await api.get(path)).body
        return int(body["metadata"]["resourceVersion"]), [
            (item["metadata"]["name"], item["data"]["a"]) for item in body["items"]
        ]

    assert (await listed())[1] == []
    await api.create(CONFIGMAPS, configmap("b"))
    first, items = await listed()
    assert items == [("b", "1")] and (await listed()) == (first, items)
    await api.create("/api/v1/namespaces", {"metadata": {"name": "elsewhere"}})
    second, items = await listed()
    assert second > first and items == [("b", "1")]
    await api.create("/api/v1/namespaces/elsewhere/configmaps", configmap("e"))
    assert (await listed())[1] == [("b", "1")]
    assert (await listed("/api/v1/configmaps"))[1] == [("e", "1"), ("b", "1")]
    await api.patch(f"{CONFIGMAPS}/b", {"data": {"a": "2"}})
    await api.create(CONFIGMAPS, configmap("a"))
    assert (await listed())[1] == [("a", "1"), ("b", "2")]
    await api("DELETE", f"{CONFIGMAPS}/a")
    assert (await listed())[1] == [("b", "2")]
    assert (await listed("/api/v1/configmaps"))[1] == [("e", "1"), ("b", "2")]


def test_kept_lists_are_bounded_and_dropped_with_the_first_change() -> None:
    entries = [
        Entry(Key("", plural, "shop", "a"), b"{}", 1, Meta(), ParsedObjects(0)) for plural in ("as", "bs")
    ]
    lists = [(entry,) for entry in entries]
    at: list[Any] = [("", plural, "v1", None, 0) for plural in ("as", "bs")]
    bodies = ListBodies(10)
    bodies.keep(at[0], lists[0], b"1:", b"1:aaaa")
    assert bodies.get(at[0], lists[0], b"1:") == b"1:aaaa"
    assert bodies.get(at[0], lists[0], b"22:") == b"22:aaaa"
    assert bodies.get(at[0], lists[0], b"3:") == b"3:aaaa"
    assert bodies.get(at[0], (entries[0],), b"3:") is None, "another tuple is another list"
    bodies.keep(at[1], lists[1], b"1:", b"1:bbbb")
    assert bodies.get(at[0], lists[0], b"3:") is None, "both are too large"
    bodies.changed(2, [WatchEvent("MODIFIED", entries[1], None)])
    assert bodies.get(at[1], lists[1], b"1:") is None
    bodies.keep(at[1], lists[1], b"1:", b"1:" + b"b" * 20)
    assert bodies.get(at[1], lists[1], b"1:") is None, "too large by itself"


def test_a_compressed_list_is_kept_beside_its_body_and_counts() -> None:
    entry = Entry(Key("", "as", "shop", "a"), b"{}", 1, Meta(), ParsedObjects(0))
    at, listed, body = ("", "as", "v1", None, 0), (entry,), b"1:aaaa"
    bodies = ListBodies(10)
    bodies.keep(at, listed, b"1:", body)
    bodies.keep_packed(b"".join((b"1:", b"aaaa")), b"zz")
    assert bodies.packed(body) == b"", "equal bytes are not the body that is kept"
    bodies.keep_packed(body, b"zz")
    assert bodies.packed(body) == b"zz"
    bodies.keep_packed(body, b"z" * 5)
    assert bodies.get(at, listed, b"1:") is None, "both together are too large"
