"""A member is one Cluster."""

from __future__ import annotations

from typing import Any

from tests.api.served import Served
from towline.hub.api.membership import OneClusterAMember

CLUSTERS = "/apis/cluster.karmada.io/v1alpha1/clusters"


def cluster(name: str, member: str) -> dict[str, Any]:
    spec = {"syncMode": "Pull", **({"id": member} if member else {})}
    return {
        "apiVersion": "cluster.karmada.io/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": name},
        "spec": spec,
    }


async def test_a_member_that_is_joined_is_no_other_cluster(api: Served) -> None:
    api.server.engine.plugins = (OneClusterAMember(api.server.engine.cache),)
    assert (await api("POST", CLUSTERS, cluster("one", "uid-1"))).code == 201
    refused = await api("POST", CLUSTERS, cluster("two", "uid-1"))
    assert refused.code == 422 and "joined already, as cluster one; detach it first" in refused.message
    assert refused.body["details"]["causes"][0]["field"] == "spec.id"
    assert (await api("POST", CLUSTERS, cluster("two", ""))).code == 201, "one that has not joined yet"
    assert (await api("POST", CLUSTERS, cluster("three", ""))).code == 201
    assert (await api.patch(f"{CLUSTERS}/two", {"spec": {"id": "uid-1"}})).code == 422
    assert (await api.patch(f"{CLUSTERS}/two", {"spec": {"id": "uid-2"}})).code == 200
    assert (await api.patch(f"{CLUSTERS}/one", {"metadata": {"labels": {"a": "b"}}})).code == 200
