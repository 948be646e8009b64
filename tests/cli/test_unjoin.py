"""`towline unjoin`: what it asks of the hub, and what it tells."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

from tests.cli.test_commands import run
from towline.cli import unjoin
from towline.cli.client import Client, Refused
from towline.cli.clusters import CLUSTERS_PATH
from towline.cli.failures import Failure
from towline.hub.decide import clusters
from towline.kube import exits

PATH = "/apis/cluster.karmada.io/v1alpha1/clusters/m1"


class Hub:
    """One cluster, as it is at each look; None: it is gone. The last look lasts. `connected`: whether its agent is, at each look."""

    def __init__(self, *looks: Any, connected: Sequence[bool] = (True,)) -> None:
        self.looks = list(looks)
        self.connected = list(connected)
        self.asked: list[tuple[str, str, Any]] = []

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def get(self, path: str) -> Any:
        if path.endswith("/works"):
            return {"items": [1, 2, 3]}
        if path == CLUSTERS_PATH:
            connected = self.connected.pop(0) if len(self.connected) > 1 else self.connected[0]
            return {"items": [{"name": "m1", "connected": connected, "lastContact": time.time() - 3}]}
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(look, BaseException):
            raise look
        if look is None:
            raise Refused(404, "NotFound", "not found")
        return look

    def merge(self, path: str, patch: Any) -> None:
        self.asked.append(("PATCH", path, patch["metadata"]["annotations"]))

    def request(self, method: str, path: str) -> None:
        self.asked.append((method, path, None))


def cluster(
    ready: str = "True", uid: str = "u", detaching: str = "", reason: str = "WaitingForAgent", **notes: str
) -> Any:
    conditions = [{"type": "Ready", "status": ready, "message": "the agent of cluster m1 stopped reporting"}]
    if detaching:
        conditions.append({"type": "Detaching", "status": "True", "reason": reason, "message": detaching})
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
    assert done.stderr == "Waiting: the agent removes.\n"
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


@pytest.mark.parametrize("name", ["", "a b", "../m1", "m1/status", "m1?x=y"])
def test_what_can_be_no_cluster_is_not_asked_for(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    hub = Hub(cluster())
    monkeypatch.setattr(Client, "from_kubeconfig", lambda path: hub)
    refused = run("unjoin", name)
    assert refused.exit_code == 1 and f"There is no cluster {name!r}." in refused.stderr and hub.asked == []


def test_a_new_cluster_of_the_name_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert do(monkeypatch, Hub(cluster(), cluster(uid="other"))).exit_code == 0


def test_an_agent_that_is_away_is_waited_for_before_anything_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be restarting. What waits is said at once, and what can be done."""
    hub = Hub(cluster(), cluster(), cluster(), None, connected=(False, False, True))
    done = do(monkeypatch, hub)
    assert (done.exit_code, done.stdout) == (0, "Cluster m1 is detached.\n")
    assert done.stderr.startswith(
        "Waiting: the agent of cluster m1 is not connected (last contact 3s ago). Nothing"
    )
    assert done.stderr.count("Waiting") == 1 and "`towline unjoin m1 --force` forgets it now" in done.stderr


def test_an_agent_that_does_not_come_back_is_refused_as_soon_as_that_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = Hub(cluster(), cluster(), cluster(), cluster("Unknown"), connected=(False,))
    refused = do(monkeypatch, hub)
    assert refused.exit_code == 1 and hub.asked == []
    assert "cannot be reached (the agent of cluster m1 stopped reporting)" in refused.stderr
    assert "Nothing was changed." in refused.stderr


def test_it_does_not_wait_for_an_agent_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(cluster(), connected=(False,))
    refused = do(monkeypatch, hub, "--wait", "0s")
    assert refused.exit_code == 1 and hub.asked == []
    assert "Nothing was changed: the agent of cluster m1 is not connected" in refused.stderr


def test_force_waits_for_no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(cluster(), None, connected=(False,))
    assert do(monkeypatch, hub, "--force").exit_code == 0
    forced_before = Hub(cluster("Unknown", force="true"), None, connected=(False,))
    assert do(monkeypatch, forced_before).exit_code == 0


def test_a_dry_run_tells_that_the_agent_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    told = do(monkeypatch, Hub(cluster(), connected=(False,)), "--dry-run").stdout
    assert "would lose 3 Works" in told and "But the agent of cluster m1 is not connected" in told


def test_who_may_not_list_clusters_may_unjoin(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(cluster(), None)
    get = hub.get

    def refusing(path: str) -> Any:
        if path == CLUSTERS_PATH:
            raise Refused(403, "Forbidden", "may not")
        return get(path)

    hub.get = refusing  # type: ignore[method-assign]
    assert do(monkeypatch, hub).exit_code == 0


def test_a_cluster_that_is_lost_while_it_leaves_is_not_watched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = cluster("Unknown", detaching="cluster m1 cannot be reached", reason=clusters.UNREACHABLE)
    done = do(monkeypatch, Hub(cluster(), cluster(detaching="the agent removes"), lost))
    assert done.exit_code == 1
    assert "Cluster m1 is still being detached: cluster m1 cannot be reached." in done.stderr
    assert "It goes on without this command" in done.stderr


def test_a_hub_that_starts_again_meanwhile_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(cluster(), Failure("Nothing listens."), Failure("Nothing listens."), None)
    done = do(monkeypatch, hub)
    assert (done.exit_code, done.stdout) == (0, "Cluster m1 is detached.\n")
    assert done.stderr == "Waiting: the hub cannot be reached; it may be starting again.\n"


@pytest.mark.parametrize(
    ("connected", "says", "asked"),
    [(False, "Nothing was changed.", 0), (True, "It goes on without this command", 1)],
    ids=["before the deletion", "after it"],
)
def test_who_interrupts_it_is_told_what_is(
    monkeypatch: pytest.MonkeyPatch, connected: bool, says: str, asked: int
) -> None:
    hub = Hub(cluster(), KeyboardInterrupt(), connected=(connected,))
    done = do(monkeypatch, hub)
    assert done.exit_code == 130 and says in done.stderr and len(hub.asked) == asked


def test_it_does_not_watch_for_ever() -> None:
    hub, at = Hub(cluster(detaching="bindings stay.")), [0.0]

    def sleep(seconds: float) -> None:
        at[0] += 30

    with pytest.raises(Failure, match=r"still being detached: bindings stay\. It") as caught:
        unjoin._await_end(hub, cluster(), False, 60, lambda: at[0], sleep)  # type: ignore[arg-type]
    assert "It goes on without this command" in str(caught.value) and at[0] == 60
