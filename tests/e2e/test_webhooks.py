"""kubectl, a real hub, and webhooks that guard it, also after the hub started again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.webhook_server import deny, patching, webhook_server
from tests.e2e.harness import Fleet, running_fleet
from tests.e2e.objects import configmap, namespace

pytestmark = pytest.mark.e2e

GROUP = "admissionregistration.k8s.io/v1"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Fleet]:
    with running_fleet(tmp_path, members=()) as fleet:
        fleet.apply(namespace("guarded"), namespace("free"))
        yield fleet


async def test_kubectl_meets_webhooks(hub: Fleet, tmp_path: Path) -> None:
    async def kubectl(*args: str, of: Any = None) -> Any:
        stdin = None if of is None else json.dumps(of)
        return await asyncio.to_thread(hub.kubectl, *args, stdin=stdin, check=False)

    def made(kind: str, *webhooks: dict[str, Any]) -> dict[str, Any]:
        guarded = {"matchLabels": {"kubernetes.io/metadata.name": "guarded"}}
        chosen = [{**webhook, "namespaceSelector": guarded} for webhook in webhooks]
        return {"apiVersion": GROUP, "kind": kind, "metadata": {"name": "guard"}, "webhooks": chosen}

    label = patching({"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}})
    async with webhook_server(tmp_path) as hooks:
        hooks.paths |= {"/label": label, "/deny": deny}
        denying = hooks.webhook(
            "/deny", matchConditions=[{"name": "secret", "expression": "'secret' in object.data"}]
        )
        for one in (
            made("MutatingWebhookConfiguration", hooks.webhook("/label")),
            made("ValidatingWebhookConfiguration", denying),
        ):
            applied = await kubectl("apply", "-f", "-", of=one)
            assert applied.returncode == 0, applied.stderr
        for server_side in ("false", "true"):
            for space, allowed in (("guarded", False), ("free", True)):
                sent = configmap("c", space, secret="x")
                answer = await kubectl("apply", f"--server-side={server_side}", "-f", "-", of=sent)
                assert (answer.returncode == 0) is allowed, answer.stderr
                told = 'admission webhook "deny.example.com" denied the request: not on Fridays'
                assert (told in answer.stderr) is not allowed
        assert (
            await kubectl("create", "configmap", "ok", "-n", "guarded", "--from-literal=a=b")
        ).returncode == 0
        labels = await kubectl("get", "configmap", "ok", "-n", "guarded", "-o", "jsonpath={.metadata.labels}")
        assert json.loads(labels.stdout) == {"seen": "yes"}

        await asyncio.to_thread(hub.processes["hub"].kill)
        await asyncio.to_thread(hub.start_hub)
        answer = await kubectl("create", "configmap", "no", "-n", "guarded", "--from-literal=secret=b")
        assert "not on Fridays" in answer.stderr
    answer = await kubectl("create", "configmap", "no", "-n", "guarded", "--from-literal=a=b")
    assert 'Internal error occurred: failed calling webhook "label.example.com"' in answer.stderr
