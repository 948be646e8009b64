"""The watcher and the facts against a scripted member: expiry, disappearances, late news, what cannot be read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from tests.agent.member import SECONDS
from towline.agent import kubernetes
from towline.agent.desired import Ref
from towline.agent.execution import Owner
from towline.agent.facts import Facts
from towline.agent.kubernetes import (
    Answer,
    Discovery,
    Member,
    MemberUnreachable,
    Refused,
    _refusal,
)
from towline.agent.limits import Allowance, DeletionBudget
from towline.agent.listwatch import Pauses
from towline.agent.watcher import Record, Watcher, record_of
from towline.agent.writer import Writer, problem_of

RESOURCES = {"resources": [{"name": "configmaps", "kind": "ConfigMap", "namespaced": True}]}


def config_map(name: str, version: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "namespace": "default",
            "name": name,
            "uid": f"u-{name}",
            "resourceVersion": str(version),
        },
    }


def event(type_: str, obj: dict[str, Any]) -> bytes:
    return orjson.dumps({"type": type_, "object": obj}) + b"\n"


def ref(name: str) -> Ref:
    return Ref("v1", "ConfigMap", "default", name)


class Script:
    """A member that answers lists and watches from a script; when that is over, the last watch stays open."""

    def __init__(self, lists: list[Any], watches: list[Any]) -> None:
        self.lists = lists
        self.watches = watches
        self.queries: list[Mapping[str, str]] = []
        self.over = asyncio.Event()

    async def get(self, path: str, query: Mapping[str, str] | None = None, accept: str = "") -> Any:
        if path == "/api/v1":
            return RESOURCES
        assert query is not None and query["labelSelector"] == "karmada.io/managed=true"
        answer = self.lists.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], *, silence_seconds: float
    ) -> AsyncIterator[Any]:
        self.queries.append(query)
        if not self.watches:
            self.over.set()
            await asyncio.Event().wait()
        script = self.watches.pop(0)
        if isinstance(script, Exception):
            raise script
        reader = asyncio.StreamReader()
        reader.feed_data(b"".join(script))
        reader.feed_eof()
        yield reader


class Heard:
    def __init__(self) -> None:
        self.news: list[tuple[str, str]] = []
        self.synced = 0

    def object_changed(self, ref: Ref, record: Record | None) -> None:
        self.news.append((ref.name, record.seen.resource_version if record else "gone"))

    def kind_synced(self, api_version: str, kind: str) -> None:
        self.synced += 1


def page(version: int, *objects: dict[str, Any], more: str = "") -> dict[str, Any]:
    return {"metadata": {"resourceVersion": str(version), "continue": more}, "items": list(objects)}


@asynccontextmanager
async def following(script: Script, *own: Record) -> AsyncIterator[tuple[Watcher, Heard]]:
    heard = Heard()
    async with asyncio.TaskGroup() as group:
        watcher = Watcher(script, Discovery(script), heard, group, lambda: 0.0)  # type: ignore[arg-type]
        watcher.need(Ref("v1", "ConfigMap", "default", "any"))
        for record in own:
            watcher.put(ref("own"), record)
        async with asyncio.timeout(SECONDS):
            await script.over.wait()
        yield watcher, heard
        watcher.keep_only(())


@pytest.mark.parametrize(
    ("end", "pauses"),
    [([], [1.0, 1.0, 1.0, 1.0]), (Refused(410, "Expired", "too old"), [1.0, 2.0, 4.0, 8.0]),
     (MemberUnreachable("cut off"), [1.0, 2.0, 4.0, 8.0]), ([event("ADDED", config_map("a", 1))], [1.0, 1.0, 1.0, 1.0])],
    ids=["it ends at once", "it is always too old", "it is cut off", "it tells something"],
)  # fmt: skip
async def test_no_end_of_a_watch_makes_a_storm_of_requests(
    monkeypatch: pytest.MonkeyPatch, end: Any, pauses: list[float]
) -> None:
    slept: list[float] = []

    async def wait(pauses: Pauses, seconds: float) -> bool:
        slept.append(seconds)
        return False

    monkeypatch.setattr("towline.agent.watcher._BACKOFF_SECONDS", (2.0, 100.0))
    monkeypatch.setattr(Pauses, "wait", wait)
    async with following(Script([page(1)] * 5, [end] * 4)):
        assert slept == pauses


async def test_an_event_may_be_longer_than_any_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member escapes what it likes: 1.5 MB of `<` are 9 MB of JSON. A line without end is a broken connection."""
    long = b'{"type":"ADDED","object":{"data":"' + b"\\u003c" * 1_500_000 + b'"}}\n'
    short = event("ADDED", config_map("a", 1))

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(long)
        await response.write(short)
        if request.path == "/endless":
            for _ in range(kubernetes.EVENT_BYTES_MAX // len(long) + 1):
                await response.write(long.rstrip(b"\n"))
        await response.write_eof()
        return response

    kubeconfig = tmp_path / "kubeconfig"
    async with RawTestServer(answer) as server:
        cluster = {"name": "c", "cluster": {"server": str(server.make_url("/"))}}
        context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
        users = [{"name": "u", "user": {}}]
        config = {"clusters": [cluster], "contexts": [context], "users": users, "current-context": "c"}
        kubeconfig.write_bytes(orjson.dumps({"apiVersion": "v1", "kind": "Config", **config}))
        member = Member(kubeconfig, "", 10.0)
        await member.open()
        async with member.stream("/short", {}, silence_seconds=SECONDS) as lines:
            lengths = [len(await lines.readline()) for _ in range(3)]
        assert lengths == [len(long), len(short), 0]
        monkeypatch.setattr(kubernetes, "EVENT_BYTES_MAX", 2 * len(long))  # the real bound takes seconds
        with pytest.raises(MemberUnreachable):
            async with member.stream("/endless", {}, silence_seconds=SECONDS) as lines:
                while await lines.readline():
                    pass
        await member.close()


async def test_it_lists_in_pages_and_watches_from_there() -> None:
    script = Script(
        [page(10, config_map("a", 1), more="next"), page(10, config_map("b", 2))],
        [
            [
                event("MODIFIED", config_map("a", 11)),
                event("BOOKMARK", {"metadata": {"resourceVersion": "15"}}),
            ]
        ],
    )
    async with following(script) as (watcher, heard):
        assert heard.news == [("a", "1"), ("b", "2"), ("a", "11")]
        assert [q["resourceVersion"] for q in script.queries] == ["10", "15"], "a bookmark moves it on"
        assert watcher.synced(ref("a")) and len(watcher) == 2


@pytest.mark.parametrize(
    "expiry",
    [
        Refused(410, "Expired", "too old"),
        [event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})],
    ],
    ids=["as an answer", "as an event"],
)
async def test_expired_it_lists_again_and_tells_what_went_missing(expiry: Any) -> None:
    script = Script(
        [page(10, config_map("a", 1), config_map("b", 2)), page(30, config_map("b", 2))], [expiry]
    )
    async with following(script) as (_, heard):
        assert heard.news == [("a", "1"), ("b", "2"), ("a", "gone")]
        assert heard.synced == 2


async def test_a_member_that_was_restored_is_read_as_it_is_now() -> None:
    """Its versions begin anew below those that were seen: nothing that was seen counts, neither as there nor as newer."""
    script = Script(
        [page(20, config_map("a", 11), config_map("b", 12)), page(3, config_map("b", 2))],
        [Refused(504, "Timeout", "Too large resource version"), [event("MODIFIED", config_map("b", 4))]],
    )
    async with following(script) as (watcher, heard):
        assert heard.news == [("a", "11"), ("b", "12"), ("b", "2"), ("a", "gone"), ("b", "4")]
        assert watcher.record(ref("a")) is None


async def test_a_list_that_fails_makes_nothing_absent() -> None:
    script = Script(
        [
            page(10, config_map("a", 1)),
            Refused(503, "", "away"),
            MemberUnreachable("cut off"),
            page(20, config_map("a", 1)),
        ],
        [Refused(410, "Expired", "too old")],
    )
    async with following(script) as (watcher, heard):
        assert heard.news == [("a", "1")]
        assert watcher.record(ref("a")) is not None


async def test_old_news_does_not_undo_our_own_write() -> None:
    own = record_of(config_map("own", 25))
    script = Script(
        [page(10)],
        [[event("ADDED", config_map("own", 20)), event("DELETED", config_map("own", 22))]],
    )
    async with following(script, own) as (watcher, heard):
        assert heard.news == []
        assert watcher.record(ref("own")) == own, "neither an older list, event nor deletion counts"


async def test_a_cut_watch_goes_on_where_it_was() -> None:
    script = Script(
        [page(10)],
        [
            [event("ADDED", config_map("a", 12))],
            MemberUnreachable("cut off"),
            [b'{"type": "ADD'],
            [event("DELETED", config_map("a", 14))],
        ],
    )
    async with following(script) as (_, heard):
        assert heard.news == [("a", "12"), ("a", "gone")]
        assert [q["resourceVersion"] for q in script.queries] == ["10", "12", "12", "12", "14"]


async def test_a_member_that_answers_again_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towline.agent.watcher._BACKOFF_SECONDS", (3600.0, 3600.0))
    script = Script([page(10)], [MemberUnreachable("down")])
    heard = Heard()
    async with asyncio.TaskGroup() as group, asyncio.timeout(SECONDS):
        watcher = Watcher(script, Discovery(script), heard, group, lambda: 0.0)  # type: ignore[arg-type]
        watcher.need(ref("any"))
        while script.watches:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not script.over.is_set()
        watcher.resume()
        await script.over.wait()
        watcher.keep_only(())


# --- facts ----------------------------------------------------------------------------------------------------------


class Cluster:
    """Answers by path; what is not there is refused as unavailable."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}

    async def call(self, method: str, path: str, **more: Any) -> Answer:
        answer = self.answers.get(path, Refused(503, "", "away"))
        if isinstance(answer, Exception):
            raise answer
        return Answer(200, orjson.dumps(answer), {})

    async def get(self, path: str) -> Any:
        return (await self.call("GET", path)).json()


async def test_facts_without_aggregated_discovery_and_with_a_group_that_is_down() -> None:
    cluster = Cluster()
    cluster.answers = {
        "/readyz": Refused(404, "NotFound", "no such path"),
        "/healthz": "ok",
        "/version": {"gitVersion": "v1.31.4"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/api/v1": {"resources": [{"name": "pods", "kind": "Pod"}, {"name": "pods/log", "kind": "Pod"}]},
        "/apis": {
            "groups": [{"versions": [{"groupVersion": "apps/v1"}, {"groupVersion": "metrics.k8s.io/v1"}]}]
        },
        "/apis/apps/v1": {"resources": [{"name": "deployments", "kind": "Deployment"}]},
    }
    told: list[Any] = []
    reached: list[bool] = []
    facts = Facts(cluster, 1.0, told.append, lambda: reached.append(True))  # type: ignore[arg-type]
    await facts.look()
    [first] = told
    assert first.kubernetes_version == "v1.31.4" and first.api_server_ready
    assert [(e.group_version, [r.name for r in e.resources]) for e in first.api_enablements] == [
        ("apps/v1", ["deployments"]),
        ("v1", ["pods"]),
    ]
    assert not first.api_enablements_complete, "a group that could not be read is not absent"
    await facts.look()
    assert len(told) == 1, "nothing new, nothing said"
    cluster.answers["/healthz"] = MemberUnreachable("refused")
    await facts.look()
    assert not told[1].api_server_ready and told[1].api_server_unreachable
    assert "not reachable" in told[1].api_server_message
    assert len(told[1].api_enablements) == 2, "what is known stays known"
    cluster.answers["/healthz"] = "ok"
    await facts.look()
    assert len(reached) == 2, "whoever waits is told each time the member is back"


async def test_aggregated_discovery_is_read_when_it_is_another_one() -> None:
    def served(*groups: tuple[str, str, str]) -> dict[str, Any]:
        items = [
            {"metadata": {"name": group}, "versions": [{"version": "v1", "freshness": fresh, "resources": [
                {"resource": plural, "responseKind": {"kind": plural.capitalize()}}]}]}
            for group, plural, fresh in groups
        ]  # fmt: skip
        return {"kind": "APIGroupDiscoveryList", "items": items}

    class Tagged(Cluster):
        read = 0

        async def call(self, method: str, path: str, *, etag: str = "", **more: Any) -> Answer:
            body = (await super().call(method, path)).body
            tag = str(hash(body))
            if etag == tag and path.startswith("/api"):
                return Answer(304, b"", {"ETag": tag})
            self.read += path.startswith("/api")
            return Answer(200, body, {"ETag": tag})

    cluster, told = Tagged(), list[Any]()
    cluster.answers = {
        "/readyz": "ok", "/version": {"gitVersion": "v1.36.0"},
        "/api": served(("", "pods", "Current")), "/apis": served(("apps", "deployments", "Current"), ("x.io", "ys", "Stale")),
    }  # fmt: skip
    facts = Facts(cluster, 1.0, told.append, lambda: None)  # type: ignore[arg-type]
    for _ in range(8):
        await facts.look()
    assert [e.group_version for e in told[0].api_enablements] == ["apps/v1", "v1", "x.io/v1"]
    assert not told[0].api_enablements_complete, "what is stale may lack something"
    assert (cluster.read, len(told)) == (2, 1)
    cluster.answers["/apis"] = served(("apps", "deployments", "Current"), ("x.io", "zs", "Current"))
    await facts.look()
    assert cluster.read == 3 and told[1].api_enablements_complete
    assert [[r.name for r in e.resources] for e in told[1].api_enablements] == [
        ["deployments"],
        ["pods"],
        ["zs"],
    ]


# --- limits and refusals ----------------------------------------------------------------------------------------------


CLUSTER_ROLE = Ref("rbac.authorization.k8s.io/v1", "ClusterRole", "", "x")
DEPLOYMENT = Ref("apps/v1", "Deployment", "team-a", "x")


@pytest.mark.parametrize(
    ("namespaces", "kinds", "ref", "plural", "says"),
    [
        pytest.param((), (), Ref("v1", "Secret", "anywhere", "x"), "secrets", "", id="no limits"),
        pytest.param(("team-*",), (), DEPLOYMENT, "deployments", "", id="in an allowed namespace"),
        pytest.param(("x", "team-*", "y"), (), DEPLOYMENT, "deployments", "", id="in one of those that are allowed"),
        pytest.param(("team",), (), DEPLOYMENT, "deployments", "namespace team-a", id="a prefix is not it"),
        pytest.param(("team-*",), (), Ref("v1", "Namespace", "", "team-a"), "namespaces", "", id="an allowed Namespace"),
        pytest.param(("team-*",), (), Ref("v1", "Namespace", "", "b"), "namespaces", "namespace b", id="another Namespace"),
        pytest.param(("team-*",), (), CLUSTER_ROLE, "clusterroles", "nothing outside", id="nothing beside namespaces"),
        pytest.param(("team-*",), (), CLUSTER_ROLE._replace(namespace="team-a"), "clusterroles", "nothing outside", id="whatever namespace it names"),
        pytest.param(("team-*",), (), Ref("v1", "Namespace", "team-a", "b"), "namespaces", "namespace b", id="a Namespace that names another"),
        pytest.param(("team-*",), ("clusterroles.*",), CLUSTER_ROLE, "clusterroles", "", id="unless it is named"),
        pytest.param((), ("deployments.apps",), DEPLOYMENT, "deployments", "", id="a kind by its plural"),
        pytest.param((), ("Deployment.apps",), DEPLOYMENT, "deployments", "", id="a kind by its name"),
        pytest.param((), ("deployments",), DEPLOYMENT, "deployments", "kind Deployment.apps", id="a kind of another group"),
        pytest.param((), ("configmaps",), Ref("v1", "ConfigMap", "a", "x"), "configmaps", "", id="a kind without group"),
    ],
)  # fmt: skip
def test_what_the_members_owner_allows(
    namespaces: tuple[str, ...], kinds: tuple[str, ...], ref: Ref, plural: str, says: str
) -> None:
    namespaced = plural not in ("clusterroles", "namespaces")
    refusal = Allowance(namespaces, kinds).refusal(ref, plural, namespaced)
    assert says in refusal and bool(says) == bool(refusal)


@pytest.mark.parametrize(
    ("namespaces", "named", "one_by_one"),
    [((), (), False), (("a", "b"), ("a", "b"), True), (("a", "b-*", "c?", "[d]"), ("a",), False)],
    ids=["all", "names", "names and patterns"],
)
def test_which_namespaces_are_known_by_name(
    namespaces: tuple[str, ...], named: tuple[str, ...], one_by_one: bool
) -> None:
    allowance = Allowance(namespaces)
    assert (allowance.named, allowance.by_namespace) == (named, one_by_one)


async def test_where_it_may_not_even_look_only_what_it_never_applied_is_gone() -> None:
    class Member:
        async def get(self, path: str, query: Any = None) -> Any:
            if path == "/api/v1":
                return RESOURCES
            raise Refused(403, "Forbidden", "no")

    member, unseen = Member(), SimpleNamespace(record=lambda ref: None)

    async def removed(allowance: Allowance, was_applied: bool) -> bool:
        writer = Writer(
            member, Discovery(member), unseen, "m1", allowance, DeletionBudget(0, lambda: 0.0), lambda name: False  # type: ignore[arg-type]
        )  # fmt: skip
        owner = Owner("karmada-es-m1", "w")
        return await writer.remove(ref("a"), owner, preserve=False, was_applied=was_applied) is None

    elsewhere = Allowance(("team-a",))
    assert await removed(elsewhere, was_applied=False)
    for allowance, was_applied in ((elsewhere, True), (Allowance(), False)):
        with pytest.raises(Refused, match="no"):
            await removed(allowance, was_applied)


def test_the_deletion_budget_refills_with_time() -> None:
    clock = [0.0]
    budget = DeletionBudget(2, lambda: clock[0])
    assert (budget.take(), budget.take()) == (0.0, 0.0)
    assert budget.take() == pytest.approx(30.0)
    clock[0] = 15.0
    assert budget.take() == pytest.approx(15.0)
    clock[0] = 30.0
    assert budget.take() == 0.0
    assert budget.take() > 0
    assert DeletionBudget(0, lambda: 0.0).take() == 0.0


def test_an_overloaded_member_says_when_to_come_back() -> None:
    body = orjson.dumps({"kind": "Status", "reason": "TooManyRequests", "message": "slow down"})
    refused = _refusal(Answer(429, body, {"Retry-After": "7"}))
    problem = problem_of(ref("a"), refused)
    assert problem.retry_after_seconds == 7.0 and problem.message == "ConfigMap default/a: slow down"
    page_of_a_proxy = _refusal(Answer(502, b"<html>bad gateway</html>", {}))
    assert "502" in str(page_of_a_proxy) and page_of_a_proxy.code == 502
