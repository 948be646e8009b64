"""What roles, bindings and reviews are asked for, as scenarios for test_api."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.contract.api_steps import Space, apply, delete, get, obj, patch, post, put
from tests.contract.differential import Scenario, Step

GROUP = "rbac.authorization.k8s.io"
ALL = f"/apis/{GROUP}/v1"
REVIEWS = "/apis/authorization.k8s.io/v1"
PODS = {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}
WRITE = {"verbs": ["create", "get", "patch", "update"], "apiGroups": [GROUP], "resources": ["*"]}
USER = {"kind": "User", "apiGroup": GROUP, "name": "ann"}


def role(name: str, *rules: Any, kind: str = "Role", **fields: Any) -> dict[str, Any]:
    return obj(f"{GROUP}/v1", kind, name, rules=list(rules), **fields)


def binding(name: str, to: Any, *subjects: Any, kind: str = "RoleBinding", **fields: Any) -> dict[str, Any]:
    ref = {"apiGroup": GROUP, "kind": "Role", "name": to} if isinstance(to, str) else to
    return obj(f"{GROUP}/v1", kind, name, roleRef=ref, subjects=list(subjects), **fields)


def cluster_role(name: str) -> dict[str, str]:
    return {"apiGroup": GROUP, "kind": "ClusterRole", "name": name}


def by(user: str, *steps: Step) -> tuple[Step, ...]:
    return tuple(replace(step, user=user) for step in steps)


def validation() -> Scenario:
    at = Space("rbac-validation")
    roles, bindings = f"{ALL}/namespaces/{at.name}/roles", f"{ALL}/namespaces/{at.name}/rolebindings"
    clusterroles, clusterbindings = f"{ALL}/clusterroles", f"{ALL}/clusterrolebindings"

    def gathering(*selectors: Any) -> dict[str, Any]:
        return {
            **role("diff-g", kind="ClusterRole"),
            "aggregationRule": {"clusterRoleSelectors": list(selectors)},
        }

    def term(**fields: Any) -> dict[str, Any]:
        return {"matchExpressions": [{"key": "a", **fields}]}

    return Scenario(
        at.name,
        (
            at.made,
            post("role", roles, role("a:b", PODS)),
            post("no_rules", roles, obj(f"{GROUP}/v1", "Role", "none")),
            post("bad_name", roles, role("a/b", PODS)),
            post("no_verbs", roles, role("x", {"apiGroups": [""], "resources": ["pods"]})),
            post("nothing", roles, role("x", {})),
            post("no_groups", roles, role("x", {"verbs": ["get"], "resources": ["pods"]})),
            post("no_resources", roles, role("x", {"verbs": ["get"], "apiGroups": [""]})),
            post("urls", roles, role("x", {"verbs": ["get"], "nonResourceURLs": ["/a"]})),
            post("second_rule", roles, role("x", PODS, {"verbs": [], "apiGroups": [""], "resources": ["pods"]})),
            patch("no_verbs_later", f"{roles}/a:b", {"rules": [{"apiGroups": [""], "resources": ["pods"]}]}),
            post("both", clusterroles, role("x", {**PODS, "nonResourceURLs": ["/a"]}, kind="ClusterRole")),
            post("cluster_urls", f"{clusterroles}?dryRun=All",
                 role("diff-urls", {"verbs": ["get"], "nonResourceURLs": ["/a", "/b/*"]}, kind="ClusterRole")),
            post("no_selectors", clusterroles, gathering()),
            post("bad_operator", clusterroles, gathering(term(operator="Is"))),
            post("no_values", clusterroles, gathering(term(operator="In"))),
            post("values", clusterroles, gathering({"matchLabels": {"a": "b"}}, term(operator="Exists", values=["b"]))),
            post("bad_label", clusterroles, gathering({"matchLabels": {"a b": "c d"}})),
            post("gathers", f"{clusterroles}?dryRun=All", gathering({"matchLabels": {"a": "b"}})),
            post("binding", bindings, binding("b", "a:b", USER)),
            post("defaulted", bindings, binding("d", {"kind": "Role", "name": "a:b"}, {"kind": "User", "name": "ann"},
                                                {"kind": "ServiceAccount", "name": "robot"})),
            post("no_subjects", bindings, obj(f"{GROUP}/v1", "RoleBinding", "n", roleRef=cluster_role("view"))),
            post("wrong_role", bindings, binding("x", {"apiGroup": GROUP, "kind": "Rule", "name": "a"}, USER)),
            post("wrong_group", bindings, binding("x", {"apiGroup": "apps", "kind": "Role", "name": "a"}, USER)),
            post("no_role_name", bindings, binding("x", {"apiGroup": GROUP, "kind": "Role", "name": ""}, USER)),
            post("bad_role_name", bindings, binding("x", {"apiGroup": GROUP, "kind": "Role", "name": "a/b"}, USER)),
            post("wrong_kind", bindings, binding("x", "a:b", {**USER, "kind": "Robot"})),
            post("no_name", bindings, binding("x", "a:b", {**USER, "name": ""})),
            post("user_group", bindings, binding("x", "a:b", {**USER, "apiGroup": "apps"})),
            post("account_group", bindings, binding("x", "a:b", {**USER, "kind": "ServiceAccount"})),
            post("account_name", bindings, binding("x", "a:b", {"kind": "ServiceAccount", "name": "A_b"})),
            patch("other_role", f"{bindings}/b", {"roleRef": {"name": "other"}}),
            patch("more", f"{bindings}/b", {"subjects": [USER, {**USER, "kind": "Group"}]}),
            put("replaced", f"{bindings}/b", binding("b", "a:b", {**USER, "kind": "Group"})),
            post("cluster_binding_to_role", clusterbindings,
                 binding("x", {"apiGroup": GROUP, "kind": "Role", "name": "a"}, USER, kind="ClusterRoleBinding")),
            post("account_nowhere", clusterbindings,
                 binding("x", cluster_role("view"), {"kind": "ServiceAccount", "name": "a"}, kind="ClusterRoleBinding")),
            delete("deleted", f"{bindings}/b"),
        ),
    )  # fmt: skip


def escalation() -> Scenario:
    at = Space("rbac-escalation")
    roles, bindings = f"{ALL}/namespaces/{at.name}/roles", f"{ALL}/namespaces/{at.name}/rolebindings"
    nodes = {"verbs": ["get"], "apiGroups": [""], "resources": ["nodes"]}
    escalate = {
        "verbs": ["escalate"],
        "apiGroups": [GROUP],
        "resources": ["roles"],
        "resourceNames": ["theirs"],
    }
    bind = {
        "verbs": ["bind"],
        "apiGroups": [GROUP],
        "resources": ["clusterroles"],
        "resourceNames": ["cluster-admin"],
    }

    def user(name: str) -> dict[str, str]:
        return {**USER, "name": f"{at.name}-{name}"}

    return Scenario(
        at.name,
        (
            at.made,
            post("writer", roles, role("writer", WRITE, PODS)),
            post("writes", bindings, binding("writes", "writer", user("ann"), user("bob"))),
            post("escalates", roles, role("escalates", WRITE, escalate, bind)),
            post("may_escalate", bindings, binding("escalates", "escalates", user("bob"))),
            post("theirs", roles, role("theirs", nodes)),
            post("root", bindings, binding("root", cluster_role("cluster-admin"))),
            *by(
                f"{at.name}-ann",
                post("same", roles, role("mine", PODS)),
                post("less", roles, role("less", {**PODS, "resourceNames": ["a"]})),
                post("more", roles, role("more", PODS, nodes)),
                post("more_verbs", roles, role("more", {**PODS, "verbs": ["get", "delete"]})),
                post("everything", roles, role("more", {**PODS, "resources": ["*"]})),
                patch("grown", f"{roles}/mine", {"rules": [nodes]}),
                apply("applied", f"{roles}/applied", role("applied", nodes)),
                post("dry", f"{roles}?dryRun=All", role("more", nodes)),
                patch("unchanged", f"{roles}/theirs", {}),
                patch("owners", f"{roles}/theirs", {"metadata": {"finalizers": ["example.com/held"]}}),
                patch("labelled", f"{roles}/theirs", {"metadata": {"labels": {"a": "b"}}}),
                patch("shrunk", f"{roles}/theirs", {"rules": []}),
                post("bound", bindings, binding("bound", "mine", user("eve"))),
                post("bound_admin", bindings, binding("x", cluster_role("cluster-admin"), user("eve"))),
                post("bound_nowhere", bindings, binding("x", "nowhere", user("eve"))),
                patch("joins", f"{bindings}/root", {"subjects": [user("ann")]}),
                patch("bound_more", f"{bindings}/bound", {"subjects": [user("eve"), user("ann")]}),
                post("elsewhere", f"{ALL}/namespaces/default/roles", role("x", PODS)),
                post("cluster_role", f"{ALL}/clusterroles", role("diff-x", PODS, kind="ClusterRole")),
                get("scale", f"{at.deployments}/web/scale"),
            ),
            *by(
                f"{at.name}-bob",
                patch("escalated", f"{roles}/theirs", {"rules": [{**nodes, "verbs": ["get", "list"]}]}),
                post("not_created", roles, role("theirs2", nodes)),
                post("binds", bindings, binding("x", cluster_role("cluster-admin"), user("eve"))),
                post("binds_other", bindings, binding("y", "theirs", user("eve"))),
            ),
            patch("let_go", f"{roles}/theirs", {"metadata": {"finalizers": None}}),
        ),
    )  # fmt: skip


def reviews() -> Scenario:
    at = Space("rbac-reviews")
    roles, bindings = f"{ALL}/namespaces/{at.name}/roles", f"{ALL}/namespaces/{at.name}/rolebindings"
    local = f"{REVIEWS}/namespaces/{at.name}/localsubjectaccessreviews"
    user = f"{at.name}-ann"
    pods = {"verb": "get", "resource": "pods", "namespace": at.name}
    path = {"verb": "get", "path": "/secret"}
    asked = f"{REVIEWS}/subjectaccessreviews"

    def review(kind: str, metadata: Any = None, **spec: Any) -> dict[str, Any]:
        named = {"metadata": metadata} if metadata else {}
        return {"apiVersion": "authorization.k8s.io/v1", "kind": f"{kind}Review", **named, "spec": spec}

    def about(**attributes: Any) -> dict[str, Any]:
        return review("SubjectAccess", user=user, resourceAttributes={**pods, **attributes})

    return Scenario(
        at.name,
        (
            at.made,
            get("resources", REVIEWS),
            post("role", roles, role("reader", PODS, {**PODS, "resources": ["secrets"], "resourceNames": ["s"]})),
            post("bound", bindings, binding("reads", "reader", {**USER, "name": user})),
            post("lost", bindings, binding("lost", "nowhere", {**USER, "name": user})),
            post("allowed", asked, about()),
            post("denied", asked, about(verb="delete")),
            post("elsewhere", asked, about(namespace="default")),
            post("subresource", asked, about(subresource="log")),
            post("named", asked, about(resource="secrets", name="s")),
            post("selected", asked, about(labelSelector={"requirements": [{"key": "a", "operator": "Exists"}]})),
            post("bad_selector", asked, about(labelSelector={"rawSelector": "a=b", "requirements": [{"key": "a"}]})),
            post("no_selector", asked, about(fieldSelector={})),
            post("bad_key", asked, about(labelSelector={"requirements": [{"key": "a b", "operator": "In"}]})),
            post("group", asked, review("SubjectAccess", groups=["system:masters"], nonResourceAttributes=path)),
            post("path", asked, review("SubjectAccess", user=user, nonResourceAttributes=path)),
            post("discovery", asked, review(
                "SubjectAccess", user=user, groups=["system:authenticated"], extra={"a": ["b"]}, uid="u",
                nonResourceAttributes={"verb": "get", "path": "/api"})),
            post("nobody", asked, review("SubjectAccess", resourceAttributes=pods)),
            post("both", asked, review("SubjectAccess", user=user, resourceAttributes=pods, nonResourceAttributes=path)),
            post("neither", asked, review("SubjectAccess", {"name": "x"})),
            post("wrong_type", asked, review("SubjectAccess", user=1)),
            post("wrong_kind", asked, review("SelfSubjectAccess", user="x")),
            post("unknown", f"{asked}?fieldValidation=Strict", {**about(), "more": 1}),
            post("warned", asked, {**about(), "more": 1}),
            get("listed", asked),
            get("one", f"{asked}/x"),
            post("in_namespace", f"{REVIEWS}/namespaces/{at.name}/subjectaccessreviews", about()),
            post("local", local, review("LocalSubjectAccess", {"namespace": at.name}, user=user, resourceAttributes=pods)),
            post("local_elsewhere", local,
                 review("LocalSubjectAccess", user=user, resourceAttributes={**pods, "namespace": "default"})),
            post("local_other", local,
                 review("LocalSubjectAccess", {"namespace": "x"}, user=user, resourceAttributes=pods)),
            post("local_path", local, review("LocalSubjectAccess", user=user, nonResourceAttributes=path)),
            post("local_nowhere", f"{REVIEWS}/localsubjectaccessreviews", review("LocalSubjectAccess")),
            *by(
                user,
                post("self", f"{REVIEWS}/selfsubjectaccessreviews",
                     review("SelfSubjectAccess", resourceAttributes=pods)),
                post("self_neither", f"{REVIEWS}/selfsubjectaccessreviews", review("SelfSubjectAccess")),
                post("rules", f"{REVIEWS}/selfsubjectrulesreviews", review("SelfSubjectRules", namespace=at.name)),
                post("no_namespace", f"{REVIEWS}/selfsubjectrulesreviews", review("SelfSubjectRules")),
                post("not_allowed", asked, about()),
            ),
        ),
    )  # fmt: skip


SCENARIOS = (validation(), escalation(), reviews())
