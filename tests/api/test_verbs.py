"""What each verb does to an object, and what it answers."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.api.objects import CONFIGMAPS, CRDS, DEPLOYMENTS, WIDGETS, configmap, crd, deployment, widget
from tests.api.served import Served
from towline.hub.api.protection import DeletionProtection


async def test_create_fills_metadata_and_get_answers_the_stored_bytes(api: Served) -> None:
    made = await api.create(CONFIGMAPS, configmap())
    metadata = made["metadata"]
    assert metadata["namespace"] == "shop" and metadata["uid"] and metadata["creationTimestamp"]
    assert metadata["resourceVersion"].isdigit() and "generation" not in metadata
    read = await api.get(f"{CONFIGMAPS}/c")
    assert read.code == 200 and read.body == made


async def test_create_drops_what_only_the_server_sets(api: Served) -> None:
    sent = configmap(
        uid="mine", creationTimestamp="2001-01-01T00:00:00Z", deletionTimestamp="2001-01-01T00:00:00Z"
    )
    metadata = (await api.create(CONFIGMAPS, sent))["metadata"]
    assert metadata["uid"] != "mine" and metadata["creationTimestamp"] > "2001-01-02"
    assert "deletionTimestamp" not in metadata


async def test_create_drops_status_and_starts_generation(api: Served) -> None:
    made = await api.create(DEPLOYMENTS, {**deployment(), "status": {"replicas": 7}})
    assert made["metadata"]["generation"] == 1 and made.get("status", {}).get("replicas") is None


async def test_generate_name(api: Served) -> None:
    sent = configmap("")
    sent["metadata"] = {"generateName": "c-"}
    first, second = await api.create(CONFIGMAPS, sent), await api.create(CONFIGMAPS, sent)
    names = {first["metadata"]["name"], second["metadata"]["name"]}
    assert len(names) == 2 and all(name.startswith("c-") and len(name) == 7 for name in names)


async def test_update_keeps_system_fields_and_counts_generations(api: Served) -> None:
    made = await api.create(DEPLOYMENTS, deployment())
    made["spec"]["replicas"] = 4
    made["metadata"]["creationTimestamp"] = None
    made["metadata"]["labels"] = {"a": "b"}
    updated = await api("PUT", f"{DEPLOYMENTS}/web", made)
    assert updated.code == 200 and updated.body["metadata"]["generation"] == 2
    assert updated.body["metadata"]["creationTimestamp"]
    labelled = await api.patch(f"{DEPLOYMENTS}/web", {"metadata": {"labels": {"c": "d"}}})
    assert labelled.body["metadata"]["generation"] == 2, "metadata does not count"


async def test_a_write_that_changes_nothing_commits_nothing(api: Served) -> None:
    made = await api.create(DEPLOYMENTS, deployment())
    before = api.cache.revision
    assert (await api("PUT", f"{DEPLOYMENTS}/web", made)).body == made
    assert (await api.patch(f"{DEPLOYMENTS}/web", {"spec": {"replicas": 1}}, "strategic")).body == made
    assert (await api.patch(f"{DEPLOYMENTS}/web", [], "json")).body == made
    assert api.cache.revision == before


async def test_optimistic_concurrency(api: Served) -> None:
    made = await api.create(CONFIGMAPS, configmap())
    assert (await api.patch(f"{CONFIGMAPS}/c", {"data": {"a": "2"}})).code == 200
    stale = await api("PUT", f"{CONFIGMAPS}/c", made)
    assert (stale.code, stale.reason) == (409, "Conflict")
    stale = await api.patch(
        f"{CONFIGMAPS}/c",
        {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"a": "3"}},
    )
    assert (stale.code, stale.reason) == (409, "Conflict")
    del made["metadata"]["resourceVersion"]
    assert (await api("PUT", f"{CONFIGMAPS}/c", made)).code == 200, "no revision: the newest is replaced"


async def test_patches_without_a_revision_are_tried_again(api: Served) -> None:
    await api.create(CONFIGMAPS, configmap(data={}))
    answers = await asyncio.gather(
        *(api.patch(f"{CONFIGMAPS}/c", {"data": {f"k{n}": str(n)}}) for n in range(20))
    )
    assert {answer.code for answer in answers} == {200}
    assert len((await api.get(f"{CONFIGMAPS}/c")).body["data"]) == 20


async def test_applies_of_disjoint_fields_race_without_loss(api: Served) -> None:
    """Also when the object does not exist yet: one creates it, the others find it."""
    answers = await asyncio.gather(
        *(api.apply(f"{CONFIGMAPS}/c", configmap(data={f"k{n}": "v"}), f"m{n}") for n in range(10))
    )
    assert sorted(answer.code for answer in answers) == [200] * 9 + [201]
    assert len((await api.get(f"{CONFIGMAPS}/c")).body["data"]) == 10


@pytest.mark.parametrize(
    ("kind", "patch", "expected"),
    [
        ("merge", {"data": {"a": None, "b": "2"}}, {"b": "2"}),
        ("json", [{"op": "replace", "path": "/data/a", "value": "9"}], {"a": "9"}),
        ("json", [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "add", "path": "/data/b", "value": "2"}],
         {"a": "1", "b": "2"}),
        ("strategic", {"data": {"b": "2"}}, {"a": "1", "b": "2"}),
        ("strategic", {"data": {"$patch": "replace", "b": "2"}}, {"b": "2"}),
    ],
)  # fmt: skip
async def test_patches(api: Served, kind: str, patch: object, expected: dict[str, str]) -> None:
    await api.create(CONFIGMAPS, configmap())
    answer = await api.patch(f"{CONFIGMAPS}/c", patch, kind)
    assert answer.code == 200 and answer.body["data"] == expected


async def test_strategic_merge_merges_containers_by_name(api: Served) -> None:
    await api.create(DEPLOYMENTS, deployment())
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "busybox"}]}}}}
    answer = await api.patch(f"{DEPLOYMENTS}/web", patch, "strategic")
    containers = answer.body["spec"]["template"]["spec"]["containers"]
    assert {container["name"] for container in containers} == {"main", "side"}


async def test_apply_creates_owns_conflicts_and_forces(api: Served) -> None:
    applied = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, **deployment()}
    made = await api.apply(f"{DEPLOYMENTS}/web", applied, "one")
    assert made.code == 201
    [entry] = made.body["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == ("one", "Apply")
    again = await api.apply(f"{DEPLOYMENTS}/web", applied, "one")
    assert again.code == 200 and again.body == made.body
    conflict = await api.apply(f"{DEPLOYMENTS}/web", deployment(replicas=5), "two")
    assert (conflict.code, conflict.reason) == (409, "Conflict")
    assert conflict.causes[0]["reason"] == "FieldManagerConflict" and conflict.fields == [".spec.replicas"]
    assert 'conflict with "one"' in conflict.message
    forced = await api.apply(f"{DEPLOYMENTS}/web", deployment(replicas=5), "two", "&force=true")
    assert forced.code == 200 and forced.body["spec"]["replicas"] == 5


async def test_apply_removes_what_its_manager_dropped(api: Served) -> None:
    await api.apply(f"{CONFIGMAPS}/c", configmap(data={"a": "1", "b": "2"}), "one")
    answer = await api.apply(f"{CONFIGMAPS}/c", configmap(data={"a": "1"}), "one")
    assert answer.body["data"] == {"a": "1"}


async def test_apply_takes_yaml(api: Served) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata:\n  when: 2020-01-01\n"
    answer = await api.apply(f"{CONFIGMAPS}/c", text)
    assert answer.code == 201 and answer.body["data"] == {"when": "2020-01-01"}, (
        "a date stays the text that it is"
    )


async def test_status_is_written_apart(api: Served) -> None:
    made = await api.create(DEPLOYMENTS, deployment())
    sent = {
        **made,
        "spec": {**made["spec"], "replicas": 9},
        "status": {"replicas": 1, "observedGeneration": 1},
    }
    answer = await api("PUT", f"{DEPLOYMENTS}/web/status", sent)
    assert answer.code == 200 and answer.body["status"]["replicas"] == 1
    assert answer.body["spec"]["replicas"] == 1 and answer.body["metadata"]["generation"] == 1
    answer = await api("PUT", f"{DEPLOYMENTS}/web", {**answer.body, "status": {"replicas": 8}})
    assert answer.body["status"]["replicas"] == 1
    answer = await api.patch(f"{DEPLOYMENTS}/web/status", {"status": {"replicas": 2}})
    assert answer.body["status"]["replicas"] == 2
    assert (await api.get(f"{DEPLOYMENTS}/web/status")).body["status"]["replicas"] == 2


async def test_scale(api: Served) -> None:
    await api.create(DEPLOYMENTS, deployment())
    scale = (await api.get(f"{DEPLOYMENTS}/web/scale")).body
    assert scale["kind"] == "Scale" and scale["spec"] == {"replicas": 1}
    assert scale["status"] == {"replicas": 0, "selector": "app=web"}
    scale["spec"]["replicas"] = 3
    assert (await api("PUT", f"{DEPLOYMENTS}/web/scale", scale)).body["spec"]["replicas"] == 3
    assert (await api("PUT", f"{DEPLOYMENTS}/web/scale", scale)).code == 409, "its revision is old now"
    patched = await api.patch(f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": 4}})
    assert patched.body["spec"]["replicas"] == 4
    read = (await api.get(f"{DEPLOYMENTS}/web")).body
    assert read["spec"]["replicas"] == 4 and read["metadata"]["generation"] == 3
    refused = await api.patch(f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": -1}})
    assert refused.code == 422 and refused.fields == ["spec.replicas"]


async def test_delete_answers_a_status_and_the_object_is_gone(api: Served) -> None:
    made = await api.create(CONFIGMAPS, configmap())
    answer = await api("DELETE", f"{CONFIGMAPS}/c")
    assert answer.code == 200 and answer.body["status"] == "Success"
    assert answer.body["details"] == {"name": "c", "kind": "configmaps", "uid": made["metadata"]["uid"]}
    assert (await api.get(f"{CONFIGMAPS}/c")).code == 404


async def test_finalizers_hold_a_deleted_object(api: Served) -> None:
    await api.create(CONFIGMAPS, configmap(finalizers=["example.com/hold", "example.com/too"]))
    answer = await api("DELETE", f"{CONFIGMAPS}/c")
    assert answer.code == 200 and answer.body["metadata"]["deletionTimestamp"]
    again = await api("DELETE", f"{CONFIGMAPS}/c")
    assert again.body == answer.body, "a second delete changes nothing"
    assert (await api("POST", CONFIGMAPS, configmap())).message.startswith("object is being deleted")
    added = await api.patch(
        f"{CONFIGMAPS}/c", {"metadata": {"finalizers": ["example.com/hold", "example.com/new"]}}
    )
    assert added.code == 422 and added.fields == ["metadata.finalizers"]
    one = await api.patch(f"{CONFIGMAPS}/c", {"metadata": {"finalizers": ["example.com/too"]}})
    assert one.code == 200 and (await api.get(f"{CONFIGMAPS}/c")).code == 200
    last = await api.patch(f"{CONFIGMAPS}/c", {"metadata": {"finalizers": None}})
    assert last.code == 200 and (await api.get(f"{CONFIGMAPS}/c")).code == 404


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"preconditions": {"uid": "other"}}, 409),
        ({"preconditions": {"resourceVersion": "1"}}, 409),
        ({"propagationPolicy": "Sideways"}, 422),
        ({"propagationPolicy": "Orphan", "orphanDependents": True}, 422),
        ({"ignoreStoreReadErrorWithClusterBreakingPotential": True}, 422),
        ({"gracePeriodSeconds": "soon"}, 400),
        ({"dryRun": ["Some"]}, 422),
        ({"dryRun": ["All"]}, 200),
    ],
)
async def test_delete_options_that_leave_the_object(
    api: Served, options: dict[str, object], code: int
) -> None:
    await api.create(CONFIGMAPS, configmap())
    body = {"kind": "DeleteOptions", "apiVersion": "v1", **options}
    assert (await api("DELETE", f"{CONFIGMAPS}/c", body)).code == code
    assert (await api.get(f"{CONFIGMAPS}/c")).code == 200


@pytest.mark.parametrize(
    ("options", "finalizers", "code", "left"),
    [
        ({}, [], 200, None),
        ({"gracePeriodSeconds": -1}, [], 200, None),
        ({"propagationPolicy": "Background"}, ["orphan"], 200, None),
        ({"propagationPolicy": "Foreground"}, [], 200, ["foregroundDeletion"]),
        ({"propagationPolicy": "Orphan"}, ["a.io/b", "foregroundDeletion"], 200, ["a.io/b", "orphan"]),
        ({"orphanDependents": True}, [], 200, ["orphan"]),
        ({"orphanDependents": False}, ["a.io/b"], 202, ["a.io/b"]),
        ({}, ["orphan"], 200, ["orphan"]),
    ],
)
async def test_a_policy_is_kept_as_a_finalizer(
    api: Served, options: dict[str, object], finalizers: list[str], code: int, left: list[str] | None
) -> None:
    await api.create(CONFIGMAPS, configmap(finalizers=finalizers))
    assert (await api("DELETE", f"{CONFIGMAPS}/c", options)).code == code
    metadata = (await api.get(f"{CONFIGMAPS}/c")).body["metadata"]
    assert metadata.get("finalizers") == left
    assert bool(metadata.get("deletionTimestamp")) is (left is not None)


async def test_another_policy_may_be_asked_for_while_the_first_waits(api: Served) -> None:
    await api.create(CONFIGMAPS, configmap())
    await api("DELETE", f"{CONFIGMAPS}/c", {"propagationPolicy": "Foreground"})
    again = await api("DELETE", f"{CONFIGMAPS}/c", {"propagationPolicy": "Orphan"})
    assert again.body["metadata"]["finalizers"] == ["orphan"]
    assert (await api("DELETE", f"{CONFIGMAPS}/c")).body["metadata"]["finalizers"] == ["orphan"]
    assert (await api("DELETE", f"{CONFIGMAPS}/c?propagationPolicy=Background")).body["kind"] == "Status"
    assert (await api.get(f"{CONFIGMAPS}/c")).code == 404


@pytest.mark.parametrize("path", [f"{CONFIGMAPS}/c", CONFIGMAPS, f"{CONFIGMAPS}?dryRun=All"])
async def test_what_is_protected_is_not_deleted(api: Served, path: str) -> None:
    api.server.engine.plugins = (DeletionProtection(),)
    label = "resourcetemplate.karmada.io/deletion-protected"
    await api.create(CONFIGMAPS, configmap(labels={label: "Always"}))
    answer = await api("DELETE", path)
    assert answer.code == 403 and answer.message.endswith(
        f"This resource is protected, please make sure to remove the label: {label}"
    )
    await api.patch(f"{CONFIGMAPS}/c", {"metadata": {"labels": {label: "Never"}}})
    assert (await api("DELETE", path)).code == 200


async def test_a_limit_bounds_what_a_collection_loses(api: Served) -> None:
    for name in "abc":
        await api.create(CONFIGMAPS, configmap(name))
    answer = await api("DELETE", f"{CONFIGMAPS}?limit=2")
    assert [o["metadata"]["name"] for o in answer.body["items"]] == ["a", "b"]
    assert [o["metadata"]["name"] for o in (await api.get(CONFIGMAPS)).body["items"]] == ["c"]


async def test_delete_collection_takes_the_selection_only(api: Served) -> None:
    for name, tier in (("a", "x"), ("b", "x"), ("c", "y")):
        await api.create(CONFIGMAPS, configmap(name, labels={"tier": tier}))
    answer = await api("DELETE", f"{CONFIGMAPS}?labelSelector=tier%3Dx")
    assert answer.code == 200 and [o["metadata"]["name"] for o in answer.body["items"]] == ["a", "b"]
    left = (await api.get(CONFIGMAPS)).body["items"]
    assert [o["metadata"]["name"] for o in left] == ["c"]


@pytest.mark.parametrize("verb", ["POST", "PUT", "PATCH", "DELETE"])
async def test_dry_runs_answer_and_store_nothing(api: Served, verb: str) -> None:
    await api.create(CONFIGMAPS, configmap())
    before = api.cache.revision
    if verb == "POST":
        answer = await api(verb, f"{CONFIGMAPS}?dryRun=All", configmap("new"))
        assert answer.code == 201 and answer.body["metadata"]["name"] == "new"
    elif verb == "PUT":
        answer = await api(verb, f"{CONFIGMAPS}/c?dryRun=All", configmap(data={"b": "2"}))
        assert answer.body["data"] == {"b": "2"}
    elif verb == "PATCH":
        answer = await api.patch(f"{CONFIGMAPS}/c?dryRun=All", {"data": {"b": "2"}})
        assert answer.body["data"] == {"a": "1", "b": "2"}
    else:
        answer = await api(verb, f"{CONFIGMAPS}/c?dryRun=All")
    assert answer.code in (200, 201) and api.cache.revision == before
    assert (await api.get(f"{CONFIGMAPS}/c")).body["data"] == {"a": "1"}


async def test_managers_come_from_the_query_or_the_user_agent(api: Served) -> None:
    made = await api.create(CONFIGMAPS, configmap(), User_Agent="robot/1.2 (x)")
    assert [e["manager"] for e in made["metadata"]["managedFields"]] == ["robot"]
    made = await api.create(f"{CONFIGMAPS}?fieldManager=me", configmap("d"))
    assert [e["manager"] for e in made["metadata"]["managedFields"]] == ["me"]


async def test_requests_are_audited_with_who_what_and_how_it_ended(api: Served) -> None:
    await api.create(CONFIGMAPS, configmap())
    await api("POST", CONFIGMAPS, configmap())
    await api.get(CONFIGMAPS)
    assert [(e["user"], e["verb"], e["resource"], e["namespace"], e["code"]) for e in api.audited] == [
        ("admin", "create", "configmaps", "shop", 201),
        ("admin", "create", "configmaps", "shop", 409),
        ("admin", "list", "configmaps", "shop", 200),
    ]
    assert [e["decision"] for e in api.audited] == ["allow"] * 3
    assert len({e["audit_id"] for e in api.audited}) == 3
    assert all(event["latency_seconds"] >= 0 for event in api.audited)


async def test_custom_resources_are_defaulted_pruned_validated_and_scaled(api: Served) -> None:
    made = await api.create(CRDS, crd())
    conditions = {c["type"]: c["status"] for c in made["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    stored = await api.create(WIDGETS, widget(extra=1, replicas=2))
    assert stored["spec"] == {"size": 3, "colour": "blue", "replicas": 2}
    refused = await api("POST", WIDGETS, widget("bad", size=0, colour="green"))
    assert refused.code == 422 and set(refused.fields) == {"spec.size", "spec.colour"}
    assert (
        await api.patch(f"{WIDGETS}/w", {"spec": {"size": 4}}, "strategic")
    ).reason == "UnsupportedMediaType"
    assert (await api.patch(f"{WIDGETS}/w", {"spec": {"size": 4}})).body["spec"]["size"] == 4
    assert (await api.apply(f"{WIDGETS}/w", widget(colour="red"), query="&force=true")).body["spec"][
        "colour"
    ] == "red"
    assert (await api.patch(f"{WIDGETS}/w/scale", {"spec": {"replicas": 5}})).body["spec"]["replicas"] == 5
    status = await api.patch(f"{WIDGETS}/w/status", {"status": {"phase": "Done"}, "spec": {"size": 9}})
    assert status.body["status"] == {"phase": "Done"} and status.body["spec"]["size"] == 3
    unconditional = await api("PUT", f"{WIDGETS}/w", widget())
    assert unconditional.code == 422 and unconditional.fields == ["metadata.resourceVersion"]


async def test_a_crd_goes_with_its_objects(api: Served) -> None:
    await api.create(CRDS, crd())
    await api.create(WIDGETS, widget(), User_Agent="x")
    held = widget("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await api.create(WIDGETS, held)
    async with api.watch(f"{CRDS}?fieldSelector=metadata.name%3Dwidgets.example.com") as definitions:
        assert (await definitions.next(1)) == [("ADDED", "widgets.example.com")]
        assert (await api("DELETE", f"{CRDS}/widgets.example.com")).body["metadata"]["deletionTimestamp"]
        assert (await definitions.next(1))[0][0] == "MODIFIED"
        assert (await api("POST", WIDGETS, widget("late"))).code == 405
        assert (await api.patch(f"{WIDGETS}/held", {"metadata": {"finalizers": None}})).code == 200
        assert (await definitions.next(1))[0][0] == "DELETED"
    assert (await api.get(WIDGETS)).code == 404
    assert not api.cache.list("example.com", "widgets")


async def test_versions_of_a_custom_kind_share_the_objects(api: Served) -> None:
    sent = crd()
    old = json.loads(json.dumps(sent["spec"]["versions"][0])) | {"name": "v1alpha1", "storage": False}
    sent["spec"]["versions"].insert(0, old)
    await api.create(CRDS, sent)
    early = WIDGETS.replace("/v1/", "/v1alpha1/")
    made = await api.create(early, {**widget(), "apiVersion": "example.com/v1alpha1"})
    assert made["apiVersion"] == "example.com/v1alpha1"
    assert (await api.get(f"{WIDGETS}/w")).body["apiVersion"] == "example.com/v1"
    assert (await api.get(early)).body["items"][0]["apiVersion"] == "example.com/v1alpha1"
    assert b'"apiVersion":"example.com/v1"' in api.cache.list("example.com", "widgets")[0].value
    changed = await api.patch(f"{early}/w", {"spec": {"size": 8}})
    assert changed.body["apiVersion"] == "example.com/v1alpha1" and changed.body["spec"]["size"] == 8


async def test_namespaces_empty_themselves_before_they_go(api: Served) -> None:
    await api.create(CONFIGMAPS, configmap())
    await api.create(CONFIGMAPS, configmap("held", finalizers=["example.com/hold"]))
    await api.create("/api/v1/namespaces/default/configmaps", configmap("other"))
    async with api.watch("/api/v1/namespaces?fieldSelector=metadata.name%3Dshop") as namespaces:
        await namespaces.next(1)
        answer = await api("DELETE", "/api/v1/namespaces/shop")
        assert answer.body["status"]["phase"] == "Terminating"
        refused = await api("POST", CONFIGMAPS, configmap("late"))
        assert refused.code == 403 and refused.causes[0]["reason"] == "NamespaceTerminating"
        assert (await namespaces.next(1)) == [("MODIFIED", "shop")]
        assert (await api.patch(f"{CONFIGMAPS}/held", {"metadata": {"finalizers": None}})).code == 200
        assert (await namespaces.next(1)) == [("DELETED", "shop")]
    assert [e.key.name for e in api.cache.list("", "configmaps")] == ["other"]


async def test_a_namespace_with_a_finalizer_of_its_own_waits_for_it(api: Served) -> None:
    await api.patch("/api/v1/namespaces/shop", {"metadata": {"finalizers": ["example.com/hold"]}})
    async with api.watch("/api/v1/namespaces?fieldSelector=metadata.name%3Dshop") as namespaces:
        await namespaces.next(1)
        await api("DELETE", "/api/v1/namespaces/shop")
        assert await namespaces.next(2) == [("MODIFIED", "shop"), ("MODIFIED", "shop")]
        read = (await api.get("/api/v1/namespaces/shop")).body
        assert not read["spec"].get("finalizers")
        await api.patch("/api/v1/namespaces/shop", {"metadata": {"finalizers": None}})
        assert await namespaces.next(1) == [("DELETED", "shop")]
