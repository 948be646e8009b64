"""Server-side apply and ownership: tables from Kubernetes' documented behaviour."""

from __future__ import annotations

from typing import Any

import pytest

from towline.kube.apply import ApplyConflict, ApplyError, apply, track
from towline.kube.objects import copy, with_metadata
from towline.kube.schemas import Schema, builtin

DEPLOYMENT = builtin("io.k8s.api.apps.v1.Deployment")
SERVICE = builtin("io.k8s.api.core.v1.Service")
CONFIG_MAP = builtin("io.k8s.api.core.v1.ConfigMap")
T1, T2, T3 = "2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z", "2026-01-01T00:00:03Z"


def deployment(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"spec": {"containers": []}},
            **spec,
        },
    }


def containers(*items: dict[str, Any]) -> dict[str, Any]:
    return {"template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": list(items)}}}


def do(
    live: dict[str, Any] | None,
    applied: dict[str, Any],
    manager: str = "a",
    *,
    schema: Schema = DEPLOYMENT,
    force: bool = False,
    now: str = T1,
    **more: Any,
) -> dict[str, Any]:
    return apply(schema, live, applied, manager=manager, force=force, now=now, api_version="apps/v1", **more)


def update(
    old: dict[str, Any] | None, new: dict[str, Any], manager: str = "u", *, now: str = T2, **more: Any
) -> dict[str, Any]:
    schema = more.pop("schema", DEPLOYMENT)
    return track(schema, old, new, manager=manager, now=now, api_version="apps/v1", **more)


def entry(
    obj: dict[str, Any], manager: str, operation: str = "Apply", subresource: str = ""
) -> dict[str, Any] | None:
    return next(
        (
            e
            for e in obj["metadata"].get("managedFields", [])
            if (e["manager"], e["operation"], e.get("subresource", "")) == (manager, operation, subresource)
        ),
        None,
    )


def owned(obj: dict[str, Any], manager: str, operation: str = "Apply", subresource: str = "") -> Any:
    found = entry(obj, manager, operation, subresource)
    return found["fieldsV1"] if found else None


def config_map(data: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    obj: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", **metadata}}
    if data is not None:
        obj["data"] = data
    return obj


def cm(
    live: dict[str, Any] | None, applied: dict[str, Any], manager: str = "a", **more: Any
) -> dict[str, Any]:
    return do(live, applied, manager, schema=CONFIG_MAP, **more)


# --- the form of managedFields ------------------------------------------------------------------------------


def test_create_by_apply_claims_leaves_items_and_map_entries() -> None:
    port = {"containerPort": 80}
    made = do(
        None,
        deployment(replicas=1, **containers({"name": "n", "image": "i", "ports": [port], "args": ["x"]})),
    )
    (only,) = made["metadata"]["managedFields"]
    assert {k: v for k, v in only.items() if k != "fieldsV1"} == {
        "manager": "a",
        "operation": "Apply",
        "apiVersion": "apps/v1",
        "time": T1,
        "fieldsType": "FieldsV1",
    }
    assert only["fieldsV1"] == {
        "f:spec": {
            "f:replicas": {},
            "f:selector": {},  # a LabelSelector is atomic
            "f:template": {
                "f:metadata": {"f:labels": {"f:app": {}}},
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"n"}': {
                            ".": {},
                            "f:name": {},
                            "f:image": {},
                            "f:args": {},  # an atomic list
                            "f:ports": {
                                'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}
                            },
                        }
                    }
                },
            },
        }
    }
    assert made["metadata"]["name"] == "web"
    assert made["spec"]["replicas"] == 1


def test_create_by_update_also_lists_maps_and_lists() -> None:
    made = update(None, deployment(**containers({"name": "n", "image": "i"})), "kubectl-create")
    assert owned(made, "kubectl-create", "Update") == {
        "f:spec": {
            "f:selector": {},
            "f:template": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {
                    "f:containers": {".": {}, 'k:{"name":"n"}': {".": {}, "f:name": {}, "f:image": {}}},
                },
            },
        }
    }


def test_sets_use_values_and_system_fields_are_nobodys() -> None:
    obj = config_map(
        {"k": "v"}, uid="1", resourceVersion="2", generation=3, creationTimestamp=T1, finalizers=["x/y"]
    )
    assert owned(cm(None, obj), "a") == {
        "f:metadata": {"f:finalizers": {'v:"x/y"': {}}},
        "f:data": {"f:k": {}},
    }
    tracked = update(None, obj, schema=CONFIG_MAP)
    assert owned(tracked, "u", "Update") == {
        "f:metadata": {"f:finalizers": {".": {}, 'v:"x/y"': {}}},
        "f:data": {".": {}, "f:k": {}},
    }


def test_entries_are_sorted_appliers_first_then_time_then_name() -> None:
    live = cm(None, config_map({"a": "1"}), "zed", now=T2)
    live = update(live, {**live, "data": {**live["data"], "u": "1"}}, "updater", now=T1, schema=CONFIG_MAP)
    live = cm(live, config_map({"b": "1"}), "bob", now=T1)
    live = cm(live, config_map({"c": "1"}), "amy", now=T2)
    order = [(e["manager"], e["operation"]) for e in live["metadata"]["managedFields"]]
    assert order == [("bob", "Apply"), ("amy", "Apply"), ("zed", "Apply"), ("updater", "Update")]


# --- conflicts ----------------------------------------------------------------------------------------------


def test_one_conflict_in_kubernetes_words() -> None:
    live = update(None, deployment(replicas=1), "kubectl")
    with pytest.raises(ApplyConflict) as caught:
        do(live, {**deployment(replicas=2)}, "a")
    assert str(caught.value) == (
        'Apply failed with 1 conflict: conflict with "kubectl" using apps/v1: .spec.replicas'
    )
    assert caught.value.conflicts == [("kubectl", ".spec.replicas")]
    assert caught.value.causes == [(".spec.replicas", 'conflict with "kubectl" using apps/v1')]


def test_conflicts_are_grouped_by_manager() -> None:
    live = do(None, deployment(replicas=1), "one")
    live = do(live, deployment(paused=True, **containers({"name": "n", "image": "i"})), "two")
    wanted = deployment(replicas=2, paused=False, **containers({"name": "n", "image": "j"}))
    with pytest.raises(ApplyConflict) as caught:
        do(live, wanted, "three")
    assert str(caught.value) == (
        'Apply failed with 3 conflicts: conflicts with "one":\n'
        "- .spec.replicas\n"
        'conflicts with "two":\n'
        "- .spec.paused\n"
        '- .spec.template.spec.containers[name="n"].image'
    )


def test_force_takes_only_what_is_disputed() -> None:
    live = do(None, deployment(replicas=1, paused=True), "one")
    forced = do(live, deployment(replicas=2), "two", force=True, now=T2)
    assert forced["spec"]["replicas"] == 2
    assert "f:replicas" not in owned(forced, "one")["f:spec"]
    assert "f:paused" in owned(forced, "one")["f:spec"]
    first = entry(forced, "one")
    assert first is not None and first["time"] == T1


def test_equal_values_are_shared() -> None:
    live = do(None, deployment(replicas=1), "one")
    both = do(live, deployment(replicas=1), "two")
    assert both["spec"] == live["spec"]
    assert owned(both, "one") == owned(both, "two")
    alone = do(both, deployment(), "one")
    assert alone["spec"]["replicas"] == 1, "the other applier still wants it"
    with pytest.raises(ApplyConflict):
        do(both, deployment(replicas=3), "one")


def test_an_update_takes_ownership_of_what_it_changes() -> None:
    live = do(None, deployment(replicas=1, paused=True), "one")
    changed = copy(live)
    changed["spec"]["replicas"] = 5
    changed = update(live, changed, "kubectl-edit")
    assert owned(changed, "kubectl-edit", "Update") == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in owned(changed, "one")["f:spec"]
    with pytest.raises(ApplyConflict, match="kubectl-edit"):
        do(changed, deployment(replicas=1, paused=True), "one")


def test_conflict_with_a_subresource_says_so() -> None:
    live = do(None, deployment(replicas=1), "one")
    scaled = copy(live)
    scaled["spec"]["replicas"] = 4
    scaled = update(live, scaled, "hpa", subresource="scale")
    assert owned(scaled, "hpa", "Update", "scale") == {"f:spec": {"f:replicas": {}}}
    with pytest.raises(ApplyConflict) as caught:
        do(scaled, deployment(replicas=1), "one")
    assert str(caught.value).endswith(
        'conflict with "hpa" with subresource "scale" using apps/v1: .spec.replicas'
    )


def test_whole_atomic_values_conflict_as_one_field() -> None:
    live = do(None, deployment(selector={"matchLabels": {"a": "1"}}), "one")
    with pytest.raises(ApplyConflict) as caught:
        do(live, deployment(selector={"matchLabels": {"a": "1", "b": "2"}}), "two")
    assert caught.value.conflicts == [("one", ".spec.selector")]


# --- removal ------------------------------------------------------------------------------------------------


def test_what_an_applier_drops_goes() -> None:
    both = containers(
        {"name": "n", "image": "i", "env": [{"name": "A", "value": "1"}]}, {"name": "side", "image": "s"}
    )
    live = do(None, deployment(replicas=1, strategy={"type": "Recreate"}, **both), "one")
    live["spec"]["strategy"]["rollingUpdate"] = {"maxSurge": 1}  # a default that nobody owns
    left = do(live, deployment(**containers({"name": "n", "image": "i"})), "one", now=T2)
    assert "replicas" not in left["spec"]
    assert "strategy" not in left["spec"], "a struct goes with its last owned field"
    assert left["spec"]["template"]["spec"]["containers"] == [{"name": "n", "image": "i"}]
    changed = entry(left, "one")
    assert changed is not None and changed["time"] == T2


def test_what_others_own_stays() -> None:
    live = cm(None, config_map({"a": "1", "b": "2"}), "one")
    live = cm(live, config_map({"b": "2"}), "two")
    live = update(live, {**live, "data": {**live["data"], "c": "3"}}, "three", schema=CONFIG_MAP)
    left = cm(live, config_map(), "one")
    assert left["data"] == {"b": "2", "c": "3"}
    assert entry(left, "one") is None


def test_unowned_values_stay_when_dropped_neighbours_go() -> None:
    live = do(None, deployment(replicas=1, paused=True), "one")
    live["spec"]["revisionHistoryLimit"] = 10  # a default
    left = do(live, deployment(replicas=1), "one")
    assert left["spec"]["revisionHistoryLimit"] == 10
    assert "paused" not in left["spec"]


def test_an_emptied_struct_stays_for_whoever_wants_it_empty() -> None:
    live = do(do(None, deployment(strategy={"type": "Recreate"}), "one"), deployment(strategy={}), "two")
    left = do(live, deployment(), "one")
    assert left["spec"]["strategy"] == {}
    assert "strategy" not in do(left, deployment(), "two")["spec"]


def test_metadata_outlives_its_last_owned_field() -> None:
    live = with_metadata(cm(None, config_map(labels={"a": "1"})), uid="u")
    left = cm(live, config_map({"k": "v"}))
    assert {k: v for k, v in left["metadata"].items() if k != "managedFields"} == {"name": "c", "uid": "u"}


def test_an_item_that_its_owner_drops_goes_with_fields_of_others() -> None:
    live = do(None, deployment(**containers({"name": "n", "image": "i"}, {"name": "s", "image": "s"})), "one")
    changed = copy(live)
    changed["spec"]["template"]["spec"]["containers"][1]["tty"] = True
    live = update(live, changed, "other")
    left = do(live, deployment(**containers({"name": "n", "image": "i"})), "one")
    assert [c["name"] for c in left["spec"]["template"]["spec"]["containers"]] == ["n"]
    assert entry(left, "other", "Update") is None


def test_a_field_removed_by_an_update_is_nobodys() -> None:
    live = do(None, deployment(replicas=1), "one")
    removed = copy(live)
    del removed["spec"]["replicas"]
    removed = update(live, removed, "kubectl-edit")
    assert "f:replicas" not in owned(removed, "one")["f:spec"]
    assert entry(removed, "kubectl-edit", "Update") is None


# --- lists --------------------------------------------------------------------------------------------------

LIST_ORDERS: list[tuple[str, str, str]] = [
    ("ab", "ab", "ab"),
    ("ab", "ba", "ba"),
    ("abc", "xb", "axbc"),
    ("a", "x", "ax"),
    ("bc", "bx", "bcx"),
    ("bca", "ab", "cab"),
    ("", "ab", "ab"),
    ("abc", "b", "abc"),
]


@pytest.mark.parametrize(("live", "applied", "expected"), LIST_ORDERS)
def test_the_order_of_merged_items(live: str, applied: str, expected: str) -> None:
    before = update(None, deployment(**containers(*({"name": n} for n in live))), "u")
    after = do(before, deployment(**containers(*({"name": n} for n in applied))), "a")
    assert "".join(c["name"] for c in after["spec"]["template"]["spec"]["containers"]) == expected


def test_default_protocol_is_part_of_a_ports_key() -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s"},
        "spec": {"ports": [{"port": 53}]},
    }
    live = do(None, service, schema=SERVICE)
    live["spec"]["ports"][0]["protocol"] = "TCP"
    udp = {**service, "spec": {"ports": [{"port": 53, "protocol": "UDP"}]}}
    merged = do(live, udp, "b", schema=SERVICE)
    assert merged["spec"]["ports"] == [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]


def test_finalizers_are_a_set() -> None:
    live = cm(None, config_map(finalizers=["a/1"]), "one")
    live = cm(live, config_map(finalizers=["b/2", "a/1"]), "two")
    assert live["metadata"]["finalizers"] == ["b/2", "a/1"]
    live = cm(live, config_map(), "two")
    assert live["metadata"]["finalizers"] == ["a/1"]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (
            [{"image": "i"}],
            'element 0: associative list with keys has an element that omits key field "name"',
        ),
        ([{"name": "n"}, {"name": "n"}], 'duplicate entries for key [name="n"]'),
    ],
)
def test_lists_that_cannot_be_divided_are_refused(items: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ApplyError) as caught:
        do(None, deployment(**containers(*items)))
    assert str(caught.value) == f".spec.template.spec.containers: {message}"


# --- nothing happens ----------------------------------------------------------------------------------------


def test_applying_the_same_returns_the_live_object_itself() -> None:
    wanted = deployment(
        replicas=1, **containers({"name": "n", "image": "i", "ports": [{"containerPort": 1}]})
    )
    live = with_metadata(do(None, wanted), uid="u", resourceVersion="7", creationTimestamp=T1)
    live["status"] = {"replicas": 1}
    assert do(live, copy(wanted), now=T3) is live


def test_time_moves_only_with_the_set_or_a_value() -> None:
    live = cm(None, config_map({"a": "1"}), "one")
    shared = cm(live, config_map({"a": "1"}), "two", now=T2)
    again = cm(shared, config_map({"a": "1"}), "one", now=T3)
    assert again is shared
    first = entry(cm(shared, config_map({"a": "1", "b": "1"}), "one", now=T3), "one")
    assert first is not None and first["time"] == T3


def test_an_update_without_changes_changes_no_ownership() -> None:
    live = do(None, deployment(replicas=1))
    same = update(live, copy(live), "u", now=T3)
    assert same == live


# --- status, subresources, nulls ----------------------------------------------------------------------------


def test_status_has_its_own_entries() -> None:
    live = do(None, {**deployment(replicas=1), "status": {"replicas": 9}})
    assert "status" not in live
    assert "f:status" not in owned(live, "a")
    reported = update(live, {**live, "status": {"replicas": 1}}, "kcm", subresource="status")
    assert owned(reported, "kcm", "Update", "status") == {"f:status": {"f:replicas": {}}}
    again = do(reported, {**deployment(replicas=2), "status": {"replicas": 7}}, "a")
    assert again["status"] == {"replicas": 1}
    applied = do(
        reported, {**deployment(replicas=5), "status": {"readyReplicas": 1}}, "s", subresource="status"
    )
    assert applied["spec"]["replicas"] == 1
    assert applied["status"] == {"replicas": 1, "readyReplicas": 1}
    assert owned(applied, "s", "Apply", "status") == {"f:status": {"f:readyReplicas": {}}}


def test_kinds_without_status_subresource_own_status_like_any_field() -> None:
    schema = Schema.of_kind(
        {"properties": {"status": {"type": "object", "additionalProperties": {"type": "string"}}}}
    )
    wanted = {"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "x"}, "status": {"a": "b"}}
    made = apply(schema, None, wanted, manager="a", force=False, now=T1, api_version="x/v1", has_status=False)
    assert owned(made, "a") == {"f:status": {"f:a": {}}}


def test_null_and_empty_values() -> None:
    live = do(None, deployment(replicas=1, strategy={}))
    assert owned(live, "a")["f:spec"]["f:strategy"] == {}
    nulled = do(live, deployment(replicas=None, strategy={}))
    assert "replicas" not in nulled["spec"]
    assert nulled["spec"]["strategy"] == {}
    assert do(nulled, deployment(replicas=None, strategy={})) is nulled
    kept = do(live, deployment(replicas=1, strategy=None))
    assert kept["spec"]["strategy"] == {}, "a null does not empty a container"


def test_unstructured_content_divides_maps_and_not_lists() -> None:
    schema = Schema.of_kind({"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    obj = {
        "apiVersion": "x/v1",
        "kind": "X",
        "metadata": {"name": "x"},
        "spec": {"m": {"a": 1}, "l": [{"a": 1}], "n": None},
    }
    made = apply(schema, None, obj, manager="a", force=False, now=T1, api_version="x/v1")
    assert owned(made, "a") == {"f:spec": {".": {}, "f:m": {".": {}, "f:a": {}}, "f:l": {}, "f:n": {}}}
    assert made["spec"] == obj["spec"]
    true = apply(
        schema,
        made,
        {**obj, "spec": {"m": {"a": True}}},
        manager="a",
        force=False,
        now=T1,
        api_version="x/v1",
    )
    assert true["spec"]["m"]["a"] is True, "True is not 1"


def test_configurations_must_not_carry_managed_fields() -> None:
    with pytest.raises(ApplyError, match=r"metadata\.managedFields: must be nil"):
        cm(None, config_map(managedFields=[{"manager": "x"}]))


def test_inputs_are_never_changed() -> None:
    live = do(None, deployment(replicas=1, **containers({"name": "n", "image": "i"})))
    wanted = deployment(replicas=2, **containers({"name": "m", "image": "i"}))
    before = copy((live, wanted))
    do(live, wanted, force=True, now=T2)
    update(live, {**wanted, "metadata": live["metadata"]})
    assert copy((live, wanted)) == before
