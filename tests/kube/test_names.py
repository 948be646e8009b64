"""Names: Karmada's vectors, and Kubernetes' rules."""

from __future__ import annotations

import pytest

from towline.kube import names


@pytest.mark.parametrize(
    ("namespace", "name", "kind", "expected"),
    [
        ("default", "nginx", "Deployment", "nginx-687f7fb96f"),
        ("", "predict", "Namespace", "predict-5c885f7948"),
        ("", "cert-manager", "Namespace", "cert-manager-674b866f4c"),
        ("", "karmada-impersonator", "ClusterRole", "karmada-impersonator-7cbb6bd5c9"),
        ("", "karmada-impersonator", "ClusterRoleBinding", "karmada-impersonator-84f8c8f8c6"),
        ("default", "cm", "ConfigMap", "cm-546d874944"),
    ],
)
def test_work_name(namespace: str, name: str, kind: str, expected: str) -> None:
    assert names.work_name(namespace, name, kind) == expected


def test_names_with_colons_and_capitals() -> None:
    assert names.binding_name("nginx", "Deployment") == "nginx-deployment"
    assert names.binding_name("system:Node", "ClusterRole") == "system.node-clusterrole"
    assert names.work_name("", "system:Node", "ClusterRole").startswith("system.node-")
    assert names.work_name("", "system:Node", "ClusterRole") == names.work_name(
        "", "system.node", "clusterrole"
    )


def test_policy_and_dependency_names() -> None:
    assert names.policy_name("default", "nginx", "apps/v1", "Deployment") == "nginx-6d7f8d5f5b"
    label = names.depended_by_label("default", "nginx-deployment")
    assert label == "resourcebinding.karmada.io/depended-by-5bdc5c4dcf"


@pytest.mark.parametrize(
    ("namespace", "cluster"),
    [
        ("karmada-es-member1", "member1"),
        ("karmada-es-", None),
        ("karmada-system", None),
        ("default", None),
        ("karmada-es-karmada-es-a", "karmada-es-a"),
    ],
)
def test_execution_namespace(namespace: str, cluster: str | None) -> None:
    assert names.cluster_of_execution_namespace(namespace) == cluster
    if cluster is not None:
        assert names.execution_namespace(cluster) == namespace
        assert names.is_reserved_namespace(namespace)


def test_what_is_reserved_is_named_whole() -> None:
    reserved = ("karmada-system", "karmada-cluster", "towline-system", "karmada-es-a")
    free = ("default", "shop", "towline-systems", "my-towline-system", "karmada")
    assert [n for n in (*reserved, *free) if names.is_reserved_namespace(n)] == list(reserved)


@pytest.mark.parametrize(
    ("style", "name", "wrong"),
    [
        ("subdomain", "nginx", None),
        ("subdomain", "a.b-c.1", None),
        ("subdomain", "Nginx", "a lowercase RFC 1123 subdomain must consist of"),
        ("subdomain", "a_b", "a lowercase RFC 1123 subdomain must consist of"),
        ("subdomain", "a..b", "a lowercase RFC 1123 subdomain must consist of"),
        ("subdomain", "", "a lowercase RFC 1123 subdomain must consist of"),
        ("subdomain", "nginx\n", "a lowercase RFC 1123 subdomain must consist of"),
        ("subdomain", "a" * 253, None),
        ("subdomain", "a" * 254, "must be no more than 253 characters"),
        ("label", "1a", None),
        ("label", "a.b", "a lowercase RFC 1123 label must consist of"),
        ("label", "a" * 64, "must be no more than 63 characters"),
        ("label1035", "a1", None),
        ("label1035", "1a", "a DNS-1035 label must consist of"),
        ("path", "system:node", None),
        ("path", "a/b", "may not contain '/'"),
        ("path", "..", "may not be '..'"),
    ],
)
def test_name_styles(style: names.NameStyle, name: str, wrong: str | None) -> None:
    errors = names.validate_name(name, style)
    if wrong is None:
        assert errors == []
    else:
        assert any(wrong in error for error in errors), errors


def test_generate_name_may_end_in_a_dash() -> None:
    assert names.validate_name("nginx-") != []
    assert names.validate_name("nginx-", prefix=True) == []


def test_subdomain_message_is_kubernetes_own() -> None:
    (message,) = names.validate_subdomain("A")
    assert message == (
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
        "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
        r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    )


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("app", None),
        ("example.com/App_1", None),
        ("/app", "prefix part must be non-empty"),
        ("example.com/", "name part must be non-empty"),
        ("Example.com/a", "prefix part a lowercase RFC 1123 subdomain"),
        ("a/b/c", "with an optional DNS subdomain prefix"),
        ("-a", "name part must consist of"),
        ("a" * 64, "name part must be no more than 63 characters"),
    ],
)
def test_qualified_name(key: str, wrong: str | None) -> None:
    errors = names.validate_qualified_name(key)
    assert (errors == []) if wrong is None else any(wrong in error for error in errors), errors


@pytest.mark.parametrize(("value", "fine"), [("", True), ("a.b_C", True), ("a b", False), ("a" * 64, False)])
def test_label_value(value: str, fine: bool) -> None:
    assert (names.validate_label_value(value) == []) is fine


@pytest.mark.parametrize(
    ("key", "fine"),
    [("a.yaml", True), (".env", True), ("..", False), ("..a", False), ("a/b", False), ("", False)],
)
def test_data_key(key: str, fine: bool) -> None:
    assert (names.validate_data_key(key) == []) is fine


def test_cluster_name_is_short() -> None:
    assert names.validate_cluster_name("a" * 48) == []
    assert names.validate_cluster_name("a" * 49) == ["must be no more than 48 characters"]
