"""The commands about identities: what they ask of the hub, and how they tell its answers."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.test_commands import Hub, run
from tests.cli.test_commands import hub as hub  # the fixture
from towline.certs.authority import create
from towline.cli import ca, clusters, token
from towline.cli.ages import age, table
from towline.cli.client import Client
from towline.cli.manifests import agent_manifests
from towline.cli.scope import Resource, Scope
from towline.kube import builtin
from towline.kube.kinds import KindTable
from towline.kube.schemas import unknown_fields, validate

NOW = 1_800_000_000.0
MEMBER = {
    "name": "m1", "ready": "True", "reason": "ClusterReady", "connected": True, "lastContact": NOW, "certificateEnds": NOW + 6 * 86_400,
    "revoked": False, "trusted": True, "agentVersion": "1.2.3", "kubernetesVersion": "v1.32.1", "region": "", "hub": "h",
}  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(-5, "0s"), (0, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (7500, "2h5m"), (86_400, "1d"), (6.2 * 86_400, "6d4h"), (40 * 86_400, "40d")],
)  # fmt: skip
def test_ages(seconds: float, told: str) -> None:
    assert age(seconds) == told


def test_columns_are_as_wide_as_they_need() -> None:
    assert table([("A", "LONG"), ("longer", "b")]) == "A        LONG\nlonger   b"


@pytest.mark.parametrize(
    ("changed", "cells"),
    [
        pytest.param({}, ("m1", "True", "yes", "now", "6d left", "1.2.3", "v1.32.1"), id="well"),
        pytest.param(
            {"connected": False, "lastContact": NOW - 300, "ready": "Unknown", "reason": "ClusterStatusUnknown"},
            ("m1", "Unknown (ClusterStatusUnknown)", "no", "5m ago", "6d left", "1.2.3", "v1.32.1"),
            id="lost",
        ),
        pytest.param({"leaving": True}, ("m1", "True, leaving", "yes", "now", "6d left", "1.2.3", "v1.32.1"), id="leaving"),
        pytest.param({"revoked": True}, ("m1", "True", "yes", "now", "revoked", "1.2.3", "v1.32.1"), id="revoked"),
        pytest.param({"trusted": False}, ("m1", "True", "yes", "now", "of an old authority", "1.2.3", "v1.32.1"), id="old"),
        pytest.param({"certificateEnds": NOW - 1}, ("m1", "True", "yes", "now", "expired", "1.2.3", "v1.32.1"), id="expired"),
        pytest.param(
            {"connected": False, "lastContact": 0.0, "certificateEnds": 0.0, "agentVersion": "", "kubernetesVersion": "", "ready": ""},
            ("m1", "-", "no", "never", "none", "-", "-"),
            id="never came",
        ),
    ],
)  # fmt: skip
def test_a_line_of_clusters(changed: dict[str, Any], cells: tuple[str, ...]) -> None:
    assert clusters.row({**MEMBER, **changed}, NOW) == cells


@pytest.mark.parametrize(
    ("expires", "used", "cells"),
    [(NOW + 3600, False, ("m1", "in 1h", "no")), (NOW - 60, True, ("m1", "1m ago", "yes"))],
)
def test_a_line_of_tokens(expires: float, used: bool, cells: tuple[str, ...]) -> None:
    assert token.row({"name": "m1", "expires": expires, "used": used}, NOW) == cells


@pytest.mark.parametrize(
    ("stage", "waiting", "says"),
    [
        ("Steady", {}, "Authority: SHA-256 aaaaaaaaaaaaaaaa…, 10d left."),
        (
            "Spreading",
            {"m1": "its agent has not heard of the new authority"},
            "Waiting for m1: its agent has not heard",
        ),
        (
            "Renewing",
            {},
            "by itself when all have and the last administrator's certificate of it has ended, in 1d;",
        ),
    ],
)
def test_what_is_told_of_authorities(stage: str, waiting: dict[str, str], says: str) -> None:
    known = {
        "stage": stage, "current": {"fingerprint": "a" * 64, "ends": NOW + 864_000},
        "incoming": {"fingerprint": "b" * 64, "ends": NOW}, "neededUntil": NOW + 86_400, "waiting": waiting,
    }  # fmt: skip
    assert says in "\n".join(ca.told(known, NOW))


@pytest.mark.parametrize(
    ("command", "request_", "answer", "says"),
    [
        (["clusters"], ("GET", "/towline/v1/clusters", None), {"items": [MEMBER]}, "m1     True    yes"),
        (["clusters"], ("GET", "/towline/v1/clusters", None), {"items": []}, "There is no cluster yet"),
        (["token", "list"], ("GET", "/towline/v1/jointokens", None), {"items": []}, "There are no join tokens"),
        (["token", "revoke", "m1"], ("DELETE", "/towline/v1/jointokens", {"name": "m1"}), {}, "is revoked"),
        (["revoke", "m1"], ("POST", "/towline/v1/revocations", {"name": "m1"}), {}, "`towline join m1` lets it come back"),
        (
            ["ca", "rotate", "--finish", "--force"],
            ("POST", "/towline/v1/authorities", {"finish": True, "force": True}),
            {"stage": "Steady", "current": {"fingerprint": "a" * 64, "ends": NOW}, "waiting": {}},
            "Copies of admin.kubeconfig from before are worthless",
        ),
    ],
)  # fmt: skip
def test_what_is_asked_of_the_hub(
    hub: Hub, command: list[str], request_: Any, answer: Any, says: str
) -> None:
    hub.answer = (200, answer)
    result = run(*command, "--kubeconfig", str(hub.kubeconfig))
    assert result.exit_code == 0, result.output
    assert says in result.output and hub.asked == [request_]


@pytest.mark.parametrize("command", [["token", "revoke", "m9"], ["revoke", "m9"]])
def test_what_is_not_there_is_told(hub: Hub, command: list[str]) -> None:
    hub.answer = (404, {"kind": "Status", "reason": "NotFound", "message": "x"})
    result = run(*command, "--kubeconfig", str(hub.kubeconfig))
    assert result.exit_code == 1 and "'m9'" in result.stderr


@pytest.mark.parametrize(
    ("trusted", "signed", "is_good"),
    [
        pytest.param(("old",), "old", False, id="a copy from before the rotation"),
        pytest.param(("old", "new"), "old", False, id="a copy from its first step"),
        pytest.param(("old", "new"), "new", True, id="a copy from since agents renew"),
        pytest.param((), "", True, id="a token, and authorities of the system"),
    ],
)
def test_who_would_lock_himself_out_is_told_before(
    hub: Hub, trusted: tuple[str, ...], signed: str, is_good: bool
) -> None:
    both = {"old": create(NOW), "new": create(NOW)}
    incoming = {"fingerprint": both["new"].fingerprint, "keyID": both["new"].key_id, "ends": NOW}
    client = Client("https://hub", ssl.create_default_context())
    client.authority_pem = b"".join(both[name].bundle_pem for name in trusted)
    client.certificate_pem = both[signed].issue_admin(NOW).certificate_pem if signed else b""
    assert ca._outlasts(client, {"stage": "Renewing", "incoming": incoming}) is is_good
    assert ca._outlasts(client, {"stage": "Spreading", "incoming": incoming}), (
        "the hub says what it waits for"
    )

    hub.answer = (200, {"stage": "Renewing", "incoming": incoming})
    result = run("ca", "rotate", "--finish", "--kubeconfig", str(hub.kubeconfig))
    assert result.exit_code == 1 and "nothing was changed. Copy DIR/admin.kubeconfig" in result.stderr
    assert [method for method, _, _ in hub.asked] == ["GET"]


def test_force_alone_is_refused(hub: Hub) -> None:
    assert run("ca", "rotate", "--force", "--kubeconfig", str(hub.kubeconfig)).exit_code == 2
    assert hub.asked == []


# --- what an agent may -----------------------------------------------------------------------------------------

DEPLOYMENTS, CONFIG_MAPS = Resource("deployments", "apps"), Resource("configmaps")
LIMITED = [
    Scope(kinds=(DEPLOYMENTS, CONFIG_MAPS)),
    Scope(("team-a", "team-b")),
    Scope(("team-a",), (DEPLOYMENTS,)),
]


def rules(scope: Scope) -> Iterator[tuple[str, Any]]:
    """Every rule that is printed, with the namespace that it is for."""
    for obj in agent_manifests("t", scope=scope):
        for rule in obj.get("rules", ()):
            yield obj["metadata"].get("namespace", ""), rule


@pytest.mark.parametrize("scope", LIMITED, ids=["kinds", "namespaces", "both"])
def test_kubernetes_would_take_limited_manifests(scope: Scope) -> None:
    kinds = KindTable.of(builtin.kinds())
    seen = []
    for obj in agent_manifests("t", scope=scope):
        kind = kinds.of_object(obj)
        assert (
            kind is not None and validate(kind.schema, obj) == [] and unknown_fields(kind.schema, obj) == []
        )
        seen.append((obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"]))
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("scope", LIMITED, ids=["kinds", "namespaces", "both"])
def test_a_limited_agent_writes_nothing_else(scope: Scope) -> None:
    for namespace, rule in rules(scope):
        writes = set(rule["verbs"]) & {"create", "patch", "delete", "*", "update"}
        if not writes:
            continue
        if rule.get("resourceNames") and "rbac.authorization.k8s.io" in rule["apiGroups"]:
            assert (rule["verbs"], rule["resourceNames"]) == (["patch"], ["towline-agent"]), (
                "its own, to remove itself"
            )
        elif rule.get("resourceNames") == ["towline-system"]:
            assert (rule["resources"], rule["verbs"]) == (["namespaces"], ["get", "delete"])
        elif namespace == "towline-system":
            assert (rule["resources"], rule["resourceNames"]) == (["secrets"], ["towline-agent"])
        elif scope.namespaces:
            assert namespace in scope.namespaces
        else:
            assert "*" not in rule["resources"] and namespace == ""
        assert "*" not in rule["verbs"]


def test_the_agents_own_limits_are_those_of_its_roles() -> None:
    assert Scope().flags() == []
    assert LIMITED[2].flags() == [
        "--allow-namespace=team-a", "--allow-kind=deployments.apps", "--allow-kind=namespaces",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--scope", "galaxy"], "Write cluster, or namespaces="),
        (["--scope", "namespaces="], "Write cluster, or namespaces="),
        (["--scope", "cluster=a"], "Write cluster, or namespaces="),
        (["--scope", "namespaces=team-*"], "RBAC knows no patterns"),
        (["--scope", "namespaces=Team"], "lower-case"),
        (["--scope", "namespaces=towline-system"], "the agent's own"),
        (["--scope", "namespaces=a", "--kinds", "clusterroles.rbac.authorization.k8s.io"], "lie in no namespace"),
        (["--kinds", "deployments"], "Did you mean deployments.apps?"),
        (["--kinds", "deploymints.apps"], "kubectl api-resources"),
        (["--kinds", "Deployment.apps"], "Write plurals"),
        (["--kinds", "*"], "Write plurals"),
    ],
)  # fmt: skip
def test_limits_that_cannot_be_meant(hub: Hub, flags: list[str], says: str) -> None:
    result = run("join", "m1", "--kubeconfig", str(hub.kubeconfig), *flags)
    assert result.exit_code == 2 and says in result.stderr
    assert hub.asked == []


def test_join_prints_the_limits_twice(hub: Hub, tmp_path: Path) -> None:
    flags = ["--scope", "namespaces=team-a,team-b", "--kinds", "deployments.apps,widgets.example.com"]
    result = run("join", "m1", "--kubeconfig", str(hub.kubeconfig), *flags)
    objects = list(yaml.safe_load_all(result.output))
    roles = [o for o in objects if o["kind"] == "Role" and o["metadata"]["namespace"].startswith("team-")]
    assert [role["metadata"]["namespace"] for role in roles] == ["team-a", "team-b"]
    assert [(r["apiGroups"], r["resources"]) for r in roles[0]["rules"]] == [
        (["apps"], ["deployments"]),
        (["example.com"], ["widgets"]),
        (["rbac.authorization.k8s.io"], ["roles", "rolebindings"]),  # its own, to remove itself
    ]
    args = objects[-1]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--allow-kind=widgets.example.com" in args and "--allow-namespace=team-b" in args
