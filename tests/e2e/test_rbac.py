"""Roles and bindings with the real kubectl, on a real hub: who may what, and who may give it to others."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.e2e.harness import Fleet, eventually
from tests.e2e.objects import namespace

pytestmark = pytest.mark.e2e

ROLES = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: counter, namespace: shop}
rules:
- {apiGroups: [""], resources: [configmaps], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: counter, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: counter}
subjects: [{kind: User, name: cora, apiGroup: rbac.authorization.k8s.io}]
"""
BROKEN = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: broken, namespace: shop}
rules: [{apiGroups: [""], resources: [pods]}]
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A hub without members; ann administers the namespace shop."""
    fleet = Fleet(tmp_path_factory.mktemp("rbac"), members=())
    try:
        fleet.start()
        fleet.apply(namespace("shop"))
        fleet.kubectl("create", "rolebinding", "ann", "-n", "shop", "--clusterrole=admin", "--user=ann")
        may = ("auth", "can-i", "create", "rolebindings", "-n", "shop", "--as=ann")
        eventually(lambda: fleet.kubectl(*may, check=False).stdout == "yes\n", 20, "admin is aggregated")
        yield fleet
    finally:
        fleet.stop()


def refused(fleet: Fleet, *args: str, stdin: str | None = None) -> str:
    answer = fleet.kubectl(*args, stdin=stdin, check=False)
    assert answer.returncode != 0, answer.stdout
    return answer.stderr


def test_a_namespace_admin_gives_what_they_have_and_no_more(hub: Fleet) -> None:
    binding = ("create", "rolebinding", "-n", "shop", "--user=eve", "--as=ann")
    hub.kubectl(*binding, "editor", "--clusterrole=edit")
    told = refused(hub, *binding, "root", "--clusterrole=cluster-admin")
    assert (
        'user "ann" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held'
        in told
    )
    assert '{APIGroups:["*"], Resources:["*"], Verbs:["*"]}' in told
    hub.kubectl("create", "role", "reader", "-n", "shop", "--verb=get", "--resource=pods", "--as=ann")
    assert "not currently held" in refused(
        hub, "create", "role", "more", "-n", "shop", "--verb=get", "--resource=nodes", "--as=ann"
    )
    assert "forbidden" in refused(
        hub, "create", "clusterrolebinding", "root", "--clusterrole=edit", "--user=eve", "--as=ann"
    )
    assert (
        hub.kubectl("auth", "can-i", "create", "deployments.apps", "-n", "shop", "--as=eve").stdout == "yes\n"
    )


def test_can_i_lists_rules(hub: Fleet) -> None:
    listed = hub.kubectl("auth", "can-i", "--list", "-n", "shop", "--as=ann").stdout
    assert re.search(r"^deployments\.apps +\[\] +\[\] +\[.*create.*\]$", listed, re.M)
    assert re.search(r"^ +\[/version\] +\[\] +\[get\]$", listed, re.M)
    assert "*.*" in hub.kubectl("auth", "can-i", "--list").stdout
    assert (
        hub.kubectl("auth", "can-i", "get", "deploy", "--subresource=scale", "-n", "shop", "--as=ann").stdout
        == "yes\n"
    )
    assert hub.kubectl("auth", "can-i", "get", "/metrics", "--as=ann", check=False).stdout == "no\n"


def test_reviews_of_others(hub: Fleet) -> None:
    review = (
        '{"apiVersion": "authorization.k8s.io/v1", "kind": "%s", "metadata": {%s}, "spec": {"user": "ann",'
        ' "resourceAttributes": {"verb": "list", "resource": "secrets", "namespace": "shop"}}}'
    )
    # Against what can only be created, kubectl checks fields itself, with a document in protobuf that is not here.
    shown = ("-o", "jsonpath={.status.allowed}", "--validate=false")
    asked = review % ("SubjectAccessReview", "")
    assert hub.kubectl("create", "-f", "-", *shown, stdin=asked).stdout == "true"
    local = review % ("LocalSubjectAccessReview", '"namespace": "shop"')
    assert hub.kubectl("create", "-f", "-", *shown, "--as=ann", stdin=local).stdout == "true"
    assert "subjectaccessreviews.authorization.k8s.io is forbidden" in refused(
        hub, "create", "-f", "-", "--validate=false", "--as=ann", stdin=asked
    )


def test_reviews_are_documented(hub: Fleet) -> None:
    listed = hub.kubectl(
        "api-resources", "--api-group=authorization.k8s.io", "--verbs=create", "-o", "name"
    ).stdout.split()
    assert [name.partition(".")[0] for name in listed] == [
        "localsubjectaccessreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews", "subjectaccessreviews",
    ]  # fmt: skip
    assert "nonResourceAttributes" in hub.kubectl("explain", "subjectaccessreviews.spec").stdout


def test_reconcile_and_what_is_invalid(hub: Fleet) -> None:
    told = hub.kubectl("auth", "reconcile", "-f", "-", stdin=ROLES).stdout
    assert "role.rbac.authorization.k8s.io/counter reconciled" in told
    assert "rolebinding.rbac.authorization.k8s.io/counter reconciled" in told
    assert hub.kubectl("auth", "can-i", "list", "cm", "-n", "shop", "--as=cora").stdout == "yes\n"
    hub.kubectl("auth", "reconcile", "-f", "-", stdin=ROLES.replace("cora", "carl"))
    assert hub.kubectl("auth", "can-i", "list", "cm", "-n", "shop", "--as=carl").stdout == "yes\n"
    assert hub.kubectl("auth", "can-i", "list", "cm", "-n", "shop", "--as=cora").stdout == "yes\n"
    assert (
        'The Role "broken" is invalid: rules[0].verbs: Required value: verbs must contain at least one value'
        in refused(hub, "create", "-f", "-", stdin=BROKEN)
    )


def test_a_binding_for_the_whole_hub(hub: Fleet) -> None:
    hub.kubectl("create", "clusterrolebinding", "viewers", "--clusterrole=view", "--group=viewers")
    viewer = ("--as=vera", "--as-group=viewers")
    hub.kubectl("get", "propagationpolicies", "-A", *viewer)
    told = refused(hub, "get", "secrets", "-A", *viewer)
    assert 'cannot list resource "secrets" in API group "" at the cluster scope' in told
    told = refused(hub, "get", "deployment", "x", "--subresource=scale", "-n", "shop", "--as=nobody")
    assert 'cannot get resource "deployments/scale" in API group "apps" in the namespace "shop"' in told


def test_join_tokens_are_a_permission(hub: Fleet) -> None:
    token = ("create", "--raw", "/towline/v1/jointokens", "-f", "-", "--as=june")
    told = refused(hub, *token, stdin='{"name": "member1"}')
    assert 'User "june" cannot create resource "jointokens" in API group "towline.io"' in told
    hub.kubectl("apply", "-f", "-", stdin=JOINERS)
    assert '"name":"member1"' in hub.kubectl(*token, stdin='{"name": "member1"}').stdout


JOINERS = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: joiner}
rules:
- {apiGroups: [towline.io], resources: [jointokens], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: joiner}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: joiner}
subjects: [{kind: User, name: june, apiGroup: rbac.authorization.k8s.io}]
"""
