"""`towline explain` and `towline what-if`: what they print, and what they understand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from towline.cli.changes import labelled, lost, read, tainted, untainted
from towline.cli.explained import ROWS_MAX, explanation, reasons
from towline.cli.failures import Failure, Misuse
from towline.cli.main import cli
from towline.cli.resources import find_in, resources_of, split
from towline.cli.whatif import forecasts
from towline.kube.names import TAINT_NOT_READY, TAINT_UNREACHABLE

PLACED = {
    "summary": "Deployment web goes to m1 (2), m2 (1); 3 of 5 clusters can take it.",
    "state": "Placed",
    "template": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web", "replicas": 3},
    "binding": {
        "kind": "ResourceBinding",
        "name": "web-deployment",
        "targets": [{"name": "m1", "replicas": 2}, {"name": "m2", "replicas": 1}],
        "placedAt": "2026-01-01T00:00:00Z",
        "notApplied": {"m2": "no such API"},
        "suspension": {"dispatching": True},
    },
    "policy": {
        "name": "policy(shop/web)",
        "considered": [
            {"policy": "policy(shop/web)", "verdict": "chosen", "priority": 0, "specificity": 3},
            {"policy": "policy(shop/all)", "verdict": "outranked", "priority": 0, "specificity": 1},
            {"policy": "cluster policy(wide)", "verdict": "passed over", "priority": 9, "specificity": 1,
             "why": "a policy of the namespace goes before cluster policies"},
        ],
        "othersCount": 4,
        "others": [{"policy": "policy(shop/x)", "why": "selects no apps/v1 Deployment"}],
    },
    "decision": {
        "source": "recorded",
        "at": "2026-01-01T00:00:00Z",
        "revision": 41,
        "cause": "never scheduled",
        "outcome": "Success",
        "message": "Binding has been scheduled successfully.",
        "terms": [
            {
                "clusters": {
                    "m1": {"score": 100, "available": 12, "availableFrom": "summary"},
                    "m2": {"score": 0, "available": 2147483647, "availableFrom": "summary"},
                    "m3": {"score": 0, "available": 0, "availableFrom": "no summary"},
                    "m4": {"filter": "TaintToleration", "message": "cluster(s) had untolerated taint {a:NoSchedule}"},
                    "m5": {"filter": "Terminating", "message": "cluster is being removed"},
                },
                "division": {"strategy": "DynamicWeight", "weights": {"m1": 12, "m2": 6}, "replicas": 3},
            }
        ],
    },
    "overrides": [
        {"clusters": ["m1", "m2"],
         "rules": [{"policy": "override policy(shop/tag)", "rule": "spec.overrideRules[0]", "overriders": ["imageOverrider"]}]},
    ],
    "since": {
        "same": False,
        "differences": ["cluster m6 joined; it can take it"],
        "stays": ["cluster m1 keeps its copy; a new one would be refused: had untolerated taint {b:NoSchedule}"],
        "fresh": [{"name": "m2", "replicas": 3}],
    },
}  # fmt: skip
PLACED_TEXT = """\
Deployment web goes to m1 (2), m2 (1); 3 of 5 clusters can take it.

Policy      policy(shop/web) (priority 0, by name)
            policy(shop/all) (priority 0, by kind) outranked
            cluster policy(wide) (priority 9, by kind) passed over: a policy of the namespace goes before cluster policies
            4 more select other objects
Overrides   m1, m2: override policy(shop/tag) spec.overrideRules[0] (imageOverrider)
Decided     2026-01-01T00:00:00Z, revision 41, because: never scheduled

CLUSTER   REPLICAS   SCORE   ROOM        FROM         VERDICT
m1        2          100     12          summary      chosen
m2        1          0       unlimited   summary      chosen
m3                   0       0           no summary   not chosen
m4                                                    TaintToleration: had untolerated taint {a:NoSchedule}
m5                                                    Terminating: is being removed

Division    strategy DynamicWeight, weights m1=12 m2=6, replicas 3
Not applied m2: no such API
Suspended   dispatching yes
Since then  cluster m6 joined; it can take it
            cluster m1 keeps its copy; a new one would be refused: had untolerated taint {b:NoSchedule}
            a reschedule would give m2 (3)
"""
NOWHERE = {
    "summary": "No policy selects ConfigMap alone: it stays on the hub.",
    "next": "Create a PropagationPolicy in shop whose resourceSelectors select this v1 ConfigMap.",
    "state": "NoPolicy",
    "policy": {
        "considered": [],
        "othersCount": 1,
        "others": [{"policy": "policy(shop/web)", "why": "selects no v1 ConfigMap"}],
    },
    "withheld": ["policy: needs list on clusterpropagationpolicies.policy.karmada.io"],
}
NOWHERE_TEXT = """\
No policy selects ConfigMap alone: it stays on the hub.
Create a PropagationPolicy in shop whose resourceSelectors select this v1 ConfigMap.

Policy      none
            policy(shop/web) selects no v1 ConfigMap
Withheld    policy: needs list on clusterpropagationpolicies.policy.karmada.io
"""
TERMS: dict[str, Any] = {
    "summary": "ConfigMap c goes to m2; 1 of 2 clusters can take it.",
    "binding": {"targets": [{"name": "m2", "replicas": 0}], "placedAt": "2026-01-01T00:00:00Z"},
    "decision": {
        "source": "now",
        "at": "2026-01-02T00:00:00Z",
        "cause": "not divided: follows the clusters",
        "outcome": "Success",
        "message": "",
        "terms": [
            {"affinity": "first", "clusters": {"m1": {"filter": "F", "message": "cluster(s) no"}}},
            {"affinity": "second", "clusters": {"m2": {"score": 0}}},
        ],
    },
    "since": {"unknown": "It is not on record."},
}
TERMS_TEXT = """\
ConfigMap c goes to m2; 1 of 2 clusters can take it.

Decided     2026-01-02T00:00:00Z (not on record), because: not divided: follows the clusters
            placed where it is: 2026-01-01T00:00:00Z
Affinity    first failed

CLUSTER   REPLICAS   SCORE   VERDICT
m1                           F: no

Affinity    second

CLUSTER   REPLICAS   SCORE   VERDICT
m2        copy       0       chosen

Since then  It is not on record.
"""


@pytest.mark.parametrize(
    ("status", "text"),
    [(PLACED, PLACED_TEXT), (NOWHERE, NOWHERE_TEXT), (TERMS, TERMS_TEXT)],
    ids=["placed", "nowhere", "affinity terms"],
)
def test_an_explanation_is_read_from_top_to_bottom(status: dict[str, Any], text: str) -> None:
    assert explanation(status) == text


def test_a_big_fleet_is_cut_off_for_people() -> None:
    clusters = {f"m{n:03}": {"score": 0} for n in range(100)}
    decision = {**TERMS["decision"], "terms": [{"clusters": clusters}]}
    text = explanation({"summary": "s", "decision": decision})
    assert f"and {100 - ROWS_MAX} more: -o json shows all" in text and text.count("not chosen") == ROWS_MAX


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        ({"strategy": "All"}, ["strategy All"]),
        ({"a": 1, "b": {"x": 2}, "c": [1, 2], "d": True, "e": {}}, ["a 1, b x=2, c 1 2, d yes, e none"]),
        ({"groups": [{"name": "eu", "score": 3}, {"name": "us", "score": 1}]},
         ["groups:", "  name eu, score 3", "  name us, score 1"]),
        ({"steps": {"one": {"m1": {"seats": 2}}}}, ["steps:", "  one:", "    m1 seats=2"]),
        ([{"by": "region", "groups": [{"name": "eu"}]}, {"by": "cluster"}],
         ["by region", "  groups:", "    name eu", "by cluster"]),
        (["a", "b"], ["a", "b"]),
        ({f"m{n}": n for n in range(14)}, [", ".join(f"m{n} {n}" for n in range(12)) + ", and 2 more"]),
        ({"a": {"b": list(range(30))}}, ["a:", "  b:", *(f"    {n}" for n in range(20)), "    and 10 more"]),
    ],
    ids=["one", "short ones share a line", "lists of maps", "nested", "items with more below", "list",
         "many", "many items"],
)  # fmt: skip
def test_reasons_of_any_shape_become_lines(value: Any, lines: list[str]) -> None:
    assert reasons(value) == lines


FORECAST = {
    "summary": "1 of 2 templates would change; 1 could not be placed as it should.",
    "forecasts": [
        {
            "template": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web"},
            "now": {"state": "Placed", "targets": [{"name": "m1", "replicas": 2}]},
            "then": {
                "state": "NoClusterFit",
                "message": "0/1 clusters are available: it is small.",
                "targets": [],
            },
            "moves": [{"cluster": "m1", "before": 2}, {"cluster": "m2", "after": 0}],
        },
        {
            "template": {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "shop", "name": "c"},
            "now": {"state": "Placed", "targets": [{"name": "m1", "replicas": 0}]},
            "then": {"state": "Placed", "targets": [{"name": "m1", "replicas": 0}]},
            "pending": "Even without the changes it goes from m2 to m1.",
        },
    ],
}
FORECAST_TEXT = """\
1 of 2 templates would change; 1 could not be placed as it should.

TEMPLATE              CLUSTER   NOW   THEN
deployment shop/web   m1        2     -
deployment shop/web   m2        -     a copy

deployment shop/web would be NoClusterFit: 0/1 clusters are available: it is small.
configmap shop/c stays in m1
configmap shop/c: Even without the changes it goes from m2 to m1.
"""


def test_a_forecast_is_a_table_of_moves() -> None:
    assert forecasts(FORECAST) == FORECAST_TEXT


# --- what is understood --------------------------------------------------------------------------------------


def resource(group: str, plural: str, kind: str, *short: str, verbs: tuple[str, ...] = ("get",)) -> Any:
    return {
        "resource": plural,
        "responseKind": {"group": group, "version": "v1", "kind": kind},
        "scope": "Namespaced",
        "singularResource": kind.lower(),
        "verbs": list(verbs),
        "shortNames": list(short),
    }


SERVED = [
    *resources_of({"items": [{"versions": [{"version": "v1", "resources": [resource("", "events", "Event", "ev")]}]}]}),
    *resources_of(
        {
            "items": [
                {"versions": [{"version": "v1", "resources": [
                    resource("apps", "deployments", "Deployment", "deploy"),
                    resource("events.k8s.io", "events", "Event", "ev"),
                    resource("towline.io", "reviews", "Review", verbs=("create",)),
                ]}]},
            ]
        }
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("deployment", "apps"), ("deployments", "apps"), ("deploy", "apps"), ("Deployment", "apps"),
        ("deployments.apps", "apps"), ("deploy.v1.apps", "apps"), ("ev", ""), ("events.events.k8s.io", "events.k8s.io"),
        ("deployments.batch", None), ("reviews", None), ("nope", None),
    ],
)  # fmt: skip
def test_kinds_are_named_as_kubectl_does(name: str, group: str | None) -> None:
    found = find_in(SERVED, name)
    assert (found.group if found else None) == group


def test_where_an_object_is() -> None:
    found = find_in(SERVED, "deploy")
    assert found is not None
    assert found.path("shop", "web") == "/apis/apps/v1/namespaces/shop/deployments/web"


@pytest.mark.parametrize("words", [("deployment/web",), ("deployment", "web")])
def test_an_object_is_one_word_or_two(words: tuple[str, ...]) -> None:
    assert split(words) == ("deployment", "web")


@pytest.mark.parametrize("words", [("deployment",), ("deployment/",), ("a/b", "c"), ("a", "b", "c")])
def test_what_names_no_object(words: tuple[str, ...]) -> None:
    with pytest.raises(Misuse, match="Write it like deployment/web"):
        split(words)


@pytest.mark.parametrize(
    ("parse", "text", "cluster"),
    [
        (tainted, "gpu=broken:NoSchedule", {"taints": [
            {"key": "old", "value": "1", "effect": "NoSchedule"},
            {"key": "gpu", "value": "broken", "effect": "NoSchedule"}]}),
        (tainted, "old:NoSchedule", {"taints": [{"key": "old", "effect": "NoSchedule"}]}),
        (untainted, "old", {"taints": []}),
        (untainted, "old:NoSchedule", {"taints": []}),
        (labelled, "tier=gold", {"labels": {"a": "b", "tier": "gold"}}),
        (labelled, "a-", {"labels": {}}),
        (lost, "2026-01-01T00:00:00Z", {"taints": [
            {"key": "old", "value": "1", "effect": "NoSchedule"}, {"key": TAINT_UNREACHABLE, "effect": "NoSchedule"}]}),
    ],
    ids=["taint", "taint replaced", "untaint", "untaint an effect", "label", "no label", "loss"],
)  # fmt: skip
def test_edits_of_clusters(parse: Any, text: str, cluster: dict[str, Any]) -> None:
    found: dict[str, Any] = {
        "metadata": {"name": "m1", "labels": {"a": "b"}},
        "spec": {"taints": [{"key": "old", "value": "1", "effect": "NoSchedule"}]},
    }
    parse(text)(found)
    assert (found["spec"] | {"labels": found["metadata"]["labels"]}).items() >= cluster.items()


def test_one_that_is_lost_already_is_lost_since_then() -> None:
    theirs = {"key": TAINT_NOT_READY, "effect": "NoExecute"}
    taints = [{"key": TAINT_NOT_READY, "effect": "NoSchedule"}, theirs]
    ready = {"type": "Ready", "status": "False", "lastTransitionTime": "2025-01-01T00:00:00Z"}
    cluster: dict[str, Any] = {
        "metadata": {"name": "m1"}, "spec": {"taints": taints}, "status": {"conditions": [{"type": "Other", "status": "True"}, ready]},
    }  # fmt: skip
    lost("2026-01-01T00:00:00Z")(cluster)
    lost("2027-01-01T00:00:00Z")(cluster)
    found = {
        row["type"]: (row["status"], row.get("lastTransitionTime")) for row in cluster["status"]["conditions"]
    }
    assert found == {"Ready": ("Unknown", "2026-01-01T00:00:00Z"), "Other": ("True", None)}
    assert cluster["spec"]["taints"] == [theirs, {"key": TAINT_UNREACHABLE, "effect": "NoSchedule"}]


def test_a_taint_that_is_not_there_cannot_go() -> None:
    edit = untainted("gone")
    assert edit is not None
    with pytest.raises(Failure, match="Cluster m1 has no taint gone"):
        edit({"metadata": {"name": "m1"}})


@pytest.mark.parametrize(
    "flags",
    [("--taint", "m1"), ("--taint", "m1=a=b"), ("--taint", "m1=a:Never"), ("--untaint", "=a"), ("--label", "m1=a")],
    ids=lambda flags: " ".join(flags),
)  # fmt: skip
def test_flags_that_cannot_be_meant(flags: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, ["what-if", "-A", *flags], prog_name="towline")
    assert result.exit_code == 2 and "cannot be read" in result.output


@pytest.mark.parametrize("scope", [(), ("-A", "--all"), ("deploy/web", "-A")], ids=["none", "two", "both"])
def test_what_if_is_about_one_thing(scope: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, ["what-if", *scope], prog_name="towline")
    assert result.exit_code == 2 and "Give one of KIND/NAME" in result.output


def test_files_hold_what_they_should(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("kind: Cluster\n---\n---\nkind: Cluster\n")
    assert read([file], ("Cluster",)) == [{"kind": "Cluster"}] * 2
    file.write_text("kind: Pod\n")
    with pytest.raises(Failure, match="holds 'Pod', which is no Cluster"):
        read([file], ("Cluster",))
    file.write_text("{")
    with pytest.raises(Failure, match="is not YAML"):
        read([file], ("Cluster",))
    with pytest.raises(Failure, match="cannot be read"):
        read([tmp_path / "none"], ("Cluster",))
