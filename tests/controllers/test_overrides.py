"""Override policies over a live cache: what they touch is computed anew, and a rule that fails blocks one cluster and heals."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from tests.controllers.hub import Hub, running
from tests.controllers.test_works import BINDING, SPACE, WEB, WEB_POLICY, WORK, changes_of, placed
from tests.decide.test_overrides import BROKEN, over
from tests.decide.world import cluster, configmap, deployment, namespace, policy, selector
from towline.hub.decide import overrides
from towline.hub.decide.overrides import Candidates
from towline.hub.decide.plan import Snapshot
from towline.hub.decide.wire import Phase
from towline.hub.store import works
from towline.kube import names
from towline.kube.objects import Key, Object, copy

OP = Key("policy.karmada.io", "overridepolicies", "shop", "p")
M1 = Key("cluster.karmada.io", "clusters", "", "m1")
FOR_M1 = {"clusterNames": ["m1"]}
BY_KIND = selector(deployment())


def labels(text: str) -> Object:
    return {"labelsOverrider": [{"operator": "add", "value": {"over": text}}]}


def label(hub: Hub, name: str, work: str = WORK) -> str | None:
    found = orjson.loads(hub.work(name, work).manifests[0])["metadata"]["labels"].get("over")
    return None if found is None else str(found)


def entry(hub: Hub, name: str) -> Object:
    entries = (hub.get(BINDING) or {})["status"]["aggregatedStatus"]
    return next(dict(one) for one in entries if one["clusterName"] == name)


def fully(hub: Hub) -> str | None:
    conditions = (hub.get(BINDING) or {})["status"]["conditions"]
    return next((c["status"] for c in conditions if c["type"] == "FullyApplied"), None)


async def events(hub: Hub, reason: str) -> list[str]:
    await hub.recorder.flush()
    found = [event.object for event in hub.cache.list("", "events")]
    assert all(
        event["involvedObject"]["kind"] == "Deployment" for event in found if event["reason"] == reason
    )
    return sorted(event["message"] for event in found if event["reason"] == reason)


async def relabel(hub: Hub, name: str, **to: str) -> None:
    await hub.put(cluster(name, to))


# --- what is computed anew -----------------------------------------------------------------------------------


async def test_a_policy_touches_what_it_selects_and_what_it_selected() -> None:
    async with running() as hub:
        await placed(hub)
        other = deployment("other")
        await hub.put(policy("other", [selector(other)]), other, configmap())
        await hub.settle()
        second = names.work_name("shop", "other", "Deployment")
        assert label(hub, "m1") is None
        seen = changes_of(hub)
        await hub.put(
            over("p", resourceSelectors=[selector(deployment(), name="web")], overriders=labels("a"))
        )
        assert sorted(seen) == [("m1", WORK), ("m2", WORK)] and label(hub, "m2") == "a"
        await hub.put(
            over("p", resourceSelectors=[selector(deployment(), name="other")], overriders=labels("b"))
        )
        assert label(hub, "m1") is None and label(hub, "m1", second) == "b"
        await hub.delete(OP)
        assert label(hub, "m1", second) is None
        await hub.settle()
        assert await events(hub, "ApplyOverridePolicySucceed") == [
            "Apply override policy(shop/p) for cluster(m1) succeed.",
            "Apply override policy(shop/p) for cluster(m1) succeed.",
            "Apply override policy(shop/p) for cluster(m2) succeed.",
            "Apply override policy(shop/p) for cluster(m2) succeed.",
        ]


async def test_a_cluster_policy_touches_templates_of_every_namespace_and_hub_namespaces() -> None:
    async with running() as hub:
        await placed(hub)
        await hub.put(over("c", None, overriders=labels("c"), targetCluster=FOR_M1))
        assert (label(hub, "m1"), label(hub, "m1", SPACE)) == ("c", "c")
        assert (label(hub, "m2"), label(hub, "m2", SPACE)) == (None, None)
        await hub.put(over("c", None, resourceSelectors=[selector(namespace("x"))], overriders=labels("d")))
        assert (label(hub, "m1"), label(hub, "m1", SPACE), label(hub, "m2", SPACE)) == (None, "d", "d")
        await hub.delete(Key("policy.karmada.io", "clusteroverridepolicies", "", "c"))
        assert (label(hub, "m1"), label(hub, "m1", SPACE)) == (None, None)


async def test_a_clusters_labels_count_at_once_and_only_for_it() -> None:
    async with running() as hub:
        await placed(hub)
        gold = {"labelSelector": {"matchLabels": {"tier": "gold"}}}
        await hub.put(over("p", overrideRules=[{"targetCluster": gold, "overriders": labels("gold")}]))
        await hub.put(over("c", None, resourceSelectors=[selector(namespace("x"))],
                           variables="Enabled", overriders=labels("${cluster.labels[?'tier'].orValue('none')}")))  # fmt: skip
        assert (label(hub, "m1"), label(hub, "m2"), label(hub, "m1", SPACE)) == (None, None, "none")
        seen = changes_of(hub)
        await relabel(hub, "m1", tier="gold")
        assert (label(hub, "m1"), label(hub, "m2"), label(hub, "m1", SPACE)) == ("gold", None, "gold")
        assert sorted(seen) == sorted([("m1", WORK), ("m1", SPACE)])


async def test_a_clusters_status_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as hub:
        await placed(hub)
        await hub.put(over("p", targetCluster=FOR_M1, overriders=labels("a")))
        await hub.settle()
        rendered: list[Key] = []
        monkeypatch.setattr(hub.works, "_binding", lambda key, only="": rendered.append(key))
        beating = copy(hub.get(M1))
        beating["status"] = {"conditions": [], "resourceSummary": {"allocated": {"cpu": "1"}}}
        await hub.put(beating)
        assert rendered == []
        beating["spec"]["region"] = "eu"
        await hub.put(beating)
        assert rendered == [BINDING]


async def test_a_policys_label_is_no_change_of_it() -> None:
    async with running() as hub:
        await placed(hub)
        await hub.put(over("p", overriders=labels("a")))
        await hub.settle()
        seen = changes_of(hub)
        labelled = copy(hub.get(OP))
        labelled["metadata"]["labels"] = {"x": "y"}
        await hub.put(labelled)
        await hub.settle()
        assert seen == []


async def test_a_stored_report_does_not_render_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as hub:
        await placed(hub)
        await hub.put(over("p", variables="Enabled", overriders=labels("${cluster.name}")))
        await hub.settle()
        before = hub.work("m1", WORK)
        hub.say("m1", WORK, status={"replicas": 1})
        await hub.later(1)
        after = hub.work("m1", WORK)
        assert after is not before and after.pieces[0][4] is before.pieces[0][4]


async def test_policies_are_gone_through_once_for_a_kind_and_not_for_each_template(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as hub:
        await placed(hub)
        asked: list[str] = []
        whole = overrides.candidates

        def counted(snapshot: Snapshot, namespace: str, api_version: str, kind: str) -> Candidates:
            asked.append(kind)
            return whole(snapshot, namespace, api_version, kind)

        monkeypatch.setattr(overrides, "candidates", counted)
        await hub.put(over("p", overriders=labels("a")))
        await hub.settle()
        assert asked == ["Deployment"]
        for n in range(3):
            web = copy(hub.get(WEB))
            web["spec"]["minReadySeconds"] = n
            await hub.put(web)
            await hub.settle()
        assert asked == ["Deployment"]
        await hub.put(over("p", overriders=labels("b")))
        assert asked == ["Deployment"] * 2 and label(hub, "m1") == "b"


async def test_a_policy_that_concerns_much_leaves_others_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as hub:
        await placed(hub)
        await hub.put(*(deployment(f"d{n}") for n in range(9)), policy("all", [BY_KIND]))
        await hub.settle()
        monkeypatch.setattr(works, "WORKS_A_TURN", 4)
        all_works = [WORK, *(names.work_name("shop", f"d{n}", "Deployment") for n in range(9))]
        turns: list[int] = []
        hub.works.subscribe_records(lambda changes: turns.append(len(list(changes))))
        await hub.put(over("p", overriders=labels("a")))
        await hub.put(over("p", overriders=labels("b")))
        for _ in range(20):
            await asyncio.sleep(0)
        assert max(turns) <= 4 and len(turns) >= 5
        assert {label(hub, name, work) for name in ("m1", "m2") for work in all_works} == {"b"}


async def test_works_show_what_was_applied() -> None:
    async with running() as hub:
        await placed(hub)
        await hub.put(over("p", overriders=labels("a")))
        found = hub.view.get(Key("work.karmada.io", "works", "karmada-es-m1", WORK))
        assert found is not None
        told = orjson.loads(found.object["metadata"]["annotations"][names.APPLIED_OVERRIDES])
        assert told == [{"policyName": "p", "overriders": labels("a")}]


# --- a rule that cannot be carried out -----------------------------------------------------------------------

BAD: dict[str, Any] = {
    "overrideRules": [{"overriders": labels("new")}, {"targetCluster": FOR_M1, "overriders": BROKEN}]
}
WHY = "spec.overrideRules[1].overriders.plaintext[0]: cannot remove /spec/absent: the path does not exist"


async def working(hub: Hub) -> None:
    await placed(hub)
    await hub.put(over("p", overriders=labels("old")))
    await hub.settle()
    for name in ("m1", "m2"):
        hub.say(name, WORK, status={"replicas": 3})
    await hub.later(1)
    assert fully(hub) == "True"


async def test_a_broken_rule_blocks_one_cluster_and_says_so() -> None:
    async with running() as hub:
        await working(hub)
        before = hub.work("m1", WORK)
        await hub.put(over("p", **BAD))
        await hub.later(1)
        held = hub.work("m1", WORK)
        assert held.hash == before.hash and held.blocked is not None, "it keeps what it has"
        assert (label(hub, "m1"), label(hub, "m2")) == ("old", "new")
        assert entry(hub, "m1") == {
            "clusterName": "m1", "applied": False, "health": "Healthy", "status": {"replicas": 3},
            "appliedMessage": f"overrides cannot be applied: override policy(shop/p): {WHY}",
        }  # fmt: skip
        assert entry(hub, "m2")["applied"] is True and fully(hub) == "False"
        assert await events(hub, "ApplyOverridePolicyFailed") == [
            f"Apply override policy(shop/p) for cluster(m1) failed: {WHY}"
        ]
        shown = hub.view.get(Key("work.karmada.io", "works", "karmada-es-m1", WORK))
        assert shown is not None
        told = {c["type"]: (c["status"], c["message"]) for c in shown.object["status"]["conditions"]}
        assert told["Applied"] == ("False", f"override policy(shop/p): {WHY}")
        commits = hub.cache.commits
        hub.say("m1", WORK, status={"replicas": 3})
        await hub.later(1)
        assert hub.cache.commits == commits, "what the agent said before is known"
        hub.say("m1", WORK, status={"replicas": 2})
        await hub.later(1)
        assert entry(hub, "m1")["status"] == {"replicas": 2} and entry(hub, "m1")["applied"] is False
        assert hub.works.reports_of(BINDING) == {}


async def test_a_cluster_that_never_had_it_gets_nothing() -> None:
    async with running() as hub:
        await hub.put(over("p", **BAD))
        await placed(hub)
        await hub.later(1)
        blocked = hub.work("m1", WORK)
        assert blocked.manifests == () and blocked.held_back and not blocked.removing
        assert entry(hub, "m1")["applied"] is False and entry(hub, "m1")["health"] == "Unknown"
        assert label(hub, "m2") == "new"
        await hub.put(over("p", overriders=labels("fine")))
        await hub.later(1)
        assert label(hub, "m1") == "fine" and "applied" not in entry(hub, "m1")
        hub.say("m1", WORK)
        hub.say("m2", WORK)
        await hub.later(1)
        assert entry(hub, "m1")["applied"] is True and fully(hub) == "True"


@pytest.mark.parametrize("fixed_by", ["the policy as it was", "another policy", "its end", "the template"])
async def test_it_heals_by_itself(fixed_by: str) -> None:
    async with running() as hub:
        await working(hub)
        before = hub.work("m1", WORK)
        await hub.put(over("p", **BAD))
        await hub.later(1)
        if fixed_by == "the policy as it was":
            await hub.put(over("p", overriders=labels("old")))
            await hub.later(1)
            assert hub.work("m1", WORK).hash == before.hash
        elif fixed_by == "another policy":
            await hub.put(over("p", overriders=labels("other")))
        elif fixed_by == "its end":
            await hub.delete(OP)
        else:
            web = copy(hub.get(WEB))
            web["spec"]["absent"] = True
            await hub.put(web)
        await hub.later(1)
        healed = hub.work("m1", WORK)
        assert healed.blocked is None and healed.report_hash == b"", "the agent is asked"
        assert "applied" not in entry(hub, "m1") and entry(hub, "m1")["status"] == {"replicas": 3}
        hub.say("m1", WORK, status={"replicas": 3})
        hub.say("m2", WORK, status={"replicas": 3})
        await hub.later(1)
        assert entry(hub, "m1")["applied"] is True and fully(hub) == "True"
        assert hub.works.reports_of(BINDING) == {}


async def test_the_answer_may_come_before_the_entry_was_taken_back() -> None:
    async with running() as hub:
        await working(hub)
        await hub.put(over("p", **BAD))
        await hub.later(1)
        await hub.put(over("p", overriders=labels("old")))
        hub.say("m1", WORK, status={"replicas": 3})
        await hub.later(1)
        assert entry(hub, "m1")["applied"] is True and fully(hub) == "True"


async def test_over_a_restart_nothing_is_taken_away() -> None:
    async with running() as hub:
        await working(hub)
        await hub.put(over("p", **BAD))
        await hub.later(1)
        store, known = hub.store, entry(hub, "m1")
    async with running(store) as again:
        held = again.work("m1", WORK)
        assert held.held_back and not held.removing and held.manifests == ()
        assert entry(again, "m1") == known
        await again.later(1)
        assert again.work("m1", WORK).report_hash != b"", "what the agent says of it is known"


async def test_a_cluster_that_is_not_wanted_any_more_loses_its_copy_although_it_is_blocked() -> None:
    async with running() as hub:
        await working(hub)
        await hub.put(over("p", **BAD))
        await hub.later(1)
        only_m2 = policy("web", [BY_KIND], {"clusterAffinity": {"clusterNames": ["m2"]}})
        await hub.put(only_m2)
        await hub.settle()
        assert hub.work("m1", WORK).removing
        hub.say("m1", WORK, Phase.REMOVED)
        hub.say("m2", WORK, status={"replicas": 3})
        await hub.later(1)
        assert hub.works.get("m1", WORK) is None and fully(hub) == "True"
        await hub.put(WEB_POLICY)
        await hub.later(1)
        assert hub.work("m1", WORK).held_back and entry(hub, "m1")["applied"] is False
