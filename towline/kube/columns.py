"""Printer columns of the built-in kinds: what `kubectl get` shows, as an API server's tables give it.

NAME is the table's own first column and stands in no row here. A cell of type `date` holds a time and is shown as
an age; a time that is to be shown as a time is a `string`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from towline.kube import cells
from towline.kube.kinds import Column
from towline.kube.objects import Object

AGE = Column("Age", "date", ".metadata.creationTimestamp", description="Time since the object was created.")
CREATED_AT = Column("Created At", "string", ".metadata.creationTimestamp", description="When it was created.")


def _text(
    name: str, value: str | Callable[[Object], Any], description: str = "", *, wide: bool = False
) -> Column:
    return Column(name, "string", value, 1 if wide else 0, description)


def _number(name: str, path: str, description: str = "") -> Column:
    return Column(name, "integer", cells.number(*path.split(".")), description=description)


def _flag(name: str, path: str, *, default: bool = False) -> Column:
    steps = path.split(".")

    def shown(obj: Object) -> bool:
        value = cells.at(obj, *steps)
        return default if value is None else bool(value)

    return Column(name, "boolean", shown)


def _field(name: str, path: str, description: str = "", *, wide: bool = False) -> Column:
    """A text at `path`, `<none>` when there is none."""
    return _text(name, cells.text(*path.split(".")), description, wide=wide)


def _template(*path: str) -> tuple[Column, Column]:
    return (
        _text(
            "Containers", cells.containers("name", *path), "Names of the template's containers.", wide=True
        ),
        _text("Images", cells.containers("image", *path), "Images of the template's containers.", wide=True),
    )


_WIDE_SELECTOR = _text("Selector", cells.selector("spec", "selector"), "Selects the pods.", wide=True)
_WORKLOAD = (*_template("spec", "template"), _WIDE_SELECTOR)

_REPLICA_SET = (
    _number("Desired", "spec.replicas", "Pods wanted."),
    _number("Current", "status.replicas", "Pods that exist."),
    _number("Ready", "status.readyReplicas", "Pods that are ready."),
    AGE,
    *_WORKLOAD,
)
_ROLE_BINDING = (
    _text("Role", cells.reference("roleRef"), "The role that is granted."),
    AGE,
    _text("Users", cells.subjects("User"), wide=True),
    _text("Groups", cells.subjects("Group"), wide=True),
    _text("ServiceAccounts", cells.subjects("ServiceAccount"), wide=True),
)
_WEBHOOKS = (Column("Webhooks", "integer", cells.count("webhooks"), description="How many webhooks."), AGE)

COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "ConfigMap": (
        Column("Data", "integer", cells.count("data", "binaryData"), description="Number of keys."),
        AGE,
    ),
    "Secret": (
        _field("Type", "type"),
        Column("Data", "integer", cells.count("data"), description="Keys."),
        AGE,
    ),
    "Service": (
        _text("Type", cells.text("spec", "type", default="ClusterIP"), "How the service is published."),
        _field("Cluster-IP", "spec.clusterIP", "Its address inside the cluster."),
        _text("External-IP", cells.external_ip, "Its addresses outside the cluster."),
        _text("Port(s)", cells.service_ports, "Its ports."),
        AGE,
        _WIDE_SELECTOR,
    ),
    "Endpoints": (_text("Endpoints", cells.endpoints, "Addresses and ports."), AGE),
    "Namespace": (_text("Status", cells.text("status", "phase", default="")), AGE),
    "Node": (
        _text("Status", cells.node_status, "Whether the node takes pods."),
        _text("Roles", cells.node_roles),
        AGE,
        _text(
            "Version",
            cells.text("status", "nodeInfo", "kubeletVersion", default=""),
            "The kubelet's version.",
        ),
        _text("Internal-IP", cells.node_address("InternalIP"), wide=True),
        _text("External-IP", cells.node_address("ExternalIP"), wide=True),
        _text("OS-Image", cells.text("status", "nodeInfo", "osImage", default="<unknown>"), wide=True),
        _text(
            "Kernel-Version",
            cells.text("status", "nodeInfo", "kernelVersion", default="<unknown>"),
            wide=True,
        ),
        _text(
            "Container-Runtime",
            cells.text("status", "nodeInfo", "containerRuntimeVersion", default="<unknown>"),
            wide=True,
        ),
    ),
    "Pod": (
        _text("Ready", cells.pod_ready, "Ready containers out of all."),
        _text("Status", cells.pod_status, "What the pod is doing."),
        Column("Restarts", "string", cells.pod_restarts, description="Restarts of its containers, summed."),
        AGE,
        _field("IP", "status.podIP", wide=True),
        _field("Node", "spec.nodeName", wide=True),
        _field("Nominated Node", "status.nominatedNodeName", wide=True),
        _text("Readiness Gates", cells.readiness_gates, wide=True),
    ),
    "PodTemplate": (
        Column("Containers", "string", cells.containers("name", "template")),
        Column("Images", "string", cells.containers("image", "template")),
        _text("Pod Labels", cells.selector("template", "metadata", "labels")),
    ),
    "ReplicationController": _REPLICA_SET,
    "ServiceAccount": (AGE,),
    "PersistentVolume": (
        _text("Capacity", cells.text("spec", "capacity", "storage", default="")),
        _text("Access Modes", lambda obj: cells.access_modes(cells.at(obj, "spec", "accessModes"))),
        _text("Reclaim Policy", cells.text("spec", "persistentVolumeReclaimPolicy", default="")),
        _text("Status", cells.deleting_or("status", "phase")),
        _text("Claim", cells.claim),
        _text("StorageClass", lambda obj: cells.default_class(obj, "storageClassName")),
        _text("VolumeAttributesClass", cells.text("spec", "volumeAttributesClassName", default=cells.UNSET)),
        _text("Reason", cells.text("status", "reason", default="")),
        AGE,
        _text("VolumeMode", cells.text("spec", "volumeMode", default=cells.UNSET), wide=True),
    ),
    "PersistentVolumeClaim": (
        _text("Status", cells.deleting_or("status", "phase")),
        _text("Volume", cells.text("spec", "volumeName", default="")),
        _text("Capacity", cells.text("status", "capacity", "storage", default="")),
        _text("Access Modes", lambda obj: cells.access_modes(cells.at(obj, "status", "accessModes"))),
        _text("StorageClass", lambda obj: cells.default_class(obj, "storageClassName")),
        _text("VolumeAttributesClass", cells.text("spec", "volumeAttributesClassName", default=cells.UNSET)),
        AGE,
        _text("VolumeMode", cells.text("spec", "volumeMode", default=cells.UNSET), wide=True),
    ),
    "LimitRange": (CREATED_AT,),
    "ResourceQuota": (
        _text("Request", cells.quota(lambda name: not name.startswith("limits.")), "Requests: used/hard."),
        _text("Limit", cells.quota(lambda name: name.startswith("limits.")), "Limits: used/hard."),
        AGE,
    ),
    "Event": (
        Column("Last Seen", "date", cells.event_time("lastTimestamp"), description="When it last happened."),
        Column("Type", "string", ".type"),
        Column("Reason", "string", ".reason"),
        _text("Object", cells.event_object, "What it is about."),
        _text("Subobject", cells.text("involvedObject", "fieldPath", default=""), wide=True),
        _text("Source", cells.event_source, wide=True),
        Column("Message", "string", ".message"),
        Column("First Seen", "date", cells.event_time("firstTimestamp"), 1),
        Column("Count", "string", cells.event_count, 1),
        Column("Name", "string", ".metadata.name", 1, names=True),
    ),
    "Deployment": (
        _text(
            "Ready",
            cells.ratio(("status", "readyReplicas"), ("spec", "replicas"), 1),
            "Ready pods out of all.",
        ),
        _number("Up-to-date", "status.updatedReplicas", "Pods that run the newest template."),
        _number("Available", "status.availableReplicas", "Pods that have been ready long enough."),
        AGE,
        *_WORKLOAD,
    ),
    "ReplicaSet": _REPLICA_SET,
    "StatefulSet": (
        _text(
            "Ready",
            cells.ratio(("status", "readyReplicas"), ("spec", "replicas"), 1),
            "Ready pods out of all.",
        ),
        AGE,
        *_template("spec", "template"),
    ),
    "DaemonSet": (
        _number("Desired", "status.desiredNumberScheduled", "Nodes that should run a pod."),
        _number("Current", "status.currentNumberScheduled", "Nodes that run one."),
        _number("Ready", "status.numberReady", "Nodes whose pod is ready."),
        _number("Up-to-date", "status.updatedNumberScheduled", "Nodes whose pod is the newest."),
        _number("Available", "status.numberAvailable", "Nodes whose pod is available."),
        _text("Node Selector", cells.selector("spec", "template", "spec", "nodeSelector")),
        AGE,
        *_WORKLOAD,
    ),
    "ControllerRevision": (_text("Controller", cells.owner), Column("Revision", "integer", ".revision"), AGE),
    "Job": (
        _text("Status", cells.job_status, "What the job is doing."),
        _text("Completions", cells.job_completions, "Pods that succeeded out of those wanted."),
        _text("Duration", cells.job_duration, "From start to completion."),
        AGE,
        *_WORKLOAD,
    ),
    "CronJob": (
        Column("Schedule", "string", ".spec.schedule"),
        _field("Timezone", "spec.timeZone"),
        _text("Suspend", cells.go_bool("spec", "suspend", unset="False")),
        Column("Active", "integer", lambda obj: len(cells.maps(cells.at(obj, "status", "active")))),
        Column("Last Schedule", "date", ".status.lastScheduleTime", absent=cells.NONE),
        AGE,
        *_template("spec", "jobTemplate", "spec", "template"),
        _text("Selector", cells.selector("spec", "jobTemplate", "spec", "selector"), wide=True),
    ),
    "HorizontalPodAutoscaler": (
        _text("Reference", cells.reference("spec", "scaleTargetRef"), "What is scaled."),
        _text("Targets", cells.hpa_targets, "Metrics: now/wanted."),
        _text("MinPods", cells.text("spec", "minReplicas", default=cells.UNSET)),
        Column("MaxPods", "integer", ".spec.maxReplicas"),
        _number("Replicas", "status.currentReplicas"),
        AGE,
    ),
    "Ingress": (
        _field("Class", "spec.ingressClassName"),
        _text("Hosts", cells.hosts),
        _text("Address", lambda obj: ",".join(cells.load_balancer(obj))),
        _text("Ports", lambda obj: "80, 443" if cells.at(obj, "spec", "tls") else "80"),
        AGE,
    ),
    "IngressClass": (
        _text("Controller", cells.text("spec", "controller", default="")),
        _text("Parameters", cells.parameters),
        AGE,
    ),
    "NetworkPolicy": (_text("Pod-Selector", cells.selector("spec", "podSelector")), AGE),
    "PodDisruptionBudget": (
        _text("Min Available", cells.text("spec", "minAvailable", default="N/A")),
        _text("Max Unavailable", cells.text("spec", "maxUnavailable", default="N/A")),
        _number("Allowed Disruptions", "status.disruptionsAllowed"),
        AGE,
    ),
    "Role": (CREATED_AT,),
    "ClusterRole": (CREATED_AT,),
    "RoleBinding": _ROLE_BINDING,
    "ClusterRoleBinding": _ROLE_BINDING,
    "RuntimeClass": (_text("Handler", cells.text("handler", default=""), "What runs the pods."), AGE),
    "CSIDriver": (
        _flag("AttachRequired", "spec.attachRequired", default=True),
        _flag("PodInfoOnMount", "spec.podInfoOnMount"),
        _flag("StorageCapacity", "spec.storageCapacity"),
        _text("TokenRequests", cells.token_requests),
        _flag("RequiresRepublish", "spec.requiresRepublish"),
        _text("Modes", lambda obj: cells.join(cells.at(obj, "spec", "volumeLifecycleModes") or ())),
        AGE,
    ),
    "VolumeAttributesClass": (_text("DriverName", cells.text("driverName", default="")), AGE),
    "StorageClass": (
        Column("Provisioner", "string", ".provisioner"),
        _text("ReclaimPolicy", cells.text("reclaimPolicy", default="Delete")),
        _text("VolumeBindingMode", cells.text("volumeBindingMode", default="Immediate")),
        _text("AllowVolumeExpansion", lambda obj: bool(obj.get("allowVolumeExpansion"))),
        AGE,
    ),
    "PriorityClass": (
        Column("Value", "integer", ".value"),
        _text("Global-Default", lambda obj: bool(obj.get("globalDefault"))),
        AGE,
        _text("PreemptionPolicy", cells.text("preemptionPolicy", default="PreemptLowerPriority")),
    ),
    "Lease": (_text("Holder", cells.text("spec", "holderIdentity", default="")), AGE),
    "EndpointSlice": (
        Column("AddressType", "string", ".addressType"),
        _text("Ports", cells.slice_ports),
        _text("Endpoints", cells.slice_endpoints),
        AGE,
    ),
    "CustomResourceDefinition": (CREATED_AT,),
    "ValidatingWebhookConfiguration": _WEBHOOKS,
    "MutatingWebhookConfiguration": _WEBHOOKS,
}
