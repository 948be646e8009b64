"""kubectl delete --cascade with a real hub: dependents go, wait or stay, also when the hub is killed on the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.harness import ApiError, Fleet, eventually, running_fleet
from tests.e2e.objects import APPS, configmap, deployment, namespace, policy
from towline.kube.objects import is_deleting

pytestmark = pytest.mark.e2e

SETS = "/apis/apps/v1/namespaces/shop/replicasets"
CONFIGMAPS = "/api/v1/namespaces/shop/configmaps"
LET_GO = '[{"op": "remove", "path": "/metadata/finalizers/0"}]'
"""Takes away what `family` put first."""
PROTECTED = "resourcetemplate.karmada.io/deletion-protected"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(tmp_path_factory.mktemp("hub"), members=("m1",)) as fleet:
        fleet.apply(namespace("shop"))
        yield fleet


def family(fleet: Fleet, name: str, finalizers: tuple[str, ...] = ()) -> None:
    """A ReplicaSet, a ConfigMap that it owns, and one that this owns."""
    pods = {
        "metadata": {"labels": {"a": name}},
        "spec": {"containers": [{"name": "m", "image": "nginx:1"}]},
    }
    spec = {"selector": {"matchLabels": {"a": name}}, "template": pods}
    owner: dict[str, Any] = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "spec": spec}
    owner["metadata"] = {"name": name, "namespace": "shop"}
    owner = fleet.hub.request("POST", SETS, owner)
    for at in ("child", "grandchild"):
        child = configmap(f"{name}-{at}", "shop")
        refers = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "blockOwnerDeletion": True}
        refers |= {field: owner["metadata"][field] for field in ("name", "uid")}
        child["metadata"]["ownerReferences"] = [refers]
        child["metadata"]["finalizers"] = list(finalizers)
        owner = fleet.hub.request("POST", CONFIGMAPS, child)


def present(fleet: Fleet, name: str) -> set[str]:
    paths = {"owner": f"{SETS}/{name}"} | {at: f"{CONFIGMAPS}/{name}-{at}" for at in ("child", "grandchild")}
    return {at for at, path in paths.items() if fleet.hub.get(path) is not None}


@pytest.mark.parametrize("cascade", ["background", "foreground"])
def test_dependents_go_along(hub: Fleet, cascade: str) -> None:
    family(hub, cascade)
    hub.kubectl("delete", "rs", cascade, "-n", "shop", f"--cascade={cascade}", "--timeout=20s")
    eventually(lambda: not present(hub, cascade))


def test_orphans_stay_without_their_owner(hub: Fleet) -> None:
    family(hub, "orphan")
    hub.kubectl("delete", "rs", "orphan", "-n", "shop", "--cascade=orphan", "--timeout=20s")
    assert present(hub, "orphan") == {"child", "grandchild"}
    child = hub.hub.get(f"{CONFIGMAPS}/orphan-child")
    assert child is not None and "ownerReferences" not in child["metadata"]


def test_a_killed_hub_goes_on_where_it_was(hub: Fleet) -> None:
    family(hub, "killed", finalizers=("example.com/hold",))
    hub.kubectl("delete", "rs", "killed", "-n", "shop", "--cascade=foreground", "--wait=false")
    eventually(lambda: is_deleting(hub.hub.get(f"{CONFIGMAPS}/killed-child") or {}))
    hub.processes["hub"].kill()
    hub.processes["hub"].start()
    hub.await_hub()
    for at in ("grandchild", "child"):
        assert present(hub, "killed") >= {"owner", "child"}
        eventually(lambda at=at: is_deleting(hub.hub.get(f"{CONFIGMAPS}/killed-{at}") or {}))  # type: ignore[misc]
        hub.kubectl("patch", "cm", f"killed-{at}", "-n", "shop", "--type=json", "-p", LET_GO)
    eventually(lambda: not present(hub, "killed"))


def test_a_custom_resource_owns_like_any_other_object(hub: Fleet) -> None:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "apps", "kind": "App"}
    hub.apply(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "apps.own.example.com"},
            "spec": {
                "group": "own.example.com",
                "scope": "Namespaced",
                "names": names,
                "versions": [version],
            },
        }
    )
    path = "/apis/own.example.com/v1/namespaces/shop/apps"
    app = {"apiVersion": "own.example.com/v1", "kind": "App", "metadata": {"name": "a"}}
    uid = hub.hub.request("POST", path, app)["metadata"]["uid"]
    child = configmap("app-child", "shop")
    refers = {"apiVersion": "own.example.com/v1", "kind": "App", "name": "a", "uid": uid}
    child["metadata"]["ownerReferences"] = [refers]
    hub.apply(child)
    hub.hub.request("DELETE", f"{path}/a")
    eventually(lambda: hub.hub.get(f"{CONFIGMAPS}/app-child") is None)


@pytest.mark.parametrize("cascade", ["foreground", "orphan"])
def test_a_template_goes_with_its_copies_whatever_the_policy(hub: Fleet, cascade: str) -> None:
    hub.apply(deployment(cascade, "shop"), policy(cascade, "shop", ["m1"]))
    path = f"{APPS}/shop/deployments/{cascade}"
    eventually(lambda: hub.members["m1"].get(path))
    hub.kubectl("delete", "deploy", cascade, "-n", "shop", f"--cascade={cascade}", "--timeout=20s")
    eventually(lambda: hub.hub.get(path) is None and hub.members["m1"].get(path) is None)


def test_what_is_protected_outlives_its_owner_and_holds_its_namespace(hub: Fleet) -> None:
    hub.apply(namespace("safe"), configmap("c", "safe"))
    hub.kubectl("label", "cm", "c", "-n", "safe", f"{PROTECTED}=Always")
    for path in ("configmaps/c", "configmaps"):
        with pytest.raises(ApiError) as caught:
            hub.hub.request("DELETE", f"/api/v1/namespaces/safe/{path}")
        assert caught.value.status == 403 and PROTECTED in str(caught.value.body["message"])
    hub.kubectl("delete", "ns", "safe", "--wait=false")

    def held() -> bool:
        conditions = ((hub.hub.get("/api/v1/namespaces/safe") or {}).get("status") or {}).get("conditions")
        return any(
            row["type"] == "NamespaceDeletionContentFailure" and row["status"] == "True"
            for row in conditions or ()
        )

    eventually(held)
    assert hub.hub.get("/api/v1/namespaces/safe/configmaps/c") is not None
    hub.kubectl("label", "cm", "c", "-n", "safe", f"{PROTECTED}-")
    eventually(lambda: hub.hub.get("/api/v1/namespaces/safe") is None)
