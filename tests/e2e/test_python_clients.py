"""The `kubernetes` and `kubernetes_asyncio` packages, against a real hub.

The informers are the point: what they hold after the hub was killed, or after it forgot the changes that they missed, is what
a fresh list holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes as sync
import kubernetes_asyncio as aio
import pytest
from kubernetes.dynamic import DynamicClient
from kubernetes.informer import SharedInformer

from tests.e2e.harness import Fleet, eventually, running_fleet
from tests.e2e.objects import configmap, deployment, namespace

pytestmark = pytest.mark.e2e

SPACE = "python"


@pytest.fixture(scope="module")
def api(clients: Fleet) -> Iterator[sync.client.ApiClient]:
    clients.apply(namespace(SPACE))
    with sync.config.new_client_from_config(str(clients.hub_data / "admin.kubeconfig")) as client:
        yield client


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Fleet]:
    """A hub of its own, to be killed, that remembers ten changes."""
    with running_fleet(tmp_path, members=(), hub_flags=("--window-events", "10")) as fleet:
        fleet.apply(namespace(SPACE))
        yield fleet


def test_typed_objects(api: sync.client.ApiClient) -> None:
    """What is written typed is read back typed and equal, through every verb."""
    core, apps = sync.client.CoreV1Api(api), sync.client.AppsV1Api(api)
    meta = sync.client.V1ObjectMeta
    config = sync.client.V1ConfigMap(metadata=meta(generate_name="typed-"), data={"a": "1"})
    made = core.create_namespaced_config_map(SPACE, config)
    name = made.metadata.name
    assert name.startswith("typed-") and made.metadata.creation_timestamp.tzinfo is not None
    made.data["b"] = "2"
    replaced = core.replace_namespaced_config_map(name, SPACE, made)
    with pytest.raises(sync.client.ApiException) as stale:
        core.replace_namespaced_config_map(name, SPACE, made)
    assert stale.value.status == 409 and "the object has been modified" in stale.value.body
    patched = core.patch_namespaced_config_map(name, SPACE, {"data": {"a": None}})
    assert (replaced.data, patched.data) == ({"a": "1", "b": "2"}, {"b": "2"})
    patched = core.patch_namespaced_config_map(name, SPACE, [{"op": "add", "path": "/data/c", "value": "3"}])
    assert patched.data == {"b": "2", "c": "3"}
    assert core.read_namespaced_config_map(name, SPACE) == patched
    core.delete_namespaced_config_map(name, SPACE)
    with pytest.raises(sync.client.ApiException) as gone:
        core.read_namespaced_config_map(name, SPACE)
    assert (gone.value.status, gone.value.reason) == (404, "Not Found")

    secret = sync.client.V1Secret(metadata=meta(name="typed"), string_data={"a": "b"})
    assert core.create_namespaced_secret(SPACE, secret).data == {"a": "Yg=="}
    pod = sync.client.V1Pod(
        metadata=meta(name="typed"),
        spec=sync.client.V1PodSpec(containers=[sync.client.V1Container(name="main", image="nginx")]),
    )
    assert core.create_namespaced_pod(SPACE, pod).spec.containers[0].image == "nginx"
    web = apps.create_namespaced_deployment(SPACE, deployment("typed", SPACE))
    assert web.spec.replicas == 2 and web.spec.template.spec.containers[0].ports[0].container_port == 80
    scale = apps.read_namespaced_deployment_scale("typed", SPACE)
    scale.spec.replicas = 4
    assert apps.replace_namespaced_deployment_scale("typed", SPACE, scale).spec.replicas == 4
    status = {"status": {"replicas": 4, "observedGeneration": 1}}
    assert apps.patch_namespaced_deployment_status("typed", SPACE, status).status.replicas == 4
    grace = sync.client.V1DeleteOptions(grace_period_seconds=0, propagation_policy="Background")
    core.delete_namespaced_pod("typed", SPACE, body=grace)
    core.delete_namespaced_secret("typed", SPACE)
    apps.delete_namespaced_deployment("typed", SPACE)


def test_pages_and_collections(api: sync.client.ApiClient) -> None:
    core = sync.client.CoreV1Api(api)
    for i in range(5):
        core.create_namespaced_config_map(SPACE, configmap(f"page-{i}", SPACE) | {"metadata": {"name": f"page-{i}", "labels": {"page": "y"}}})  # fmt: skip
    found, token, pages = [], None, 0
    while pages == 0 or token:
        page = core.list_namespaced_config_map(SPACE, label_selector="page", limit=2, _continue=token)
        found += [item.metadata.name for item in page.items]
        token, pages = page.metadata._continue, pages + 1
    assert found == [f"page-{i}" for i in range(5)] and pages == 3
    core.delete_collection_namespaced_config_map(SPACE, label_selector="page")
    assert core.list_namespaced_config_map(SPACE, label_selector="page").items == []


def test_a_watch_ends_and_resumes(api: sync.client.ApiClient) -> None:
    core, watch = sync.client.CoreV1Api(api), sync.watch.Watch()
    start = core.list_namespaced_config_map(SPACE).metadata.resource_version
    core.create_namespaced_config_map(SPACE, configmap("watched", SPACE))
    list_them = core.list_namespaced_config_map
    seen = []
    for event in watch.stream(list_them, SPACE, resource_version=start, timeout_seconds=5):
        seen.append((event["type"], event["object"].metadata.name))
        watch.stop()
    core.patch_namespaced_config_map("watched", SPACE, {"data": {"b": "2"}})
    core.delete_namespaced_config_map("watched", SPACE)
    rest = sync.watch.Watch().stream(
        list_them, SPACE, resource_version=watch.resource_version, timeout_seconds=1
    )
    seen.extend((event["type"], event["object"].metadata.name) for event in rest)
    assert seen == [("ADDED", "watched"), ("MODIFIED", "watched"), ("DELETED", "watched")]


def test_dynamic_client(api: sync.client.ApiClient) -> None:
    """It finds kinds by discovery: a built-in one, and one of Karmada's."""
    dynamic = DynamicClient(api)
    deployments = dynamic.resources.get(api_version="apps/v1", kind="Deployment")
    body = deployment("dynamic", SPACE)
    made = deployments.server_side_apply(body, namespace=SPACE, field_manager="one")
    assert made.metadata.managedFields[0].operation == "Apply"
    with pytest.raises(sync.dynamic.exceptions.ConflictError) as conflict:
        deployments.server_side_apply(deployment("dynamic", SPACE, 5), namespace=SPACE, field_manager="two")
    assert 'conflict with \\"one\\"' in conflict.value.body
    forced = deployments.server_side_apply(
        deployment("dynamic", SPACE, 5), namespace=SPACE, field_manager="two", force_conflicts=True
    )
    assert forced.spec.replicas == 5
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "busybox"}]}}}}
    kind = "application/strategic-merge-patch+json"
    patched = deployments.patch(body=patch, name="dynamic", namespace=SPACE, content_type=kind)
    assert [c.name for c in patched.spec.template.spec.containers] == ["side", "web"]
    assert deployments.get(name="dynamic", namespace=SPACE).to_dict() == patched.to_dict()
    deployments.delete(name="dynamic", namespace=SPACE)
    clusters = dynamic.resources.get(api_version="cluster.karmada.io/v1alpha1", kind="Cluster")
    assert [item.metadata.name for item in clusters.get().items] == ["member1"]
    policies = dynamic.resources.get(kind="PropagationPolicy")
    assert policies.get(namespace=SPACE).items == []


# --- informers ---


def store(fleet: Fleet) -> dict[str, str]:
    """What a fresh list holds: the version of each ConfigMap."""
    items = fleet.hub.items(f"/api/v1/namespaces/{SPACE}/configmaps")
    return {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in items}


def change(fleet: Fleet, start: int, stop: int) -> None:
    """Creates some, changes the ones before, deletes each third."""
    path = f"/api/v1/namespaces/{SPACE}/configmaps"
    for i in range(start, stop):
        fleet.hub.request("POST", path, configmap(f"c-{i}", SPACE))
        fleet.hub.merge(f"{path}/c-{i}", {"data": {"i": str(i)}})
        if i % 3 == 0:
            fleet.hub.request("DELETE", f"{path}/c-{i}")


def through_a_crash_and_compaction(fleet: Fleet, held: Callable[[], dict[str, str]]) -> None:
    change(fleet, 0, 5)
    eventually(lambda: held() == store(fleet), what="the first changes")
    fleet.processes["hub"].kill()
    fleet.processes["hub"].start()
    fleet.await_hub()
    change(fleet, 5, 25)  # more than the hub remembers
    eventually(lambda: held() == store(fleet), what="after a crash")


def test_informer_of_kubernetes(hub: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    with sync.config.new_client_from_config(str(hub.hub_data / "admin.kubeconfig")) as client:
        informer = SharedInformer(sync.client.CoreV1Api(client).list_namespaced_config_map, SPACE)
        known: dict[str, str] = {}
        doubled: list[str] = []

        def added(item: Any) -> None:
            if item.metadata.name in known:
                doubled.append(item.metadata.name)
            known[item.metadata.name] = item.metadata.resource_version

        informer.add_event_handler("ADDED", added)
        informer.add_event_handler("MODIFIED", lambda item: known.update({item.metadata.name: item.metadata.resource_version}))  # fmt: skip
        informer.add_event_handler("DELETED", lambda item: known.pop(item.metadata.name))
        informer.start()
        try:
            through_a_crash_and_compaction(hub, lambda: dict(known))
            cached = {item.metadata.name: item.metadata.resource_version for item in informer.cache.list()}
            assert cached == store(hub) and not doubled
        finally:
            # `stop` waits for the watch's next event: let there be some until it has ended.
            ending = threading.Thread(target=informer.stop)
            ending.start()
            for i in range(100, 200):
                if not ending.is_alive():
                    break
                hub.hub.request("POST", f"/api/v1/namespaces/{SPACE}/configmaps", configmap(f"c-{i}", SPACE))
                ending.join(0.05)
            ending.join(10)


def test_a_forgotten_revision_is_gone(hub: Fleet) -> None:
    """Every client that resumes too late hears 410, as a status or as the first event, and lists again."""
    with sync.config.new_client_from_config(str(hub.hub_data / "admin.kubeconfig")) as client:
        core = sync.client.CoreV1Api(client)
        before = core.list_namespaced_config_map(SPACE).metadata.resource_version
        change(hub, 0, 20)
        with pytest.raises(sync.client.ApiException) as gone:
            for _ in sync.watch.Watch().stream(
                core.list_namespaced_config_map, SPACE, resource_version=before, timeout_seconds=2
            ):
                pass
        assert gone.value.status == 410


@contextlib.asynccontextmanager
async def connected(fleet: Fleet) -> AsyncIterator[aio.client.ApiClient]:
    configuration = aio.client.Configuration()
    await aio.config.load_kube_config(
        str(fleet.hub_data / "admin.kubeconfig"), client_configuration=configuration
    )
    async with aio.client.ApiClient(configuration) as client:
        yield client


@contextlib.asynccontextmanager
async def cut_off(answer: Any) -> AsyncIterator[None]:
    """Who leaves a watch leaves it at once. Else TLS waits for the hub's goodbye, longer than the test's loop runs if the hub is busy."""
    try:
        yield
    finally:
        if answer.connection is not None and answer.connection.transport is not None:
            answer.connection.transport.abort()


async def inform(core: aio.client.CoreV1Api, known: dict[str, str]) -> None:
    """The usual loop: list, watch from there, resume where it broke off, list again after a 410."""
    version = ""
    while True:
        try:
            if not version:
                listed = await core.list_namespaced_config_map(SPACE)
                known.clear()
                known.update({item.metadata.name: item.metadata.resource_version for item in listed.items})
                version = listed.metadata.resource_version
            answer = await core.list_namespaced_config_map(
                SPACE,
                watch=True,
                resource_version=version,
                allow_watch_bookmarks=True,
                _preload_content=False,
            )
            async with answer, cut_off(answer), aio.watch.Watch("V1ConfigMap") as watch:
                async for line in answer.content:
                    event = watch.unmarshal_event(line.decode(), "V1ConfigMap")
                    if event["type"] == "ERROR":
                        raise aio.client.ApiException(status=event["object"]["code"])
                    version = event["raw_object"]["metadata"]["resourceVersion"]
                    name = event["raw_object"]["metadata"].get("name")
                    if event["type"] in ("ADDED", "MODIFIED"):
                        known[name] = version
                    elif event["type"] == "DELETED":
                        del known[name]
        except aio.client.ApiException as error:
            if error.status == 410:
                version = ""
        except (OSError, aio.client.rest.aiohttp.ClientError):
            pass
        await asyncio.sleep(0.02)


async def test_informer_of_kubernetes_asyncio(hub: Fleet) -> None:
    async with connected(hub) as client:
        known: dict[str, str] = {}
        informer = asyncio.create_task(inform(aio.client.CoreV1Api(client), known))
        try:
            await asyncio.to_thread(through_a_crash_and_compaction, hub, lambda: dict(known))
        finally:
            informer.cancel()
            await asyncio.gather(informer, return_exceptions=True)


async def test_kubernetes_asyncio(clients: Fleet, api: sync.client.ApiClient) -> None:
    async with connected(clients) as client:
        core = aio.client.CoreV1Api(client)
        made = await core.create_namespaced_config_map(SPACE, configmap("aio", SPACE))
        assert made.data == {"k": "v"}
        patched = await core.patch_namespaced_config_map("aio", SPACE, {"data": {"k": None, "l": "1"}})
        assert patched.data == {"l": "1"} == (await core.read_namespaced_config_map("aio", SPACE)).data
        dynamic = await aio.dynamic.DynamicClient(client)
        policies = await dynamic.resources.get(
            api_version="policy.karmada.io/v1alpha1", kind="PropagationPolicy"
        )
        assert (await policies.get(namespace=SPACE)).items == []
        configs = await dynamic.resources.get(api_version="v1", kind="ConfigMap")
        applied = await configs.server_side_apply(
            configmap("aio", SPACE, l="2"),
            name="aio",
            namespace=SPACE,
            field_manager="aio",
            force_conflicts=True,
        )
        assert applied.data.to_dict() == {"l": "2"}
        await core.delete_namespaced_config_map("aio", SPACE)
