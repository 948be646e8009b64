"""The Work table over a live cache, and the API's view of it."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from tests.controllers.hub import Hub, running
from tests.decide.world import cluster, configmap, deployment, namespace, policy, selector
from towline.hub.decide.wire import Phase, WorkReport
from towline.hub.store.cache import Gone
from towline.hub.store.works import NamespaceSync
from towline.kube import names
from towline.kube.objects import Key, Object, copy

WEB = Key("apps", "deployments", "shop", "web")
BINDING = Key("work.karmada.io", "resourcebindings", "shop", "web-deployment")
WORK = names.work_name("shop", "web", "Deployment")
SPACE = names.work_name("", "shop", "Namespace")
AT = Key("work.karmada.io", "works", "karmada-es-m1", WORK)
WEB_POLICY = policy("web", [selector(deployment())])


async def placed(hub: Hub) -> None:
    await hub.put(namespace("shop"), cluster("m1"), cluster("m2"), WEB_POLICY, deployment())
    await hub.settle()


def changes_of(hub: Hub) -> list[tuple[str, str]]:
    seen: list[tuple[str, str]] = []
    hub.works.subscribe(lambda cluster, found: seen.extend((cluster, name) for name in sorted(found)))
    return seen


async def edit(hub: Hub, key: Key, **spec: Any) -> None:
    obj = copy(hub.get(key))
    obj["spec"].update(spec)
    await hub.put(obj)


# --- what is recomputed --------------------------------------------------------------------------------------


async def test_an_image_change_is_sent_at_once_and_a_scaling_once() -> None:
    async with running() as hub:
        await placed(hub)
        seen = changes_of(hub)
        obj = copy(hub.get(WEB))
        obj["spec"]["template"]["spec"]["containers"][0]["image"] = "nginx:2"
        await hub.put(obj)
        assert sorted(seen) == [("m1", WORK), ("m2", WORK)], "without waiting for a decision"
        await hub.settle()
        assert len(seen) == 2
        await edit(hub, WEB, replicas=7)
        assert len(seen) == 2, "the decision about to come changes the replicas"
        await hub.settle()
        assert len(seen) == 4
        assert orjson.loads(hub.work("m1", WORK).manifests[0])["spec"]["replicas"] == 7


async def test_a_status_write_sends_nothing() -> None:
    async with running() as hub:
        await placed(hub)
        before = hub.work("m2", WORK)
        seen = changes_of(hub)
        hub.say("m1", WORK, status={"replicas": 3})
        await hub.later(1)
        assert set(seen) == {("m1", WORK)}, "its report is known now"
        assert hub.work("m2", WORK) is before


async def test_a_works_revision_grows_and_its_uid_stays() -> None:
    async with running() as hub:
        await placed(hub)
        before = hub.work("m1", WORK)
        await edit(hub, WEB, replicas=7)
        await hub.settle()
        after = hub.work("m1", WORK)
        assert after.uid == before.uid and after.revision > before.revision and after.hash != before.hash


# --- reports -------------------------------------------------------------------------------------------------


async def test_reports_about_what_is_not_known_are_dropped() -> None:
    async with running() as hub:
        await placed(hub)
        hub.works.report("m1", [WorkReport("unknown", "u", b"", Phase.APPLIED)])
        hub.works.report("m1", [WorkReport(WORK, "another uid", b"", Phase.APPLIED)])
        hub.works.report("m9", [WorkReport(WORK, "u", b"", Phase.APPLIED)])
        hub.say("m1", WORK, Phase.REMOVED)
        assert hub.works.reports_of(BINDING) == {}


async def test_a_removal_of_a_former_life_does_not_end_a_new_one() -> None:
    """Deselected, removed, selected again, deselected again: the first answer must not count for the second question."""
    async with running() as hub:
        await placed(hub)
        only_m2 = {"clusterAffinity": {"clusterNames": ["m2"]}}
        at = hub.users.key(WEB_POLICY)
        await edit(hub, at, placement=only_m2)
        await hub.settle()
        hub.say("m1", WORK, Phase.REMOVED)
        await edit(hub, at, placement={})
        await hub.settle()
        if (work := hub.works.get("m1", WORK)) is not None and not work.removing:
            assert hub.works.reports_of(BINDING) == {}, "it is wanted again: the answer is void"
        await edit(hub, at, placement=only_m2)
        await hub.settle()
        await hub.later(1)
        assert hub.work("m1", WORK).removing


async def test_the_latest_report_counts_and_an_old_one_returning_is_news() -> None:
    async with running() as hub:
        await placed(hub)
        hub.say("m1", WORK, Phase.FAILED, "no")
        await hub.later(1)
        assert (hub.get(BINDING) or {})["status"]["aggregatedStatus"][0]["appliedMessage"] == "no"
        hub.say("m1", WORK)
        hub.say("m1", WORK, Phase.FAILED, "no")
        await hub.later(1)
        assert (hub.get(BINDING) or {})["status"]["aggregatedStatus"][0]["applied"] is False
        assert hub.works.reports_of(BINDING) == {}


# --- namespaces ----------------------------------------------------------------------------------------------


async def test_namespaces_everywhere_or_where_needed() -> None:
    both: tuple[tuple[NamespaceSync, bool], ...] = (("all", True), ("needed", False))
    for sync, expected in both:
        async with running(namespace_sync=sync) as hub:
            await hub.put(namespace("shop"), cluster("m1"), cluster("m2"))
            await hub.settle()
            assert (hub.works.get("m1", SPACE) is not None) is expected
            await hub.put(
                policy("web", [selector(deployment())], {"clusterAffinity": {"clusterNames": ["m2"]}}),
                deployment(),
            )
            await hub.settle()
            assert hub.work("m2", SPACE)
            assert (hub.works.get("m1", SPACE) is not None) is expected


async def test_a_namespace_that_a_member_holds_stays_wanted() -> None:
    async with running(namespace_sync="needed") as hub:
        await hub.put(namespace("shop"), namespace("kube-public"), cluster("m1"))
        await hub.settle()
        hub.works.held("m1", [SPACE, "unknown", names.work_name("", "kube-public", "Namespace")])
        assert set(hub.works.works_of("m1")) == {SPACE}
        await hub.put(policy("web", [selector(deployment())]), deployment())
        await hub.settle()
        hub.obey("m1")
        await hub.delete(WEB)
        await hub.later(1)
        hub.obey("m1")
        await hub.later(1)
        assert hub.get(WEB) is None and set(hub.works.works_of("m1")) == {SPACE}, (
            "never taken away while the hub has it"
        )


async def test_a_namespaces_report_is_known_without_being_stored() -> None:
    async with running() as hub:
        await placed(hub)
        revision = hub.cache.revision
        assert hub.work("m1", SPACE).report_hash == b""
        hub.say("m1", SPACE)
        assert hub.work("m1", SPACE).report_hash != b""
        await hub.later(1)
        assert hub.cache.revision == revision


async def test_whether_a_namespace_is_applied_is_shown() -> None:
    """By its Work, beside everybody else's: nothing else could tell. A refusal goes with the Work, or with a better report."""
    key = Key("work.karmada.io", "works", "karmada-es-m1", SPACE)

    def applied(hub: Hub) -> tuple[str, str] | None:
        entry = hub.view.get(key)
        assert entry is not None
        rows = [row for row in entry.object["status"]["conditions"] if row["type"] == "Applied"]
        return (rows[0]["status"], rows[0]["message"]) if rows else None

    async with running() as hub:
        await placed(hub)
        assert applied(hub) is None
        seen = hub.view.revision
        hub.say("m1", SPACE, Phase.FAILED, "this agent does not allow it")
        assert applied(hub) == ("False", "this agent does not allow it")
        assert hub.view.revision > seen, "watchers see it"
        await hub.put(namespace("shop", {"new": "label"}))
        assert applied(hub) == ("False", "this agent does not allow it"), "until the agent says otherwise"
        hub.say("m1", SPACE)
        assert applied(hub) == ("True", "Manifest has been successfully applied")
        hub.say("m1", SPACE, Phase.FAILED, "no")
        await hub.delete(Key("cluster.karmada.io", "clusters", "", "m1"))
        await hub.settle()
        hub.obey("m1")
        await hub.settle()
        assert not hub.works._refusals


async def test_a_namespace_that_must_not_spread_any_more_stays_where_it_is() -> None:
    async with running() as hub:
        await placed(hub)
        await hub.put(namespace("shop", {names.SKIP_AUTO_PROPAGATION: "true"}), cluster("m3"))
        await hub.settle()
        assert not hub.work("m1", SPACE).removing and hub.works.get("m3", SPACE) is None


async def test_a_namespace_being_deleted_over_a_restart_is_taken_from_everybody_who_has_it() -> None:
    async with running() as hub:
        await hub.put(namespace("shop"), cluster("m1"), cluster("m2"))
        await hub.settle()
        await hub.users_delete_namespace("shop")
        await hub.settle()
        hub.say("m1", SPACE, Phase.REMOVED)
        await hub.settle()
        store = hub.store
    async with running(store) as again:
        assert again.works.get("m1", SPACE) is None, "what it said is noted"
        assert again.work("m2", SPACE).removing
        again.say("m2", SPACE, Phase.REMOVED)
        await again.settle()
        assert again.get(Key("", "namespaces", "", "shop")) is None


# --- stored Works --------------------------------------------------------------------------------------------

MINE = Key("work.karmada.io", "works", "karmada-es-m1", "mine")


def a_work() -> Object:
    return {
        "apiVersion": "work.karmada.io/v1alpha1",
        "kind": "Work",
        "metadata": {"name": "mine", "namespace": "karmada-es-m1"},
        "spec": {"workload": {"manifests": [configmap("a")]}},
    }


async def test_a_stored_work_is_sent_shown_and_removed() -> None:
    async with running() as hub:
        await hub.put(cluster("m1"), a_work())
        assert hub.works.get("m1", "mine") is None, "not before its finalizer is durable"
        assert hub.view.get(MINE) is not None
        await hub.settle()
        assert hub.work("m1", "mine").manifests and not hub.view.is_computed(MINE)
        hub.say("m1", "mine", status={"x": 1})
        await hub.later(1)
        entry = hub.view.get(MINE)
        assert entry is not None
        shown = entry.object
        assert shown["status"]["manifestStatuses"][0]["status"] == {"x": 1}
        assert hub.works.reports_of(MINE) == {}
        await hub.delete(MINE)
        await hub.settle()
        assert hub.work("m1", "mine").removing
        hub.say("m1", "mine", Phase.REMOVED)
        await hub.later(1)
        assert hub.get(MINE) is None and hub.works.get("m1", "mine") is None


# --- the API's view ------------------------------------------------------------------------------------------


async def test_a_computed_work_as_the_api_shows_it() -> None:
    async with running() as hub:
        await placed(hub)
        hub.say("m1", WORK, status={"replicas": 3})
        entry = hub.view.get(AT)
        assert entry is not None
        shown, work = entry.object, hub.work("m1", WORK)
        assert entry.meta.name == WORK and entry.meta.labels
        binding = hub.get(BINDING) or {}
        metadata = shown["metadata"]
        assert metadata["uid"] == work.uid and metadata["resourceVersion"] == str(entry.revision)
        assert metadata["labels"][names.BINDING_ID] == binding["metadata"]["labels"][names.BINDING_ID]
        assert metadata["annotations"][names.BINDING_NAME_ANNOTATION] == "web-deployment"
        assert metadata["finalizers"] == [names.EXECUTION_FINALIZER]
        assert shown["spec"]["workload"]["manifests"] == [orjson.loads(work.manifests[0])]
        assert shown["spec"]["preserveResourcesOnDeletion"] is False
        conditions = {c["type"]: (c["status"], c["reason"]) for c in shown["status"]["conditions"]}
        assert conditions == {
            "Applied": ("True", "AppliedSuccessful"),
            "Dispatching": ("True", "Dispatching"),
        }
        assert shown["status"]["manifestStatuses"] == [
            {
                "identifier": {
                    "ordinal": 0, "group": "apps", "version": "v1", "kind": "Deployment", "resource": "deployments",
                    "namespace": "shop", "name": "web",
                },
                "health": "Healthy",
                "status": {"replicas": 3},
            }
        ]  # fmt: skip
        await hub.later(1)
        again = hub.view.get(AT)
        assert again is not None and again.object["status"] == shown["status"], "the same once it is stored"


async def test_lists_are_sorted_and_computed_works_refuse_writes() -> None:
    async with running() as hub:
        await placed(hub)
        everything = [entry.key for entry in hub.view.list("work.karmada.io", "works")]
        assert everything == sorted(everything) and len(everything) == 4
        mine = [entry.key.name for entry in hub.view.list("work.karmada.io", "works", "karmada-es-m2")]
        assert mine == sorted([WORK, SPACE])
        assert hub.view.list("work.karmada.io", "works", "shop") == []
        assert hub.view.refuse("delete", AT) and hub.view.refuse("create", AT._replace(name="x")) is None


async def test_a_watch_sees_works_come_change_and_go() -> None:
    async with running() as hub:
        await hub.put(namespace("shop"), cluster("m1"), WEB_POLICY)
        await hub.settle()
        start = hub.view.revision
        watch = hub.view.watch("work.karmada.io", "works", start)
        await hub.put(deployment())
        await hub.settle()
        await edit(hub, WEB, replicas=9)
        await hub.settle()
        await hub.delete(WEB)
        await hub.settle()
        hub.say("m1", WORK, Phase.REMOVED)
        await hub.later(1)
        events = []
        async with asyncio.timeout(5):
            async for batch in watch:
                events += [e for e in batch if e.entry.key.name == WORK]
                if events and events[-1].type == "DELETED":
                    break
        kinds = [event.type for event in events]
        assert kinds[0] == "ADDED" and kinds[-1] == "DELETED" and set(kinds[1:-1]) == {"MODIFIED"}
        revisions = [event.entry.revision for event in events]
        assert revisions == sorted(revisions) and revisions[0] > start
        replicas = [e.entry.object["spec"]["workload"]["manifests"] for e in events]
        assert replicas[0][0]["spec"]["replicas"] == 3 and replicas[1][0]["spec"]["replicas"] == 9
        assert events[-1].entry.object["metadata"]["name"] == WORK
        for elsewhere in (5, hub.view.revision + 1):  # of an earlier start, or of another hub
            with pytest.raises(Gone):
                hub.view.watch("work.karmada.io", "works", elsewhere)


async def test_a_waiter_is_told() -> None:
    async with running() as hub:
        await hub.put(namespace("shop"))
        assert await hub.view.wait(hub.view.revision, 1.0)
        assert not await hub.view.wait(hub.view.revision + 10**6, 0.01)
        target = hub.view.revision + 1
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(hub.view.wait(target, 5.0))
            await asyncio.sleep(0)
            await hub.put(cluster("m1"))
        assert waiting.result()


# --- clusters that leave --------------------------------------------------------------------------------------


async def test_what_a_leaving_cluster_keeps_is_let_go_of() -> None:
    async with running() as hub:
        await placed(hub)
        m1 = Key("cluster.karmada.io", "clusters", "", "m1")
        await hub.delete(m1)
        await hub.settle()
        assert hub.work("m1", WORK).removing and not hub.work("m1", WORK).preserve
        leaving = copy(hub.get(m1))
        leaving["metadata"]["annotations"] = {"towline.io/exit-workloads": "Keep"}
        await hub.put(leaving)
        assert hub.work("m1", WORK).preserve, "also when it is chosen late"
        leaving["metadata"]["annotations"] = {"towline.io/exit-workloads": "Remove"}
        await hub.put(leaving)
        assert not hub.work("m1", WORK).preserve and not hub.work("m2", WORK).removing
