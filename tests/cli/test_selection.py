"""The commands about clusters: what they send, what they say, and that nobody's change in between is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.cli.test_commands import run
from towline.cli.client import Client, Refused
from towline.cli.selection import ATTEMPTS, CLUSTERS
from towline.kube.patches import merge_patch
from towline.kube.selectors import parse_query

CORDON = {"key": "cluster.karmada.io/unschedulable", "effect": "NoSchedule"}
GPU = {"key": "gpu", "value": "old", "effect": "NoSchedule"}


class Hub:
    """Clusters in a dict, with the API's versions. `meanwhile` is called before a patch is looked at."""

    def __init__(self) -> None:
        self.clusters: dict[str, Any] = {}
        self.meanwhile: list[Callable[[], None]] = []
        self.dry_runs = 0
        for name, tier in (("m1", "prod"), ("m2", "prod"), ("m3", "test")):
            metadata = {"name": name, "labels": {"tier": tier}, "resourceVersion": "1"}
            self.clusters[name] = {"metadata": metadata, "spec": {"syncMode": "Pull"}}

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get(self, path: str) -> Any:
        url = urlsplit(path)
        if url.path == CLUSTERS:
            selector = parse_query(parse_qs(url.query).get("labelSelector", [""])[0])
            return {"items": [c for c in self.clusters.values() if selector.matches(c["metadata"]["labels"])]}
        name = unquote(url.path.removeprefix(f"{CLUSTERS}/"))
        if name not in self.clusters:
            raise Refused(404, "NotFound", "not found")
        return self.clusters[name]

    def merge(self, path: str, patch: Any) -> None:
        url = urlsplit(path)
        if self.meanwhile:
            self.meanwhile.pop()()
        present = self.get(url.path)
        if patch["metadata"].pop("resourceVersion") != present["metadata"]["resourceVersion"]:
            raise Refused(409, "Conflict", "the object has been modified")
        if url.query:
            self.dry_runs += url.query == "dryRun=All"
        else:
            self.set(present["metadata"]["name"], patch)

    def set(self, name: str, patch: Any) -> None:
        merged = merge_patch(self.clusters[name], patch)
        version = str(int(merged["metadata"]["resourceVersion"]) + 1)
        self.clusters[name] = {**merged, "metadata": {**merged["metadata"], "resourceVersion": version}}

    def taints(self, name: str) -> Any:
        return self.clusters[name]["spec"].get("taints")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub()
    monkeypatch.setattr(Client, "from_kubeconfig", classmethod(lambda cls, path: hub))
    return hub


def test_cordon_and_uncordon(hub: Hub) -> None:
    hub.set("m1", {"spec": {"taints": [GPU]}})
    assert run("cordon", "m1", "m3").output == "cluster/m1 cordoned\ncluster/m3 cordoned\n"
    assert hub.taints("m1") == [GPU, CORDON] and hub.taints("m3") == [CORDON] and hub.taints("m2") is None
    assert run("cordon", "--all").output.splitlines() == [
        "cluster/m1 already cordoned",
        "cluster/m2 cordoned",
        "cluster/m3 already cordoned",
    ]
    assert run("uncordon", "-l", "tier=prod").output == "cluster/m1 uncordoned\ncluster/m2 uncordoned\n"
    assert hub.taints("m1") == [GPU] and hub.taints("m2") is None and hub.taints("m3") == [CORDON]
    assert run("uncordon", "m1").output == "cluster/m1 already uncordoned\n"


def test_taint_as_kubectl_does(hub: Hub) -> None:
    assert run("taint", "m1", "m2", "gpu=old:NoSchedule").output == "cluster/m1 tainted\ncluster/m2 tainted\n"
    assert hub.taints("m1") == [GPU]
    refused = run("taint", "m1", "gpu=new:NoSchedule")
    assert refused.exit_code == 1
    assert (
        "cluster m1 already has gpu taint(s) with same effect(s) and --overwrite is false." in refused.stderr
    )
    assert (
        run("taint", "m1", "gpu=new:NoSchedule", "gone:NoExecute", "--overwrite").output
        == "cluster/m1 modified\n"
    )
    assert hub.taints("m1") == [{**GPU, "value": "new"}, {"key": "gone", "effect": "NoExecute"}]
    assert run("taint", "m1", "gpu-", "new:NoSchedule").output == "cluster/m1 modified\n"
    assert run("taint", "m1", "gone:NoExecute-", "new-").output == "cluster/m1 untainted\n"
    assert hub.taints("m1") is None, "no empty list is left behind"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["clusters", "m1", "k:NoSchedule"], "cluster/m1 tainted\n"),
        (["cluster", "m1", "m2", "k:NoSchedule"], "cluster/m1 tainted\ncluster/m2 tainted\n"),
        (["clusters", "-l", "tier=test", "k:NoSchedule"], "cluster/m3 tainted\n"),
    ],
)
def test_taint_as_karmadactl_does(hub: Hub, words: list[str], told: str) -> None:
    assert run("taint", *words).output == told


def test_a_cluster_may_be_called_clusters(hub: Hub) -> None:
    hub.clusters["clusters"] = {
        **hub.clusters["m1"],
        "metadata": {"name": "clusters", "resourceVersion": "1"},
    }
    assert run("taint", "clusters", "k:NoSchedule").output == "cluster/clusters tainted\n"


def test_what_fails_for_one_cluster_is_told_and_done_for_the_others(hub: Hub) -> None:
    hub.set("m3", {"spec": {"taints": [GPU]}})
    result = run("taint", "m1", "m9", "m3", "gpu-")
    assert result.exit_code == 1 and result.stdout == "cluster/m3 untainted\n"
    assert result.stderr.splitlines() == [
        'towline: taint "gpu" not found.',
        "towline: There is no cluster 'm9'. `kubectl get clusters` shows those there are.",
    ]


def test_a_selector_that_means_nobody_is_told(hub: Hub) -> None:
    result = run("cordon", "-l", "tier in (dev, none)")
    assert result.exit_code == 1 and "No cluster matches." in result.stderr


def test_a_dry_run_changes_nothing(hub: Hub) -> None:
    assert run("taint", "m1", "k:NoSchedule", "--dry-run").output == "cluster/m1 tainted (dry run)\n"
    assert run("cordon", "m1", "--dry-run").output == "cluster/m1 cordoned (dry run)\n"
    assert hub.taints("m1") is None and hub.dry_runs == 2


def test_a_change_in_between_is_kept(hub: Hub) -> None:
    hub.meanwhile.append(lambda: hub.set("m1", {"spec": {"taints": [GPU]}}))
    assert run("cordon", "m1").output == "cluster/m1 cordoned\n"
    assert hub.taints("m1") == [GPU, CORDON]
    hub.meanwhile.extend([lambda: hub.set("m1", {"metadata": {"labels": {"a": "b"}}})] * ATTEMPTS)
    assert "changes all the time" in run("uncordon", "m1").stderr


@pytest.mark.parametrize(
    ("flags", "what"), [((), "deletions"), (("--evictions",), "evictions")], ids=["deletions", "evictions"]
)
def test_release_annotates_the_clusters(hub: Hub, flags: tuple[str, ...], what: str) -> None:
    result = run("release", "m1", "m2", *flags)
    assert result.output == f"Held {what} of m1 are released.\nHeld {what} of m2 are released.\n"
    for name in ("m1", "m2"):
        assert list(hub.clusters[name]["metadata"]["annotations"]) == [f"towline.io/release-{what}"]
    assert "There is no cluster 'm9'." in run("release", "m9").stderr
