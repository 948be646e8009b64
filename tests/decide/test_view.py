"""The fleet kept up change by change is the fleet made from scratch; promises are taken back and end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from tests.decide.world import cluster
from towline.hub.decide.conditions import rfc3339
from towline.hub.decide.scheduling.assigned import PROMISED_SECONDS, Assigned, share_of
from towline.hub.decide.scheduling.estimates import HOLD_SECONDS
from towline.hub.decide.scheduling.members import Members
from towline.kube.objects import Key, Object

NOW = 1_700_000_000.0
AFFINITIES = [None, {"labelSelector": {"matchLabels": {"tier": "gold"}}}, {"exclude": ["m1", "m4"]}]

_clusters = st.builds(
    lambda name, tier, taints, leaving, room: _cluster(name, tier, taints, leaving, room),
    st.sampled_from(["m1", "m2", "m3", "m4", "m5"]),
    st.sampled_from(["gold", "iron"]),
    st.sampled_from([(), ({"key": "a", "effect": "NoSchedule"},)]),
    st.booleans(),
    st.sampled_from([None, "2", "4"]),
)


def _cluster(name: str, tier: str, taints: Any, leaving: bool, room: str | None) -> Object:
    obj = cluster(name, {"tier": tier}, taints=list(taints))
    if leaving:
        obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    if room:
        obj["status"] = {**obj["status"], "resourceSummary": {"allocatable": {"cpu": room, "pods": "10"}}}
    return obj


@cases(200)
@given(st.lists(st.one_of(_clusters, st.sampled_from(["m1", "m2", "m3"])), max_size=12))
def test_members_kept_up_are_members_made_from_scratch(steps: list[Any]) -> None:
    kept, present = Members(()), dict[str, Object]()
    for step in steps:
        name = step if isinstance(step, str) else step["metadata"]["name"]
        present.pop(name, None)
        if not isinstance(step, str):
            present[name] = step
        kept = kept.with_changed({name: present.get(name)})
        made = Members.of(present.values())
        assert (kept.all, kept.names, kept.index) == (made.all, made.names, made.index)
        assert (kept.everyone, kept.terminating) == (made.everyone, made.terminating)
        assert kept.tainted() == made.tainted()
        for affinity in AFFINITIES:
            assert kept.meant_by(affinity) == made.meant_by(affinity)
        assert kept.serving(("apps/v1", "Deployment")) == made.serving(("apps/v1", "Deployment"))
        assert [m.name for m in kept.within(kept.meant_by(AFFINITIES[2]))] == [
            n for n in made.names if n not in ("m1", "m4")
        ]


def test_a_status_that_changes_leaves_alone_what_is_known() -> None:
    before = Members.of([_cluster("m1", "gold", (), False, "2"), _cluster("m2", "iron", (), False, "2")])
    asked = []
    before.known("question", lambda: asked.append(1))
    after = before.with_changed({"m1": _cluster("m1", "gold", (), False, "4")})
    after.known("question", lambda: asked.append(1))
    assert asked == [1] and after.all[0] != before.all[0]
    moved = after.with_changed({"m1": _cluster("m1", "iron", (), False, "4")})
    moved.known("question", lambda: asked.append(1))
    assert asked == [1, 1]


# --- promises --------------------------------------------------------------------------------------------------


def binding(
    clusters: dict[str, int],
    scheduled: float = NOW,
    seen: dict[str, Any] | None = None,
    **spec: Any,
) -> Object:
    return {
        "kind": "ResourceBinding",
        "metadata": {"name": "web-deployment", "namespace": "shop"},
        "spec": {
            "replicas": sum(clusters.values()),
            "replicaRequirements": {"resourceRequest": {"cpu": "500m", "memory": "1Gi"}},
            "clusters": [{"name": n, "replicas": r} for n, r in clusters.items()],
            **spec,
        },
        "status": {
            "lastScheduledTime": rfc3339(scheduled),
            "aggregatedStatus": [{"clusterName": n, **entry} for n, entry in (seen or {}).items()],
        },
    }


def promised(obj: Object, now: float = NOW) -> dict[str, Any]:
    share = share_of(obj, now)
    return {} if share is None else dict(share.promised)


KEY = Key("work.karmada.io", "resourcebindings", "shop", "web-deployment")
GIB = 1 << 30


def test_a_placement_is_promised_until_its_replicas_show() -> None:
    fresh = binding({"m1": 2, "m2": 1})
    assert promised(fresh) == {
        "m1": {"pods": 2, "cpu": 1000, "memory": 2 * GIB},
        "m2": {"pods": 1, "cpu": 500, "memory": GIB},
    }
    half = binding({"m1": 2, "m2": 1}, seen={"m1": {"status": {"readyReplicas": 1}}})
    assert promised(half)["m1"] == {"pods": 1, "cpu": 500, "memory": GIB}
    there = {"m1": {"status": {"readyReplicas": 2}}, "m2": {"health": "Healthy"}}
    assert promised(binding({"m1": 2, "m2": 1}, seen=there)) == {}


def test_a_promise_ends_after_five_minutes() -> None:
    assert promised(binding({"m1": 2}), NOW + PROMISED_SECONDS - 1)
    assert not promised(binding({"m1": 2}), NOW + PROMISED_SECONDS)
    assigned = Assigned()
    assigned.put(KEY, share_of(binding({"m1": 2}), NOW))
    assert not assigned.expire(NOW + PROMISED_SECONDS - 1)
    assert assigned.promises["m1"]["cpu"] == 1000
    assert assigned.expire(NOW + PROMISED_SECONDS)
    assert not assigned.promises and assigned.share(KEY) is None


def test_what_is_shown_counts_against_answers_of_before() -> None:
    assigned, one = Assigned(), {"pods": 1, "cpu": 500, "memory": GIB}
    assigned.follow(KEY, binding({"m1": 2}), NOW)
    half = {"m1": {"status": {"readyReplicas": 1}}}
    assert assigned.follow(KEY, binding({"m1": 2}, seen=half), NOW + 1) == ["m1"]
    assert assigned.unseen("m1", NOW + 0.5) == {"pods": 2, "cpu": 1000, "memory": 2 * GIB}
    assert assigned.unseen("m1", NOW + 1.5) == one == assigned.promises["m1"]
    copy = assigned.copy()
    assigned.expire(NOW + 1 + HOLD_SECONDS)
    assert assigned.unseen("m1", NOW) == one and not assigned.showing
    assert copy.unseen("m1", NOW)["pods"] == 2


@pytest.mark.parametrize(
    "after", [None, binding({"m2": 2}), binding({"m1": 2, "m2": 1})], ids=["deleted", "moved", "grown"]
)
def test_what_is_given_up_was_not_shown(after: Object | None) -> None:
    assigned = Assigned()
    assigned.follow(KEY, binding({"m1": 2}), NOW)
    assert assigned.follow(KEY, after, NOW + 1) == []
    assert assigned.unseen("m1", NOW) == assigned.promises.get("m1", {})


def test_what_is_no_workload_or_being_deleted_promises_nothing() -> None:
    assert promised(binding({"m1": 0}, replicas=0)) == {}
    leaving = binding({"m1": 2})
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert share_of(leaving, NOW) is None


def test_a_set_of_components_is_promised_whole() -> None:
    components = [
        {"name": "a", "replicas": 2, "replicaRequirements": {"resourceRequest": {"cpu": "1"}}},
        {"name": "b", "replicas": 1},
    ]
    assert promised(binding({"m1": 0}, replicas=0, components=components)) == {"m1": {"pods": 3, "cpu": 2000}}


_shares = st.builds(
    lambda clusters, group: binding(clusters, workloadAffinityGroups={"affinityGroup": f"app={group}"}),
    st.dictionaries(st.sampled_from(["m1", "m2", "m3"]), st.integers(1, 5)),
    st.sampled_from("ab"),
)


@cases(200)
@given(st.lists(st.tuples(st.sampled_from("xyz"), st.one_of(st.none(), _shares)), max_size=15))
def test_what_is_assigned_is_the_sum_over_the_bindings_there_are(
    steps: list[tuple[str, Object | None]],
) -> None:
    kept, present = Assigned(), dict[Key, Object]()
    for name, obj in steps:
        key = KEY._replace(name=name)
        present.pop(key, None)
        if obj is not None:
            present[key] = obj
        kept.put(key, None if obj is None else share_of(obj, NOW))
    made = Assigned.of(present.items(), NOW)
    assert kept.promises == made.promises
    for group in ("app=a", "app=b"):
        assert sorted(map(sorted, kept.of_group("shop", group, None))) == sorted(
            map(sorted, made.of_group("shop", group, None))
        )
