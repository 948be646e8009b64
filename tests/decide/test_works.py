"""Rendering: what a cluster is told to hold (Karmada 2.2), byte for byte where it matters."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.decide.world import configmap, namespace
from towline.hub.decide import aggregation, works
from towline.hub.decide.wire import Conflict, ManifestStatus, Phase, WireWork, WorkReport, hash_of_report
from towline.kube import names
from towline.kube.objects import Key, Object, with_annotations
from towline.proto.digest import EMPTY_DIGEST, work_hash

KEY = Key("work.karmada.io", "resourcebindings", "shop", "web-deployment")


def template(kind: str = "Deployment", api_version: str = "apps/v1", **spec: Any) -> Object:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "uid": "t-1",
            "generation": 7,
            "resourceVersion": "9",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [{}],
            "finalizers": [names.PROPAGATION_FINALIZER],
            "labels": {"app": "web"},
            "annotations": {"note": 'a "quoted" @ text'},
        },
        "spec": {"replicas": 3, **spec},
        "status": {"replicas": 3},
    }


def binding(
    clusters: dict[str, int] | None = None, entries: list[Object] | None = None, **spec: Any
) -> Object:
    wanted = {"m1": 2, "m2": 2, "m3": 1} if clusters is None else clusters
    return {
        "apiVersion": "work.karmada.io/v1alpha2",
        "kind": "ResourceBinding",
        "metadata": {
            "name": KEY.name, "namespace": "shop", "uid": "b-1", "generation": 1,
            "labels": {names.BINDING_ID: "id-1"},
        },
        "spec": {
            "resource": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web", "uid": "t-1"},
            "replicas": 5,
            "clusters": [{"name": name, "replicas": count} for name, count in wanted.items()],
            **spec,
        },
        "status": {"aggregatedStatus": entries if entries is not None else [{"clusterName": n} for n in wanted]},
    }  # fmt: skip


def render(bound: Object, of: Object | None = None) -> dict[str, WireWork]:
    return works.of_binding(KEY, bound, of or template(), 41)


def manifest(work: WireWork) -> Object:
    parsed: Object = orjson.loads(work.manifests[0])
    return parsed


def test_the_manifest() -> None:
    work = render(binding())["m1"]
    assert work.name == names.work_name("shop", "web", "Deployment")
    assert work.revision == 41 and work.refs == (("apps/v1", "Deployment", "shop", "web"),)
    assert manifest(work) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "labels": {
                "app": "web",
                "karmada.io/managed": "true",
                "resourcebinding.karmada.io/permanent-id": "id-1",
                "work.karmada.io/permanent-id": work.uid,
            },
            "annotations": {
                "note": 'a "quoted" @ text',
                "resourcetemplate.karmada.io/uid": "t-1",
                "resourcetemplate.karmada.io/generation": "7",
                "resourcebinding.karmada.io/namespace": "shop",
                "resourcebinding.karmada.io/name": "web-deployment",
                "work.karmada.io/namespace": "karmada-es-m1",
                "work.karmada.io/name": work.name,
                "work.karmada.io/conflict-resolution": "abort",
                "resourcetemplate.karmada.io/managed-annotations": ",".join(
                    sorted(
                        [
                            "note",
                            "resourcetemplate.karmada.io/uid",
                            "resourcetemplate.karmada.io/generation",
                            "resourcetemplate.karmada.io/managed-annotations",
                            "resourcetemplate.karmada.io/managed-labels",
                            "resourcebinding.karmada.io/namespace",
                            "resourcebinding.karmada.io/name",
                            "work.karmada.io/namespace",
                            "work.karmada.io/name",
                            "work.karmada.io/conflict-resolution",
                        ]
                    )
                ),
                "resourcetemplate.karmada.io/managed-labels": (
                    "app,karmada.io/managed,resourcebinding.karmada.io/permanent-id,work.karmada.io/permanent-id"
                ),
            },
        },
        "spec": {"replicas": 2},
    }
    assert work.hash == work_hash(work.manifests, Conflict.ABORT, False)


def test_equal_manifests_are_held_once() -> None:
    rendered = render(binding())
    first, second, other = (rendered[name].pieces[0] for name in ("m1", "m2", "m3"))
    assert all(first[at] is second[at] for at in (0, 2, 4)), "m1 and m2 have the same replicas"
    assert first[4] is not other[4]
    assert manifest(rendered["m3"])["spec"]["replicas"] == 1
    assert len({work.uid for work in rendered.values()}) == 3


def test_what_a_user_writes_cannot_be_taken_for_a_hole() -> None:
    """A template full of the very text that the cut looks for, and of our keys, keeps its content and gets our values."""
    nasty = '"metadata":{"labels":{"work.karmada.io/permanent-id":"@","annotations":{"work.karmada.io/namespace":"@"'
    evil = configmap("web", data=nasty)
    evil["metadata"]["uid"] = "t-1"
    evil["metadata"]["labels"] = {names.WORK_ID: "mine", "a": "@"}
    evil["metadata"]["annotations"] = {
        "a": nasty,
        names.WORK_NAMESPACE_ANNOTATION: "elsewhere",
        names.WORK_NAME_ANNOTATION: "@",
    }
    evil["annotations"] = {names.WORK_NAMESPACE_ANNOTATION: "@"}
    work = render(binding({"m1": 0}), evil)["m1"]
    got = manifest(work)
    assert got["data"] == {"data": nasty} and got["annotations"] == evil["annotations"]
    assert got["metadata"]["labels"][names.WORK_ID] == work.uid and got["metadata"]["labels"]["a"] == "@"
    assert got["metadata"]["annotations"]["a"] == nasty
    assert got["metadata"]["annotations"][names.WORK_NAMESPACE_ANNOTATION] == "karmada-es-m1"
    assert got["metadata"]["annotations"][names.WORK_NAME_ANNOTATION] == work.name


@pytest.mark.parametrize(
    ("annotation", "resolution", "expected"),
    [
        (None, "Abort", Conflict.ABORT),
        (None, "Overwrite", Conflict.OVERWRITE),
        ("overwrite", "Abort", Conflict.OVERWRITE),
        ("abort", "Overwrite", Conflict.ABORT),
        ("nonsense", "Overwrite", Conflict.OVERWRITE),
    ],
)
def test_conflict_resolution(annotation: str | None, resolution: str, expected: Conflict) -> None:
    of = with_annotations(template(), {names.CONFLICT_RESOLUTION: annotation} if annotation else {})
    work = render(binding(conflictResolution=resolution), of)["m1"]
    assert work.conflict == expected
    said = manifest(work)["metadata"]["annotations"][names.CONFLICT_RESOLUTION]
    assert said == expected.name.lower()


@pytest.mark.parametrize(
    ("suspension", "suspended"),
    [
        (None, []),
        ({"dispatching": True}, ["m1", "m2", "m3"]),
        ({"dispatching": False}, []),
        ({"dispatchingOnClusters": {"clusterNames": ["m2", "m9"]}}, ["m2"]),
        ({"scheduling": True}, []),
    ],
)
def test_suspension(suspension: Any, suspended: list[str]) -> None:
    rendered = render(binding(suspension=suspension))
    assert [name for name, work in sorted(rendered.items()) if work.suspended] == suspended


def test_observed_but_not_wanted_is_a_removal() -> None:
    bound = binding(
        {"m1": 1}, [{"clusterName": "m1"}, {"clusterName": "old"}], preserveResourcesOnDeletion=True
    )
    gone = render(bound)["old"]
    assert gone.removing and gone.preserve and gone.manifests == () and gone.hash == EMPTY_DIGEST
    assert gone.refs == (("apps/v1", "Deployment", "shop", "web"),)


def test_a_binding_being_deleted_wants_nothing() -> None:
    bound = binding()
    bound["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert all(work.removing for work in render(bound).values())


def test_dependants_and_clusters_being_evicted_from_keep_their_copies() -> None:
    tasks = [{"fromCluster": "m8", "purgeMode": "Gracefully"}, {"fromCluster": "m7", "purgeMode": "Directly"}]
    required = [{"name": "x", "clusters": [{"name": "m9"}, {"name": "m1"}]}]
    bound = binding({"m1": 2}, [], gracefulEvictionTasks=tasks, requiredBy=required)
    assert sorted(render(bound)) == ["m1", "m8", "m9"]
    assert manifest(render(bound)["m1"])["spec"]["replicas"] == 2


def test_a_divided_jobs_completions_are_divided_in_proportion() -> None:
    job = template("Job", "batch/v1", parallelism=5, completions=10)
    placement = {"replicaScheduling": {"replicaSchedulingType": "Divided"}}
    rendered = render(binding(placement=placement), job)
    split = {name: manifest(work)["spec"]["completions"] for name, work in rendered.items()}
    assert sum(split.values()) == 10 and split["m1"] == split["m2"] == 4
    duplicated = render(binding(), job)
    assert manifest(duplicated["m1"])["spec"]["completions"] == 10


def test_a_namespace_may_exist_already() -> None:
    space = namespace("shop", {"team": "a"})
    space["metadata"]["uid"] = "n-1"
    work = works.namespace_renderer(space, 3)("m1", None)
    assert work.conflict == Conflict.SHARE and work.name == names.work_name("", "shop", "Namespace")
    got = manifest(work)
    assert "spec" not in got and "status" not in got
    assert got["metadata"]["labels"]["team"] == "a"


LEFT = {
    "fromCluster": "m0",
    "purgeMode": "Directly",
    "clustersBeforeFailover": ["m0"],
    "preservedLabelState": {"state": "3"},
}


@pytest.mark.parametrize(
    ("tasks", "clusters", "kept"),
    [
        pytest.param([LEFT], {"m1": 2}, True, id="the only copy, in place of one that is purged directly"),
        pytest.param([{**LEFT, "purgeMode": "Gracefully"}, LEFT], {"m1": 2}, True, id="of several the last counts"),
        pytest.param([LEFT, {**LEFT, "purgeMode": "Gracefully"}], {"m1": 2}, False, id="the last one leaves gracefully"),
        pytest.param([{**LEFT, "clustersBeforeFailover": ["m0", "m1"]}], {"m1": 2}, False, id="it was there before"),
        pytest.param([LEFT], {"m1": 2, "m2": 2}, False, id="one of two copies"),
        pytest.param([], {"m1": 2}, False, id="nothing failed over"),
        pytest.param([{"fromCluster": "m0", "purgeMode": "Directly"}], {"m1": 2}, False, id="nothing was preserved"),
    ],
)  # fmt: skip
def test_a_replacement_is_labelled_with_the_state_of_what_it_replaces(
    tasks: list[Object], clusters: dict[str, int], kept: bool
) -> None:
    rendered = render(binding(clusters, gracefulEvictionTasks=tasks))
    assert [manifest(rendered[name])["metadata"]["labels"].get("state") for name in clusters] == [
        "3" if kept else None for _ in clusters
    ]


def test_a_stored_work_travels_alike() -> None:
    stored: Object = {
        "apiVersion": "work.karmada.io/v1alpha1",
        "kind": "Work",
        "metadata": {
            "name": "mine",
            "namespace": "karmada-es-m1",
            "uid": "w-1",
            "labels": {names.WORK_ID: "p-1"},
        },
        "spec": {
            "workload": {"manifests": [configmap("a", x="1"), configmap("b")]},
            "suspendDispatching": True,
            "preserveResourcesOnDeletion": True,
        },
    }
    work = works.of_stored(stored, 5)
    assert (work.uid, work.suspended, work.preserve, work.conflict) == ("w-1", True, True, Conflict.ABORT)
    first = orjson.loads(work.manifests[0])
    assert first["metadata"]["labels"] == {names.WORK_ID: "p-1", names.MANAGED: "true"}
    assert first["metadata"]["annotations"][names.WORK_NAMESPACE_ANNOTATION] == "karmada-es-m1"
    assert first["metadata"]["annotations"][names.WORK_NAME_ANNOTATION] == "mine"
    assert [ref.name for ref in work.refs] == ["a", "b"]
    stored["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert works.of_stored(stored, 5).removing


# --- both sides hash the same --------------------------------------------------------------------------------

STATUS = {"z": 1, "a": {"deep": [1, 2.5, "ü"]}}


@pytest.mark.parametrize(
    ("phase", "message", "status", "health"),
    [
        (Phase.APPLIED, "", STATUS, "Healthy"),
        (Phase.APPLIED, "", None, "Unknown"),
        (Phase.APPLIED, "", None, None),
        (Phase.FAILED, "no", None, None),
    ],
)
def test_a_report_has_the_same_hash_once_it_is_stored(
    phase: Phase, message: str, status: Any, health: str | None
) -> None:
    statuses: tuple[ManifestStatus, ...] = ()
    if health is not None:
        text = orjson.dumps(status) if status is not None else b""
        statuses = (ManifestStatus(0, "apps/v1", "Deployment", "deployments", "shop", "web", text, health),)
    said = hash_of_report(phase, message, [(s.health, status) for s in statuses])
    entry = aggregation.entry_of("m1", WorkReport("w", "u", b"", phase, message, statuses, said))
    assert works.stored_report_hash(entry) == said
    assert works.stored_report_hash({"clusterName": "m1"}) == b""
    assert render(binding(entries=[entry]))["m1"].report_hash == said
