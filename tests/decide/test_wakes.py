"""Which change of a Cluster or a binding helps those that wait, named by what changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.decide.world import cluster
from towline.hub.decide.wakes import ANYTHING, frees, gained_apis, helps, meant
from towline.kube.objects import Object, with_metadata


def member(status: Mapping[str, Any] | None = None, **more: Any) -> Object:
    return {**cluster("m1", **more), "status": dict(status or {})}


def room(allocatable: Mapping[str, str], **more: Any) -> Object:
    return member({"resourceSummary": {"allocatable": allocatable, **more}})


def taints(*keys: str, effect: str = "NoSchedule", **more: Any) -> Object:
    return member(taints=[{"key": key, "effect": effect, **more} for key in keys])


def apis(*kinds: str, version: str = "apps/v1") -> Object:
    resources = [{"name": kind.lower() + "s", "kind": kind} for kind in kinds]
    return member({"apiEnablements": [{"groupVersion": version, "resources": resources}]})


def models(**counts: int) -> Object:
    modelings = [{"grade": int(grade[1:]), "count": count} for grade, count in counts.items()]
    return room({"cpu": "4"}, allocatableModelings=modelings)


def leaving(obj: Object) -> Object:
    return with_metadata(obj, deletionTimestamp="2026-01-01T00:00:00Z")


def of_uid(uid: str) -> Object:
    return with_metadata(member(), uid=uid)


GRADES = [{"grade": 0, "ranges": [{"name": "cpu", "min": "0", "max": "1"}]}]

CASES: dict[str, tuple[Object | None, Object | None, frozenset[str] | set[str]]] = {
    "a cluster that joins may have all that others lack": (None, member(), ANYTHING),
    "one of the same name that joins again is another": (of_uid("a"), of_uid("b"), ANYTHING),
    "a cluster that begins to leave frees groups": (member(), leaving(member()), {"cluster", "group"}),
    "one that goes at once does so too": (member(), None, {"cluster", "group"}),
    "one that was leaving and is gone is counted no more": (leaving(member()), None, {"cluster", "group"}),
    "what happens to one that leaves helps nobody": (
        leaving(room({"cpu": "1"})),
        leaving(room({"cpu": "2"})),
        set(),
    ),
    "nothing": (member(), member(), set()),
    "a label more": (member(), member(labels={"a": "b"}), {"label"}),
    "a label less": (member(labels={"a": "b"}), member(), {"label"}),
    "another region": (member(region="eu"), member(region="us"), {"label"}),
    "another provider": (member(), member(provider="p"), {"label"}),
    "other zones": (member(zones=["a"]), member(zones=["a", "b"]), {"label"}),
    "a taint less": (taints("a", "b"), taints("b"), {"taint"}),
    "a taint of another value": (taints("a", value="x"), taints("a", value="y"), {"taint"}),
    "a taint of another effect": (taints("a"), taints("a", effect="PreferNoSchedule"), {"taint"}),
    "a taint more": (taints("a"), taints("a", "b"), set()),
    "the same taint at another time": (taints("a"), taints("a", timeAdded="2026-01-01T00:00:00Z"), set()),
    "an API more": (apis("Deployment"), apis("Deployment", "Job"), {"api"}),
    "an API less": (apis("Deployment", "Job"), apis("Deployment"), set()),
    "the first word on APIs": (member(), apis("Deployment"), {"api"}),
    "another version of an API": (apis("Job"), apis("Job", version="apps/v2"), {"api"}),
    "more to allocate": (room({"cpu": "1"}), room({"cpu": "1500m"}), {"capacity"}),
    "less to allocate": (room({"cpu": "2"}), room({"cpu": "1"}), set()),
    "more of one and less of another": (
        room({"cpu": "2", "memory": "1Gi"}),
        room({"cpu": "1", "memory": "2Gi"}),
        {"capacity"},
    ),
    "a resource that was not there": (room({"cpu": "1"}), room({"cpu": "1", "gpu": "1"}), {"capacity"}),
    "less is used": (
        room({"cpu": "4"}, allocated={"cpu": "3"}),
        room({"cpu": "4"}, allocated={"cpu": "2"}),
        {"capacity"},
    ),
    "more is used": (
        room({"cpu": "4"}, allocated={"cpu": "2"}),
        room({"cpu": "4"}, allocated={"cpu": "3"}),
        set(),
    ),
    "pods got their nodes": (
        room({"cpu": "4"}, allocating={"cpu": "2"}),
        room({"cpu": "4"}, allocated={"cpu": "2"}),
        set(),
    ),
    "fewer pods": (
        room({"pods": "110"}, allocated={"pods": "110"}),
        room({"pods": "110"}, allocated={"pods": "109"}),
        {"capacity"},
    ),
    "the same in other words": (room({"memory": "1Gi"}), room({"memory": "1024Mi"}), set()),
    "a node more is ready": (
        member({"nodeSummary": {"totalNum": 2, "readyNum": 1}}),
        member({"nodeSummary": {"totalNum": 2, "readyNum": 2}}),
        {"capacity"},
    ),
    "a node of a better grade": (models(g1=1, g2=0), models(g1=0, g2=1), {"capacity"}),
    "a node became too full for any grade": (models(g0=0, g1=1), models(g0=1, g1=0), set()),
    "other models": (member(), member(resourceModels=GRADES), {"capacity"}),
    "how much room there is became known": (member(), room({"cpu": "1"}), {"capacity"}),
    "nobody knows any more how much room there is": (room({"cpu": "1"}), member(), {"capacity"}),
    "a word that is no amount": (room({"cpu": "many"}), room({"cpu": "1"}), {"capacity"}),
    "a condition": (member(), member({"conditions": [{"type": "Ready", "status": "True"}]}), set()),
    "several at once": (
        {**taints("a"), "status": {"nodeSummary": {"readyNum": 0}}},
        member({"nodeSummary": {"readyNum": 1}}, labels={"a": "b"}),
        {"taint", "capacity", "label"},
    ),
}


@pytest.mark.parametrize(("before", "after", "found"), CASES.values(), ids=CASES.keys())
def test_helps(before: Object | None, after: Object | None, found: set[str]) -> None:
    assert helps(before, after) == found


def binding(targets: Mapping[str, int], group: str = "", ready: int = 0) -> Object:
    spec: Object = {"clusters": [{"name": name, "replicas": count} for name, count in targets.items()]}
    if group:
        spec["workloadAffinityGroups"] = {"affinityGroup": group}
    entries = [{"clusterName": name, "status": {"readyReplicas": ready}} for name in targets]
    return {
        "apiVersion": "work.karmada.io/v1alpha2",
        "kind": "ResourceBinding",
        "metadata": {},
        "spec": spec,
        "status": {"aggregatedStatus": entries},
    }


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        pytest.param(None, binding({"m1": 2}), set(), id="a first placing frees nothing"),
        pytest.param(binding({"m1": 2}), binding({"m1": 2}), set(), id="nothing"),
        pytest.param(
            binding({"m1": 2}),
            binding({"m1": 2}, ready=1),
            {"capacity"},
            id="what the member shows is promised no more",
        ),
        pytest.param(binding({"m1": 2}), binding({"m1": 3}), set(), id="growing frees nothing"),
        pytest.param(binding({"m1": 2}), binding({"m1": 1}), {"capacity"}, id="shrinking frees room"),
        pytest.param(binding({"m1": 2}), binding({"m2": 2}), {"capacity"}, id="moving frees room"),
        pytest.param(binding({"m1": 2}), None, {"capacity"}, id="going frees room"),
        pytest.param(
            binding({"m1": 2}), leaving(binding({"m1": 2})), {"capacity"}, id="so does beginning to go"
        ),
        pytest.param(
            binding({"m1": 2}, "a=b"), binding({"m2": 2}, "a=b"), {"capacity", "group"}, id="a group moves"
        ),
        pytest.param(None, binding({"m2": 2}, "a=b"), {"group"}, id="a group begins"),
        pytest.param(binding({"m2": 2}, "a=b"), binding({"m2": 2}), {"group"}, id="one leaves its group"),
        pytest.param(
            binding({"m2": 2}, "a=b"), binding({"m2": 2}, "a=c"), {"group"}, id="one changes its group"
        ),
        pytest.param(
            binding({"m2": 2}, "a=b"), binding({"m2": 3}, "a=b"), set(), id="a group grows where it is"
        ),
    ],
)
def test_frees(before: Object | None, after: Object | None, found: set[str]) -> None:
    assert frees(before, after) == found


def test_gained_apis() -> None:
    assert gained_apis(apis("Deployment"), apis("Deployment", "Job")) == {("apps/v1", "Job")}


@pytest.mark.parametrize(
    ("placement", "means"),
    [
        pytest.param({}, True, id="no affinity means all"),
        pytest.param({"clusterAffinity": {"exclude": ["m1"]}}, False, id="excluded"),
        pytest.param({"clusterAffinity": {"clusterNames": ["m1"]}}, True, id="named"),
        pytest.param(
            {"clusterAffinities": [{"clusterNames": ["m2"]}, {"clusterNames": ["m1"]}]},
            True,
            id="any of the ordered terms",
        ),
        pytest.param(
            {
                "clusterAffinities": [
                    {"clusterNames": ["m2"], "overflowAffinities": [{"clusterNames": ["m1"]}]}
                ]
            },
            True,
            id="an overflow",
        ),
        pytest.param(
            {"clusterAffinities": [{"clusterNames": ["m2"]}]}, False, id="none of the ordered terms"
        ),
    ],
)
def test_meant(placement: Object, means: bool) -> None:
    assert meant(placement)(cluster("m1")) is means
