"""One object of each built-in kind: how it is defaulted, shown and changed, and what is refused.

Cluster-scoped objects are named after their scenario, because one server serves them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.contract.api_steps import Space, container, delete, get, obj, patch, pods, post
from tests.contract.differential import Scenario, Step

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
RBAC = "rbac.authorization.k8s.io"
APP = {"app": "web"}
SELECTOR = {"matchLabels": APP}
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
BACKEND = {"service": {"name": "web", "port": {"number": 80}}}
PROBED = container(
    livenessProbe={"httpGet": {"port": 80}},
    readinessProbe={"tcpSocket": {"port": 80}},
    startupProbe={"grpc": {"port": 80}},
    lifecycle={"preStop": {"httpGet": {"port": 80}}},
    ports=[{"containerPort": 80}],
    env=[{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
    resources={"limits": {"cpu": "1", "memory": "1024Mi"}},
    volumeMounts=[{"name": name, "mountPath": f"/{name}"} for name in ("a", "b", "c", "d", "e", "f")],
)
VOLUMES = [
    {"name": "a"},
    {"name": "b", "configMap": {"name": "x"}},
    {"name": "c", "secret": {"secretName": "x"}},
    {"name": "d", "hostPath": {"path": "/x"}},
    {"name": "e", "downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    {"name": "f", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
]
TEMPLATE = pods("web", PROBED, volumes=VOLUMES, initContainers=[container("init", image="busybox")])
ONCE = {"spec": {"containers": [container()], "restartPolicy": "Never"}}


def shown(name: str, path: str, made: dict[str, Any], *changes: tuple[str, Any]) -> Iterator[Step]:
    """Create, read as an object and as a table, and change; a change is a suffix of a step's name and a merge patch."""
    at = f"{path}/{made['metadata']['name']}"
    yield post(name, path, made)
    yield get(f"{name}_table", at, TABLE)
    for label, change in changes:
        yield patch(f"{name}_{label}", at, change)


def refused(name: str, path: str, *mistakes: dict[str, Any]) -> Iterator[Step]:
    for number, made in enumerate(mistakes):
        yield post(f"{name}_bad_{number}", f"{path}?dryRun=All", made)


def spec(**fields: Any) -> dict[str, Any]:
    return {"spec": fields}


# --- workloads -------------------------------------------------------------------------------------------------


def workloads() -> Scenario:
    at = Space("kinds-workloads")
    apps, batch = f"/apis/apps/v1/namespaces/{at.name}", f"/apis/batch/v1/namespaces/{at.name}"

    def app(kind: str, **fields: Any) -> dict[str, Any]:
        return obj("apps/v1", kind, "web", spec={"selector": SELECTOR, "template": TEMPLATE, **fields})

    def job(**fields: Any) -> dict[str, Any]:
        return obj("batch/v1", "Job", "once", spec={"template": ONCE, **fields})

    def cron(**fields: Any) -> dict[str, Any]:
        template = {"spec": {"template": ONCE}}
        return obj("batch/v1", "CronJob", "c", spec={"schedule": "@daily", "jobTemplate": template, **fields})

    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    return Scenario(
        at.name,
        (
            at.made,
            *shown(
                "deployment",
                f"{apps}/deployments",
                app("Deployment"),
                ("selector", spec(selector={"matchLabels": {"x": "y"}})),
                ("negative", spec(replicas=-1)),
                ("typed", spec(replicas="two")),
                ("recreate", spec(strategy={"type": "Recreate", "rollingUpdate": None})),
            ),
            *refused(
                "deployment",
                f"{apps}/deployments",
                app("Deployment", strategy={"type": "Other"}),
                app("Deployment", selector=None),
                app("Deployment", template=pods("other", container())),
                app("Deployment", template=pods("web")),
                app("Deployment", template=pods("web", {"name": "A"})),
                app("Deployment", template=pods("web", container(), restartPolicy="Never")),
                app("Deployment", minReadySeconds=-1, revisionHistoryLimit=-1),
                app("Deployment", minReadySeconds=700),
                app("Deployment", strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}),
                app("Deployment", strategy={"rollingUpdate": {"maxSurge": "x%"}}),
            ),
            *shown("replica_set", f"{apps}/replicasets", app("ReplicaSet", replicas=2), ("scale", spec(replicas=0))),
            *shown(
                "stateful_set",
                f"{apps}/statefulsets",
                app("StatefulSet", serviceName="web", volumeClaimTemplates=[claim]),
                ("service", spec(serviceName="other")),
                ("policy", spec(podManagementPolicy="Parallel")),
                ("replicas", spec(replicas=3)),
            ),
            *refused(
                "stateful_set",
                f"{apps}/statefulsets",
                app("StatefulSet", podManagementPolicy="Any"),
                app("StatefulSet", updateStrategy={"type": "Any"}),
            ),
            *shown(
                "daemon_set",
                f"{apps}/daemonsets",
                app("DaemonSet"),
                ("selector", spec(selector={"matchLabels": {"x": "y"}})),
                ("on_delete", spec(updateStrategy={"type": "OnDelete", "rollingUpdate": None})),
            ),
            *shown(
                "revision",
                f"{apps}/controllerrevisions",
                obj("apps/v1", "ControllerRevision", "r", data={"a": 1}, revision=1),
                ("data", {"data": {"a": 2}}),
                ("number", {"revision": 2}),
            ),
            *shown(
                "cron",
                f"{batch}/cronjobs",
                cron(timeZone="Europe/Berlin"),
                ("schedule", spec(schedule="*/5 * * * *")),
                ("suspend", spec(suspend=True)),
            ),
            *refused(
                "cron",
                f"{batch}/cronjobs",
                cron(schedule="often"),
                cron(schedule=""),
                cron(schedule="61 * * * *"),
                cron(schedule="CRON_TZ=UTC * * * * *"),
                cron(timeZone="Mars/Olympus"),
                cron(concurrencyPolicy="Maybe"),
                cron(startingDeadlineSeconds=-1),
                cron(jobTemplate={"spec": {"template": {"spec": {"containers": [container()]}}}}),
            ),
            *refused(
                "job",
                f"{batch}/jobs",
                job(template={"spec": {"containers": [container()], "restartPolicy": "Always"}}),
                job(parallelism=-1, completions=-1, backoffLimit=-1, activeDeadlineSeconds=-1),
                job(completionMode="Indexed"),
                job(ttlSecondsAfterFinished=-1),
            ),
            *shown(
                "controller",
                f"{at.core}/replicationcontrollers",
                obj("v1", "ReplicationController", "rc", spec={"template": pods("rc", container())}),
            ),
            *shown(
                "template",
                f"{at.core}/podtemplates",
                obj("v1", "PodTemplate", "t", template=pods("t", container())),
            ),
            *shown(
                "pod",
                f"{at.core}/pods",
                obj("v1", "Pod", "p", spec=TEMPLATE["spec"]),
                ("image", spec(containers=[{**PROBED, "image": "nginx:1.28"}])),
                ("policy", spec(restartPolicy="Never")),
            ),
            *refused(
                "pod",
                f"{at.core}/pods",
                obj("v1", "Pod", "q", spec={"containers": []}),
                obj("v1", "Pod", "q", spec={"containers": [container(), container()]}),
                obj("v1", "Pod", "q", spec={"containers": [container(imagePullPolicy="Soon")]}),
                obj("v1", "Pod", "q", spec={"containers": [container(ports=[{"containerPort": 0}])]}),
                obj("v1", "Pod", "q", spec={"containers": [container()], "restartPolicy": "Sometimes"}),
                obj("v1", "Pod", "q", spec={"containers": [container()], "dnsPolicy": "Any"}),
                obj("v1", "Pod", "q", spec={"containers": [container(env=[{"name": ""}])]}),
                obj("v1", "Pod", "q", spec={"containers": [container(resources={"limits": {"cpu": "x"}})]}),
                obj("v1", "Pod", "q", spec={"containers": [
                    container(resources={"limits": {"cpu": 1}, "requests": {"cpu": 2}})]}),
                obj("v1", "Pod", "q", spec={"containers": [container(volumeMounts=[{"name": "x", "mountPath": "/"}])]}),
                obj("v1", "Pod", "q", spec={"containers": [container()], "volumes": [{"name": "A"}]}),
            ),
        ),
    )  # fmt: skip


# --- configuration, networks, storage --------------------------------------------------------------------------


def services() -> Scenario:
    at = Space("kinds-services")
    networking = f"/apis/networking.k8s.io/v1/namespaces/{at.name}"

    def service(**fields: Any) -> dict[str, Any]:
        return obj("v1", "Service", "s", spec={"selector": APP, "ports": [{"port": 80}], **fields})

    def ingress(*paths: dict[str, Any], **fields: Any) -> dict[str, Any]:
        rules = [{"http": {"paths": list(paths)}}] if paths else []
        return obj("networking.k8s.io/v1", "Ingress", "i", spec={"rules": rules, **fields})

    def policy(**fields: Any) -> dict[str, Any]:
        return obj("networking.k8s.io/v1", "NetworkPolicy", "n", spec={"podSelector": {}, **fields})

    root = {"path": "/", "pathType": "Prefix", "backend": BACKEND}
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{at.name}/endpointslices"
    labelled = {"labels": {"kubernetes.io/service-name": "s"}}
    return Scenario(
        at.name,
        (
            at.made,
            *shown(
                "headless",
                at.services,
                service(clusterIP="None", sessionAffinity="ClientIP"),
                ("address", spec(clusterIP="10.0.0.77", clusterIPs=["10.0.0.77"])),
                ("type", spec(type="Nope")),
                ("ports", spec(ports=[{"port": 1}, {"port": 2}])),
            ),
            *shown(
                "external",
                at.services,
                obj("v1", "Service", "x", spec={"type": "ExternalName", "externalName": "a.example.com"}),
            ),
            *refused(
                "service",
                at.services,
                service(ports=[]),
                service(ports=[{"port": 0}]),
                service(ports=[{"port": 70000}]),
                service(ports=[{"port": 80, "protocol": "HTTP"}]),
                service(ports=[{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]),
                service(ports=[{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]),
                service(ports=[{"port": 80, "targetPort": "Not a port"}]),
                service(sessionAffinity="Always"),
                service(clusterIP="nowhere"),
                service(type="ExternalName"),
                service(type="ExternalName", externalName="no good"),
                service(externalTrafficPolicy="Local"),
                service(selector={"a b": "c"}),
            ),
            *shown("ingress", f"{networking}/ingresses", ingress(root), ("none", spec(rules=[]))),
            *refused(
                "ingress",
                f"{networking}/ingresses",
                ingress(),
                ingress({**root, "path": "no"}),
                ingress({**root, "path": "/a//b"}),
                ingress({**root, "pathType": "Regex"}),
                ingress({"path": "/", "backend": BACKEND}),
                ingress({**root, "backend": {}}),
                ingress({**root, "backend": {"service": {"name": "web"}}}),
                ingress({**root, "backend": {"service": {"name": "No", "port": {"number": 1}}}}),
                ingress({**root, "backend": {"service": {"name": "web", "port": {"number": 99999}}}}),
                ingress({**root, "backend": {"service": {"name": "web", "port": {"name": "A"}}}}),
                ingress(root, tls=[{"hosts": ["1.2.3.4"]}]),
                ingress(root, ingressClassName="No Good"),
                obj("networking.k8s.io/v1", "Ingress", "i",
                    spec={"rules": [{"host": "a.*.b"}, {"host": "1.2.3.4"}, {"host": "A"}]}),
            ),
            *shown(
                "policy",
                f"{networking}/networkpolicies",
                policy(ingress=[{"ports": [{"port": 80}], "from": [{"podSelector": SELECTOR}]}], egress=[]),
                ("types", spec(policyTypes=["Sideways"])),
            ),
            *refused(
                "policy",
                f"{networking}/networkpolicies",
                policy(ingress=[{"from": [{}]}]),
                policy(ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0"}}]}]),
                policy(ingress=[{"ports": [{"port": 80, "protocol": "HTTP"}]}]),
                policy(ingress=[{"ports": [{"port": "80", "endPort": 90}]}]),
            ),
            *shown(
                "slice",
                slices,
                obj("discovery.k8s.io/v1", "EndpointSlice", "e", addressType="IPv4", metadata=labelled,
                    endpoints=[{"addresses": ["10.1.0.1"]}], ports=[{"port": 80}]),
                ("type", {"addressType": "IPv6"}),
                ("address", {"endpoints": [{"addresses": ["here"]}]}),
            ),
            *shown(
                "endpoints",
                f"{at.core}/endpoints",
                obj("v1", "Endpoints", "e",
                    subsets=[{"addresses": [{"ip": "10.1.0.1"}], "ports": [{"port": 80}]}]),
                ("address", {"subsets": [{"addresses": [{"ip": "here"}], "ports": [{"port": 80}]}]}),
            ),
        ),
    )  # fmt: skip


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
            obj("scheduling.k8s.io/v1", "PriorityClass", "system-mine", value=1),
            obj("scheduling.k8s.io/v1", "PriorityClass", "n", value=1, preemptionPolicy="Maybe"),
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
            bad = [
                {**hook, **change}
                for change in (
                    {"name": "a"},
                    {"sideEffects": None},
                    {"timeoutSeconds": 31},
                    {"admissionReviewVersions": ["v9"]},
                    {"clientConfig": {}},
                    {"clientConfig": {"url": "http://x"}},
                    {"failurePolicy": "Maybe"},
                )
            ]
            yield from refused(
                word,
                path,
                *(obj("admissionregistration.k8s.io/v1", title, "n", webhooks=[one]) for one in bad),
            )
            yield delete(f"{word}_deleted", f"{path}/{name}")

    return Scenario(name, tuple(steps()))  # fmt: skip


SCENARIOS = (workloads(), services(), configuration(), cluster())
