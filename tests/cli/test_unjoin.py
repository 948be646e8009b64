"""`towline unjoin`: what it asks of the hub, and what it tells."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.test_commands import run
from towline.cli import unjoin
from towline.cli.client import Client, Refused
from towline.cli.failures import Failure
from towline.kube import exits

PATH = "/apis/cluster.karmada.io/v1alpha1/clusters/m1"


class Hub:
    """One cluster, as it is at each look; None: it is gone. The last look lasts."""

    def __init__(self, *looks: Any) -> None:
        self.looks = list(looks)
        self.asked: list[tuple[str, str, Any]] = []

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def get(self, path: str) -> Any:
        if path.endswith("/works"):
            return {"items": [1, 2, 3]}
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if look is None:
            raise Refused(404, "NotFound", "not found")
        return look

    def merge(self, path: str, patch: Any) -> None:
        self.asked.append(("PATCH", path, patch["metadata"]["annotations"]))

    def request(self, method: str, path: str) -> None:
        self.asked.append((method, path, None))


def cluster(ready: str = "True", uid: str = "u", detaching: str = "", **notes: str) -> Any:
    conditions = [{"type": "Ready", "status": ready, "message": "the agent of cluster m1 stopped reporting"}]
    if detaching:
        conditions.append({"type": "Detaching", "status": "True", "message": detaching})
    annotations = {f"towline.io/exit-{name}": value for name, value in notes.items()}
    return {
        "metadata": {"name": "m1", "uid": uid, "annotations": annotations},
        "status": {"conditions": conditions},
    }


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unjoin, "_POLL_SECONDS", 0.0)


def do(monkeypatch: pytest.MonkeyPatch, hub: Hub, *flags: str) -> Any:
    monkeypatch.setattr(Client, "from_kubeconfig", lambda path: hub)
    return run("unjoin", "m1", *flags)


def test_a_reachable_cluster_is_deleted_and_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = cluster(detaching="the agent removes")
    hub = Hub(cluster(), waiting, waiting, None)
    done = do(monkeypatch, hub)
    assert (done.exit_code, done.stdout) == (0, "Cluster m1 is detached.\n")
    assert done.stderr == "Waiting: the agent removes\n"
    assert hub.asked == [("DELETE", PATH, None)], "what is chosen otherwise is not touched"


def test_what_is_chosen_is_written_before_the_deletion(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(cluster(), None)
    assert do(monkeypatch, hub, "--keep-workloads", "--remove-agent").exit_code == 0
    assert hub.asked == [
        ("PATCH", PATH, {exits.WORKLOADS: "Keep", exits.AGENT: "Remove"}),
        ("DELETE", PATH, None),
    ]


@pytest.mark.parametrize(
    ("given", "flags", "does"),
    [
        (cluster("Unknown"), [], "remove"),
        (cluster("False"), ["--keep-workloads"], "let go of"),
        (cluster("Unknown", workloads="Keep"), [], "let go of"),
    ],
    ids=["lost", "its API server is down", "chosen before"],
)
def test_an_unreachable_cluster_is_refused(
    monkeypatch: pytest.MonkeyPatch, given: Any, flags: list[str], does: str
) -> None:
    hub = Hub(given)
    refused = do(monkeypatch, hub, *flags)
    assert refused.exit_code == 1 and hub.asked == []
    assert "Nothing was changed." in refused.stderr and "`towline unjoin m1 --force`" in refused.stderr
    assert f"it is told to {does} what was propagated" in refused.stderr


def test_a_cluster_that_never_came_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub({"metadata": {"name": "m1", "uid": "u"}}, None)
    done = do(monkeypatch, hub)
    assert (done.exit_code, done.stdout) == (0, "Cluster m1 is detached.\n")


def test_an_unreachable_cluster_that_is_leaving_already_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    leaving = cluster("Unknown")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    hub = Hub(leaving)
    refused = do(monkeypatch, hub)
    assert refused.exit_code == 1 and hub.asked == []
    assert (
        "is being detached already and waits for its agent (the agent of cluster m1 stopped" in refused.stderr
    )
    assert "Nothing was changed" not in refused.stderr and "`towline unjoin m1 --force`" in refused.stderr


@pytest.mark.parametrize("ready", ["Unknown", "True"], ids=["lost", "not known to be lost yet"])
def test_force_says_what_becomes_of_a_late_agent(monkeypatch: pytest.MonkeyPatch, ready: str) -> None:
    hub = Hub(cluster(ready), None)
    done = do(monkeypatch, hub, "--force")
    assert "Should its agent come back it is told to remove what was propagated." in done.stdout
    ((_, _, notes), (method, _, _)) = hub.asked
    assert list(notes) == [exits.FORCE] and method == "DELETE"


def test_a_dry_run_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(cluster())
    assert "would lose 3 Works" in do(monkeypatch, hub, "--dry-run").stdout
    assert "would let go of 3 Works" in do(monkeypatch, hub, "--dry-run", "--keep-workloads").stdout
    lost = Hub(cluster("Unknown"))
    assert "forgotten with 3 Works in it" in do(monkeypatch, lost, "--dry-run", "--force").stdout
    assert hub.asked == lost.asked == []


def test_an_unknown_cluster_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "There is no cluster 'm1'." in do(monkeypatch, Hub(None)).stderr


def test_a_new_cluster_of_the_name_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert do(monkeypatch, Hub(cluster(), cluster(uid="other"))).exit_code == 0


def test_it_does_not_watch_for_ever() -> None:
    hub, at = Hub(cluster(detaching="bindings stay.")), [0.0]

    def sleep(seconds: float) -> None:
        at[0] += 30

    with pytest.raises(Failure, match=r"still being detached: bindings stay\. It") as caught:
        unjoin._await_end(hub, cluster(), 60, lambda: at[0], sleep)  # type: ignore[arg-type]
    assert "It goes on without this command" in str(caught.value) and at[0] == 60
