"""The agent's hands against the real API engine: everything a Work can go through in a member."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.agent.member import CLUSTER, SECONDS, User, a_member, an_agent, config_map, config_map_ref, held
from towline.agent import execution, reports
from towline.agent.desired import Changed, Ref
from towline.agent.execution import Applied, Mode, Owner
from towline.agent.limits import Allowance
from towline.agent.writer import Done
from towline.proto import fleet_pb2 as fleet

FRONT = config_map_ref("front")


def deployment(replicas: int = 2, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": "default", "name": "web", "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "nginx:1"}]},
            },
        },
    }


def cluster_role(namespace: str | None = None) -> dict[str, Any]:
    metadata = {"name": "all"} | ({"namespace": namespace} if namespace else {})
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata, "rules": [],
    }  # fmt: skip


CLUSTER_ROLE = Ref("rbac.authorization.k8s.io/v1", "ClusterRole", "", "all")
WEB = Ref("apps/v1", "Deployment", "default", "web")


async def test_apply_update_remove(user: User, tmp_path: Path) -> None:
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("front", config_map("front"))
        report = await agent.applied("front")
        assert [(s.kind, s.resource, s.namespace, s.name, s.health) for s in report.statuses] == [
            ("ConfigMap", "configmaps", "default", "front", "Healthy")
        ]
        live = await user.get(FRONT)
        assert live["data"] == {"color": "blue"}
        assert live["metadata"]["labels"] == {"karmada.io/managed": "true"}
        assert live["metadata"]["annotations"] == {
            "work.karmada.io/namespace": f"karmada-es-{CLUSTER}",
            "work.karmada.io/name": "front",
        }
        reads, applies = agent.writer.counters.reads, agent.writer.counters.applies
        agent.want("front", config_map("front", {"color": "red"}))
        await agent.applied("front")
        assert (await user.get(FRONT))["data"] == {"color": "red"}
        assert agent.writer.counters.reads == reads, "an update is one request"
        assert agent.writer.counters.applies == applies + 1

        agent.unwant("front")
        await agent.removed("front")
        assert await user.get(FRONT) is None
        assert agent.desired.get("front") is None


async def test_a_removal_begins_when_it_is_durable(user: User, tmp_path: Path) -> None:
    """Although something else has the Work looked at before: who died then would find it on the disk, and make it again."""
    async with an_agent(user.kubeconfig, tmp_path, concurrency=1) as agent:
        agent.want("front", config_map("front"))
        await agent.applied("front")
        changed = Changed()
        agent.desired.remove(fleet.Removal(name="front", revision=99), 1, "store", changed)
        agent.applier.object_changed(FRONT, None)
        agent.want("second", config_map("second"))
        await agent.applied("second")
        assert await user.get(FRONT) is not None
        agent.take(changed)
        await agent.removed("front")
        assert await user.get(FRONT) is None


async def test_what_the_member_adds_stays(user: User, tmp_path: Path) -> None:
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("front", config_map("front", {"a": "1"}))
        await agent.applied("front")
        await user.patch(FRONT, {"data": {"local": "yes"}, "metadata": {"labels": {"team": "x"}}})
        agent.want("front", config_map("front", {"b": "2"}))
        await agent.applied("front")
        live = await user.get(FRONT)
        assert live["data"] == {"b": "2", "local": "yes"}
        assert live["metadata"]["labels"]["team"] == "x"
        assert not any(report.drift for report in agent.told)


async def test_drift_is_put_back_and_its_author_named(user: User, tmp_path: Path) -> None:
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("front", config_map("front"))
        await agent.applied("front")
        await user.patch(FRONT, {"data": {"color": "green"}}, manager="kubectl-edit")
        report = await agent.report("front", lambda r: bool(r.drift))
        assert report.phase == fleet.APPLIED
        assert report.drift == "ConfigMap default/front changed: .data.color by kubectl-edit; put back"
        assert (await user.get(FRONT))["data"] == {"color": "blue"}

        agent.reports.clear()
        await user.delete(FRONT)
        report = await agent.report("front", lambda r: bool(r.drift))
        assert "deleted by another hand" in report.drift
        assert (await user.get(FRONT))["data"] == {"color": "blue"}

        agent.reports.clear()
        await user.patch(FRONT, {"metadata": {"labels": {"karmada.io/managed": None}}})
        await agent.report("front", lambda r: bool(r.drift))
        assert (await user.get(FRONT))["metadata"]["labels"] == {"karmada.io/managed": "true"}


async def test_another_object_of_the_same_name_is_read_before_it_is_written(
    user: User, tmp_path: Path
) -> None:
    """The apply says which object it means; to the API server another uid is an invalid change, not a conflict."""
    owner = Owner(f"karmada-es-{CLUSTER}", "front")
    mine = execution.prepared(config_map("front"), owner)
    before = await user.apply(mine, "towline")
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        stale = Applied(b"an older manifest", "the uid of one that is gone", b"")
        done = await agent.writer.apply(FRONT, mine, owner, Mode.ABORT, stale)
        assert isinstance(done, Done) and done.applied is not None
        assert done.applied.uid == before["metadata"]["uid"]
        assert agent.writer.counters.applies == 2 and agent.writer.counters.reads == 1


async def test_a_service_is_gone_when_its_deletion_is_answered(user: User, tmp_path: Path) -> None:
    """Kubernetes answers the deletion of some kinds with the object as it was last."""
    ref = Ref("v1", "Service", "default", "front")
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "default", "name": "front"},
        "spec": {"ports": [{"port": 80}]},
    }  # fmt: skip
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("front", service)
        await agent.applied("front")
        agent.unwant("front")
        await agent.removed("front")
        assert await user.get(ref) is None
        assert not [report for report in agent.told if report.phase == fleet.FAILED]


async def test_what_may_not_run_any_more_goes_before_all_that_waits(user: User, tmp_path: Path) -> None:
    """The hub counts on it that it is stopped in time, whatever else there is to do."""
    cut_off = set[str]()
    async with an_agent(
        user.kubeconfig, tmp_path, concurrency=1, stopped=lambda row: row.name in cut_off
    ) as agent:
        agent.want("web", deployment())
        await agent.applied("web")
        waiting = [f"waits-{number}" for number in range(20)]
        for name in waiting:
            agent.want(name, config_map(name))
        agent.want("web", deployment(3))  # behind the others, and waits there
        cut_off.add("web")
        agent.applier.reconcile("web")
        agent.applier.reconcile("web")
        await agent.failed("web", "cut off")
        stopped = await user.get(WEB)
        assert stopped["spec"]["replicas"] == 0
        for name in waiting:
            await agent.applied(name)
        written = [int((await user.get(config_map_ref(n)))["metadata"]["resourceVersion"]) for n in waiting]
        before = sum(version < int(stopped["metadata"]["resourceVersion"]) for version in written)
        assert before <= 1, "but what had begun"
        assert agent.writer.counters.applies == 2 + len(waiting), "and is written once"


async def test_what_is_cut_off_while_it_is_written_is_stopped_after_all(user: User, tmp_path: Path) -> None:
    async with an_agent(
        user.kubeconfig, tmp_path, stopped=lambda row: agent.writer.counters.applies > 0
    ) as agent:
        agent.want("web", deployment())
        await agent.failed("web", "cut off")
        assert (await user.get(WEB))["spec"]["replicas"] == 0
        assert not [report for report in agent.told if report.phase == fleet.APPLIED]


async def test_while_the_member_does_not_answer_nothing_is_taken_for_applied(tmp_path: Path) -> None:
    """What its watch knew may be over: the copy of another Work's life may have died with the member."""
    async with contextlib.AsyncExitStack() as running:
        user = await running.enter_async_context(a_member(tmp_path))
        async with an_agent(user.kubeconfig, tmp_path) as agent:
            agent.want("front", config_map("front"))
            await agent.applied("front")
            agent.want("front", config_map("front"), uid="it came back")
            await agent.applied("front")
            assert agent.writer.counters.reads == 1, "only before the first apply"
            await running.aclose()
            async with asyncio.timeout(SECONDS):
                while agent.watcher.answers(FRONT):
                    await asyncio.sleep(0.01)
            agent.want("front", config_map("front"), uid="it came back again")
            await agent.failed("front", "cannot be reached")


async def test_a_version_that_is_not_applied_is_not_reported_by_what_another_shows(
    user: User, tmp_path: Path
) -> None:
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("front", config_map("front"))
        await agent.applied("front")
        agent.want("front", {**config_map("front"), "data": {"a": {"not": "text"}}})
        await agent.failed("front", "ConfigMap default/front")
        agent.told.clear()
        seen = agent.watcher.record(FRONT)
        await user.patch(FRONT, {"metadata": {"annotations": {"somebody": "else"}}})
        async with asyncio.timeout(SECONDS):
            while agent.watcher.record(FRONT) == seen:
                await asyncio.sleep(0.01)
        await asyncio.sleep(2 * reports.REPORT_INTERVAL_SECONDS)
        assert not [report for report in agent.told if report.phase == fleet.APPLIED]


async def test_what_is_still_to_be_told_is_told_at_the_end(
    user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "REPORT_INTERVAL_SECONDS", 3600.0)
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("front", config_map("front"))
        async with asyncio.timeout(SECONDS):
            while agent.applier.busy or agent.applier.running:
                await asyncio.sleep(0.01)
        assert not agent.told
        agent.applier.stop()
        assert [report.phase for report in agent.told] == [fleet.APPLIED]


async def test_a_fight_over_a_field_slows_down(user: User, tmp_path: Path) -> None:
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("front", config_map("front"))
        await agent.applied("front")
        for round_ in range(5):
            agent.reports.clear()
            await user.patch(FRONT, {"data": {"color": f"c{round_}"}})
            await agent.report("front", lambda r: bool(r.drift))
        work = agent.applier._works["front"]
        assert work.fights == 5
        assert agent.applier._drift_pause(work) > 0.1


async def test_a_foreign_object_is_a_conflict_until_it_may_be_taken(user: User, tmp_path: Path) -> None:
    await user.create(config_map("front", {"mine": "1"}))
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("front", config_map("front"))
        report = await agent.failed("front")
        assert report.message == (
            "Failed to apply all manifests (0/1): resource(kind=ConfigMap, default/front) already exists in the cluster "
            "member1 and the work.karmada.io/conflict-resolution strategy value is empty, Karmada will not manage this "
            "resource (spec.conflictResolution: Overwrite of its policy takes it over)"
        )
        assert (await user.get(FRONT))["data"] == {"mine": "1"}
        agent.want("front", config_map("front"), conflict=fleet.OVERWRITE)
        await agent.applied("front")
        assert (await user.get(FRONT))["data"] == {"color": "blue", "mine": "1"}


async def test_a_foreign_object_is_never_removed(user: User, tmp_path: Path) -> None:
    await user.create(config_map("front", {"mine": "1"}))
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("front", config_map("front"))
        await agent.failed("front")
        agent.unwant("front", FRONT)
        await agent.removed("front")
    assert (await user.get(FRONT))["data"] == {"mine": "1"}


async def test_the_conflict_ends_when_the_foreign_object_goes(user: User, tmp_path: Path) -> None:
    await user.create(config_map("front", {"mine": "1"}))
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("front", config_map("front"))
        await agent.failed("front")
        await user.delete(FRONT)
        await agent.applied("front")


async def test_two_works_do_not_take_an_object_from_each_other(user: User, tmp_path: Path) -> None:
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("one", config_map("front", {"by": "one"}))
        await agent.applied("one")
        agent.want("two", config_map("front", {"by": "two"}), conflict=fleet.OVERWRITE)
        await agent.failed("two", "belongs to Work karmada-es-member1/one")
        assert (await user.get(FRONT))["data"] == {"by": "one"}
        agent.unwant("one")
        await agent.removed("one")
        await agent.applied("two")
        assert (await user.get(FRONT))["data"] == {"by": "two"}


async def test_shared_namespaces_are_left_as_they_are(user: User, tmp_path: Path) -> None:
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "default", "labels": {"a": "b"}},
    }
    ref = Ref("v1", "Namespace", "", "default")
    before = await user.get(ref)
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("default-ns", namespace, conflict=fleet.SHARE)
        report = await agent.applied("default-ns")
        assert report.statuses[0].health == "Healthy"
        agent.unwant("default-ns", ref)
        await agent.removed("default-ns")
    assert await user.get(ref) == before


async def test_a_namespace_that_comes_later_is_waited_for(user: User, tmp_path: Path) -> None:
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("front", config_map("front", namespace="shop"))
        await agent.failed("front", 'namespaces "shop" not found')
        agent.want(
            "shop", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}, conflict=fleet.SHARE
        )  # fmt: skip
        await agent.applied("front")


async def test_namespaces_go_first(user: User, tmp_path: Path) -> None:
    async with an_agent(user.kubeconfig, tmp_path, concurrency=4) as agent:
        for number in range(10):
            agent.want(f"cm{number}", config_map(f"cm{number}", namespace="shop"))
        agent.want("shop", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        for number in range(10):
            await agent.applied(f"cm{number}")
        # Only those that had begun before the namespace was wanted can have failed.
        assert len({r.name for r in agent.told if r.phase == fleet.FAILED}) <= 4


async def test_a_kind_that_comes_later_is_waited_for(user: User, tmp_path: Path) -> None:
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com",
            "scope": "Namespaced",
            "names": {
                "plural": "crontabs",
                "singular": "crontab",
                "kind": "CronTab",
                "listKind": "CronTabList",
            },
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                    },
                }
            ],
        },
    }
    cron = {
        "apiVersion": "stable.example.com/v1",
        "kind": "CronTab",
        "metadata": {"namespace": "default", "name": "nightly"},
        "spec": {"cron": "0 3 * * *"},
    }
    ref = Ref("stable.example.com/v1", "CronTab", "default", "nightly")
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("nightly", cron)
        await agent.failed("nightly", "the member has no CronTab in stable.example.com/v1; retrying")
        agent.want("crd", crd)
        await agent.applied("nightly")
        assert (await user.get(ref))["spec"] == {"cron": "0 3 * * *"}
        agent.unwant("nightly")
        await agent.removed("nightly")
        assert await user.get(ref) is None


async def test_a_manifest_that_left_its_work_is_removed(user: User, tmp_path: Path) -> None:
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("pair", config_map("one"), config_map("two"))
        report = await agent.applied("pair")
        assert [s.name for s in report.statuses] == ["one", "two"]
        agent.want("pair", config_map("two", {"new": "1"}))
        await agent.applied("pair")
        assert await user.get(config_map_ref("one")) is None
        assert (await user.get(config_map_ref("two")))["data"] == {"new": "1"}
        assert held(agent, "pair").leftovers == ()


async def test_a_work_is_applied_when_all_its_manifests_are(user: User, tmp_path: Path) -> None:
    await user.create(config_map("two", {"mine": "1"}))
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("pair", config_map("one"), config_map("two"))
        await agent.failed(
            "pair", "Failed to apply all manifests (1/2): resource(kind=ConfigMap, default/two)"
        )
        assert (await user.get(config_map_ref("one")))["data"] == {"color": "blue"}


async def test_preserved_objects_are_let_go_of(user: User, tmp_path: Path) -> None:
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("front", config_map("front"))
        await agent.applied("front")
        agent.unwant("front", preserve=True)
        await agent.removed("front")
        live = await user.get(FRONT)
        assert live["data"] == {"color": "blue"}
        assert "karmada.io/managed" not in live["metadata"].get("labels", {})
        assert "work.karmada.io/name" not in live["metadata"].get("annotations", {})


async def test_finalizers_are_waited_for(user: User, tmp_path: Path) -> None:
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("front", config_map("front"))
        await agent.applied("front")
        await user.patch(FRONT, {"metadata": {"finalizers": ["example.com/wait"]}})
        agent.unwant("front")
        await agent.failed("front", "ConfigMap default/front is being deleted in the member")
        assert (await user.get(FRONT))["metadata"]["deletionTimestamp"]
        await user.patch(FRONT, {"metadata": {"finalizers": None}})
        await agent.removed("front")


async def test_an_object_on_its_way_out_is_created_again_when_it_is_gone(user: User, tmp_path: Path) -> None:
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("front", config_map("front"))
        await agent.applied("front")
        uid = (await user.get(FRONT))["metadata"]["uid"]
        await user.patch(FRONT, {"metadata": {"finalizers": ["example.com/wait"]}})
        await user.delete(FRONT)
        await agent.failed("front", "is being deleted in the member; it is created again when it is gone")
        await user.patch(FRONT, {"metadata": {"finalizers": None}})
        await agent.applied("front")
        assert (await user.get(FRONT))["metadata"]["uid"] != uid


async def test_status_comes_back(user: User, tmp_path: Path) -> None:
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("web", deployment())

        def ready(report: fleet.Report) -> bool:
            status = orjson.loads(report.statuses[0].status or b"{}") if report.statuses else {}
            return bool(status.get("readyReplicas") == 2 and report.statuses[0].health == "Healthy")

        await agent.report("web", ready)


async def test_the_members_own_scaling_is_kept_where_the_template_says_so(user: User, tmp_path: Path) -> None:
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        label = {"resourcetemplate.karmada.io/retain-replicas": "true"}
        agent.want("web", deployment(2, **label))
        await agent.applied("web")
        await user.patch(WEB, {"spec": {"replicas": 5}}, manager="horizontal-pod-autoscaler")
        agent.want("web", deployment(3, **label, version="2"))
        await agent.applied("web")
        live = await user.get(WEB)
        assert live["spec"]["replicas"] == 5
        assert live["metadata"]["labels"]["version"] == "2"
        assert not any(report.drift for report in agent.told)


async def test_after_a_restart_nothing_is_asked_or_written_again(user: User, tmp_path: Path) -> None:
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        for number in range(5):
            agent.want(f"cm{number}", config_map(f"cm{number}"))
        for number in range(5):
            await agent.applied(f"cm{number}")
    before = [await user.get(config_map_ref(f"cm{n}")) for n in range(5)]
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        assert len(agent.desired) == 5
        agent.want("late", config_map("late"))
        await agent.applied("late")
        assert (agent.writer.counters.applies, agent.writer.counters.reads) == (1, 1)
        assert [r.name for r in agent.told] == ["late"], "unchanged reports are not made again"
    assert [await user.get(config_map_ref(f"cm{n}")) for n in range(5)] == before


async def test_after_a_restart_what_happened_meanwhile_is_put_right(user: User, tmp_path: Path) -> None:
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        for name in ("edited", "deleted", "removed", "untouched"):
            agent.want(name, config_map(name))
            await agent.applied(name)
        agent.applier.stop()
        agent.unwant("removed")
    await user.patch(config_map_ref("edited"), {"data": {"color": "green"}})
    await user.delete(config_map_ref("deleted"))
    assert await user.get(config_map_ref("removed"))
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        await agent.report("edited", lambda r: "by kubectl-edit" in r.drift)
        await agent.report("deleted", lambda r: "deleted" in r.drift)
        await agent.removed("removed")
        assert await user.get(config_map_ref("removed")) is None
        for name in ("edited", "deleted"):
            assert (await user.get(config_map_ref(name)))["data"] == {"color": "blue"}


async def test_a_lost_disk_deletes_nothing_and_finds_its_own_again(user: User, tmp_path: Path) -> None:
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("one", config_map("one"))
        agent.want("two", config_map("two"))
        await agent.applied("one")
        await agent.applied("two")
    (tmp_path / "agent.db").unlink()
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("one", config_map("one"))
        await agent.applied("one")
        assert await user.get(config_map_ref("two")), "what nobody speaks of stays"
        agent.unwant("two", config_map_ref("two"))
        await agent.removed("two")
        assert await user.get(config_map_ref("two")) is None


async def test_the_members_owner_decides_what_may_be_written(user: User, tmp_path: Path) -> None:
    allowance = Allowance(namespaces=("team-*", "default"), kinds=("ConfigMap",))
    async with an_agent(user.kubeconfig, tmp_path, allowance=allowance) as agent:
        agent.want("web", deployment())
        await agent.failed("web", "does not allow the kind Deployment.apps")
        agent.want("system", config_map("front", namespace="kube-system"))
        await agent.failed("system", "does not allow the namespace kube-system")
        agent.want("front", config_map("front"))
        await agent.applied("front")
    assert await user.get(WEB) is None


async def test_what_is_not_allowed_is_neither_applied_nor_deleted(user: User, tmp_path: Path) -> None:
    """A Work that was never applied goes in peace; one that was, before the owner changed their mind, stays and says so."""
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("before", config_map("before"))
        await agent.applied("before")
    async with an_agent(user.kubeconfig, tmp_path, allowance=Allowance(namespaces=("team-a",))) as agent:
        agent.want("never", config_map("never"))
        await agent.failed("never", "does not allow the namespace default")
        agent.unwant("never")
        await agent.removed("never")
        agent.unwant("before")
        await agent.failed("before", "does not allow the namespace default")
    assert await user.get(config_map_ref("never")) is None
    assert await user.get(config_map_ref("before")) is not None


async def test_a_namespace_in_a_manifest_opens_no_way_around_the_namespaces(
    user: User, tmp_path: Path
) -> None:
    """An API server takes what lies in no namespace whatever namespace it names."""
    async with an_agent(user.kubeconfig, tmp_path, allowance=Allowance(namespaces=("default",))) as agent:
        agent.want("role", cluster_role("default"))
        await agent.failed("role", "allows nothing outside of its namespaces")
    assert await user.get(CLUSTER_ROLE) is None


async def test_what_lies_in_no_namespace_may_name_none(user: User, tmp_path: Path) -> None:
    """Its watch would tell of an object that is not the Work's. What replaces it is not taken for its leftover."""
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("role", cluster_role("default"))
        await agent.failed("role", "take metadata.namespace out")
        assert await user.get(CLUSTER_ROLE) is None
        agent.want("role", cluster_role())
        await agent.applied("role")
        assert held(agent, "role").leftovers == ()
        assert agent.writer.counters.deletes == 0
        assert await user.get(CLUSTER_ROLE)
        agent.want("role", cluster_role("default"))
        await agent.failed("role", "take metadata.namespace out")
        assert await user.get(CLUSTER_ROLE), "a slip takes nothing away"
        agent.unwant("role")
        await agent.removed("role")
        assert await user.get(CLUSTER_ROLE) is None


async def test_named_namespaces_are_watched_one_by_one(user: User, tmp_path: Path) -> None:
    async with an_agent(user.kubeconfig, tmp_path, allowance=Allowance(namespaces=("default",))) as agent:
        agent.want(
            "space",
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}},
            conflict=fleet.SHARE,
        )
        agent.want("front", config_map("front"))
        await agent.applied("space")
        await agent.applied("front")
        places = {
            (watch.namespace, watch.selector.get("fieldSelector"))
            for watch in agent.watcher._watches.values()
        }
        assert places == {("default", None), ("", "metadata.name=default")}
        await user.patch(config_map_ref("front"), {"data": {"color": "changed"}})
        await agent.report("front", lambda r: bool(r.drift))


async def test_deletions_are_held_to_the_members_own_limit(user: User, tmp_path: Path) -> None:
    async with an_agent(user.kubeconfig, tmp_path, deletions_per_minute=1) as agent:
        for name in ("one", "two"):
            agent.want(name, config_map(name))
            await agent.applied(name)
        agent.unwant("one")
        await agent.removed("one")
        agent.unwant("two")
        await agent.failed("two", "--deletions-per-minute")
        assert await user.get(config_map_ref("two"))


async def test_nonsense_is_reported_and_harms_nobody(user: User, tmp_path: Path) -> None:
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("list", b"[1]")
        agent.want("bare", b"{}")
        agent.want("invalid", {**config_map("front"), "data": {"a": {"not": "text"}}})
        agent.want("no-namespace", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}})
        await agent.failed("list", "manifest 0 is not an object")
        await agent.failed("bare", "manifest 0 lacks apiVersion, kind or metadata.name")
        await agent.failed("invalid", "ConfigMap default/front")
        await agent.failed("no-namespace", "has no namespace")
        agent.want("front", config_map("front"))
        await agent.applied("front")
        for name in ("list", "bare", "invalid", "no-namespace"):
            agent.unwant(name)
            await agent.removed(name)


async def test_an_unreadable_manifest_takes_nothing_away(user: User, tmp_path: Path) -> None:
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("pair", config_map("one"), config_map("two"))
        await agent.applied("pair")
        agent.want("pair", config_map("one"), b"{")
        await agent.failed("pair", "(1/2): manifest 1 is not an object")
        assert await user.get(config_map_ref("two"))


async def test_watches_end_when_nothing_of_their_kind_is_left(user: User, tmp_path: Path) -> None:
    async with an_agent(user.kubeconfig, tmp_path) as agent:
        agent.want("front", config_map("front"))
        await agent.applied("front")
        assert [place[:2] for place in agent.watcher._watches] == [("v1", "ConfigMap")]
        agent.unwant("front")
        await agent.removed("front")
        assert agent.applier._by_ref == {} and agent.applier._works == {}
