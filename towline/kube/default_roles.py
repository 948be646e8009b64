"""The ClusterRoles and ClusterRoleBindings that every hub has, as Kubernetes names them."""

from __future__ import annotations

from towline.kube import names
from towline.kube.objects import Object
from towline.kube.rbac import GROUP

AUTOUPDATE = f"{GROUP.removesuffix('.k8s.io')}.kubernetes.io/autoupdate"
_BOOTSTRAPPING = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_AGGREGATE = f"{GROUP}/aggregate-to-"
_READ = ("get", "list", "watch")
_WRITE = ("create", "delete", "deletecollection", "patch", "update")

_VIEWED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("", ("configmaps", "endpoints", "events", "limitranges", "namespaces", "persistentvolumeclaims", "pods", "podtemplates",
          "replicationcontrollers", "replicationcontrollers/scale", "resourcequotas", "serviceaccounts", "services",
          "pods/status", "services/status", "namespaces/status")),
    ("apps", ("controllerrevisions", "daemonsets", "deployments", "deployments/scale", "replicasets", "replicasets/scale",
              "statefulsets", "statefulsets/scale", "deployments/status", "statefulsets/status", "daemonsets/status")),
    ("batch", ("cronjobs", "jobs", "cronjobs/status", "jobs/status")),
    ("autoscaling", ("horizontalpodautoscalers", "horizontalpodautoscalers/status")),
    ("networking.k8s.io", ("ingresses", "networkpolicies", "ingresses/status")),
    ("policy", ("poddisruptionbudgets", "poddisruptionbudgets/status")),
    ("discovery.k8s.io", ("endpointslices",)),
    (names.POLICY_GROUP, ("propagationpolicies", "overridepolicies")),
    (names.WORK_GROUP, ("resourcebindings", "resourcebindings/status", "works", "works/status")),
)  # fmt: skip
_EDITED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("", ("configmaps", "events", "persistentvolumeclaims", "pods", "podtemplates", "replicationcontrollers",
          "replicationcontrollers/scale", "secrets", "serviceaccounts", "services")),
    ("apps", ("daemonsets", "deployments", "deployments/scale", "replicasets", "replicasets/scale", "statefulsets",
              "statefulsets/scale")),
    ("batch", ("cronjobs", "jobs")),
    ("autoscaling", ("horizontalpodautoscalers",)),
    ("networking.k8s.io", ("ingresses", "networkpolicies")),
    ("policy", ("poddisruptionbudgets",)),
    (names.POLICY_GROUP, ("propagationpolicies", "overridepolicies")),
)  # fmt: skip
_DISCOVERY = ("/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", "/version", "/version/",
              "/healthz", "/livez", "/readyz")  # fmt: skip
_ISSUER = (
    "/.well-known/openid-configuration",
    "/.well-known/openid-configuration/",
    "/openid/v1/jwks",
    "/openid/v1/jwks/",
)


def roles() -> list[Object]:
    return [
        _role("cluster-admin", _rule(("*",), "*", ("*",)), {"verbs": ["*"], "nonResourceURLs": ["*"]}),
        _aggregating("admin", "admin"),
        _aggregating("edit", "edit", to=("admin",)),
        _aggregating("view", "view", to=("edit",)),
        _role(
            "system:aggregate-to-admin",
            _rule(("create",), "authorization.k8s.io", ("localsubjectaccessreviews",)),
            _rule((*_WRITE, *_READ), GROUP, ("rolebindings", "roles")),
            to=("admin",),
        ),
        _role(
            "system:aggregate-to-edit",
            *(_rule(_WRITE, group, resources) for group, resources in _EDITED),
            _rule(_READ, "", ("secrets",)),
            _rule(("impersonate",), "", ("serviceaccounts",)),
            _rule(("create",), "", ("serviceaccounts/token",)),
            to=("edit",),
        ),
        _role("system:aggregate-to-view", *(_rule(_READ, *viewed) for viewed in _VIEWED), to=("view",)),
        _role("system:discovery", {"verbs": ["get"], "nonResourceURLs": list(_DISCOVERY)}),
        _role("system:service-account-issuer-discovery", {"verbs": ["get"], "nonResourceURLs": list(_ISSUER)}),
        _role("system:public-info-viewer", {
            "verbs": ["get"], "nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"]}),
        _role(
            "system:basic-user",
            _rule(("create",), "authorization.k8s.io", ("selfsubjectaccessreviews", "selfsubjectrulesreviews")),
            _rule(("create",), "authentication.k8s.io", ("selfsubjectreviews",)),
        ),
    ]  # fmt: skip


def bindings() -> list[Object]:
    """Nobody anonymous: unlike in Kubernetes, `system:public-info-viewer` is bound to who has authenticated only."""
    return [
        _binding("cluster-admin", "system:masters"),
        _binding("system:service-account-issuer-discovery", "system:serviceaccounts"),
        *(
            _binding(name, "system:authenticated")
            for name in ("system:discovery", "system:basic-user", "system:public-info-viewer")
        ),
    ]


def reconciled(found: Object, wanted: Object) -> Object:
    """`found` with the rules or subjects of `wanted` that it lacks; itself where nothing lacks, or nobody may touch it."""
    if (found["metadata"].get("annotations") or {}).get(AUTOUPDATE) == "false":
        return found
    changed = dict(found)
    if "aggregationRule" in wanted:
        changed["aggregationRule"] = wanted["aggregationRule"]
    else:
        for field in ("rules", "subjects"):
            has = found.get(field) or []
            lacks = [item for item in wanted.get(field) or () if item not in has]
            if lacks:
                changed[field] = [*has, *lacks]
    labels = {**(found["metadata"].get("labels") or {}), **wanted["metadata"]["labels"]}
    changed["metadata"] = {**found["metadata"], "labels": labels}
    return found if changed == found else changed


def _metadata(name: str, to: tuple[str, ...]) -> Object:
    labels = {**_BOOTSTRAPPING, **{f"{_AGGREGATE}{role}": "true" for role in to}}
    return {"name": name, "labels": labels, "annotations": {AUTOUPDATE: "true"}}


def _role(name: str, *rules: Object, to: tuple[str, ...] = ()) -> Object:
    kind = {"apiVersion": f"{GROUP}/v1", "kind": "ClusterRole"}
    return {**kind, "metadata": _metadata(name, to), "rules": list(rules)}


def _aggregating(name: str, selected: str, to: tuple[str, ...] = ()) -> Object:
    role = _role(name, to=to)
    del role["rules"]
    return {
        **role,
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {f"{_AGGREGATE}{selected}": "true"}}]},
    }


def _rule(verbs: tuple[str, ...], group: str, resources: tuple[str, ...]) -> Object:
    return {"verbs": list(verbs), "apiGroups": [group], "resources": list(resources)}


def _binding(role: str, group: str) -> Object:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": _metadata(role, ()),
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": GROUP, "kind": "Group", "name": group}],
    }
