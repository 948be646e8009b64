"""Override policies with real processes: what kubectl applies on the hub shows in the members, each in its own way.

The policies are written as Karmada's documentation writes them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ON_ANY_STORE
from tests.e2e.harness import MEMBERS, Fleet, condition, eventually, running_fleet
from tests.e2e.objects import configmap, deployment, namespace, policy
from tests.e2e.test_journey import binding, holders, web

pytestmark = pytest.mark.e2e

IMAGES = """
apiVersion: policy.karmada.io/v1alpha1
kind: OverridePolicy
metadata:
  name: images
spec:
  resourceSelectors:
    - apiVersion: apps/v1
      kind: Deployment
      name: web
  overrideRules:
    - targetCluster:
        clusterNames:
          - member1
      overriders:
        imageOverrider:
          - component: Registry
            operator: replace
            value: registry.eu.example
          - component: Tag
            operator: add
            value: -alpine
        argsOverrider:
          - containerName: web
            operator: add
            value: ["--verbose", "--zone=eu"]
    - targetCluster:
        labelSelector:
          matchLabels:
            name: member2
      overriders:
        plaintext:
          - path: /spec/replicas
            operator: replace
            value: 5
        imageOverrider:
          - predicate:
              path: /spec/template/spec/containers/0/image
            component: Repository
            operator: replace
            value: mirror/nginx
"""

LABELS = """
apiVersion: policy.karmada.io/v1alpha1
kind: ClusterOverridePolicy
metadata:
  name: {name}
spec:
  resourceSelectors:
    - apiVersion: apps/v1
      kind: Deployment
      namespace: {space}
  targetCluster:
    fieldSelector:
      matchExpressions:
        - key: region
          operator: In
          values: [region-2, region-3]
  overriders:
    labelsOverrider:
      - operator: add
        value:
          env: overseas
    annotationsOverrider:
      - operator: add
        value:
          note: from the cluster policy
"""

SETTINGS = """
apiVersion: policy.karmada.io/v1alpha1
kind: OverridePolicy
metadata:
  name: settings
spec:
  variables: Enabled
  resourceSelectors:
    - apiVersion: v1
      kind: ConfigMap
  overrideRules:
    - overriders:
        fieldOverrider:
          - fieldPath: /data/app.yaml
            yaml:
              - subPath: /db/host
                operator: replace
                value: db.${cluster.region}.example
          - fieldPath: /data/app.json
            json:
              - subPath: /cluster
                operator: add
                value: ${cluster.labels['name']}
"""

BROKEN = """
apiVersion: policy.karmada.io/v1alpha1
kind: OverridePolicy
metadata:
  name: broken
spec:
  overrideRules:
    - targetCluster:
        clusterNames: [member2]
      overriders:
        plaintext:
          - path: /spec/paused
            operator: remove
"""


def apply(fleet: Fleet, space: str, text: str) -> None:
    fleet.kubectl("apply", "-n", space, "-f", "-", stdin=text)


def seen(fleet: Fleet, space: str) -> dict[str, tuple[Any, ...]]:
    """What the members hold: replicas, image, arguments, the label."""
    found: dict[str, tuple[Any, ...]] = {}
    for name, obj in holders(fleet, web(space)).items():
        container = obj["spec"]["template"]["spec"]["containers"][0]
        env = obj["metadata"]["labels"].get("env")
        found[name] = (obj["spec"]["replicas"], container["image"], container.get("args"), env)
    return found


def entry(fleet: Fleet, space: str, name: str) -> dict[str, Any]:
    listed = (binding(fleet, space) or {})["status"]["aggregatedStatus"]
    return next(dict(row) for row in listed if row["clusterName"] == name)


@ON_ANY_STORE
def test_overrides_show_in_the_members(fleet: Fleet, space: str) -> None:
    fleet.apply(deployment("web", space), policy("web", space))
    plain = (2, "nginx:1.27", None, None)
    eventually(lambda: seen(fleet, space) == dict.fromkeys(MEMBERS, plain))
    apply(fleet, space, IMAGES)
    changed: dict[str, tuple[Any, ...]] = {
        "member1": (2, "registry.eu.example/nginx:1.27-alpine", ["--verbose", "--zone=eu"], None),
        "member2": (5, "mirror/nginx:1.27", None, None),
        "member3": plain,
    }
    eventually(lambda: seen(fleet, space) == changed)
    cluster_policy = LABELS.format(name=space, space=space)
    fleet.kubectl("apply", "-f", "-", stdin=cluster_policy)
    try:
        changed["member2"] = (*changed["member2"][:3], "overseas")
        changed["member3"] = (*plain[:3], "overseas")
        eventually(lambda: seen(fleet, space) == changed)
        works = fleet.hub.items("/apis/work.karmada.io/v1alpha1/namespaces/karmada-es-member2/works")
        work = next(w for w in works if w["metadata"]["name"].startswith("web-") and _is_of(w, space))
        annotations = work["metadata"]["annotations"]
        own = json.loads(annotations["policy.karmada.io/applied-overrides"])
        cluster = json.loads(annotations["policy.karmada.io/applied-cluster-overrides"])
        assert [row["policyName"] for row in own] == ["images"]
        assert sorted(own[0]["overriders"]) == ["imageOverrider", "plaintext"]
        assert [row["policyName"] for row in cluster] == [space]
        told = f"Apply override policy({space}/images) for cluster(member1) succeed."
        eventually(lambda: told in fleet.kubectl("describe", "deployment/web", "-n", space).stdout)
        fleet.kubectl("label", "cluster", "member2", "name=renamed", "--overwrite")
        eventually(
            lambda: seen(fleet, space)["member2"] == (*plain[:3], "overseas"), what="labels count at once"
        )
    finally:
        fleet.kubectl("label", "cluster", "member2", "name=member2", "--overwrite")
        fleet.kubectl("delete", "clusteroverridepolicy", space)
    fleet.kubectl("delete", "overridepolicy", "images", "-n", space)
    eventually(lambda: seen(fleet, space) == dict.fromkeys(MEMBERS, plain))


def _is_of(work: dict[str, Any], space: str) -> bool:
    return bool(work["metadata"]["annotations"].get("resourcebinding.karmada.io/namespace") == space)


@ON_ANY_STORE
def test_variables_and_fields_in_text(fleet: Fleet, space: str) -> None:
    data = {"app.yaml": "db:\n  host: localhost\n  enabled: no\n", "app.json": '{"a":[1]}'}
    fleet.apply(configmap("web", space, **data), policy("web", space, None, "v1 ConfigMap"))
    apply(fleet, space, SETTINGS)
    path = f"/api/v1/namespaces/{space}/configmaps/web"

    def held() -> dict[str, dict[str, str]]:
        return {name: obj["data"] for name, obj in holders(fleet, path).items()}

    eventually(
        lambda: (
            held()
            == {
                f"member{n}": {
                    "app.yaml": f"db:\n  host: db.region-{n}.example\n  enabled: no\n",
                    "app.json": f'{{"a":[1],"cluster":"member{n}"}}',
                }
                for n in (1, 2, 3)
            }
        )
    )


@ON_ANY_STORE
def test_a_broken_rule_blocks_one_cluster_and_heals(fleet: Fleet, space: str) -> None:
    fleet.apply(deployment("web", space), policy("web", space))
    eventually(lambda: condition(binding(fleet, space), "FullyApplied") == "True")
    apply(fleet, space, BROKEN)
    eventually(lambda: entry(fleet, space, "member2").get("applied") is False)
    message = entry(fleet, space, "member2")["appliedMessage"]
    assert (
        f"override policy({space}/broken): spec.overrideRules[0].overriders.plaintext[0]: cannot remove /spec/paused"
        in message
    )
    assert condition(binding(fleet, space), "FullyApplied") == "False"
    eventually(
        lambda: "ApplyOverridePolicyFailed" in fleet.kubectl("describe", "deployment/web", "-n", space).stdout
    )
    fleet.apply(deployment("web", space, image="nginx:1.28"))
    eventually(lambda: seen(fleet, space)["member1"][1] == seen(fleet, space)["member3"][1] == "nginx:1.28")
    assert seen(fleet, space)["member2"][1] == "nginx:1.27", "it keeps what it has"
    fleet.apply(deployment("web", space))
    eventually(lambda: seen(fleet, space)["member1"][1] == "nginx:1.27")
    fleet.kubectl("delete", "overridepolicy", "broken", "-n", space)
    eventually(lambda: condition(binding(fleet, space), "FullyApplied") == "True", what="it heals by itself")
    assert "appliedMessage" not in entry(fleet, space, "member2")


@ON_ANY_STORE
def test_it_heals_also_where_nothing_is_to_be_sent(fleet: Fleet, space: str) -> None:
    fleet.apply(deployment("web", space), policy("web", space))
    eventually(lambda: condition(binding(fleet, space), "FullyApplied") == "True")
    for _ in range(2):
        apply(fleet, space, BROKEN)
        eventually(lambda: entry(fleet, space, "member2").get("applied") is False)
        before = fleet.members["member2"].get(web(space))
        fleet.kubectl("delete", "overridepolicy", "broken", "-n", space)
        eventually(lambda: condition(binding(fleet, space), "FullyApplied") == "True")
        assert fleet.members["member2"].get(web(space)) == before


def test_a_restarted_hub_takes_nothing_away(tmp_path: Path) -> None:
    """It does not know what the blocked cluster holds, only that it must keep it."""
    space = "shop"
    with running_fleet(tmp_path) as fleet:
        fleet.apply(namespace(space), deployment("web", space), policy("web", space))
        eventually(lambda: condition(binding(fleet, space), "FullyApplied") == "True")
        apply(fleet, space, BROKEN)
        eventually(lambda: entry(fleet, space, "member2").get("applied") is False)
        fleet.processes["hub"].kill()
        fleet.start_hub()
        eventually(lambda: all(fleet.cluster_ready(name) for name in fleet.member_names))
        fleet.apply(deployment("web", space, image="nginx:1.28"))
        eventually(lambda: seen(fleet, space)["member1"][1] == "nginx:1.28")
        assert seen(fleet, space)["member2"][1] == "nginx:1.27"
        assert entry(fleet, space, "member2")["applied"] is False
        fleet.kubectl("delete", "overridepolicy", "broken", "-n", space)
        eventually(lambda: seen(fleet, space)["member2"][1] == "nginx:1.28")
        eventually(lambda: condition(binding(fleet, space), "FullyApplied") == "True")


@ON_ANY_STORE
def test_what_cannot_be_is_refused(fleet: Fleet, space: str) -> None:
    where = "spec.overrideRules[0].overriders.plaintext[0]"
    for change, message in (
        ("path: spec/paused", f"{where}.path: Invalid value"),
        (
            "path: /spec/paused\n            value: ${cluster.nam}",
            f'{where}.value: Invalid value: "cluster.nam": compilation failed',
        ),
    ):
        text = BROKEN.replace("path: /spec/paused", change).replace(
            "spec:\n", "spec:\n  variables: Enabled\n", 1
        )
        refused = fleet.kubectl("apply", "-n", space, "-f", "-", stdin=text, check=False)
        assert refused.returncode != 0 and message in refused.stderr
