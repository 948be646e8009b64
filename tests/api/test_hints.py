"""What clients are told of writes that are accepted and may not do what they expect."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.served import Served
from tests.api.test_membership import CLUSTERS, cluster
from towline.cli.manifests import agent_manifests
from towline.hub.api.hints import AgentInHub, WaitingExit
from towline.kube import exits

LOST = {"type": "Ready", "status": "Unknown", "message": "the agent of cluster one stopped reporting", "reason": "x", "lastTransitionTime": "2026-01-01T00:00:00Z"}  # fmt: skip


@pytest.mark.parametrize(
    ("conditions", "notes", "connected", "warns"),
    [
        pytest.param([LOST], {}, False, "cannot be reached (the agent of cluster one stopped reporting): it stays until", id="lost"),
        pytest.param([], {}, False, "", id="never came"),
        pytest.param([LOST | {"status": "True"}], {}, True, "", id="there"),
        pytest.param([LOST | {"status": "True"}], {}, False, "(its agent is not connected): it stays", id="not known to be lost yet"),
        pytest.param([LOST], {exits.FORCE: "true"}, False, "", id="forced"),
    ],
)  # fmt: skip
async def test_a_deletion_that_waits_is_told(
    api: Served, conditions: list[Any], notes: dict[str, str], connected: bool, warns: str
) -> None:
    api.server.engine.plugins = (WaitingExit(lambda name: connected),)
    made = cluster("one", "uid-1")
    made["metadata"] |= {"annotations": notes, "finalizers": ["karmada.io/cluster-controller"]}
    assert (await api("POST", CLUSTERS, made)).code == 201
    await api.patch(f"{CLUSTERS}/one/status", {"status": {"conditions": conditions}})
    answer = await api("DELETE", f"{CLUSTERS}/one")
    assert answer.code == 200
    told = answer.headers.get("Warning", "")
    assert (warns in told and "`towline unjoin one --force`" in told) if warns else told == ""


async def test_an_agent_that_is_installed_in_the_hub_is_told(api: Served) -> None:
    api.server.engine.plugins = (AgentInHub(),)
    printed = agent_manifests("token")
    await api("POST", "/api/v1/namespaces", printed[0])
    answer = await api("POST", "/apis/apps/v1/namespaces/towline-system/deployments", printed[-1])
    assert answer.code == 201 and "this is the hub, where nothing runs" in answer.headers["Warning"]
    other = {**printed[-1], "metadata": {"name": "web", "namespace": "towline-system"}}
    answer = await api("POST", "/apis/apps/v1/namespaces/towline-system/deployments", other)
    assert answer.code == 201 and "Warning" not in answer.headers
