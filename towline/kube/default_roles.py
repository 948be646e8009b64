"""The ClusterRoles and ClusterRoleBindings that every hub has, as Kubernetes and Karmada name them."""

from __future__ import annotations

from towline.kube import names, rbac
from towline.kube.objects import Object
from towline.kube.rbac import GROUP

AUTOUPDATE = f"{GROUP.removesuffix('.k8s.io')}.kubernetes.io/autoupdate"
_BOOTSTRAPPING = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_AGGREGATE = f"{GROUP}/aggregate-to-"
_READ = ("get", "list", "watch")
_WRITE = ("create", "delete", "deletecollection", "patch", "update")

_Resources = tuple[tuple[str, tuple[str, ...]], ...]
"""Resources by group."""

_VIEWED: _Resources = (
    ("", ("bindings", "configmaps", "endpoints", "events", "limitranges", "namespaces", "namespaces/status",
          "persistentvolumeclaims", "persistentvolumeclaims/status", "pods", "pods/log", "pods/status",
          "replicationcontrollers", "replicationcontrollers/scale", "replicationcontrollers/status", "resourcequotas",
          "resourcequotas/status", "serviceaccounts", "services", "services/status")),
    ("events.k8s.io", ("events",)),
    ("discovery.k8s.io", ("endpointslices",)),
    ("apps", ("controllerrevisions", "daemonsets", "daemonsets/status", "deployments", "deployments/scale",
              "deployments/status", "replicasets", "replicasets/scale", "replicasets/status", "statefulsets",
              "statefulsets/scale", "statefulsets/status")),
    ("autoscaling", ("horizontalpodautoscalers", "horizontalpodautoscalers/status")),
    ("batch", ("cronjobs", "cronjobs/status", "jobs", "jobs/status")),
    ("policy", ("poddisruptionbudgets", "poddisruptionbudgets/status")),
    ("networking.k8s.io", ("ingresses", "ingresses/status", "networkpolicies")),
)  # fmt: skip
_EDITED: _Resources = (
    ("", ("configmaps", "events", "persistentvolumeclaims", "pods", "pods/attach", "pods/exec", "pods/portforward",
          "pods/proxy", "replicationcontrollers", "replicationcontrollers/scale", "secrets", "serviceaccounts", "services",
          "services/proxy")),
    ("events.k8s.io", ("events",)),
    ("apps", ("daemonsets", "deployments", "deployments/rollback", "deployments/scale", "replicasets",
              "replicasets/scale", "statefulsets", "statefulsets/scale")),
    ("autoscaling", ("horizontalpodautoscalers",)),
    ("batch", ("cronjobs", "jobs")),
    ("policy", ("poddisruptionbudgets",)),
    ("networking.k8s.io", ("ingresses", "networkpolicies")),
    ("coordination.k8s.io", ("leases",)),
)  # fmt: skip
_READ_BY_EDITORS: _Resources = (
    ("", ("pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy")),
    ("coordination.k8s.io", ("leases",)),
)  # fmt: skip
_KARMADA_EDITED: _Resources = ((names.POLICY_GROUP, ("overridepolicies", "propagationpolicies")),)
"""Not the bindings, unlike in Karmada: one may name a resource that its writer may not read."""
_KARMADA_VIEWED: _Resources = (
    *_KARMADA_EDITED,
    (names.WORK_GROUP, ("resourcebindings", "resourcebindings/status", "works", "works/status")),
)
_REVIEWS = (
    "clusterplacementexplanations",
    "clusterplacementforecasts",
    "placementexplanations",
    "placementforecasts",
)
"""They answer from what the asker may read anyway."""
_MONITORED = (
    "/healthz",
    "/healthz/*",
    "/livez",
    "/livez/*",
    "/metrics",
    "/metrics/slis",
    "/readyz",
    "/readyz/*",
)
_DISCOVERY = ("/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz",
              "/version", "/version/")  # fmt: skip
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
            *_rules(_WRITE, _EDITED),
            *_rules(_READ, _READ_BY_EDITORS),
            _rule(("create",), "", ("pods/eviction", "serviceaccounts/token")),
            _rule(("impersonate",), "", ("serviceaccounts",)),
            to=("edit",),
        ),
        _role("system:aggregate-to-view", *_rules(_READ, _VIEWED), to=("view",)),
        _role("karmada-edit", *_rules(_WRITE, _KARMADA_EDITED), to=("edit",)),
        _role("karmada-view", *_rules(_READ, _KARMADA_VIEWED), to=("view",)),
        _role("towline-view", _rule(("create",), "towline.io", _REVIEWS), to=("view",)),
        _role("system:discovery", {"verbs": ["get"], "nonResourceURLs": list(_DISCOVERY)}),
        _role("system:service-account-issuer-discovery", {"verbs": ["get"], "nonResourceURLs": list(_ISSUER)}),
        _role("system:public-info-viewer", {
            "verbs": ["get"], "nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"]}),
        _role(
            "system:basic-user",
            _rule(("create",), "authorization.k8s.io", ("selfsubjectaccessreviews", "selfsubjectrulesreviews")),
            _rule(("create",), "authentication.k8s.io", ("selfsubjectreviews",)),
        ),
        _role(
            "system:auth-delegator",
            _rule(("create",), "authentication.k8s.io", ("tokenreviews",)),
            _rule(("create",), "authorization.k8s.io", ("subjectaccessreviews",)),
        ),
        _role("system:monitoring", {"verbs": ["get"], "nonResourceURLs": list(_MONITORED)}),
    ]  # fmt: skip


def bindings() -> list[Object]:
    """Nobody anonymous: unlike in Kubernetes, `system:public-info-viewer` is bound to who has authenticated only."""
    return [
        _binding("cluster-admin", "system:masters"),
        _binding("system:service-account-issuer-discovery", "system:serviceaccounts"),
        _binding("system:monitoring", "system:monitoring"),
        *(
            _binding(name, "system:authenticated")
            for name in ("system:discovery", "system:basic-user", "system:public-info-viewer")
        ),
    ]


def reconciled(found: Object, wanted: Object) -> Object | None:
    """`found` with what of `wanted` it lacks; itself where nothing lacks, or nobody may touch it; None where it has to be
    made anew, because it binds another role."""
    if (found["metadata"].get("annotations") or {}).get(AUTOUPDATE) == "false":
        return found
    if found.get("roleRef") != wanted.get("roleRef"):
        return None
    changed = dict(found)
    rules = rbac.merged(rbac.uncovered(rbac.rules_of(found), rbac.rules_of(wanted)))
    subjects = [
        subject for subject in wanted.get("subjects") or () if subject not in (found.get("subjects") or ())
    ]
    for field, lacks in (("rules", [rule.as_object() for rule in rules]), ("subjects", subjects)):
        if lacks:
            changed[field] = [*(found.get(field) or ()), *lacks]
    changed.pop("aggregationRule", None)
    if "aggregationRule" in wanted:
        changed["aggregationRule"] = _gathering(found.get("aggregationRule"), wanted["aggregationRule"])
    said = {field: {**wanted["metadata"][field], **(found["metadata"].get(field) or {})} for field in _SAID}
    changed["metadata"] = {**found["metadata"], **said}
    return found if changed == found else changed


_SAID = ("labels", "annotations")


def _gathering(found: Object | None, wanted: Object) -> Object:
    selectors = (found or {}).get("clusterRoleSelectors") or []
    lacks = [selector for selector in wanted["clusterRoleSelectors"] if selector not in selectors]
    return {"clusterRoleSelectors": [*selectors, *lacks]}


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


def _rules(verbs: tuple[str, ...], resources: _Resources) -> list[Object]:
    return [_rule(verbs, group, of_group) for group, of_group in resources]


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
