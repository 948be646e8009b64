"""What admission refuses of override policies (Karmada 1.3 and 7.2), and the variables in their values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from tests.decide.world import cluster
from tests.kube.test_karmada import row, wrong
from towline.kube import variables
from towline.kube.objects import Object
from towline.kube.variables import VariableError

RULE = "spec.overrideRules[0]"


def override(*, namespace: str | None = "team", **spec: Any) -> Object:
    metadata = {"name": "p", **({"namespace": namespace} if namespace else {})}
    kind = "OverridePolicy" if namespace else "ClusterOverridePolicy"
    return {"apiVersion": "policy.karmada.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def one_rule(target: Any = None, **overriders: Any) -> list[Object]:
    return [{"overriders": overriders, **({"targetCluster": target} if target is not None else {})}]


def expressions(**terms: Any) -> Object:
    return {"fieldSelector": {"matchExpressions": [terms]}}


def image(**more: Any) -> Object:
    return {"component": "Tag", "operator": "replace", "value": "2", **more}


def by_json(*patches: Object, path: str = "/data/a") -> Object:
    return {"fieldPath": path, "json": list(patches)}


RULES_OF_BOTH_FORMS = [
    ("an unknown field", expressions(key="name", operator="In", values=["a"]),
     "targetCluster.fieldSelector.matchExpressions[0].key"),
    ("an operator that is no field's", expressions(key="zone", operator="Exists"),
     "targetCluster.fieldSelector.matchExpressions[0].operator"),
    ("a field without values", expressions(key="zone", operator="In"),
     "targetCluster.fieldSelector.matchExpressions[0].values"),
    ("a label selector that cannot be", {"labelSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
     "targetCluster.labelSelector.matchExpressions[0].values"),
    ("a label's key", {"labelsOverrider": [{"operator": "add", "value": {"a/b/c": "x"}}]},
     "overriders.labelsOverrider[0].value[a/b/c]"),
    ("a label's value", {"labelsOverrider": [{"operator": "replace", "value": {"a": "b c"}}]},
     "overriders.labelsOverrider[0].value[a]"),
    ("an annotation's key", {"annotationsOverrider": [{"operator": "add", "value": {"": "x"}}]},
     "overriders.annotationsOverrider[0].value[]"),
    ("no map at all", {"labelsOverrider": [{"operator": "add"}]}, "overriders.labelsOverrider[0].value"),
    ("an operator of labels", {"labelsOverrider": [{"operator": "set", "value": {}}]},
     "overriders.labelsOverrider[0].operator"),
    ("an operator of arguments", {"argsOverrider": [{"containerName": "a", "operator": "replace"}]},
     "overriders.argsOverrider[0].operator"),
    ("a command without container", {"commandOverrider": [{"operator": "add"}]},
     "overriders.commandOverrider[0].containerName"),
    ("a part of an image", {"imageOverrider": [image(component="Name")]}, "overriders.imageOverrider[0].component"),
    ("an image to add without value", {"imageOverrider": [image(operator="add", value="")]},
     "overriders.imageOverrider[0].value"),
    ("an image's path", {"imageOverrider": [image(predicate={"path": "spec/image"})]},
     "overriders.imageOverrider[0].predicate.path"),
    ("an image's predicate without path", {"imageOverrider": [image(predicate={})]},
     "overriders.imageOverrider[0].predicate.path"),
    ("a field's path", {"fieldOverrider": [by_json({"subPath": "/a", "operator": "remove"}, path="data")]},
     "overriders.fieldOverrider[0].fieldPath"),
    ("neither json nor yaml", {"fieldOverrider": [{"fieldPath": "/a"}]}, "overriders.fieldOverrider[0]"),
    ("json and yaml", {"fieldOverrider": [{**by_json({"subPath": "/a", "operator": "remove"}),
                                           "yaml": [{"subPath": "/a", "operator": "remove"}]}]},
     "overriders.fieldOverrider[0]"),
    ("a path in the text", {"fieldOverrider": [by_json({"subPath": "/a~2", "operator": "remove"})]},
     "overriders.fieldOverrider[0].json[0].subPath"),
    ("add without value", {"fieldOverrider": [by_json({"subPath": "/a", "operator": "add"})]},
     "overriders.fieldOverrider[0].json[0].value"),
    ("replace without value", {"fieldOverrider": [by_json({"subPath": "/a", "operator": "replace"})]},
     "overriders.fieldOverrider[0].json[0].value"),
    ("remove with a value", {"fieldOverrider": [by_json({"subPath": "/a", "operator": "remove", "value": 1})]},
     "overriders.fieldOverrider[0].json[0].value"),
    ("a path of plaintext", {"plaintext": [{"path": "spec/replicas", "operator": "replace", "value": 1}]},
     "overriders.plaintext[0].path"),
    ("an operator of plaintext", {"plaintext": [{"path": "/a", "operator": "copy"}]}, "overriders.plaintext[0].operator"),
]  # fmt: skip


@pytest.mark.parametrize(("part", "path"), [row[1:] for row in RULES_OF_BOTH_FORMS], ids=[r[0] for r in RULES_OF_BOTH_FORMS])  # fmt: skip
@pytest.mark.parametrize("namespace", ["team", None], ids=["OverridePolicy", "ClusterOverridePolicy"])
def test_refused_in_both_forms(part: Object, path: str, namespace: str | None) -> None:
    is_target = path.startswith("targetCluster")
    rule = {"overriders": {}, "targetCluster": part} if is_target else {"overriders": part}
    assert f"{RULE}.{path}" in wrong(override(namespace=namespace, overrideRules=[rule]))
    assert f"spec.{path}" in wrong(override(namespace=namespace, **rule))


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"overrideRules": one_rule(), "targetCluster": {}}, "spec.overrideRules"),
        ({"overrideRules": one_rule(), "overriders": {"plaintext": [{"path": "/a", "operator": "remove"}]}},
         "spec.overrideRules"),
        ({"overrideRules": [{"targetCluster": {}}]}, f"{RULE}.overriders"),
        ({"resourceSelectors": [{"apiVersion": "v1", "kind": "Pod", "namespace": "other"}]},
         "spec.resourceSelectors[0].namespace"),
        ({"resourceSelectors": [{"apiVersion": "v1"}]}, "spec.resourceSelectors[0].kind"),
        ({"resourceSelectors": [{"apiVersion": "v1", "kind": "Pod", "labelSelector": {"matchLabels": {"a": "b c"}}}]},
         "spec.resourceSelectors[0].labelSelector.matchLabels"),
        ({"variables": "Always"}, "spec.variables"),
    ],
)  # fmt: skip
def test_refused(spec: Object, path: str) -> None:
    assert path in wrong(override(**spec))


def test_a_cluster_policy_selects_in_any_namespace() -> None:
    spec = {"resourceSelectors": [{"apiVersion": "v1", "kind": "Pod", "namespace": "other"}]}
    assert wrong(override(namespace=None, **spec)) == {}


@pytest.mark.parametrize(
    "overriders",
    [
        {},
        {"imageOverrider": [image(operator="remove", value="whatever")]},
        {"fieldOverrider": [by_json({"subPath": "", "operator": "add", "value": ""})]},
        {"fieldOverrider": [by_json({"subPath": "/a", "operator": "replace", "value": 0})]},
        {"plaintext": [{"path": "/spec/x", "operator": "add"}]},
        {"annotationsOverrider": [{"operator": "add", "value": {"a/b": "any text: ${cluster.nonsense"}}]},
        {"labelsOverrider": [{"operator": "remove", "value": {"a": ""}}]},
    ],
)
def test_accepted(overriders: Object) -> None:
    for spec in (
        {"overrideRules": [{"overriders": overriders}]},
        {"overriders": overriders, "targetCluster": {}},
    ):
        assert wrong(override(**spec)) == {}
        assert wrong(override(variables="Disabled", **spec)) == {}


# --- variables -----------------------------------------------------------------------------------------------

BAD_EXPRESSIONS = [
    ("${cluster.nope}", "undefined field 'nope'"),
    ("${clusters.name}", "undeclared reference"),
    ("${cluster.name", "not closed"),
    ("${}", "needs an expression"),
    ("${cluster.labels}", "must evaluate to string"),
    ("${size(cluster.zones)}", "must evaluate to string"),
    ("${cluster.name +}", "Syntax error"),
    ("${cluster.labels.map(k, cluster.labels.map(j, k + j).join('')).join('')}", "the limit is"),
]


@pytest.mark.parametrize(("text", "message"), BAD_EXPRESSIONS, ids=[text for text, _ in BAD_EXPRESSIONS])
def test_expressions_that_are_refused_when_the_policy_is_written(text: str, message: str) -> None:
    places: list[tuple[Object, str]] = [
        ({"plaintext": [{"path": "/a", "operator": "add", "value": {"deep": [1, text]}}]},
         "plaintext[0].value.deep[1]"),
        ({"labelsOverrider": [{"operator": "add", "value": {"a": text}}]}, "labelsOverrider[0].value.a"),
        ({"argsOverrider": [{"containerName": "a", "operator": "add", "value": ["x", text]}]}, "argsOverrider[0].value[1]"),
        ({"imageOverrider": [image(value=text)]}, "imageOverrider[0].value"),
        ({"fieldOverrider": [by_json({"subPath": "/a", "operator": "add", "value": text})]},
         "fieldOverrider[0].json[0].value"),
    ]  # fmt: skip
    for overriders, path in places:
        found = wrong(override(variables="Enabled", overrideRules=one_rule(**overriders)))
        assert message in found[f"{RULE}.overriders.{path}"]
        if "labelsOverrider" not in overriders:
            assert wrong(override(overrideRules=one_rule(**overriders))) == {}, (
                "only where the policy says so"
            )


def test_how_many_expressions_a_policy_may_have_is_bounded() -> None:
    several = [{"path": f"/{n}", "operator": "add", "value": f"${{cluster.name + '{n}'}}"} for n in range(65)]
    assert "spec.variables" in wrong(override(variables="Enabled", overrideRules=one_rule(plaintext=several)))


@pytest.mark.parametrize(
    ("variables_", "value", "told"),
    [
        (None, "${cluster.name}", True),
        ("Disabled", {"deep": ["a-${cluster.labels['x']}"]}, True),
        ("Enabled", "${cluster.name}", False),
        (None, "${HOME} $(cluster.name) ${cluster.name", False),
        (None, 3, False),
    ],
)
def test_a_value_that_looks_like_a_variable_and_is_none_is_worth_a_word(
    variables_: str | None, value: Any, told: bool
) -> None:
    rules = one_rule(plaintext=[{"path": "/a", "operator": "add", "value": value}])
    policy = override(overrideRules=rules, **({"variables": variables_} if variables_ else {}))
    warn = row("OverridePolicy").strategy.warn
    assert warn is not None
    where = f"{RULE}.overriders.plaintext[0].value: ${{...}} is plain text unless spec.variables is Enabled"
    assert warn(policy, None) == ((where,) if told else ())


MEMBER = cluster("m1", {"tier": "gold", "a.b/c": "d"}, provider="p", region="eu", zones=["z1", "z2"])
BARE = cluster("m2")


@pytest.mark.parametrize(
    ("text", "expected", "bare"),
    [
        ("plain", "plain", "plain"),
        ("${cluster.name}", "m1", "m2"),
        ("x-${cluster.name}-${ cluster.name }", "x-m1-m1", "x-m2-m2"),
        ("$${cluster.name} $5 $ {x}", "${cluster.name} $5 $ {x}", "${cluster.name} $5 $ {x}"),
        ("${cluster.labels['tier']}", "gold", None),
        ("${cluster.labels['a.b/c']}", "d", None),
        ("${cluster.labels[?'tier'].orValue('none')}", "gold", "none"),
        ("${'tier' in cluster.labels ? cluster.labels['tier'] : 'none'}", "gold", "none"),
        ("${has(cluster.labels.tier) ? 'a' : 'b'}", "a", "b"),
        ("${cluster.region}/${cluster.provider}", "eu/p", None),
        ("${has(cluster.region) ? cluster.region : 'none'}", "eu", "none"),
        ("${cluster.zones[0]}", "z1", None),
        ("${cluster.zones.join(',')}", "z1,z2", ""),
        ("${ {'m1': 'a}b', 'm2': \"{\"}[cluster.name] }", "a}b", "{"),
    ],
)
def test_what_variables_come_to(text: str, expected: str, bare: str | None) -> None:
    assert list(variables.problems(text, "x")) == []
    assert variables.resolved({"a": [text, 1]}, variables.facts_of(MEMBER)) == {"a": [expected, 1]}
    facts = variables.facts_of(BARE)
    if bare is not None:
        assert variables.resolved(text, facts) == bare
    else:
        with pytest.raises(VariableError, match=r"\$\{cluster\."):
            variables.resolved(text, facts)


def test_a_cluster_that_is_larger_than_expected_is_measured_again() -> None:
    labels = {f"l{n}": "x" * 60 for n in range(20_000)}
    text = "${cluster.labels.exists(k, k == 'q') ? 'a' : 'b'}"
    assert list(variables.problems(text, "x")) == []
    with pytest.raises(VariableError, match="costs more than"):
        variables.resolved(text, variables.facts_of(cluster("m1", labels)))


@cases(200)
@given(st.text(alphabet="${}ab'\"\\ ", max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    problems = list(variables.problems(text, "x"))
    try:
        variables.resolved(text, variables.facts_of(MEMBER))
    except VariableError:
        assert problems
