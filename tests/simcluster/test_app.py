"""A whole simulated member in this process, asked over TLS like any cluster."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import stat
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.simcluster.harness import workload
from towline.cli.client import Client, Refused
from towline.hub.sim.app import SimConfig, serving

DEPLOYMENT = "/apis/apps/v1/namespaces/default/deployments/web"


@contextlib.asynccontextmanager
async def member(folder: Path, **settings: Any) -> AsyncIterator[tuple[Client, Callable[..., Any]]]:
    """A client, and how to call its blocking methods without blocking the server in the same loop."""
    config = SimConfig(folder / "m1", **{"ready_seconds": 0.05, **settings})
    async with serving(config) as simulated:
        client = Client.from_kubeconfig(simulated.kubeconfig)
        try:
            yield client, asyncio.to_thread
        finally:
            client.close()


async def test_a_fresh_member_has_namespaces_nodes_and_a_private_kubeconfig(tmp_path: Path) -> None:
    async with member(tmp_path, nodes=2, region="eu", zones=("a", "b")) as (client, call):
        spaces = await call(client.get, "/api/v1/namespaces")
        wanted = ["default", "kube-node-lease", "kube-public", "kube-system"]
        assert [s["metadata"]["name"] for s in spaces["items"]] == wanted
        nodes = (await call(client.get, "/api/v1/nodes"))["items"]
        labels = [n["metadata"]["labels"] for n in nodes]
        assert [row["topology.kubernetes.io/zone"] for row in labels] == ["a", "b"]
        assert {row["topology.kubernetes.io/region"] for row in labels} == {"eu"}
        assert nodes[0]["status"]["allocatable"]["cpu"] == "64"
        mode = (tmp_path / "m1" / "kubeconfig").stat().st_mode
        assert stat.S_IMODE(mode) == 0o600


async def test_workloads_become_ready_and_go_through_the_api(tmp_path: Path) -> None:
    async with member(tmp_path) as (client, call):
        await call(client.apply, DEPLOYMENT, workload("Deployment", replicas=2))
        watch = f"{DEPLOYMENT.rpartition('/')[0]}?watch=1&fieldSelector=metadata.name%3Dweb"

        def first_ready() -> Any:
            with Client.from_kubeconfig(tmp_path / "m1" / "kubeconfig") as watcher:
                for event in watcher.watch(watch):
                    if (event["object"].get("status") or {}).get("readyReplicas") == 2:
                        return event["object"]
            return None

        ready = await asyncio.wait_for(call(first_ready), 10)
        assert ready["status"]["observedGeneration"] == ready["metadata"]["generation"]
        managers = [row["manager"] for row in ready["metadata"]["managedFields"]]
        assert managers == ["towline-cli"]  # the member's own writes do not touch who manages what
        again = await call(client.apply, DEPLOYMENT, workload("Deployment", replicas=2))
        assert again["metadata"]["resourceVersion"] == ready["metadata"]["resourceVersion"]
        await call(client.request, "DELETE", DEPLOYMENT)
        async with asyncio.timeout(10):
            while (await call(client.get, "/api/v1/namespaces/default/pods"))["items"]:
                await asyncio.sleep(0.02)


async def test_a_restart_keeps_the_authority(tmp_path: Path) -> None:
    async with member(tmp_path):
        before = (tmp_path / "m1" / "pki" / "ca.crt").read_bytes()
    async with member(tmp_path):
        assert (tmp_path / "m1" / "pki" / "ca.crt").read_bytes() == before


async def test_nobody_gets_in_without_a_certificate(tmp_path: Path) -> None:
    async with member(tmp_path) as (client, call):
        tls = ssl.create_default_context(cafile=str(tmp_path / "m1" / "pki" / "ca.crt"))

        def ask(path: str) -> int:
            try:
                with urllib.request.urlopen(client.server + path, context=tls) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                with error:
                    return error.code

        assert await call(ask, "/readyz") == 200
        assert await call(ask, "/api/v1/namespaces") == 401
        with pytest.raises(Refused):
            await call(client.get, "/api/v1/namespaces/none")


@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_a_member_on_sqlite_is_the_same_cluster_after_a_restart(store: str, tmp_path: Path) -> None:
    path, uids = "/api/v1/namespaces/kube-system", []
    for found in (False, store == "sqlite"):
        async with member(tmp_path, store=store) as (client, call):
            uids.append((await call(client.get, path))["metadata"]["uid"])
            assert bool((await call(client.get, f"{path}/configmaps"))["items"]) == found
            config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}}
            await call(client.apply, f"{path}/configmaps/kept", config)
            assert len((await call(client.get, "/api/v1/nodes"))["items"]) == 3
    assert (uids[0] == uids[1]) == (store == "sqlite")
