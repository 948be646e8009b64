"""Default roles and bindings: what a hub adds to those it finds, and what they allow."""

from __future__ import annotations

from typing import Any

import pytest

from towline.kube import default_roles, rbac
from towline.kube.objects import Object

ROLES = {role["metadata"]["name"]: role for role in default_roles.roles()}
BINDINGS = {binding["metadata"]["name"]: binding for binding in default_roles.bindings()}
VIEW, ADMIN, BINDING = ROLES["system:aggregate-to-view"], ROLES["admin"], BINDINGS["system:discovery"]
FIRST, SECOND, *OTHERS = VIEW["rules"]
OWN_RULE = {"verbs": ["get"], "apiGroups": ["example.com"], "resources": ["widgets"]}
OWN_SUBJECT = {"apiGroup": rbac.GROUP, "kind": "Group", "name": "ours"}
OWN_SELECTOR = {"matchLabels": {"ours": "true"}}


def annotated(obj: Object, value: str) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "annotations": {default_roles.AUTOUPDATE: value}}}


@pytest.mark.parametrize("wanted", [*ROLES.values(), *BINDINGS.values()], ids=lambda w: w["metadata"]["name"])
def test_what_is_there_stays_as_it_is(wanted: Object) -> None:
    assert default_roles.reconciled(wanted, wanted) is wanted


@pytest.mark.parametrize(
    ("found", "wanted", "changed"),
    [
        ({**VIEW, "rules": [OWN_RULE, FIRST, *OTHERS]}, VIEW, {"rules": [OWN_RULE, FIRST, *OTHERS, SECOND]}),
        ({**VIEW, "aggregationRule": {"clusterRoleSelectors": [OWN_SELECTOR]}}, VIEW, {}),
        ({**BINDING, "subjects": [OWN_SUBJECT]}, BINDING, {"subjects": [OWN_SUBJECT, *BINDING["subjects"]]}),
        ({**BINDING, "subjects": None}, BINDING, {"subjects": BINDING["subjects"]}),
        ({**ADMIN, "aggregationRule": {"clusterRoleSelectors": [OWN_SELECTOR]}}, ADMIN,
         {"aggregationRule": {"clusterRoleSelectors": [OWN_SELECTOR, *ADMIN["aggregationRule"]["clusterRoleSelectors"]]}}),
    ],
)  # fmt: skip
def test_what_lacks_is_added_to_what_others_added(
    found: Object, wanted: Object, changed: dict[str, Any]
) -> None:
    expected = {**found, **changed}
    if "aggregationRule" not in wanted:
        expected.pop("aggregationRule", None)
    result = default_roles.reconciled(found, wanted)
    assert result == expected
    assert result is not None and default_roles.reconciled(result, wanted) is result


def test_wider_rules_lack_nothing() -> None:
    found = {**VIEW, "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]}
    assert default_roles.reconciled(found, VIEW) is found


def test_own_labels_stay_and_ours_come_back() -> None:
    found = {**VIEW, "metadata": {"name": "x", "labels": {"kubernetes.io/bootstrapping": "mine", "a": "b"}}}
    result = default_roles.reconciled(found, VIEW)
    assert result is not None
    assert result["metadata"]["labels"] == {
        "kubernetes.io/bootstrapping": "mine", "a": "b", f"{rbac.GROUP}/aggregate-to-view": "true",
    }  # fmt: skip
    assert result["metadata"]["annotations"] == {default_roles.AUTOUPDATE: "true"}


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (annotated({**VIEW, "rules": []}, "false"), VIEW),
        (annotated({**BINDING, "subjects": []}, "false"), BINDING),
        (annotated({**BINDING, "roleRef": {**BINDING["roleRef"], "name": "view"}}, "false"), BINDING),
    ],
)
def test_autoupdate_false_is_left_alone(found: Object, wanted: Object) -> None:
    assert default_roles.reconciled(found, wanted) is found


def test_a_binding_to_another_role_is_made_anew() -> None:
    found = {**BINDING, "roleRef": {**BINDING["roleRef"], "name": "cluster-admin"}}
    assert default_roles.reconciled(found, BINDING) is None


@pytest.mark.parametrize(
    ("role", "asked", "allowed"),
    [
        ("view", ("get", "apps", "deployments", "scale"), True),
        ("view", ("get", "", "secrets"), False),
        ("view", ("update", "", "configmaps"), False),
        ("view", ("list", "work.karmada.io", "works"), True),
        ("edit", ("update", "apps", "deployments"), True),
        ("edit", ("create", "policy.karmada.io", "propagationpolicies"), True),
        ("edit", ("create", "", "serviceaccounts", "token"), True),
        ("edit", ("update", "rbac.authorization.k8s.io", "roles"), False),
        ("edit", ("update", "apps", "deployments", "status"), False),
        ("admin", ("update", "rbac.authorization.k8s.io", "roles"), True),
        ("admin", ("create", "authorization.k8s.io", "localsubjectaccessreviews"), True),
        ("admin", ("escalate", "rbac.authorization.k8s.io", "roles"), False),
        ("admin", ("get", "", "nodes"), False),
        ("admin", ("update", "cluster.karmada.io", "clusters"), False),
    ],
)
def test_what_aggregated_roles_allow(role: str, asked: tuple[str, ...], allowed: bool) -> None:
    roles = dict(ROLES)
    for name in ("view", "edit", "admin"):
        roles[name] = {**roles[name], "rules": rbac.aggregated(roles[name], roles.values())}
    assert any(rule.allows(*asked) for rule in rbac.rules_of(roles[role])) is allowed
