"""The recorder: Events that people see with `kubectl describe`, aggregated, bounded, swept."""

from __future__ import annotations

from tests.controllers.hub import Hub, running
from tests.decide.world import cluster, deployment, namespace, policy, selector
from towline.hub.controllers import recorder
from towline.hub.decide.plan import EventNote
from towline.hub.decide.wire import Phase, WorkReport
from towline.hub.store.contract import COMMIT_WRITES_MAX
from towline.kube import names
from towline.kube.objects import Object


def events(hub: Hub) -> list[Object]:
    return [entry.object for entry in hub.cache.list("", "events")]


async def test_events_on_template_and_binding() -> None:
    async with running() as hub:
        await hub.put(namespace("shop"), cluster("m1"), policy("web", [selector(deployment())]), deployment())
        await hub.settle()
        await hub.recorder.flush()
        found = {(e["reason"], e["involvedObject"]["kind"]): e for e in events(hub)}
        assert ("ApplyPolicySucceed", "Deployment") in found
        assert ("ScheduleBindingSucceed", "Deployment") in found
        event = found["ScheduleBindingSucceed", "ResourceBinding"]
        binding = hub.cache.list("work.karmada.io", "resourcebindings")[0]
        assert event["involvedObject"]["uid"] == binding.meta.uid, (
            "although the note was made before the binding had one"
        )
        assert event["metadata"]["namespace"] == "shop" and event["count"] == 1
        assert event["source"]["component"] and event["type"] == "Normal"
        on_cluster = found["CreateExecutionSpaceSucceed", "Cluster"]
        assert on_cluster["metadata"]["namespace"] == "default"


async def test_repetitions_count_up_one_event() -> None:
    async with running() as hub:
        note = EventNote(deployment(), "Warning", "ApplyPolicyFailed", "no")
        hub.recorder.record(note)
        hub.recorder.record(note)
        await hub.recorder.flush()
        hub.users.now += 100
        hub.recorder.record(note)
        await hub.recorder.flush()
        (event,) = events(hub)
        assert event["count"] == 3 and event["firstTimestamp"] < event["lastTimestamp"]


async def test_old_events_are_swept() -> None:
    async with running() as hub:
        for at in range(3):
            hub.recorder.record(EventNote(deployment(f"d{at}"), "Normal", "Old", "x"))
        await hub.recorder.flush()
        hub.users.now += recorder.TTL_SECONDS - 1
        hub.recorder.record(EventNote(deployment("d0"), "Normal", "Old", "x"))
        await hub.recorder.flush()
        hub.users.now += 2
        await hub.recorder.sweep()
        assert [event["involvedObject"]["name"] for event in events(hub)] == ["d0"], (
            "a repeated one is not old"
        )


async def test_too_many_are_dropped_and_counted() -> None:
    async with running() as hub:
        for at in range(recorder.PENDING_MAX + 5):
            hub.recorder.record(EventNote(deployment(f"d{at}"), "Normal", "Many", "x"))
        assert hub.recorder.dropped == 5
        await hub.recorder.flush()
        assert len(events(hub)) == COMMIT_WRITES_MAX, "one commit at a time"


async def test_no_event_appears_in_a_namespace_that_is_being_emptied() -> None:
    async with running() as hub:
        await hub.put(namespace("shop"))
        await hub.users_delete_namespace("shop")
        hub.recorder.record(EventNote(deployment(), "Normal", "Late", "x"))
        await hub.recorder.flush()
        assert events(hub) == []


async def test_drift_is_told_on_the_template() -> None:
    async with running() as hub:
        await hub.put(namespace("shop"), cluster("m1"), policy("web", [selector(deployment())]), deployment())
        await hub.settle()
        hub.say("m1", names.work_name("shop", "web", "Deployment"))
        await hub.later(1)
        work = hub.work("m1", names.work_name("shop", "web", "Deployment"))
        report = WorkReport(
            work.name, work.uid, work.hash, Phase.APPLIED, drift="kubectl-edit changed spec.replicas"
        )
        hub.works.report("m1", [report])
        await hub.recorder.flush()
        (event,) = [e for e in events(hub) if e["reason"] == "DriftReverted"]
        assert event["involvedObject"]["kind"] == "Deployment"
        assert event["message"] == "Put back in cluster m1: kubectl-edit changed spec.replicas"
