"""The table of answers: who waits for what, how long answers hold, and what a decision sees of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

import towline.hub.store.answers as answers_module
from tests.controllers.hub import Hub, running
from tests.decide.world import READY, cluster, deployment, namespace, policy, selector
from towline.hub.decide.plan import Ask
from towline.hub.decide.scheduling.estimates import HOLD_SECONDS, NO_ANSWER, missing
from towline.hub.store.answers import AnswerTable
from towline.kube.objects import Key
from towline.kube.wishes import Wish, of_replicas

ONE, TWO = (of_replicas({"resourceRequest": {"cpu": cpu}}) for cpu in ("1", "2"))


class Asked:
    """A table with agents in a, b and c; the test is the loop and the gateway."""

    def __init__(self, *able: str) -> None:
        self.now = 1000.0
        self.table = AnswerTable()
        self.carried: list[tuple[str, str]] = []
        self.woken: list[str] = []
        self.table.carried_by(lambda cluster, wish: self.carried.append((cluster, wish.key)))
        for name in able or ("a", "b", "c"):
            self.table.connected(name)

    def ask(self, who: str, wish: Wish, *clusters: str) -> None:
        asks = [Ask(cluster, wish) for cluster in clusters]
        self.table.ask(who, asks, lambda: self.woken.append(who), self.now)

    def answer(self, cluster: str, wish: Wish, room: int) -> None:
        self.table.answered(cluster, wish.key, room, self.now)

    def said(self, wish: Wish, who: str = "") -> Mapping[str, int]:
        return self.table.at(self.now, who).said(wish.key)


def test_who_asks_is_woken_when_all_have_answered() -> None:
    asked = Asked()
    asked.ask("web", ONE, "a", "b")
    assert asked.carried == [("a", ONE.key), ("b", ONE.key)]
    asked.answer("a", ONE, 3)
    assert asked.woken == []
    asked.answer("b", ONE, NO_ANSWER)
    assert asked.woken == ["web"] and asked.said(ONE) == {"a": 3, "b": NO_ANSWER}
    assert missing(ONE, ["a", "b"], asked.table.at(asked.now)) == ()


def test_a_question_under_way_is_asked_once_for_all_who_wait() -> None:
    asked = Asked()
    asked.ask("web", ONE, "a")
    asked.ask("api", ONE, "a", "b")
    assert asked.carried == [("a", ONE.key), ("b", ONE.key)]
    asked.answer("a", ONE, 3)
    assert asked.woken == ["web"]
    asked.answer("b", ONE, 3)
    assert asked.woken == ["web", "api"]


def test_who_asks_anew_waits_for_that_only() -> None:
    asked = Asked()
    asked.ask("web", ONE, "a")
    asked.ask("web", TWO, "b")
    asked.answer("a", ONE, 3)
    assert asked.woken == []
    asked.answer("b", TWO, 3)
    assert asked.woken == ["web"]


def test_nobody_waits_for_a_cluster_that_went() -> None:
    asked = Asked()
    asked.ask("web", ONE, "a", "b")
    asked.answer("a", ONE, 3)
    asked.table.disconnected("b")
    assert asked.woken == ["web"] and "b" not in asked.table.at(asked.now).able
    asked.ask("web", ONE, "b")
    assert asked.woken == ["web", "web"], "a question that nobody can answer does not wait"


def test_nobody_waits_for_an_earlier_session() -> None:
    asked = Asked()
    asked.ask("web", ONE, "a")
    asked.table.connected("a")
    assert asked.woken == ["web"] and "a" in asked.table.at(asked.now).able


def test_an_answer_holds_for_ten_seconds() -> None:
    asked = Asked()
    asked.answer("a", ONE, 3)
    asked.now += HOLD_SECONDS - 0.1
    assert asked.said(ONE) == {"a": 3}
    asked.now += 0.1
    assert asked.said(ONE) == {}


def test_an_answer_ends_when_the_clusters_room_changes() -> None:
    asked = Asked()
    for name in ("a", "b"):
        asked.answer(name, ONE, 3)
    asked.now += 1
    asked.table.room_changed("a", 0, asked.now)
    assert asked.said(ONE) == {"b": 3}
    asked.answer("a", ONE, 2)
    assert asked.said(ONE) == {"a": 2, "b": 3}


def test_who_waited_sees_all_answers_once_although_room_changes_meanwhile() -> None:
    asked = Asked()
    asked.ask("web", ONE, "a", "b")
    asked.now += 1
    asked.answer("a", ONE, 3)
    asked.now += 1
    asked.table.room_changed("a", 0, asked.now)
    asked.answer("b", ONE, 4)
    assert asked.said(ONE, "another") == {"b": 4}
    assert asked.said(ONE, "web") == {"a": 3, "b": 4}
    assert asked.said(ONE, "web") == {"b": 4}


def test_what_the_sums_do_not_show_is_told_when_it_is_new() -> None:
    asked = Asked()
    told: list[str] = []
    stop = asked.table.subscribe(told.append)
    for openings in (4, 4, 5, 5):
        asked.table.room_changed("a", openings, asked.now)
    assert told == ["a"]
    stop()
    asked.table.room_changed("a", 6, asked.now)
    assert told == ["a"]


def test_the_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers_module, "ANSWERS_MAX", 10)
    asked = Asked()
    wishes = [of_replicas({"resourceRequest": {"cpu": str(n)}}) for n in range(1, 9)]
    for wish in wishes:
        for name in ("a", "b", "c"):
            asked.answer(name, wish, 1)
    assert len(asked.table) <= 10 and asked.said(wishes[-1]) == {"a": 1, "b": 1, "c": 1}
    asked.now += HOLD_SECONDS
    asked.answer("a", ONE, 1)
    assert len(asked.table) == 1, "what does not hold any more goes"


# --- through the loop ------------------------------------------------------------------------------------------


AGGREGATED: dict[str, Any] = {"replicaScheduling": {"replicaDivisionPreference": "Aggregated"}}


BINDING = Key("work.karmada.io", "resourcebindings", "shop", "web-deployment")
TEMPLATE = Key("apps", "deployments", "shop", "web")
STATUS = {
    "conditions": [READY],
    "resourceSummary": {"allocatable": {"cpu": "10", "pods": "100"}},
    "apiEnablements": [
        {"groupVersion": "apps/v1", "resources": [{"name": "deployments", "kind": "Deployment"}]}
    ],
}


async def apply(hub: Hub, *clusters: str) -> list[tuple[str, Wish]]:
    """A fleet where m1 has an agent that counts, and a Deployment divided by room. Answers the questions that are carried, as
    they come."""
    carried: list[tuple[str, Wish]] = []
    hub.placing.answers.carried_by(lambda cluster, wish: carried.append((cluster, wish)))
    hub.placing.answers.connected("m1")
    await hub.put(namespace(), *({**cluster(name), "status": STATUS} for name in clusters))
    web = deployment(requests={"cpu": "500m"})
    await hub.put(policy(selectors=[selector(web)], placement=AGGREGATED), web)
    await hub.settle()
    return carried


def targets(hub: Hub) -> dict[str, int]:
    spec = (hub.get(BINDING) or {}).get("spec") or {}
    return {row["name"]: row["replicas"] for row in spec.get("clusters") or ()}


async def test_the_loop_asks_and_decides_again() -> None:
    async with running() as hub:
        carried = await apply(hub, "m1", "m2")
        assert [name for name, _ in carried] == ["m1"], "m2 has no agent that could answer"
        assert hub.get(BINDING) is None and hub.loop.reasons(TEMPLATE)["outcome"] == "Asking"
        assert carried[0][1].namespace == "shop" and carried[0][1].totals == (("cpu", 500),)
        hub.placing.answers.answered("m1", carried[0][1].key, 0, hub.now())
        await hub.settle()
        assert targets(hub) == {"m2": 3} and len(carried) == 1
        decisions = hub.loop.decisions
        await hub.later(20)
        assert len(carried) == 1, "what is placed asks nobody"
        assert hub.loop.decisions < decisions + 10


async def test_what_waits_for_room_is_decided_again_when_there_may_be_some_unseen() -> None:
    async with running() as hub:
        carried = await apply(hub, "m1")
        table, key = hub.placing.answers, carried[0][1].key
        table.room_changed("m1", 1, hub.now())
        table.answered("m1", key, 2, hub.now())
        await hub.settle()
        assert targets(hub) == {} and hub.loop.reasons(TEMPLATE)["outcome"] == "Unschedulable"
        await hub.later(2)
        table.room_changed("m1", 2, hub.now())
        await hub.settle()
        assert len(carried) == 2, "the agent is asked anew"
        table.answered("m1", key, 3, hub.now())
        await hub.settle()
        assert targets(hub) == {"m1": 3}


async def test_room_that_comes_between_two_agents_answers_is_asked_about_again() -> None:
    async with running() as hub:
        carried = await apply(hub, "m1", "m2")
        table, key = hub.placing.answers, carried[0][1].key
        await hub.put({**cluster("m2"), "status": {**STATUS, "resourceSummary": {"allocatable": {}}}})
        table.answered("m1", key, 0, hub.now())
        await hub.settle()
        table.connected("m2")
        await hub.later(20)
        carried.clear()
        await hub.put({**cluster("m2"), "status": STATUS})
        await hub.settle()
        assert [name for name, _ in carried] == ["m1", "m2"]
        table.answered("m1", key, 0, hub.now())
        table.room_changed("m1", 1, hub.now() + 0.1)
        table.room_changed("m1", 2, hub.now() + 0.1)
        hub.users.now += 0.2
        table.answered("m2", key, 0, hub.now())
        await hub.settle()
        assert hub.loop.reasons(TEMPLATE)["outcome"] == "Unschedulable", "by what was said"
        await hub.later(4)
        assert [name for name, _ in carried] == ["m1", "m2", "m1"]
        table.answered("m1", key, 3, hub.now())
        await hub.settle()
        assert targets(hub) == {"m1": 3}
