"""`towline drain`: how far each binding is, what is told, how it ends."""

from __future__ import annotations

import copy
import http.client
import ssl
import time
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from towline.cli.client import AWAY_SECONDS, Client, Refused
from towline.cli.cordon import CORDONED, DRAINED
from towline.cli.drain import Stay, stay_of
from towline.cli.main import cli

TARGET = {"clusters": [{"name": "m1"}]}
BLOCKED = {"type": "EvictionBlocked", "status": "True", "message": "m1 is being drained: no room"}


def ran(to_its_end: bool) -> dict[str, Any]:
    said = {"conditions": [{"type": "Complete", "status": str(to_its_end)}]}
    return {"aggregatedStatus": [{"clusterName": "m1", "status": said}, {"clusterName": "m2"}]}


def binding(
    spec: Any = None, status: Any = None, name: str = "web", kind: str = "Deployment", **metadata: Any
) -> dict[str, Any]:
    resource = {
        "apiVersion": "batch/v1" if kind == "Job" else "apps/v1",
        "kind": kind,
        "namespace": "shop",
        "name": name,
    }
    metadata = {"namespace": "shop", "name": f"{name}-deployment", "resourceVersion": "2", **metadata}
    return {"kind": "ResourceBinding", "metadata": metadata, "spec": {"resource": resource, **(spec or {})}, "status": status or {}}  # fmt: skip


def task(**more: Any) -> dict[str, Any]:
    return {"gracefulEvictionTasks": [{"fromCluster": "m1", **more}]}


def replaced(**entry: Any) -> dict[str, Any]:
    entries = [{"clusterName": "m1", "applied": True, "health": "Healthy"}, {"clusterName": "m2", **entry}]
    return binding({"clusters": [{"name": "m2"}], **task()}, {"aggregatedStatus": entries})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(binding(), None, id="never there"),
        pytest.param(binding(TARGET), Stay("waiting"), id="not yet"),
        pytest.param(binding({"clusters": [{"name": "m10"}]}), None, id="another cluster"),
        pytest.param(
            binding(TARGET | {"placement": {"clusterTolerations": [{"operator": "Exists"}]}}),
            Stay("stuck", "its policy tolerates the taint towline.io/drain"), id="tolerated",
        ),
        pytest.param(binding(TARGET, {"conditions": [BLOCKED]}), Stay("stuck", "no room"), id="nowhere to go"),
        pytest.param(
            binding(TARGET, {"conditions": [BLOCKED | {"message": "m1 is unreachable: no room"}]}), Stay("waiting"),
            id="what was said before it was drained does not count",
        ),
        pytest.param(binding(TARGET, ran(True), kind="Job"), None, id="a Job that has ended stays where it ran"),
        pytest.param(binding(TARGET, ran(False), kind="Job"), Stay("waiting"), id="a Job that runs"),
        pytest.param(binding(TARGET, ran(True)), Stay("waiting"), id="other kinds do not end"),
        pytest.param(binding(task()), Stay("moving"), id="on the move"),
        pytest.param(
            replaced(applied=True, health="Unhealthy"), Stay("moving", "its copy in m2 is not healthy yet"), id="its replacement starts",
        ),
        pytest.param(
            replaced(applied=False, appliedMessage="not allowed"),
            Stay("moving", "its copy in m2 is not applied: not allowed", failed=True), id="its replacement is refused",
        ),
        pytest.param(replaced(applied=True, health="Healthy"), Stay("moving"), id="its replacement is there"),
        pytest.param(
            binding(task(suppressDeletion=True)), Stay("stuck", "its task keeps the copy (suppressDeletion)"), id="kept",
        ),
        pytest.param(
            binding(None, {"aggregatedStatus": [{"clusterName": "m1"}]}), Stay("removing"), id="not acknowledged yet",
        ),
        pytest.param(
            binding(TARGET, {"aggregatedStatus": [{"clusterName": "m1"}]}, deletionTimestamp="2026-01-01T00:00:00Z"),
            Stay("removing"), id="on its way out altogether",
        ),
    ],
)  # fmt: skip
def test_how_far_it_is(given: dict[str, Any], expected: Stay | None) -> None:
    assert stay_of(given, "m1") == expected


class Hub:
    """Two bindings, whose states come one after the other."""

    def __init__(self, *rounds: list[dict[str, Any]]) -> None:
        self.rounds = list(rounds)
        self.cluster: dict[str, Any] = {
            "metadata": {"name": "m1", "resourceVersion": "1"},
            "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]},
        }
        self.conflicts = 1

    def get(self, path: str) -> Any:
        if path.endswith("/clusters/m1"):
            return copy.deepcopy(self.cluster)
        if "/clusters/" in path:
            raise Refused(404, "NotFound", "not found")
        items = self.rounds.pop(0) if "/resourcebindings" in path else []
        return {"kind": "ResourceBindingList", "metadata": {"resourceVersion": "1"}, "items": items}

    def merge(self, path: str, patch: Any) -> Any:
        if self.conflicts:
            self.conflicts -= 1
            raise Refused(409, "Conflict", "somebody was faster")
        assert patch["metadata"] == {"resourceVersion": "1"}
        self.cluster["spec"] = patch["spec"]

    def watch(self, path: str) -> Iterator[Any]:
        if "/resourcebindings" in path and self.rounds:
            for item in self.rounds.pop(0):
                yield {"type": "MODIFIED", "object": item}

    @property
    def taints(self) -> list[str]:
        return [taint["key"] for taint in self.cluster["spec"]["taints"]]

    def run(self, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
        monkeypatch.setattr(Client, "from_kubeconfig", lambda path: self)
        return CliRunner().invoke(cli, list(arguments))

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_it_follows_until_all_has_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub([binding(TARGET)], [binding(task())], [], [binding({"clusters": [{"name": "m2"}]})])
    result = hub.run(monkeypatch, "drain", "m1")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "1 wait, 0 move, 0 are removed, 0 cannot move",
        "0 wait, 1 move, 0 are removed, 0 cannot move",
        "Deployment shop/web has moved to m2",
        "0 wait, 0 move, 0 are removed, 0 cannot move",
        "m1 is drained. Nothing is placed there until `towline uncordon m1`.",
    ]
    assert hub.taints == ["a", "cluster.karmada.io/unschedulable"]


def test_that_a_cluster_does_not_answer_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    left = binding({"clusters": [{"name": "m2"}]}, {"aggregatedStatus": [{"clusterName": "m1"}]})
    hub = Hub([binding(TARGET)], [left], [left], [binding({"clusters": [{"name": "m2"}]})])
    hub.cluster["status"] = {"conditions": [{"type": "Ready", "status": "Unknown"}]}
    said = hub.run(monkeypatch, "drain", "m1").stdout.splitlines()
    assert said[1:3] == [
        "0 wait, 0 move, 1 are removed, 0 cannot move",
        "m1 does not answer: a copy there is removed when its agent is back. Should that never be, `towline unjoin m1 --force` gives it up.",
    ]
    assert sum("does not answer" in line for line in said) == 1 and said[-1].startswith("m1 is drained.")


def test_what_cannot_move_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(
        [binding(TARGET, {"conditions": [BLOCKED]}), binding(task(), name="api")],
        [],
        [binding({}, name="api")],
    )
    result = hub.run(monkeypatch, "drain", "m1")
    assert result.exit_code == 1
    assert "Deployment shop/web cannot move: no room" in result.stderr
    assert "towline: m1 is not drained: 1 cannot move, 0 are on their way. It goes on; `towline uncordon m1` stops it." in result.stderr  # fmt: skip
    assert hub.taints == ["a", "cluster.karmada.io/unschedulable", "towline.io/drain"]


def test_a_replacement_that_is_refused_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    refused, there = replaced(applied=False, appliedMessage="no"), replaced(applied=True, health="Healthy")
    gone = binding({"clusters": [{"name": "m2"}]})
    result = Hub([binding(TARGET)], [refused, refused], [], [there], [], [gone]).run(
        monkeypatch, "drain", "m1"
    )
    said = "Deployment shop/web is on its way: its copy in m2 is not applied: no"
    assert result.exit_code == 0 and result.stdout.splitlines().count(said) == 1, result.output


def test_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", iter(range(0, 100, 10)).__next__)
    result = Hub([binding(TARGET)]).run(monkeypatch, "drain", "m1", "--timeout", "5")
    assert result.exit_code == 1 and "0 cannot move, 1 are on their way" in result.stderr


def test_a_watch_goes_on_when_the_hub_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that broke in the middle of an answer can be used for nothing more."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    hub = Client("https://hub", ssl.create_default_context())
    broken, sound = Connection(http.client.CannotSendRequest()), Connection(b'{"type": "ADDED"}\n')
    monkeypatch.setattr(hub, "_connection", broken)
    monkeypatch.setattr(http.client, "HTTPSConnection", lambda *_, **__: sound)
    assert list(hub.watch("/pods")) == [] and slept == [AWAY_SECONDS] and broken.closed
    assert list(hub.watch("/pods")) == [{"type": "ADDED"}] and len(slept) == 1


class Connection:
    """Of an HTTP client, as far as a watch uses it: the first use fails, or is answered."""

    sock = None
    status = 200

    def __init__(self, result: Exception | bytes) -> None:
        self._result = result
        self.closed = False

    def request(self, *_: Any) -> None:
        if isinstance(self._result, Exception):
            raise self._result

    def getresponse(self) -> Connection:
        return self

    def readline(self) -> bytes:
        assert isinstance(self._result, bytes)
        line, self._result = self._result, b""
        return line

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("places", [[CORDONED, DRAINED], [DRAINED], [CORDONED]])
def test_uncordoning_ends_it(monkeypatch: pytest.MonkeyPatch, places: list[tuple[str, str]]) -> None:
    hub = Hub()
    hub.cluster["spec"]["taints"] += [{"key": key, "effect": effect} for key, effect in places]
    assert hub.run(monkeypatch, "uncordon", "m1").stdout == "cluster/m1 uncordoned\n"
    assert hub.taints == ["a"]


def test_there_is_no_such_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    result = Hub().run(monkeypatch, "drain", "m9")
    assert result.exit_code == 1 and "There is no cluster 'm9'." in result.stderr
