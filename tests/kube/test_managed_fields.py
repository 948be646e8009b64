"""managedFields from elsewhere: objects without any, entries that clients write, too many of them."""

from __future__ import annotations

from typing import Any

import pytest

from towline.kube.apply import (
    ANCIENT_CHANGES,
    BEFORE_FIRST_APPLY,
    UPDATERS_MAX,
    ApplyConflict,
    ApplyError,
    apply,
    track,
)
from towline.kube.objects import with_metadata
from towline.kube.schemas import Schema, builtin

DEPLOYMENT = builtin("io.k8s.api.apps.v1.Deployment")
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


def do(
    live: dict[str, Any] | None,
    applied: dict[str, Any],
    manager: str = "a",
    *,
    force: bool = False,
    now: str = T1,
) -> dict[str, Any]:
    return apply(DEPLOYMENT, live, applied, manager=manager, force=force, now=now, api_version="apps/v1")


def update(
    old: dict[str, Any] | None,
    new: dict[str, Any],
    manager: str = "u",
    *,
    now: str = T2,
    schema: Schema = DEPLOYMENT,
    subresource: str = "",
) -> dict[str, Any]:
    return track(schema, old, new, manager=manager, now=now, api_version="apps/v1", subresource=subresource)


def owned(obj: dict[str, Any], manager: str, operation: str) -> Any:
    entries = obj["metadata"].get("managedFields", [])
    return next(
        (e["fieldsV1"] for e in entries if (e["manager"], e["operation"]) == (manager, operation)), None
    )


def test_objects_without_managed_fields_get_an_entry_at_the_first_apply() -> None:
    live = deployment(replicas=1)
    tracked = update(live, deployment(replicas=2), "u")
    assert "managedFields" not in tracked["metadata"], "updates alone do not start tracking"
    with pytest.raises(ApplyConflict, match=BEFORE_FIRST_APPLY):
        do(live, deployment(replicas=2))
    taken = do(live, deployment(replicas=2), force=True)
    assert taken["spec"]["replicas"] == 2
    before = owned(taken, BEFORE_FIRST_APPLY, "Update")
    assert "f:replicas" not in before["f:spec"] and "f:selector" in before["f:spec"]


def test_kubectl_migrates_client_side_ownership() -> None:
    live = update(None, deployment(replicas=1), "kubectl-client-side-apply", now=T1)
    (entry_,) = live["metadata"]["managedFields"]
    migrated = with_metadata(live, managedFields=[{**entry_, "manager": "kubectl", "operation": "Apply"}])
    stored = update(live, migrated, "kubectl", now=T2)
    assert [(e["manager"], e["operation"]) for e in stored["metadata"]["managedFields"]] == [
        ("kubectl", "Apply")
    ]
    without = do(stored, deployment(), "kubectl", now=T3)
    assert "replicas" not in without["spec"]


def test_reset_with_an_empty_entry_and_no_reset_with_an_empty_list() -> None:
    live = do(None, deployment(replicas=1))
    assert "managedFields" not in update(live, with_metadata(live, managedFields=[{}]))["metadata"]
    kept = update(live, with_metadata(live, managedFields=[]))
    assert kept["metadata"]["managedFields"] == live["metadata"]["managedFields"]
    dropped = update(live, with_metadata(live, managedFields=None))
    assert dropped["metadata"]["managedFields"] == live["metadata"]["managedFields"]


@pytest.mark.parametrize(
    "entry_",
    [
        {"manager": "x", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": {"spec": {}}},
        {"manager": "x", "operation": "Steal", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}}},
        {"manager": "x", "operation": "Apply", "fieldsType": "FieldsV2", "fieldsV1": {"f:spec": {}}},
        {"manager": 3, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}}},
        {"manager": "x", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": {'k:{"a"': {}}},
        "nonsense",
    ],
)
def test_unreadable_managed_fields_count_as_not_given(entry_: Any) -> None:
    live = do(None, deployment(replicas=1))
    stored = update(live, with_metadata(live, managedFields=[entry_]))
    assert stored["metadata"]["managedFields"] == live["metadata"]["managedFields"]


def test_managed_fields_through_a_subresource_are_ignored() -> None:
    live = do(None, deployment(replicas=1))
    stored = update(live, with_metadata(live, managedFields=[{}]), subresource="status")
    assert stored["metadata"]["managedFields"] == live["metadata"]["managedFields"]


def test_many_updaters_become_one() -> None:
    live = update(
        None,
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": "0"}},
        "u0",
        schema=CONFIG_MAP,
        now=T1,
    )
    for n in range(1, 15):
        now = f"2026-01-01T00:01:{n:02}Z"
        live = update(
            live, {**live, "data": {**live["data"], f"k{n}": "x"}}, f"u{n}", schema=CONFIG_MAP, now=now
        )
    managers = [e["manager"] for e in live["metadata"]["managedFields"]]
    assert len(managers) == UPDATERS_MAX
    assert managers[0] == ANCIENT_CHANGES and managers[-1] == "u14"
    assert {"f:k", "f:k1"} <= owned(live, ANCIENT_CHANGES, "Update")["f:data"].keys()


def test_deep_objects_are_refused_and_do_not_crash() -> None:
    deep: dict[str, Any] = {"a": 1}
    for _ in range(2_000):
        deep = {"a": deep}
    obj = {"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "x"}, "spec": deep}
    with pytest.raises(ApplyError, match="nested too deeply"):
        apply(Schema.ANY, None, obj, manager="a", force=False, now=T1, api_version="x/v1")
    with pytest.raises(ApplyError, match="nested too deeply"):
        track(Schema.ANY, None, obj, manager="a", now=T1, api_version="x/v1")
