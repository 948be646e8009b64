"""The main job with real processes: what users do on the hub shows in the members, and the members' state on the hub."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from tests.e2e.conftest import ON_ANY_STORE
from tests.e2e.harness import MEMBERS, Fleet, condition, eventually
from tests.e2e.objects import APPS, configmap, deployment, divided, namespace, policy

pytestmark = pytest.mark.e2e


def web(space: str, name: str = "web") -> str:
    return f"{APPS}/{space}/deployments/{name}"


def binding(fleet: Fleet, space: str, name: str = "web-deployment") -> dict[str, Any] | None:
    return fleet.hub.get(f"/apis/work.karmada.io/v1alpha2/namespaces/{space}/resourcebindings/{name}")


def holders(fleet: Fleet, path: str) -> dict[str, dict[str, Any]]:
    """Which members have the object at `path`."""
    return {name: obj for name in MEMBERS if (obj := fleet.members[name].get(path)) is not None}


def replicas(fleet: Fleet, path: str) -> dict[str, int]:
    return {name: obj["spec"]["replicas"] for name, obj in holders(fleet, path).items()}


def test_apply_reaches_the_chosen_members_and_status_returns(fleet: Fleet, space: str) -> None:
    fleet.apply(deployment("web", space), policy("web", space, ["member1", "member2"]))
    eventually(lambda: set(holders(fleet, web(space))) == {"member1", "member2"})
    copy = fleet.members["member1"].get(web(space))
    assert copy is not None
    assert copy["metadata"]["labels"]["karmada.io/managed"] == "true"
    assert copy["metadata"]["annotations"]["work.karmada.io/namespace"] == "karmada-es-member1"
    eventually(lambda: condition(binding(fleet, space), "FullyApplied") == "True")
    if fleet.real_members:
        return  # a bare kube-apiserver runs no controllers: nothing becomes ready there

    def summed() -> bool:
        status = (fleet.hub.get(web(space)) or {}).get("status") or {}
        return status.get("readyReplicas") == 4 and status.get("observedGeneration") == 1

    eventually(summed, what="the template shows the sum of its members")
    rollout = fleet.kubectl("rollout", "status", "deployment/web", "-n", space, "--timeout=30s")
    assert "successfully rolled out" in rollout.stdout
    items = {row["clusterName"]: row for row in (binding(fleet, space) or {})["status"]["aggregatedStatus"]}
    assert set(items) == {"member1", "member2"}
    assert all(row["applied"] and row["health"] == "Healthy" for row in items.values())
    assert items["member1"]["status"]["readyReplicas"] == 2


def test_works_are_visible_with_karmadas_names(fleet: Fleet, space: str) -> None:
    fleet.apply(deployment("web", space), policy("web", space, ["member3"]))
    es = "/apis/work.karmada.io/v1alpha1/namespaces/karmada-es-member3/works"

    def mine() -> dict[str, Any] | None:
        for work in fleet.hub.items(es):
            if work["metadata"]["annotations"].get("resourcebinding.karmada.io/namespace") == space:
                return work if condition(work, "Applied") == "True" else None
        return None

    work = eventually(mine, what="the Work is applied")
    assert work["metadata"]["name"].startswith("web-")
    manifest = work["spec"]["workload"]["manifests"][0]
    assert manifest["kind"] == "Deployment" and "status" not in manifest
    assert work["status"]["manifestStatuses"][0]["identifier"]["kind"] == "Deployment"
    table = fleet.kubectl("get", "works", "-n", "karmada-es-member3").stdout
    assert "WORKLOAD-KIND" in table and "Deployment" in table
    refused = fleet.kubectl(
        "delete", "work", work["metadata"]["name"], "-n", "karmada-es-member3", check=False
    )
    assert refused.returncode != 0 and "computed" in refused.stderr


def test_update_and_scale_travel(fleet: Fleet, space: str) -> None:
    fleet.apply(
        deployment("web", space),
        policy("web", space, ["member1", "member2"], placement=divided(member1=2, member2=1)),
    )
    eventually(lambda: replicas(fleet, web(space)) == {"member1": 1, "member2": 1})
    fleet.kubectl("scale", "deployment/web", "-n", space, "--replicas=9")
    eventually(lambda: replicas(fleet, web(space)) == {"member1": 6, "member2": 3})
    fleet.apply(deployment("web", space, replicas=9, image="nginx:1.28"))

    def images() -> set[str]:
        return {
            obj["spec"]["template"]["spec"]["containers"][0]["image"]
            for obj in holders(fleet, web(space)).values()
        }

    eventually(lambda: images() == {"nginx:1.28"})


def test_move_by_policy(fleet: Fleet, space: str) -> None:
    fleet.apply(deployment("web", space), policy("web", space, ["member1"]))
    eventually(lambda: set(holders(fleet, web(space))) == {"member1"})
    fleet.apply(policy("web", space, ["member2", "member3"]))
    eventually(lambda: set(holders(fleet, web(space))) == {"member2", "member3"})
    eventually(
        lambda: (
            [row["clusterName"] for row in (binding(fleet, space) or {})["status"]["aggregatedStatus"]]
            == ["member2", "member3"]
        ),
        what="the tombstone of member1 is gone",
    )


def test_delete_waits_for_the_members(fleet: Fleet, space: str) -> None:
    fleet.apply(deployment("web", space), policy("web", space))
    eventually(lambda: set(holders(fleet, web(space))) == set(MEMBERS))
    fleet.kubectl("delete", "deployment", "web", "-n", space, "--timeout=30s")
    assert holders(fleet, web(space)) == {}
    assert binding(fleet, space) is None


def test_drift_is_put_back(fleet: Fleet, space: str) -> None:
    fleet.apply(deployment("web", space, replicas=2), policy("web", space, ["member1"]))
    eventually(lambda: replicas(fleet, web(space)) == {"member1": 2})
    member = fleet.members["member1"]
    fleet.kubectl("scale", "deployment/web", "-n", space, "--replicas=7", member="member1")
    eventually(lambda: replicas(fleet, web(space)) == {"member1": 2}, what="an edit is put back")
    member.merge(web(space), {"metadata": {"annotations": {"local/note": "mine"}}})
    first = member.get(web(space)) or {}
    member.delete(web(space))
    again = eventually(
        lambda: (o := member.get(web(space))) and o["metadata"]["uid"] != first["metadata"]["uid"] and o,
        what="a deletion is put back",
    )
    assert again["spec"]["replicas"] == 2


def test_what_the_template_does_not_set_belongs_to_the_member(fleet: Fleet, space: str) -> None:
    fleet.apply(deployment("web", space), policy("web", space, ["member1"]))
    eventually(lambda: set(holders(fleet, web(space))) == {"member1"})
    fleet.members["member1"].merge(web(space), {"metadata": {"annotations": {"local/note": "mine"}}})
    fleet.apply(deployment("web", space, image="nginx:1.28"))

    def updated() -> dict[str, Any] | None:
        obj = fleet.members["member1"].get(web(space)) or {}
        return obj if obj["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:1.28" else None

    assert eventually(updated)["metadata"]["annotations"]["local/note"] == "mine"


def test_removed_fields_are_removed(fleet: Fleet, space: str) -> None:
    fleet.apply(configmap("conf", space, a="1", b="2"), policy("conf", space, ["member1"], "v1 ConfigMap"))
    path = f"/api/v1/namespaces/{space}/configmaps/conf"
    eventually(lambda: holders(fleet, path)["member1"]["data"] == {"a": "1", "b": "2"})
    fleet.apply(configmap("conf", space, a="1"))
    eventually(lambda: holders(fleet, path)["member1"]["data"] == {"a": "1"})


def test_suspension_holds_new_versions_back(fleet: Fleet, space: str) -> None:
    fleet.apply(deployment("web", space), policy("web", space, ["member1", "member2"]))
    eventually(lambda: replicas(fleet, web(space)) == {"member1": 2, "member2": 2})
    on_member1 = {"dispatchingOnClusters": {"clusterNames": ["member1"]}}
    fleet.apply(policy("web", space, ["member1", "member2"], suspension=on_member1))
    eventually(lambda: (binding(fleet, space) or {})["spec"].get("suspension") == on_member1)
    fleet.kubectl("scale", "deployment/web", "-n", space, "--replicas=3")
    eventually(lambda: replicas(fleet, web(space)) == {"member1": 2, "member2": 3})
    fleet.apply(policy("web", space, ["member1", "member2"]))
    eventually(lambda: replicas(fleet, web(space)) == {"member1": 3, "member2": 3})


def test_conflict_with_a_foreign_object(fleet: Fleet, space: str) -> None:
    member = fleet.members["member1"]
    eventually(lambda: member.get(f"/api/v1/namespaces/{space}") is not None, what="the namespace followed")
    foreign = configmap("conf", space, owner="somebody")
    member.request("POST", f"/api/v1/namespaces/{space}/configmaps", foreign)
    path = f"/api/v1/namespaces/{space}/configmaps/conf"
    before = member.get(path)
    fleet.apply(configmap("conf", space, owner="towline"), policy("conf", space, ["member1"], "v1 ConfigMap"))

    def refused() -> bool:
        rows = (binding(fleet, space, "conf-configmap") or {})["status"]["aggregatedStatus"]
        return "already exists" in rows[0].get("appliedMessage", "") and rows[0]["applied"] is False

    eventually(refused, what="the conflict is reported on the binding")
    assert member.get(path) == before, "a foreign object was touched"
    fleet.apply(policy("conf", space, ["member1"], "v1 ConfigMap", conflictResolution="Overwrite"))
    eventually(lambda: (member.get(path) or {})["data"]["owner"] == "towline", what="Overwrite takes it over")
    fleet.kubectl("delete", "configmap", "conf", "-n", space, "--timeout=30s")
    assert member.get(path) is None


def test_a_foreign_object_survives_removal(fleet: Fleet, space: str) -> None:
    member = fleet.members["member2"]
    eventually(lambda: member.get(f"/api/v1/namespaces/{space}") is not None)
    member.request(
        "POST", f"/api/v1/namespaces/{space}/configmaps", configmap("conf", space, owner="somebody")
    )
    path = f"/api/v1/namespaces/{space}/configmaps/conf"
    fleet.apply(configmap("conf", space), policy("conf", space, ["member2"], "v1 ConfigMap"))
    eventually(
        lambda: (binding(fleet, space, "conf-configmap") or {})["status"]["aggregatedStatus"][0][
            "appliedMessage"
        ]
    )
    fleet.kubectl("delete", "configmap", "conf", "-n", space, "--timeout=30s")
    assert (member.get(path) or {})["data"] == {"owner": "somebody"}


def test_preserve_on_deletion(fleet: Fleet, space: str) -> None:
    fleet.apply(deployment("web", space), policy("web", space, ["member1"], preserveResourcesOnDeletion=True))
    eventually(lambda: set(holders(fleet, web(space))) == {"member1"})
    fleet.kubectl("delete", "deployment", "web", "-n", space, "--timeout=30s")
    kept = fleet.members["member1"].get(web(space))
    assert kept is not None
    assert "karmada.io/managed" not in kept["metadata"].get("labels", {})


def test_a_large_configmap_travels(fleet: Fleet, space: str) -> None:
    large = configmap("large", space, blob="x" * 1_000_000)
    fleet.apply(large, server_side=True)
    fleet.apply(policy("large", space, ["member1"], "v1 ConfigMap"))
    path = f"/api/v1/namespaces/{space}/configmaps/large"
    eventually(lambda: len(holders(fleet, path)["member1"]["data"]["blob"]) == 1_000_000)


@ON_ANY_STORE
def test_two_hundred_deployments_at_once(fleet: Fleet, space: str) -> None:
    fleet.apply(policy("all", space))
    fleet.apply(*[deployment(f"web-{i}", space, replicas=1) for i in range(200)])
    wanted = {f"web-{i}" for i in range(200)}

    def everywhere() -> bool:
        return all(
            {o["metadata"]["name"] for o in fleet.members[m].items(f"{APPS}/{space}/deployments")} == wanted
            for m in MEMBERS
        )

    eventually(everywhere, 60)
    # Without waiting in kubectl, which would look at one after the other: the templates go when the members let go.
    fleet.kubectl("delete", "deployments", "--all", "-n", space, "--wait=false")
    eventually(lambda: fleet.hub.items(f"{APPS}/{space}/deployments") == [], 60, "all templates are gone")
    assert all(fleet.members[m].items(f"{APPS}/{space}/deployments") == [] for m in MEMBERS)


def test_namespaces_follow(fleet: Fleet, space: str) -> None:
    fleet.apply(namespace(f"{space}-extra"))
    path = f"/api/v1/namespaces/{space}-extra"
    eventually(lambda: set(holders(fleet, path)) == set(MEMBERS))
    fleet.kubectl("delete", "namespace", f"{space}-extra", "--wait=false")

    def gone() -> bool:
        fleet.finish_namespace(f"{space}-extra")
        return holders(fleet, path) == {} and fleet.hub.get(path) is None

    eventually(gone, what="the namespace went everywhere, and then on the hub")


def test_custom_resources_travel(fleet: Fleet, space: str) -> None:
    group = "stable.example.com"
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"crontabs.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "shortNames": ["ct"]},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {
                                "spec": {"type": "object", "properties": {"cronSpec": {"type": "string"}}}
                            },
                        }
                    },
                }
            ],
        },
    }
    everywhere = {
        "apiVersion": "policy.karmada.io/v1alpha1",
        "kind": "ClusterPropagationPolicy",
        "metadata": {"name": "crontabs"},
        "spec": {
            "resourceSelectors": [
                {
                    "apiVersion": "apiextensions.k8s.io/v1",
                    "kind": "CustomResourceDefinition",
                    "name": f"crontabs.{group}",
                },
                {"apiVersion": f"{group}/v1", "kind": "CronTab"},
            ],
        },
    }
    fleet.apply(crd, everywhere)
    fleet.kubectl("wait", "--for=condition=Established", f"crd/crontabs.{group}", "--timeout=20s")
    tab = {
        "apiVersion": f"{group}/v1", "kind": "CronTab", "metadata": {"name": "tab", "namespace": space},
        "spec": {"cronSpec": "* * * * */5"},
    }  # fmt: skip
    fleet.apply(tab)
    path = f"/apis/{group}/v1/namespaces/{space}/crontabs/tab"
    eventually(
        lambda: set(holders(fleet, path)) == set(MEMBERS), what="the custom resource is in every member"
    )
    assert "tab" in fleet.kubectl("get", "ct", "-n", space).stdout
    fleet.kubectl("delete", "crontab", "tab", "-n", space, "--timeout=30s")
    assert holders(fleet, path) == {}
    fleet.kubectl("delete", "crd", f"crontabs.{group}", "--timeout=30s")
    fleet.kubectl("delete", "cpp", "crontabs", "--timeout=30s")


def test_a_users_own_work_travels(fleet: Fleet, space: str) -> None:
    work = {
        "apiVersion": "work.karmada.io/v1alpha1",
        "kind": "Work",
        "metadata": {"name": f"own-{space}", "namespace": "karmada-es-member1"},
        "spec": {
            "workload": {"manifests": [configmap("own-a", space, a="1"), configmap("own-b", space, b="2")]}
        },
    }
    eventually(lambda: fleet.members["member1"].get(f"/api/v1/namespaces/{space}") is not None)
    fleet.apply(work)
    for name in ("own-a", "own-b"):
        eventually(
            lambda name=name: (  # type: ignore[misc]
                holders(fleet, f"/api/v1/namespaces/{space}/configmaps/{name}").keys() == {"member1"}
            )
        )
    path = f"/apis/work.karmada.io/v1alpha1/namespaces/karmada-es-member1/works/own-{space}"
    eventually(lambda: condition(fleet.hub.get(path), "Applied") == "True")
    fleet.kubectl("delete", "work", f"own-{space}", "-n", "karmada-es-member1", "--timeout=30s")
    assert holders(fleet, f"/api/v1/namespaces/{space}/configmaps/own-a") == {}


def test_events_tell_the_story(fleet: Fleet, space: str) -> None:
    fleet.apply(deployment("web", space), policy("web", space, ["member1"]))
    wanted = {"ApplyPolicySucceed", "ScheduleBindingSucceed", "SyncWorkSucceed", "AggregateStatusSucceed"}

    def told() -> bool:
        missing = wanted - {e["reason"] for e in fleet.hub.items(f"/api/v1/namespaces/{space}/events")}
        assert not missing, missing
        return True

    eventually(told, what=f"events {wanted}")
    assert "ApplyPolicySucceed" in fleet.kubectl("describe", "deployment", "web", "-n", space).stdout


def test_cluster_policy_and_namespaced_policy(fleet: Fleet, space: str) -> None:
    """A PropagationPolicy beats a ClusterPropagationPolicy; without it the cluster policy claims."""
    cluster_wide = {
        "apiVersion": "policy.karmada.io/v1alpha1", "kind": "ClusterPropagationPolicy", "metadata": {"name": space},
        "spec": {
            "resourceSelectors": [{"apiVersion": "apps/v1", "kind": "Deployment", "namespace": space}],
            "placement": {"clusterAffinity": {"clusterNames": ["member3"]}},
        },
    }  # fmt: skip
    fleet.apply(cluster_wide, policy("web", space, ["member1"]))
    fleet.apply(deployment("web", space))
    eventually(lambda: set(holders(fleet, web(space))) == {"member1"})
    fleet.apply(deployment("other", space))
    fleet.kubectl("delete", "propagationpolicy", "web", "-n", space, "--timeout=20s")
    eventually(lambda: set(holders(fleet, web(space))) == {"member3"}, what="the cluster policy takes over")
    fleet.kubectl("delete", "cpp", space, "--timeout=20s")
    assert set(holders(fleet, web(space))) == {"member3"}, "a deleted policy leaves what it placed"


def test_get_watch_sees_the_work_come_and_go(fleet: Fleet, space: str) -> None:
    out = fleet.kubectl("get", "clusters", "-o", "json").stdout
    assert {c["metadata"]["name"] for c in json.loads(out)["items"]} >= set(MEMBERS)
    wide = fleet.kubectl("get", "clusters", "-o", "wide").stdout
    assert "region-1" in wide and "zone-1" in wide and "Pull" in wide


def test_one_apply_an_object_and_none_at_rest(fleet: Fleet, space: str) -> None:
    """What a kube-apiserver defaults, allocates and leaves out never looks like drift."""
    if not fleet.real_members:
        pytest.skip("counts the requests of a real kube-apiserver by its own metrics")
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": space},
        "spec": {"type": "NodePort", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    }  # fmt: skip
    secret = {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web", "namespace": space}, "stringData": {"a": "b"},
    }  # fmt: skip
    objects = [deployment("web", space), configmap("web", space), service, secret]
    selected = [f"{obj['apiVersion']} {obj['kind']}" for obj in objects]
    before = applies(fleet, "member1")
    fleet.apply(policy("web", space, ["member1"], *selected), *objects)
    path = f"/apis/work.karmada.io/v1alpha2/namespaces/{space}/resourcebindings"

    def settled() -> bool:
        rows = fleet.hub.items(path)
        return len(rows) == 4 and all(condition(row, "FullyApplied") == "True" for row in rows)

    eventually(settled)
    after = applies(fleet, "member1")
    assert {plural: count - before.get(plural, 0) for plural, count in after.items()}.items() >= {
        "deployments": 1, "configmaps": 1, "services": 1, "secrets": 1,
    }.items()  # fmt: skip
    time.sleep(3)  # nothing is to be awaited: this is how long nothing must happen
    assert applies(fleet, "member1") == after


def applies(fleet: Fleet, member: str) -> dict[str, int]:
    """Patches that a real member has seen so far, by resource."""
    _, text = fleet.members[member].request("GET", "/metrics", raw=True)
    found: dict[str, int] = {}
    for line in text.decode().splitlines():
        if line.startswith("apiserver_request_total{"):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            if labels["verb"] in ("APPLY", "PATCH"):
                found[labels["resource"]] = found.get(labels["resource"], 0) + int(
                    float(line.rpartition(" ")[2])
                )
    return found


def test_second_apply_changes_nothing(fleet: Fleet, space: str) -> None:
    fleet.apply(deployment("web", space), policy("web", space, ["member1"]))
    eventually(lambda: condition(binding(fleet, space), "FullyApplied") == "True")
    if not fleet.real_members:
        eventually(lambda: ((fleet.hub.get(web(space)) or {}).get("status") or {}).get("readyReplicas") == 2)
    before = [fleet.hub.get(web(space)), binding(fleet, space), fleet.members["member1"].get(web(space))]
    fleet.apply(deployment("web", space), policy("web", space, ["member1"]))
    time.sleep(0.5)  # nothing is to be awaited: this is how long nothing must happen
    assert [
        fleet.hub.get(web(space)),
        binding(fleet, space),
        fleet.members["member1"].get(web(space)),
    ] == before
