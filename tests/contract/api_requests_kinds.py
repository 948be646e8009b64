"""One object of each built-in kind: how it is defaulted, shown and changed, and what is refused."""

from __future__ import annotations

from typing import Any

from tests.contract import api_requests_cluster
from tests.contract.api_steps import Space, container, obj, pods, refused, shown, spec
from tests.contract.differential import Scenario

APP = {"app": "web"}
SELECTOR = {"matchLabels": APP}
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
POD = {
    **TEMPLATE["spec"],
    "containers": [{**PROBED, "volumeMounts": PROBED["volumeMounts"][:-1]}],
    "volumes": VOLUMES[:-1],
}
ONCE = {"spec": {"containers": [container()], "restartPolicy": "Never"}}


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
                obj("v1", "Pod", "p", spec=POD),
                ("image", spec(containers=[{**POD["containers"][0], "image": "nginx:1.28"}])),
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


KNOWN: tuple[tuple[str, str], ...] = (
    (
        "kinds-workloads/daemon_set*: body.metadata.annotations",
        "The template's generation is written by the member; written here it would be put back at each change.",
    ),
    ("kinds-workloads/daemon_set*.f:metadata", "The same."),
    (
        "kinds-workloads/revision_table: *f:data.f:a",
        "The fields of a RawExtension are owned one by one here, as in a CRD; the object never changes anyway.",
    ),
    ("kinds-workloads/cron*.metadata", "Go writes structs without content."),
    ("kinds-workloads/job_bad_2: *", "The member makes selector and labels, from the uid that it gives."),
    (
        "kinds-workloads/pod*: body.spec.p*",
        "No pod runs here: what runs them fills in priority and tolerations.",
    ),
    ("kinds-workloads/pod*: body.spec.tolerations", "The same."),
    ("kinds-workloads/pod*: body.status.qosClass", "The same."),
    ("kinds-services/*: warnings", "Nothing is said here of deprecated kinds and of fields without effect."),
    ("kinds-services/policy*f:podSelector", "Whether an empty struct counts as set depends on Go's types."),
    ("kinds-services/slice: body.endpoints*conditions", "Go writes structs without content."),
    ("kinds-configuration/claim*finalizers", "The member protects its own volumes."),
    ("kinds-configuration/*event*: body.eventTime", "Go writes times that are not set as null."),
    ("kinds-configuration/event: body.reporting*", "Go writes texts that are not set."),
    ("kinds-configuration/newer*: body.*eprecated*", "Go writes times and structs that are not set."),
    ("kinds-configuration/newer_selected: body.items*eventTime", "The same."),
    ("kinds-configuration/newer_classic: body.*", "The same."),
    (
        "kinds-configuration/newer_*: status.details.group",
        "Kubernetes checks such an Event as one of the core group, and names that.",
    ),
    ("kinds-cluster/node*taints", "No kubelet reports here."),
    ("kinds-cluster/node: body.spec", "The same."),
    ("kinds-cluster/*finalizers", "The member protects its own volumes."),
    ("kinds-cluster/volume: body.status.lastPhaseTransitionTime", "Volumes change their phase in members."),
    ("kinds-cluster/priority_text: body.metadata.generation", "Kubernetes never counts on here."),
)
"""Differences that stay: (pattern of `scenario/step: path`, why)."""

SCENARIOS = (workloads(), services(), *api_requests_cluster.SCENARIOS)
