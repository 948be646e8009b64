"""`towline explain` and `towline what-if` against a real hub with real agents and simulated members."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.harness import Fleet, eventually, running_fleet
from tests.e2e.objects import namespace

pytestmark = pytest.mark.e2e

SHOP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: main, image: nginx}]}}
---
apiVersion: policy.karmada.io/v1alpha1
kind: PropagationPolicy
metadata: {name: web, namespace: shop}
spec:
  resourceSelectors: [{apiVersion: apps/v1, kind: Deployment, name: web}]
  failover: {cluster: {}}
  placement:
    clusterAffinity: {clusterNames: [member1, member2]}
    replicaScheduling:
      replicaSchedulingType: Divided
      replicaDivisionPreference: Weighted
      weightPreference:
        staticWeightList:
        - {targetCluster: {clusterNames: [member1]}, weight: 2}
        - {targetCluster: {clusterNames: [member2]}, weight: 1}
"""
SUMMARY = "Deployment web goes to member1 (2), member2 (1); 2 of 3 clusters can take it."


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(tmp_path_factory.mktemp("explain")) as fleet:
        fleet.apply(namespace("shop"), *yaml.safe_load_all(SHOP))
        eventually(lambda: targets(fleet) == {"member1": 2, "member2": 1}, 30, "web is placed")
        yield fleet


def targets(fleet: Fleet) -> dict[str, int]:
    path = "/apis/work.karmada.io/v1alpha2/namespaces/shop/resourcebindings/web-deployment"
    binding: Any = fleet.hub.get(path)
    return {row["name"]: row["replicas"] for row in binding["spec"].get("clusters") or ()}


def towline(fleet: Fleet, *args: str, check: bool = True) -> Any:
    config = str(fleet.hub_data / "admin.kubeconfig")
    return fleet.towline(*args, "--kubeconfig", config, check=check)


@pytest.mark.parametrize(
    "words", [("deployment/web",), ("deploy", "web"), ("deployments.apps/web",), ("rb/web-deployment",)], ids=" ".join
)  # fmt: skip
def test_a_placement_is_explained(fleet: Fleet, words: tuple[str, ...]) -> None:
    text = towline(fleet, "explain", *words, "-n", "shop").stdout
    lines = text.splitlines()
    assert lines[0] == SUMMARY
    assert "Policy      policy(shop/web) (priority 0, by name)" in lines
    assert any(line.split()[:2] == ["member1", "2"] for line in lines)
    assert any(line.startswith("member3") and "ClusterAffinity: did not match" in line for line in lines)


def test_programs_get_all_of_it_and_kubectl_too(fleet: Fleet) -> None:
    answer = json.loads(towline(fleet, "explain", "deploy/web", "-n", "shop", "-o", "json").stdout)
    assert answer["kind"] == "PlacementExplanation" and answer["status"]["state"] == "Placed"
    assert answer["status"]["decision"]["source"] == "recorded"
    spec = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    review = {"apiVersion": "towline.io/v1alpha1", "kind": "PlacementExplanation", "spec": spec}
    asked = ("create", "-f", "-", "-n", "shop", "-o", "jsonpath={.status.summary}")
    assert fleet.kubectl(*asked, stdin=yaml.safe_dump(review)).stdout == SUMMARY
    offered = fleet.kubectl("api-resources", "--api-group=towline.io", "-o", "name").stdout
    assert "placementexplanations.towline.io" in offered and "placementforecasts.towline.io" in offered


def test_what_if_says_what_would_move_and_moves_nothing(fleet: Fleet, tmp_path: Path) -> None:
    before = targets(fleet)
    about = ("what-if", "deployment/web", "-n", "shop")
    for gone in ("--remove", "--drain", "--lose"):
        moves = towline(fleet, *about, gone, "member1").stdout
        assert [line.split()[2:] for line in moves.splitlines()[3:]] == [
            ["member1", "2", "-"],
            ["member2", "1", "3"],
        ], gone
    moves = towline(fleet, *about, "--replicas", "9", "-o", "json").stdout
    assert json.loads(moves)["status"]["forecasts"][0]["moves"] == [
        {"cluster": "member1", "before": 2, "after": 6},
        {"cluster": "member2", "before": 1, "after": 3},
    ]
    assert towline(fleet, *about, "--cordon", "member1").stdout.startswith("It would not change.")
    rule = list(yaml.safe_load_all(SHOP))[1]
    rule["spec"]["placement"] = {"clusterAffinity": {"labelSelector": {"matchLabels": {"tier": "gold"}}}}
    file = tmp_path / "policy.yaml"
    file.write_text(yaml.safe_dump(rule))
    everywhere = ("what-if", "-A", "--policy", str(file))
    assert "would be NoClusterFit" in towline(fleet, *everywhere).stdout
    gold = towline(fleet, *everywhere, "--label", "member3=tier=gold").stdout
    assert [line.split()[2:] for line in gold.splitlines()[3:]] == [
        ["member1", "2", "-"], ["member2", "1", "-"], ["member3", "-", "3"],
    ]  # fmt: skip
    assert targets(fleet) == before


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("explain", "deploy/nope", "-n", "shop"), 'towline: deployments.apps "nope" not found. Check the name'),
        (("explain", "widgets/nope"), "towline: The hub has no kind 'widgets'."),
        (("what-if", "-A", "--remove", "member9"), 'towline: clusters.cluster.karmada.io "member9" not found.'),
        (("what-if", "-A", "--cordon", "member9"), "towline: There is no cluster 'member9'."),
    ],
    ids=["no such object", "no such kind", "removes nothing", "cordons nothing"],
)  # fmt: skip
def test_what_is_not_there_is_told(fleet: Fleet, args: tuple[str, ...], told: str) -> None:
    answer = towline(fleet, *args, check=False)
    assert answer.returncode == 1 and told in answer.stderr


def test_who_may_not_get_it_gets_no_explanation(fleet: Fleet) -> None:
    """A viewer of the namespace sees the answer, but not the fleet; somebody else sees nothing."""
    fleet.kubectl("create", "rolebinding", "vera", "-n", "shop", "--clusterrole=view", "--user=vera")
    spec = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    review = yaml.safe_dump(
        {"apiVersion": "towline.io/v1alpha1", "kind": "PlacementExplanation", "spec": spec}
    )
    asked = ("create", "-f", "-", "-n", "shop", "-o", "json")
    may = ("auth", "can-i", "create", "placementexplanations.towline.io", "-n", "shop", "--as=vera")
    eventually(lambda: fleet.kubectl(*may, check=False).stdout == "yes\n", 20, "view is aggregated")
    told = json.loads(fleet.kubectl(*asked, "--as=vera", stdin=review).stdout)["status"]
    assert told["summary"] == SUMMARY and "decision" not in told
    assert "decision: needs list on clusters.cluster.karmada.io" in told["withheld"]
    refused = fleet.kubectl(*asked, "--as=eve", stdin=review, check=False)
    assert refused.returncode != 0 and 'User "eve" cannot create resource' in refused.stderr


def test_a_hub_that_starts_anew_says_that_it_does_not_know(fleet: Fleet) -> None:
    fleet.processes["hub"].stop()
    fleet.processes["hub"].start()
    fleet.await_hub()
    text = towline(fleet, "explain", "deploy/web", "-n", "shop").stdout
    assert text.startswith(SUMMARY)
    assert "It was decided before this hub began to keep account of it" in text
