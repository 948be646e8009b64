"""Room for more replicas: from a Cluster's sums, from its resource models, from what agents said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from tests.decide.world import cluster
from towline.hub.decide.scheduling import Outcome, Request, View, asks_agents, schedule
from towline.hub.decide.scheduling.estimates import (
    AGENT,
    MODELS,
    NO_ANSWER,
    NO_SUMMARY,
    PODS_A_NODE,
    Answers,
    missing,
    replicas_in,
    room_of,
)
from towline.hub.decide.scheduling.members import Members
from towline.kube import amounts
from towline.kube.objects import Object
from towline.kube.packing import UNLIMITED
from towline.kube.wishes import AMOUNT_MAX, Wish, of_components, of_replicas

NOTHING: Mapping[str, int] = {}
GRADES = [("0", "0"), ("1", "4Gi"), ("2", "16Gi"), ("4", "32Gi")]


def member(
    allocatable: Mapping[str, str] | None = None,
    allocated: Mapping[str, str] | None = None,
    allocating: Mapping[str, str] | None = None,
    counts: Mapping[int, int] | None = None,
) -> Object:
    """A Cluster with these sums, and with `counts` nodes of the grades in GRADES."""
    summary: Object = {
        "allocatable": allocatable or {},
        "allocated": allocated or {},
        "allocating": allocating or {},
    }
    found = cluster("m1")
    if counts is not None:
        ranges = [
            {"grade": g, "ranges": [{"name": "cpu", "min": cpu}, {"name": "memory", "min": memory}]}
            for g, (cpu, memory) in enumerate(GRADES)
        ]
        found["spec"]["resourceModels"] = ranges
        summary["allocatableModelings"] = [{"grade": g, "count": n} for g, n in counts.items()]
    return {**found, "status": {"resourceSummary": summary}}


def wish_for(**requests: str) -> Wish:
    return of_replicas({"resourceRequest": {k.replace("_", "/"): v for k, v in requests.items()}}, "shop")


def fits(
    found: Object, wish: Wish, assumed: Mapping[str, int] = NOTHING, said: int = NO_ANSWER
) -> tuple[int, str]:
    count, source = replicas_in(room_of(found), wish, assumed, said)
    return count, source.removeprefix("resourceSummary: ")


BIG = {"cpu": "10", "memory": "40Gi", "pods": "100"}


@pytest.mark.parametrize(
    ("found", "wish", "wanted"),
    [
        pytest.param(member(BIG), wish_for(cpu="500m", memory="1Gi"), (20, "cpu"), id="the scarcest resource bounds"),
        pytest.param(member(BIG), wish_for(), (100, "pods"), id="no requests: slots for pods"),
        pytest.param(member(BIG), of_replicas(None), (100, "pods"), id="no requirements: slots for pods"),
        pytest.param(
            member(BIG, {"cpu": "3500m", "pods": "10"}, {"cpu": "1500m", "pods": "5"}),
            wish_for(cpu="1"), (5, "cpu"), id="what pods have and what they wait for is taken",
        ),
        pytest.param(
            member(BIG, {"pods": "90"}, {"pods": "20"}), wish_for(cpu="1m"), (0, "pods"), id="no slot left"
        ),
        pytest.param(member({"cpu": "4"}), wish_for(cpu="1"), (0, "pods"), id="no pods in the summary: none fit"),
        pytest.param(member(BIG), wish_for(nvidia_gpu="1"), (0, "nvidia/gpu"), id="a resource it does not have"),
        pytest.param(member(BIG), wish_for(nvidia_gpu="0"), (100, "pods"), id="a request for nothing"),
        pytest.param(member(BIG, {"cpu": "20"}), wish_for(cpu="1"), (0, "cpu"), id="more taken than there is"),
        pytest.param(
            member({"pods": "100", "memory": "1G"}), wish_for(memory="500M"), (2, "memory"),
            id="decimal amounts count in bytes",
        ),
        pytest.param(
            member({"pods": "100", "memory": "1Gi"}), wish_for(memory="500M"), (2, "memory"),
            id="decimal and binary amounts meet in bytes",
        ),
        pytest.param(
            member({"pods": "100", "cpu": "1.0009"}), wish_for(cpu="500.5m"), (1, "cpu"),
            id="requests are rounded up, offers down",
        ),
        pytest.param(cluster("m1"), wish_for(), (0, NO_SUMMARY), id="no resourceSummary: nothing is known to fit"),
    ],
)  # fmt: skip
def test_room_by_the_summary(found: Object, wish: Wish, wanted: tuple[int, str]) -> None:
    assert fits(found, wish) == wanted


@pytest.mark.parametrize(
    ("found", "wish", "wanted"),
    [
        pytest.param(
            member(BIG, counts={1: 3, 2: 1}), wish_for(cpu="700m", memory="1Gi"), (5, MODELS),
            id="whole pods on each node of a grade",
        ),
        pytest.param(member(BIG, counts={0: 50}), wish_for(cpu="1m"), (0, MODELS), id="the lowest grade has nothing"),
        pytest.param(
            member({**BIG, "nvidia/gpu": "3"}, counts={3: 2}), wish_for(nvidia_gpu="1", cpu="1"), (3, "nvidia/gpu"),
            id="a resource that the models do not know is taken from the summary",
        ),
        pytest.param(
            member({**BIG, "nvidia/gpu": "3"}, counts={0: 9}), wish_for(nvidia_gpu="1"), (3, "nvidia/gpu"),
            id="models that know nothing of what is requested say nothing",
        ),
        pytest.param(
            member({"cpu": "100", "pods": "900"}, counts={3: 2}), wish_for(cpu="10m"), (2 * PODS_A_NODE, MODELS),
            id="a node has 110 slots",
        ),
        pytest.param(
            member({"cpu": "1", "pods": "100"}, counts={3: 2}), wish_for(cpu="500m"), (2, "cpu"),
            id="models never promise more than the summary",
        ),
        pytest.param(
            member(BIG, counts={7: 2, 1: 1}), wish_for(cpu="1"), (10, "cpu"),
            id="nodes of a grade that the spec has no more: the summary alone",
        ),
    ],
)  # fmt: skip
def test_room_by_resource_models(found: Object, wish: Wish, wanted: tuple[int, str]) -> None:
    assert fits(found, wish) == wanted


def component(replicas: int, **requests: str) -> Object:
    return {"name": "c", "replicas": replicas, "replicaRequirements": {"resourceRequest": requests}}


@pytest.mark.parametrize(
    ("found", "components", "wanted"),
    [
        pytest.param(member(BIG), [component(1, cpu="1"), component(4, cpu="500m")], (3, "cpu"), id="all parts count"),
        pytest.param(member({"pods": "11"}), [component(1), component(3)], (2, "pods"), id="a slot for each pod"),
        pytest.param(
            member({"pods": "99", "memory": "2Gi"}),
            [component(1, memory="500M"), component(1, memory="512Ki")], (4, "memory"),
            id="decimal and binary amounts in one set",
        ),
        pytest.param(
            member(BIG, counts={1: 4}), [component(1, cpu="600m"), component(2, cpu="400m")], (2, MODELS),
            id="whole sets on the nodes that the models describe",
        ),
        pytest.param(member(BIG), [component(0, cpu="1")], (UNLIMITED, "nothing to run"), id="nothing to run"),
    ],
)  # fmt: skip
def test_room_for_sets_of_components(
    found: Object, components: list[Object], wanted: tuple[int, str]
) -> None:
    assert fits(found, of_components(components, "shop")) == wanted


@pytest.mark.parametrize(
    ("found", "assumed", "wanted"),
    [
        pytest.param(member(BIG), {"cpu": 2500, "pods": 5}, (15, "cpu"), id="of the summary"),
        pytest.param(member(BIG), {"pods": 95}, (5, "pods"), id="pods alone"),
        pytest.param(member(BIG), {"cpu": 99_000}, (0, "cpu"), id="more than there is"),
        pytest.param(member(BIG, counts={1: 4}), {"cpu": 1100, "pods": 1}, (5, MODELS), id="of the nodes of models"),
        pytest.param(member(BIG), {"nvidia/gpu": 4}, (20, "cpu"), id="of what nobody asks for here"),
    ],
)  # fmt: skip
def test_what_is_assumed_is_taken(found: Object, assumed: Mapping[str, int], wanted: tuple[int, str]) -> None:
    assert fits(found, wish_for(cpu="500m"), assumed) == wanted


# --- agents ----------------------------------------------------------------------------------------------------

WISH = wish_for(cpu="500m")


GRADED = member(BIG, counts={1: 4})  # eight replicas by the models


@pytest.mark.parametrize(
    ("found", "said", "assumed", "wanted"),
    [
        pytest.param(GRADED, NO_ANSWER, {}, (8, MODELS), id="asked in vain: the models count"),
        pytest.param(member(BIG), NO_ANSWER, {}, (20, "cpu"), id="asked in vain: the sums count"),
        pytest.param(member(BIG), 7, {}, (7, AGENT), id="fewer than the sums say"),
        pytest.param(member(BIG), 30, {}, (20, "cpu"), id="more than the sums say"),
        pytest.param(GRADED, 14, {}, (14, AGENT), id="nodes that were counted stand in for models"),
        pytest.param(member(BIG), 0, {}, (0, AGENT), id="none"),
        pytest.param(member(BIG), 7, {"cpu": 1200, "pods": 2}, (4, AGENT), id="what is assumed is taken of it"),
        pytest.param(cluster("m1"), 7, {}, (0, NO_SUMMARY), id="a cluster that says nothing of its sums"),
    ],
)  # fmt: skip
def test_the_agents_answer(
    found: Object, said: int, assumed: Mapping[str, int], wanted: tuple[int, str]
) -> None:
    assert fits(found, WISH, assumed, said) == wanted


class Said:
    def __init__(self, able: set[str], answers: Mapping[str, int]) -> None:
        self.able = able
        self._answers = answers

    def said(self, key: str) -> Mapping[str, int]:
        return self._answers if key == WISH.key else {}

    def when(self, key: str, cluster: str) -> float:
        return 0.0


def test_only_connected_agents_that_have_not_said_are_asked() -> None:
    answers = Said({"a", "b", "c"}, {"b": 3, "c": NO_ANSWER})
    assert missing(WISH, ["a", "b", "c", "away"], answers) == (("a", WISH),)
    assert missing(wish_for(cpu="1"), ["c", "away"], answers)[0].cluster == "c"
    assert missing(WISH, ["a"], Said(set(), {})) == ()


DYNAMIC = {"weightPreference": {"dynamicWeight": "AvailableReplicas"}}
ONE_CLUSTER = [{"spreadByField": "cluster", "minGroups": 1, "maxGroups": 1}]


@pytest.mark.parametrize(
    ("scheduling", "constraints", "components", "wanted"),
    [
        pytest.param(None, (), (), False, id="no division"),
        pytest.param({"replicaSchedulingType": "Duplicated"}, (), (), False, id="Duplicated"),
        pytest.param({"replicaSchedulingType": "Divided"}, (), (), False, id="equal weights"),
        pytest.param({"weightPreference": {"staticWeightList": [{"weight": 1}]}}, (), (), False, id="static weights"),
        pytest.param(DYNAMIC, (), (), True, id="dynamic weights"),
        pytest.param({"replicaDivisionPreference": "Aggregated"}, (), (), True, id="Aggregated"),
        pytest.param(None, ONE_CLUSTER, [component(1)], True, id="sets of components in one cluster"),
        pytest.param(None, (), [component(1)], False, id="sets of components in all clusters"),
        pytest.param(None, ONE_CLUSTER, (), False, id="Duplicated under a spread constraint"),
    ],
)  # fmt: skip
def test_who_asks_agents(scheduling: Any, constraints: Any, components: Any, wanted: bool) -> None:
    placement = {"replicaScheduling": scheduling, "spreadConstraints": constraints}
    assert asks_agents(Request(placement, 3, True, {}, "uid", components=tuple(components))) is wanted


def asking(answers: Answers, request: Request) -> Outcome:
    members = Members.of(
        {**member(BIG), "metadata": {"name": name, "labels": {}}} for name in ("a", "b", "c")
    )
    return schedule(request, View(members, answers=answers))


AGGREGATED = Request(
    {"replicaScheduling": {"replicaDivisionPreference": "Aggregated"}}, 9, True, {}, "uid", namespace="shop",
    requirements={"resourceRequest": {"cpu": "500m"}},
)  # fmt: skip


def test_a_decision_first_asks_the_agents_that_can_answer() -> None:
    outcome = asking(Said({"a", "c"}, {"c": 4}), AGGREGATED)
    assert outcome.asks == (("a", outcome.asks[0].wish),) and outcome.targets is None and not outcome.success
    assert outcome.asks[0].wish.key == WISH.key


def test_answers_lower_what_a_cluster_can_take() -> None:
    outcome = asking(Said({"a", "b", "c"}, {"a": 2, "b": NO_ANSWER, "c": 0}), AGGREGATED)
    assert not outcome.asks
    rows = outcome.traces[0].data()["clusters"]
    assert [(row["available"], row["availableFrom"]) for row in rows.values()] == [
        (2, AGENT), (20, "resourceSummary: cpu"), (0, AGENT),
    ]  # fmt: skip


def test_one_that_never_asks_ignores_what_others_were_told() -> None:
    static = replace(AGGREGATED, placement={"replicaScheduling": {"replicaSchedulingType": "Duplicated"}})
    outcome = asking(Said({"a", "b", "c"}, {"a": 0}), static)
    assert outcome.targets == {"a": 9, "b": 9, "c": 9}


# --- wishes ----------------------------------------------------------------------------------------------------


def test_equal_wishes_have_equal_keys() -> None:
    claim = {"nodeSelector": {"disk": "ssd"}}
    one = of_replicas({"resourceRequest": {"cpu": "1", "memory": "1Gi"}, "nodeClaim": claim}, "shop")
    same = of_replicas({"nodeClaim": claim, "resourceRequest": {"memory": "1024Mi", "cpu": "1000m"}}, "shop")
    others = [
        of_replicas({"resourceRequest": {"cpu": "1", "memory": "1Gi"}, "nodeClaim": claim}, "other"),
        of_replicas({"resourceRequest": {"cpu": "1", "memory": "1Gi"}}, "shop"),
        of_replicas(
            {"resourceRequest": {"cpu": "1"}, "nodeClaim": claim, "priorityClassName": "high"}, "shop"
        ),
    ]
    assert one.key == same.key
    assert len({one.key, *(other.key for other in others)}) == 4


def test_what_no_message_can_carry_is_capped() -> None:
    assert dict(of_replicas({"resourceRequest": {"cpu": "9E"}}).totals) == {"cpu": AMOUNT_MAX}


# --- properties ------------------------------------------------------------------------------------------------

suffixed = st.builds(
    lambda n, s: f"{n}{s}", st.integers(0, 5000), st.sampled_from(["", "m", "k", "Ki", "M", "Mi"])
)
resource_lists = st.dictionaries(st.sampled_from(["cpu", "memory", "nvidia.com/gpu"]), suffixed)
grade_counts = st.none() | st.dictionaries(st.integers(0, 3), st.integers(0, 4))
assumptions = st.dictionaries(st.sampled_from(["cpu", "memory", "pods"]), st.integers(0, 10**6))


@given(resource_lists, resource_lists, grade_counts, assumptions, st.integers(0, 300))
@cases(200)
def test_what_fits_is_never_above_the_sums(
    has: dict[str, str], wants: dict[str, str], counts: Any, assumed: dict[str, int], pods: int
) -> None:
    wish = of_replicas({"resourceRequest": wants})
    count, _ = fits(member({**has, "pods": str(pods)}, counts=counts), wish, assumed)
    offered, need = amounts.offered({**has, "pods": str(pods)}), {**amounts.needed(wants), "pods": 1}
    for name, amount in need.items():
        assert count * amount <= max(0, offered.get(name, 0) - assumed.get(name, 0))


@given(resource_lists, resource_lists, resource_lists, grade_counts, assumptions)
@cases(200)
def test_more_room_never_means_fewer_replicas(
    has: dict[str, str], more: dict[str, str], wants: dict[str, str], counts: Any, assumed: dict[str, int]
) -> None:
    wish = of_replicas({"resourceRequest": wants})
    less, richer = amounts.offered(has), amounts.offered(has)
    for name, amount in amounts.offered(more).items():
        richer[name] = richer.get(name, 0) + amount
    written = [
        {n: amounts.quantity(n, a) for n, a in {**each, "pods": 200}.items()} for each in (less, richer)
    ]
    before, after = (fits(member(each, counts=counts), wish, assumed)[0] for each in written)
    assert after >= before
    assert fits(member(written[0], counts=counts), wish)[0] >= before


@given(
    st.lists(st.tuples(st.integers(1, 3), resource_lists), min_size=1, max_size=3),
    resource_lists,
    grade_counts,
)
@cases(100)
def test_sets_are_never_above_the_sums(parts: Any, has: dict[str, str], counts: Any) -> None:
    wish = of_components([component(n, **requests) for n, requests in parts])
    count, _ = fits(member({**has, "pods": "50"}, counts=counts), wish)
    offered = amounts.offered(has)
    assert count * wish.pod_count <= 50
    for name, amount in wish.totals:
        assert count * amount <= max(0, offered.get(name, 0))
