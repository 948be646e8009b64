"""One object of each kind that is no workload and no service: configuration, access, events, and what belongs to the cluster.

Cluster-scoped objects are named after their scenario, because one server serves them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.contract.api_steps import Space, delete, get, obj, patch, post, refused, shown, spec
from tests.contract.differential import Scenario, Step

RBAC = "rbac.authorization.k8s.io"
SELECTOR = {"matchLabels": {"app": "web"}}
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}


def configuration() -> Scenario:
    at = Space("kinds-configuration")
    policies = f"/apis/policy/v1/namespaces/{at.name}/poddisruptionbudgets"
    scalers = f"/apis/autoscaling/v2/namespaces/{at.name}/horizontalpodautoscalers"
    older = f"/apis/autoscaling/v1/namespaces/{at.name}/horizontalpodautoscalers"
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{at.name}/leases"
    roles = f"/apis/{RBAC}/v1/namespaces/{at.name}"

    def secret(name: str, kind: str, **data: str) -> dict[str, Any]:
        return obj("v1", "Secret", name, type=kind, stringData=data)

    def claim(**fields: Any) -> dict[str, Any]:
        given = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        return obj("v1", "PersistentVolumeClaim", "c", spec={**given, **fields})

    def budget(**fields: Any) -> dict[str, Any]:
        return obj("policy/v1", "PodDisruptionBudget", "b", spec={"selector": SELECTOR, **fields})

    def scaler(version: str, name: str, **fields: Any) -> dict[str, Any]:
        given = {"scaleTargetRef": TARGET, "maxReplicas": 3, **fields}
        return obj(f"autoscaling/{version}", "HorizontalPodAutoscaler", name, spec=given)

    def lease(**fields: Any) -> dict[str, Any]:
        return obj("coordination.k8s.io/v1", "Lease", "l", spec=fields)

    role = {"apiGroup": RBAC, "kind": "Role", "name": "r"}
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    people = [{"kind": "User", "name": "ann"}, {"kind": "ServiceAccount", "name": "bot", "namespace": "x"}]
    return Scenario(
        at.name,
        (
            at.made,
            *shown("map", at.configmaps, obj("v1", "ConfigMap", "m", data={"a": "1"}, binaryData={"b": "eA=="}),
                   ("immutable", {"immutable": True}), ("frozen", {"data": {"a": "2"}})),
            *refused("map", at.configmaps, obj("v1", "ConfigMap", "n", data={"a/b": "c"}),
                     obj("v1", "ConfigMap", "n", data={"a": "1"}, binaryData={"a": "eA=="}),
                     obj("v1", "ConfigMap", "n", data={"a": 1})),
            *shown("secret", at.secrets, secret("s", "Opaque", a="b"), ("type", {"type": "kubernetes.io/tls"})),
            *refused("secret", at.secrets, secret("t", "kubernetes.io/tls", a="b"),
                     secret("t", "kubernetes.io/dockerconfigjson", a="b"),
                     secret("t", "kubernetes.io/dockerconfigjson", **{".dockerconfigjson": "no"}),
                     secret("t", "kubernetes.io/basic-auth", a="b"),
                     secret("t", "kubernetes.io/ssh-auth", a="b"),
                     secret("t", "kubernetes.io/service-account-token", a="b"),
                     obj("v1", "Secret", "t", data={"a": "not base64"})),
            *shown("account", f"{at.core}/serviceaccounts", obj("v1", "ServiceAccount", "bot")),
            *shown("claim", f"{at.core}/persistentvolumeclaims", claim(storageClassName="fast"),
                   ("class", spec(storageClassName="slow")), ("modes", spec(accessModes=["ReadWriteMany"])),
                   ("less", spec(resources={"requests": {"storage": "500Mi"}}))),
            *refused("claim", f"{at.core}/persistentvolumeclaims", claim(accessModes=[]), claim(resources={}),
                     claim(accessModes=["Write"]), claim(volumeMode="Tape"),
                     claim(resources={"requests": {"storage": "0"}})),
            *shown("limits", f"{at.core}/limitranges",
                   obj("v1", "LimitRange", "l", spec={"limits": [{"type": "Container", "max": {"cpu": "1"}}]})),
            *refused("limits", f"{at.core}/limitranges",
                     obj("v1", "LimitRange", "m", spec={"limits": [
                         {"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "2"}}]})),
            *shown("quota", f"{at.core}/resourcequotas",
                   obj("v1", "ResourceQuota", "q", spec={"hard": {"pods": "5", "limits.cpu": "2"}}),
                   ("scopes", spec(scopes=["Terminating"]))),
            *refused("quota", f"{at.core}/resourcequotas",
                     obj("v1", "ResourceQuota", "r", spec={"hard": {"pods": "1.5"}}),
                     obj("v1", "ResourceQuota", "r", spec={"hard": {"cpu": "-1"}}),
                     obj("v1", "ResourceQuota", "r", spec={"hard": {"fish": "1"}})),
            *shown("budget", policies, budget(minAvailable=1)),
            *refused("budget", policies, budget(minAvailable=1, maxUnavailable=1), budget(minAvailable=-1),
                     budget(minAvailable="110%"), budget(minAvailable="x"), budget(selector={
                         "matchExpressions": [{"key": "a", "operator": "In"}]})),
            *shown("scaler", scalers, scaler("v2", "h", behavior={"scaleUp": {}, "scaleDown": {}}),
                   ("most", spec(maxReplicas=0)), ("least", spec(minReplicas=9))),
            *shown("older", older, scaler("v1", "o", targetCPUUtilizationPercentage=60)),
            get("older_newer", f"{scalers}/o"), get("newer_older", f"{older}/h"),
            *refused("scaler", scalers, scaler("v2", "n", metrics=[{"type": "Resource"}]),
                     scaler("v2", "n", metrics=[{"type": "Fish"}]),
                     scaler("v2", "n", scaleTargetRef={"kind": "", "name": ""}),
                     scaler("v2", "n", behavior={"scaleUp": {"stabilizationWindowSeconds": 4000}}),
                     scaler("v2", "n", minReplicas=0)),
            *refused("older", older, scaler("v1", "n", targetCPUUtilizationPercentage=-1)),
            *shown("lease", leases, lease(holderIdentity="me", leaseDurationSeconds=15),
                   ("seconds", spec(leaseDurationSeconds=0))),
            *refused("lease", leases, lease(leaseDurationSeconds=-1), lease(leaseTransitions=-1),
                     lease(renewTime="now")),
            *shown("role", f"{roles}/roles", obj(f"{RBAC}/v1", "Role", "r", rules=rules)),
            *refused("role", f"{roles}/roles", obj(f"{RBAC}/v1", "Role", "s", rules=[{"verbs": []}]),
                     obj(f"{RBAC}/v1", "Role", "s", rules=[{"verbs": ["get"], "nonResourceURLs": ["/a"]}])),
            *shown("binding", f"{roles}/rolebindings",
                   obj(f"{RBAC}/v1", "RoleBinding", "b", roleRef=role, subjects=people),
                   ("role", {"roleRef": {"name": "other"}})),
            *refused("binding", f"{roles}/rolebindings",
                     obj(f"{RBAC}/v1", "RoleBinding", "c", roleRef={**role, "kind": "Fish"}),
                     obj(f"{RBAC}/v1", "RoleBinding", "c", roleRef=role, subjects=[{"kind": "Fish", "name": "a"}]),
                     obj(f"{RBAC}/v1", "RoleBinding", "c", roleRef=role,
                         subjects=[{"kind": "ServiceAccount", "name": "a"}])),
            *events(at),
        ),
    )  # fmt: skip


def events(at: Space) -> Iterator[Step]:
    modern = f"/apis/events.k8s.io/v1/namespaces/{at.name}/events"
    about = {"kind": "Pod", "namespace": at.name, "name": "p"}
    classic = obj("v1", "Event", "classic", involvedObject=about, reason="Because", message="so", type="Normal",
                  source={"component": "kubelet"}, count=2, firstTimestamp="2026-01-01T00:00:00Z",
                  lastTimestamp="2026-01-01T00:01:00Z")  # fmt: skip
    newer = obj("events.k8s.io/v1", "Event", "modern", regarding=about, reason="Because", note="so", type="Normal",
                action="Doing", eventTime="2026-01-01T00:00:00.000000Z", reportingController="example.com/it",
                reportingInstance="it-0")  # fmt: skip
    yield from shown("event", f"{at.core}/events", classic)
    yield get("event_modern", f"{modern}/classic")
    yield from shown("newer", modern, newer, ("note", {"note": "other"}))
    yield get("newer_classic", f"{at.core}/events/modern")
    yield get("newer_selected", f"{modern}?fieldSelector=regarding.name=p,reason=Because")
    yield patch("newer_series", f"{modern}/modern",
                {"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}})  # fmt: skip
    yield from refused(
        "newer", modern, {**newer, "eventTime": None}, {**newer, "type": "Odd"}, {**newer, "action": ""},
        {**newer, "regarding": {**about, "namespace": "other"}},
    )  # fmt: skip
    yield from refused(
        "event", f"{at.core}/events", {**classic, "involvedObject": {**about, "namespace": "other"}}
    )


# --- the whole cluster -----------------------------------------------------------------------------------------


def cluster() -> Scenario:
    name = "kinds-cluster"
    storage, admission = "/apis/storage.k8s.io/v1", "/apis/admissionregistration.k8s.io/v1"
    classes = f"{storage}/storageclasses"
    volume = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}
    hook = {
        "name": "a.example.com",
        "clientConfig": {"service": {"namespace": "x", "name": "y"}},
        "rules": [
            {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["widgets"]}
        ],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }

    def kind(version: str, kind: str, **fields: Any) -> dict[str, Any]:
        return obj(version, kind, name, **fields)

    def steps() -> Iterator[Step]:
        yield from shown("node", "/api/v1/nodes", kind("v1", "Node"), ("cordon", spec(unschedulable=True)))
        yield from shown(
            "volume",
            "/api/v1/persistentvolumes",
            kind("v1", "PersistentVolume", spec=volume),
            ("source", spec(hostPath={"path": "/y"})),
            ("none", spec(hostPath=None)),
        )
        yield from refused(
            "volume",
            "/api/v1/persistentvolumes",
            obj("v1", "PersistentVolume", "v", spec={**volume, "capacity": {}}),
            obj("v1", "PersistentVolume", "v", spec={**volume, "accessModes": []}),
            obj("v1", "PersistentVolume", "v", spec={**volume, "hostPath": None}),
            obj("v1", "PersistentVolume", "v", spec={**volume, "persistentVolumeReclaimPolicy": "Burn"}),
        )
        yield from shown(
            "class",
            classes,
            kind("storage.k8s.io/v1", "StorageClass", provisioner="p", parameters={"a": "b"}),
            ("parameters", {"parameters": {"a": "c"}}),
            ("provisioner", {"provisioner": "q"}),
            ("expand", {"allowVolumeExpansion": True}),
            ("binding", {"volumeBindingMode": "Later"}),
        )
        yield from refused(
            "class",
            classes,
            obj("storage.k8s.io/v1", "StorageClass", "n"),
            obj("storage.k8s.io/v1", "StorageClass", "n", provisioner="p", reclaimPolicy="Burn"),
        )
        yield from shown(
            "driver",
            f"{storage}/csidrivers",
            kind("storage.k8s.io/v1", "CSIDriver", spec={}),
            ("attach", spec(attachRequired=False)),
        )
        yield from shown(
            "attributes",
            f"{storage}/volumeattributesclasses",
            kind("storage.k8s.io/v1", "VolumeAttributesClass", driverName="d", parameters={"a": "b"}),
            ("parameters", {"parameters": {"a": "c"}}),
        )
        yield from refused(
            "attributes",
            f"{storage}/volumeattributesclasses",
            obj("storage.k8s.io/v1", "VolumeAttributesClass", "n", driverName="d"),
        )
        yield from shown(
            "runtime",
            "/apis/node.k8s.io/v1/runtimeclasses",
            kind("node.k8s.io/v1", "RuntimeClass", handler="runc"),
            ("handler", {"handler": "kata"}),
        )
        yield from refused(
            "runtime",
            "/apis/node.k8s.io/v1/runtimeclasses",
            obj("node.k8s.io/v1", "RuntimeClass", "n", handler="No Good"),
        )
        yield from shown(
            "priority",
            "/apis/scheduling.k8s.io/v1/priorityclasses",
            kind("scheduling.k8s.io/v1", "PriorityClass", value=7),
            ("value", {"value": 8}),
            ("text", {"description": "a"}),
        )
        yield from refused(
            "priority",
            "/apis/scheduling.k8s.io/v1/priorityclasses",
            obj("scheduling.k8s.io/v1", "PriorityClass", "n", value=2_000_000_000),
            obj("scheduling.k8s.io/v1", "PriorityClass", "n", value=1, preemptionPolicy="Maybe"),
        )
        yield post(
            "priority_reserved",
            "/apis/scheduling.k8s.io/v1/priorityclasses?dryRun=All",
            obj("scheduling.k8s.io/v1", "PriorityClass", "system-mine", value=1),
        )
        yield from shown(
            "ingress_class",
            "/apis/networking.k8s.io/v1/ingressclasses",
            kind("networking.k8s.io/v1", "IngressClass", spec={"controller": "example.com/it"}),
            ("controller", spec(controller="example.com/other")),
        )
        yield from refused(
            "ingress_class",
            "/apis/networking.k8s.io/v1/ingressclasses",
            obj("networking.k8s.io/v1", "IngressClass", "n", spec={"controller": "it"}),
        )
        yield from shown(
            "role",
            f"/apis/{RBAC}/v1/clusterroles",
            kind(f"{RBAC}/v1", "ClusterRole", rules=[{"verbs": ["get"], "nonResourceURLs": ["/x"]}]),
        )
        yield from shown(
            "binding",
            f"/apis/{RBAC}/v1/clusterrolebindings",
            kind(
                f"{RBAC}/v1",
                "ClusterRoleBinding",
                subjects=[{"kind": "Group", "name": "g"}],
                roleRef={"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
            ),
            ("role", {"roleRef": {"name": "other"}}),
        )
        for word in ("validating", "mutating"):
            title = f"{word.capitalize()}WebhookConfiguration"
            path = f"{admission}/{word}webhookconfigurations"
            yield from shown(word, path, kind("admissionregistration.k8s.io/v1", title, webhooks=[hook]))
            changes: tuple[dict[str, Any], ...] = (
                {"name": "a"},
                {"sideEffects": None},
                {"timeoutSeconds": 31},
                {"admissionReviewVersions": ["v9"]},
                {"clientConfig": {}},
                {"clientConfig": {"url": "http://x"}},
                {"failurePolicy": "Maybe"},
            )
            bad = [{**hook, **change} for change in changes]
            yield from refused(
                word,
                path,
                *(obj("admissionregistration.k8s.io/v1", title, "n", webhooks=[one]) for one in bad),
            )
            yield delete(f"{word}_deleted", f"{path}/{name}")

    return Scenario(name, tuple(steps()))  # fmt: skip


SCENARIOS = (configuration(), cluster())
