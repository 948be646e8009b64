"""Writes of the hub itself go through the same admission."""

from __future__ import annotations

import pytest

from tests.api.objects import configmap, deployment
from tests.api.served import Served
from towline.hub.api.local import Local
from towline.hub.api.status import StatusError
from towline.kube.objects import Key

KEY = Key("", "configmaps", "shop", "c")


async def test_objects_are_created_changed_and_deleted(api: Served) -> None:
    local = Local(api.server.engine)
    made = await local.write(configmap(namespace="shop"))
    assert made["metadata"]["uid"] and api.cache.get(KEY).object == made
    changed = await local.write({**made, "data": {"b": "2"}})
    assert changed["data"] == {"b": "2"}
    with pytest.raises(StatusError) as stale:
        await local.write({**made, "data": {"c": "3"}})
    assert stale.value.reason == "Conflict"
    applied = await local.apply(configmap(namespace="shop", data={"d": "4"}))
    assert applied["data"] == {"b": "2", "d": "4"}
    await local.delete(KEY)
    await local.delete(KEY)
    assert api.cache.get(KEY) is None


async def test_status_is_a_subresource_here_too(api: Served) -> None:
    local = Local(api.server.engine)
    made = await local.create(deployment(namespace="shop"))
    changed = await local.update({**made, "spec": {}, "status": {"replicas": 1}}, "status")
    assert changed["status"] == {"replicas": 1} and changed["spec"] == made["spec"]


async def test_bad_objects_are_refused(api: Served) -> None:
    local = Local(api.server.engine)
    for obj, reason in (
        (configmap("Bad", namespace="shop"), "Invalid"),
        (configmap(namespace="nowhere"), "NotFound"),
        ({**configmap(namespace="shop"), "dota": {}}, "BadRequest"),
        ({"apiVersion": "v9", "kind": "Thing"}, "NotFound"),
    ):
        with pytest.raises(StatusError) as refused:
            await local.create(obj)
        assert refused.value.reason == reason


async def test_namespaces_are_ensured_once(api: Served) -> None:
    local = Local(api.server.engine)
    await local.ensure_namespaces(["default", "kube-system"])
    revision = api.cache.revision
    await local.ensure_namespaces(["default", "kube-system"])
    assert api.cache.revision == revision
    namespace = api.cache.get(Key("", "namespaces", "", "kube-system")).object
    assert namespace["spec"] == {"finalizers": ["kubernetes"]} and namespace["status"] == {"phase": "Active"}
