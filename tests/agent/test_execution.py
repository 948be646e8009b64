"""The agent's rules for one object: a table of every rule, and the invariants as properties."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.agent import drift, execution
from towline.agent.desired import Ref
from towline.agent.execution import (
    ABSENT,
    UNKNOWN,
    Applied,
    Apply,
    Conflict,
    Delete,
    Mode,
    Nothing,
    Observation,
    Owner,
    Read,
    Release,
    Seen,
    Share,
    Wait,
)

OURS = Owner("karmada-es-member1", "front-12345")
LONGER = Owner("karmada-es-member10", "front-12345")
OTHER_WORK = Owner("karmada-es-member1", "front-99999")
ENTRY = b"entry as applied"


def manifest(**changes: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "front", "namespace": "shop", "labels": {"app": "front"}},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "web", "image": "nginx:1"}]}}},
        **changes,
    }


BODY = execution.prepared(manifest(), OURS)
HASH = execution.body_hash(BODY)
BEFORE = hashlib.sha256(b"another manifest").digest()[:16]


def seen(
    owner: Owner | None = OURS, uid: str = "u1", entry: bytes = ENTRY, deleting: bool = False, obj: Any = None
) -> Seen:
    return Seen(uid, "7", owner, deleting, entry, obj)


def decide(
    observed: Observation, applied: Applied | None = None, mode: Mode = Mode.ABORT, **more: Any
) -> Any:
    return execution.to_apply(BODY, HASH, OURS, mode, observed, applied, cluster="member1", **more)


APPLIED = Applied(HASH, "u1", ENTRY)
OLD = Applied(BEFORE, "u1", ENTRY)


@pytest.mark.parametrize(
    ("observed", "applied", "mode", "expected"),
    [
        pytest.param(UNKNOWN, None, Mode.ABORT, Read, id="first contact: read"),
        pytest.param(UNKNOWN, None, Mode.OVERWRITE, Read, id="first contact, even to overwrite"),
        pytest.param(UNKNOWN, APPLIED, Mode.ABORT, Nothing, id="applied, nothing heard since"),
        pytest.param(UNKNOWN, OLD, Mode.ABORT, Apply, id="a new version needs no read"),
        pytest.param(ABSENT, None, Mode.ABORT, Apply, id="absent: create"),
        pytest.param(ABSENT, APPLIED, Mode.ABORT, Apply, id="deleted by others: create again"),
        pytest.param(seen(), APPLIED, Mode.ABORT, Nothing, id="as applied"),
        pytest.param(seen(), OLD, Mode.ABORT, Apply, id="a new version"),
        pytest.param(seen(), None, Mode.ABORT, Apply, id="ours, but the disk was lost"),
        pytest.param(seen(entry=b"less"), APPLIED, Mode.ABORT, Apply, id="others hold a field of ours"),
        pytest.param(seen(entry=b""), APPLIED, Mode.ABORT, Apply, id="we hold nothing any more"),
        pytest.param(seen(uid="u2"), APPLIED, Mode.ABORT, Apply, id="replaced, with our marks"),
        pytest.param(seen(owner=None), APPLIED, Mode.ABORT, Apply, id="ours by uid, marks taken off"),
        pytest.param(seen(owner=None, uid="u2"), APPLIED, Mode.ABORT, Conflict, id="replaced by a foreign one"),
        pytest.param(seen(deleting=True), APPLIED, Mode.ABORT, Wait, id="on its way out"),
        pytest.param(seen(owner=None, deleting=True), None, Mode.OVERWRITE, Wait, id="a foreign one on its way out"),
        pytest.param(seen(owner=None, uid="f"), None, Mode.ABORT, Conflict, id="foreign: conflict"),
        pytest.param(seen(owner=None, uid="f"), None, Mode.OVERWRITE, Apply, id="foreign: overwrite"),
        pytest.param(seen(owner=None, uid="f"), None, Mode.SHARE, Share, id="foreign: share"),
        pytest.param(seen(owner=OTHER_WORK), None, Mode.ABORT, Conflict, id="another Work's"),
        pytest.param(seen(owner=LONGER), None, Mode.ABORT, Conflict, id="member10 is not member1"),
        pytest.param(seen(owner=OTHER_WORK, uid="u1"), APPLIED, Mode.ABORT, Conflict, id="taken by another Work"),
    ],
)  # fmt: skip
def test_apply_table(observed: Observation, applied: Applied | None, mode: Mode, expected: type) -> None:
    assert type(decide(observed, applied, mode)) is expected


def test_the_write_names_the_object_it_was_decided_on() -> None:
    assert decide(UNKNOWN, OLD).body["metadata"]["uid"] == "u1"
    assert decide(seen(uid="u2"), APPLIED).body["metadata"]["uid"] == "u2"
    assert decide(seen(owner=None, uid="f"), None, Mode.OVERWRITE).body["metadata"]["uid"] == "f"
    assert "uid" not in decide(ABSENT).body["metadata"]


def test_a_rival_that_is_held_here_keeps_its_object() -> None:
    rival = seen(owner=OTHER_WORK)
    assert isinstance(decide(rival, None, Mode.OVERWRITE, rival_held=True), Conflict)
    assert isinstance(decide(rival, None, Mode.OVERWRITE, rival_held=False), Apply)


def test_the_conflict_is_told_in_karmadas_words() -> None:
    assert decide(seen(owner=None, uid="f")).message == (
        "resource(kind=Deployment, shop/front) already exists in the cluster member1 and the "
        "work.karmada.io/conflict-resolution strategy value is empty, Karmada will not manage this resource "
        "(spec.conflictResolution: Overwrite of its policy takes it over)"
    )
    assert "karmada-es-member1/front-99999" in decide(seen(owner=OTHER_WORK)).message


@pytest.mark.parametrize(
    ("observed", "preserve", "expected"),
    [
        pytest.param(UNKNOWN, False, Read, id="never on what is not known"),
        pytest.param(UNKNOWN, True, Read, id="nor released"),
        pytest.param(ABSENT, False, Nothing, id="gone"),
        pytest.param(seen(), False, Delete, id="ours"),
        pytest.param(seen(owner=None), False, Nothing, id="foreign"),
        pytest.param(seen(owner=OTHER_WORK), False, Nothing, id="another Work's"),
        pytest.param(seen(owner=LONGER), False, Nothing, id="another cluster's of a longer name"),
        pytest.param(seen(deleting=True), False, Wait, id="on its way out"),
        pytest.param(seen(deleting=True), True, Nothing, id="on its way out, nothing to keep"),
        pytest.param(seen(), True, Read, id="released only when it was read"),
    ],
)
def test_remove_table(observed: Observation, preserve: bool, expected: type) -> None:
    action = execution.to_remove(Ref("apps/v1", "Deployment", "shop", "front"), OURS, preserve, observed)
    assert type(action) is expected
    if isinstance(action, Delete):
        assert action.uid == "u1"


def test_release_takes_off_our_marks_and_nothing_else() -> None:
    live = execution.prepared(manifest(), OURS)
    live["metadata"] |= {"uid": "u1", "resourceVersion": "7"}
    live["metadata"]["annotations"] |= {"resourcetemplate.karmada.io/uid": "t", "mine": "yes"}
    live["metadata"]["labels"]["work.karmada.io/permanent-id"] = "w"
    action = execution.to_remove(execution.ref_of(live), OURS, True, execution.see(live, keep=True))
    assert isinstance(action, Release)
    assert action.patch["metadata"] == {
        "uid": "u1",
        "resourceVersion": "7",
        "labels": {"karmada.io/managed": None, "work.karmada.io/permanent-id": None},
        "annotations": {
            "work.karmada.io/namespace": None,
            "work.karmada.io/name": None,
            "resourcetemplate.karmada.io/uid": None,
        },
    }


def test_a_manifest_is_sent_marked_and_without_what_is_the_servers() -> None:
    raw = manifest(status={"replicas": 9})
    raw["metadata"] |= {"uid": "x", "resourceVersion": "1", "managedFields": [], "creationTimestamp": None}
    body = execution.prepared(raw, OURS)
    assert "status" not in body
    assert set(body["metadata"]) == {"name", "namespace", "labels", "annotations"}
    assert execution.owner_of(body) == OURS
    assert raw["status"] and raw["metadata"]["uid"] == "x", "the manifest itself is left alone"


# --- replicas that belong to the member ---------------------------------------------------------------------------


RETAINING = execution.prepared(
    manifest(
        metadata={
            "name": "front",
            "namespace": "shop",
            "labels": {"resourcetemplate.karmada.io/retain-replicas": "true"},
        }
    ),
    OURS,
)


def test_retained_replicas_are_the_members_and_locked() -> None:
    live = {**RETAINING, "spec": {**RETAINING["spec"], "replicas": 7}}
    live["metadata"] = {**RETAINING["metadata"], "uid": "u1", "resourceVersion": "41"}
    hashed = execution.body_hash(RETAINING)

    def action(observed: Observation) -> Any:
        return execution.to_apply(RETAINING, hashed, OURS, Mode.ABORT, observed, OLD, cluster="c")

    assert isinstance(action(UNKNOWN), Read), "the member's replicas must be known"
    assert isinstance(action(seen()), Read), "what the watch keeps does not say them"
    done = action(execution.see(live, keep=True))
    assert done.body["spec"]["replicas"] == 7
    assert done.body["metadata"]["resourceVersion"] == "41"


# --- drift --------------------------------------------------------------------------------------------------------


def live_with(entries: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    live = {**BODY, **changes}
    live["metadata"] = {**BODY["metadata"], "uid": "u1", "resourceVersion": "9", "managedFields": entries}
    return live


def entry(manager: str, operation: str, fields: Any, **more: Any) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsV1": fields, **more}


def test_drift_names_who_holds_what() -> None:
    containers: Any = {
        "f:template": {"f:spec": {"f:containers": {'k:{"name":"web"}': {"f:image": {}, "f:tty": {}}}}}
    }
    live = live_with(
        [
            entry("towline", "Apply", {"f:metadata": {"f:labels": {"f:app": {}}}}),
            entry("kubectl-edit", "Update", {"f:spec": {"f:replicas": {}}}),
            entry("sidecar", "Update", {"f:spec": containers}),
            entry("controller", "Update", {"f:status": {"f:replicas": {}}}, subresource="status"),
        ]
    )
    assert drift.lost_fields(BODY, live) == {
        "kubectl-edit": [".spec.replicas"],
        "sidecar": [".spec.template.spec.containers[name=web].image"],
    }
    action = decide(execution.see(live, keep=True), APPLIED)
    assert action.drift == (
        "changed: .spec.replicas by kubectl-edit; "
        ".spec.template.spec.containers[name=web].image by sidecar; put back"
    )  # fmt: skip


def test_drift_by_removal_names_who_was_last() -> None:
    live = live_with(
        [
            entry("towline", "Apply", {}),
            entry(
                "kube-controller-manager", "Update", {"f:status": {}}, subresource="status", time="2026-02-01"
            ),
            entry("kubectl-patch", "Update", {"f:spec": {"f:paused": {}}}, time="2026-01-01"),
        ],
        spec={},
    )
    assert decide(execution.see(live, keep=True), APPLIED).drift == (
        "fields removed, last changed by kubectl-patch; put back"
    )


def test_the_time_of_our_entry_does_not_count() -> None:
    one = live_with([entry("towline", "Apply", {"f:spec": {}}, time="2026-01-01")])
    two = live_with([entry("towline", "Apply", {"f:spec": {}}, time="2026-01-02")])
    three = live_with([entry("towline", "Apply", {"f:spec": {"f:replicas": {}}})])
    mine_no_more = live_with([entry("towline", "Update", {"f:spec": {}})])
    assert drift.entry_hash(one) == drift.entry_hash(two) != drift.entry_hash(three)
    assert drift.entry_hash(mine_no_more) == b""


# --- invariants ---------------------------------------------------------------------------------------------------


owners = st.sampled_from([None, OURS, OTHER_WORK, LONGER, Owner("karmada-es-member", "1/front-12345")])
uids = st.sampled_from(["u1", "u2", "u3"])
entries = st.sampled_from([b"", ENTRY, b"less"])
objects = st.sampled_from([None, live_with([entry("towline", "Apply", {})])])
sights = st.builds(Seen, uids, st.just("7"), owners, st.booleans(), entries, objects)
observations = st.one_of(st.sampled_from([UNKNOWN, ABSENT]), sights)
records = st.one_of(st.none(), st.builds(Applied, st.sampled_from([HASH, BEFORE]), uids, entries))


@given(observations, records, st.sampled_from(Mode), st.booleans())
def test_nothing_foreign_is_written_unless_it_may_be(
    observed: Observation, applied: Applied | None, mode: Mode, rival_held: bool
) -> None:
    action = decide(observed, applied, mode, rival_held=rival_held)
    if not isinstance(action, Apply):
        return
    precondition = action.body["metadata"].get("uid")
    if observed is ABSENT:
        assert precondition is None
    elif observed is UNKNOWN:
        assert applied is not None and precondition == applied.uid, "only what we know to be ours"
    else:
        assert isinstance(observed, Seen)
        assert precondition == observed.uid and not observed.deleting
        ours = observed.owner == OURS or (
            observed.owner is None and applied is not None and applied.uid == observed.uid
        )
        assert ours or mode is Mode.OVERWRITE
        if observed.owner not in (None, OURS):
            assert not rival_held


@given(observations, st.booleans(), owners.filter(bool))
def test_only_what_is_seen_to_be_ours_is_removed(observed: Observation, preserve: bool, owner: Owner) -> None:
    action = execution.to_remove(Ref("v1", "ConfigMap", "a", "b"), owner, preserve, observed)
    if isinstance(action, Delete | Release | Wait):
        assert isinstance(observed, Seen) and observed.owner == owner
    if isinstance(action, Delete):
        assert not preserve and isinstance(observed, Seen) and action.uid == observed.uid
    if observed is UNKNOWN:
        assert isinstance(action, Read)


@given(observations, records, st.sampled_from(Mode))
def test_what_was_applied_is_not_applied_again(
    observed: Observation, applied: Applied | None, mode: Mode
) -> None:
    action = decide(observed, applied, mode)
    if not isinstance(action, Apply):
        return
    uid = action.body["metadata"].get("uid", "new")
    after = Seen(uid, "8", OURS, False, b"entry after")
    assert decide(after, Applied(HASH, uid, b"entry after"), mode) == Nothing()


_trees: st.SearchStrategy[Any] = st.recursive(
    st.just({}),
    lambda inner: st.dictionaries(
        st.sampled_from(["f:spec", "f:replicas", "f:a", ".", 'k:{"name":"web"}', "v:1", "i:0", "k:nonsense", "x"]),
        inner,
        max_size=3,
    ),
    max_leaves=8,
)  # fmt: skip
_values = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["spec", "a", "name"]), inner, max_size=3)
    ),
    max_leaves=8,
)  # fmt: skip


@given(_trees, _trees, _values)
def test_any_managed_fields_can_be_told_in_words(fields: Any, own: Any, value: Any) -> None:
    live = live_with([entry("towline", "Apply", own), entry("x", "Update", fields)])
    body = {**BODY, "spec": value}
    assert isinstance(drift.in_words(body, live), str)
    orjson.dumps(drift.lost_fields(body, live))


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        (("v1", "Namespace"), ("v1", "ServiceAccount")),
        (("apiextensions.k8s.io/v1", "CustomResourceDefinition"), ("stable.example.com/v1", "CronTab")),
        (("scheduling.k8s.io/v1", "PriorityClass"), ("apps/v1", "Deployment")),
        (("v1", "ConfigMap"), ("apps/v1", "Deployment")),
    ],
)
def test_what_others_need_goes_first(lower: tuple[str, str], higher: tuple[str, str]) -> None:
    assert execution.rank(Ref(*lower, "", "x")) < execution.rank(Ref(*higher, "", "x"))
