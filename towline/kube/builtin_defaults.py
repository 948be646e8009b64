"""Defaults of built-in kinds, as an API server fills them on every write.

Only what users see and other parts read. Every hook is idempotent, never changes its argument, and passes over a
part of the wrong type: that is for validation to report.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from towline.kube.names import NAMESPACE_NAME
from towline.kube.objects import Object, copy, is_deleting

Default = Callable[[Object, Object | None, str, str], Object]

_SECOND_SERVICE_TYPES = ("NodePort", "LoadBalancer")


def _hook(fill: Callable[[Object, Object | None], None]) -> Default:
    def default(new: Object, old: Object | None, now: str, uid: str) -> Object:
        filled: Object = copy(new)
        fill(filled, old)
        return filled

    return default


# --- workloads -----------------------------------------------------------------------------------------------


def _deployment(obj: Object, old: Object | None) -> None:
    spec = _below(obj, "spec")
    _put(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = _below(spec, "strategy")
    _put(strategy, type="RollingUpdate")
    if strategy.get("type") == "RollingUpdate":
        _put(_below(strategy, "rollingUpdate"), maxUnavailable="25%", maxSurge="25%")
    fill_pod_template(spec)


def _replica_set(obj: Object, old: Object | None) -> None:
    spec = _below(obj, "spec")
    _put(spec, replicas=1)
    fill_pod_template(spec)


def _replication_controller(obj: Object, old: Object | None) -> None:
    spec = _below(obj, "spec")
    _put(spec, replicas=1)
    fill_pod_template(spec)
    labels = _below(_below(_below(spec, "template"), "metadata"), "labels")
    if labels and not spec.get("selector"):
        spec["selector"] = dict(labels)
    if labels and not _below(obj, "metadata").get("labels"):
        obj["metadata"]["labels"] = dict(labels)


def _stateful_set(obj: Object, old: Object | None) -> None:
    spec = _below(obj, "spec")
    _put(spec, replicas=1, revisionHistoryLimit=10, podManagementPolicy="OrderedReady")
    strategy = _below(spec, "updateStrategy")
    _put(strategy, type="RollingUpdate")
    if strategy.get("type") == "RollingUpdate":
        _put(_below(strategy, "rollingUpdate"), partition=0)
    _put(_below(spec, "persistentVolumeClaimRetentionPolicy"), whenDeleted="Retain", whenScaled="Retain")
    for claim in _each(spec, "volumeClaimTemplates"):
        _put(claim, apiVersion="v1", kind="PersistentVolumeClaim")
        _put(_below(claim, "spec"), volumeMode="Filesystem")
        _put(_below(claim, "status"), phase="Pending")
    fill_pod_template(spec)


def _daemon_set(obj: Object, old: Object | None) -> None:
    spec = _below(obj, "spec")
    _put(spec, revisionHistoryLimit=10)
    strategy = _below(spec, "updateStrategy")
    _put(strategy, type="RollingUpdate")
    if strategy.get("type") == "RollingUpdate":
        _put(_below(strategy, "rollingUpdate"), maxUnavailable=1, maxSurge=0)
    fill_pod_template(spec)


def _job(obj: Object, old: Object | None) -> None:
    """The selector and the template's labels come from the object's uid, which the member gives it."""
    _fill_job_spec(_below(obj, "spec"))


def _cron_job(obj: Object, old: Object | None) -> None:
    spec = _below(obj, "spec")
    _put(
        spec, concurrencyPolicy="Allow", suspend=False, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1
    )
    template = _below(_below(spec, "jobTemplate"), "spec")
    fill_pod_template(template)


def _fill_job_spec(spec: Object) -> None:
    # A work queue says parallelism alone; what says neither runs one pod once.
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    retries = 6 if spec.get("backoffLimitPerIndex") is None else 2**31 - 1
    _put(spec, parallelism=1, backoffLimit=retries, completionMode="NonIndexed", suspend=False)
    _put(spec, podReplacementPolicy="Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed")
    fill_pod_template(spec)


def _pod(obj: Object, old: Object | None) -> None:
    spec = _below(obj, "spec")
    fill_pod_spec(spec)
    for container in (*_each(spec, "initContainers"), *_each(spec, "containers")):
        _fill_requests(container)
    _put(spec, enableServiceLinks=True)
    if old is None:
        _put(_below(obj, "status"), phase="Pending")


def _pod_template(obj: Object, old: Object | None) -> None:
    fill_pod_template(obj)


# --- pods ----------------------------------------------------------------------------------------------------


def fill_pod_template(spec: Object) -> None:
    """Defaults below `spec.template`, in place. Without a template nothing is made: it is required."""
    template = spec.get("template")
    if isinstance(template, dict):
        fill_pod_spec(_below(template, "spec"))


def fill_pod_spec(spec: Object) -> None:
    """Defaults of a pod's spec, in place."""
    _put(
        spec,
        restartPolicy="Always",
        terminationGracePeriodSeconds=30,
        dnsPolicy="ClusterFirst",
        schedulerName="default-scheduler",
    )
    _below(spec, "securityContext")
    if spec.get("serviceAccountName") and not spec.get("serviceAccount"):
        spec["serviceAccount"] = spec[
            "serviceAccountName"
        ]  # the deprecated name goes along, as in Kubernetes
    elif spec.get("serviceAccount") and not spec.get("serviceAccountName"):
        spec["serviceAccountName"] = spec["serviceAccount"]
    for field in ("containers", "initContainers", "ephemeralContainers"):
        for container in _each(spec, field):
            _fill_container(container, bool(spec.get("hostNetwork")))
    for volume in _each(spec, "volumes"):
        _fill_volume(volume)


def _fill_container(container: Object, host_network: bool) -> None:
    _put(
        container,
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        imagePullPolicy=_pull_policy(str(container.get("image") or "")),
    )
    _below(container, "resources")
    for port in _each(container, "ports"):
        _put(port, protocol="TCP")
        if host_network and isinstance(port.get("containerPort"), int):
            _put(port, hostPort=port["containerPort"])
    for env in _each(container, "env"):
        field = (
            (env.get("valueFrom") or {}).get("fieldRef") if isinstance(env.get("valueFrom"), dict) else None
        )
        if isinstance(field, dict):
            _put(field, apiVersion="v1")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(container.get(probe), dict):
            _put(container[probe], timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
            _fill_handler(container[probe])
    lifecycle = container.get("lifecycle")
    if isinstance(lifecycle, dict):
        for moment in ("postStart", "preStop"):
            if isinstance(lifecycle.get(moment), dict):
                _fill_handler(lifecycle[moment])


def _fill_requests(container: Object) -> None:
    """A limit without a request is the request: in a Pod, not yet in a template of one."""
    limits = container["resources"].get("limits") if isinstance(container.get("resources"), dict) else None
    if isinstance(limits, dict) and limits:
        _put(_below(container["resources"], "requests"), **limits)


def _fill_handler(handler: Object) -> None:
    if isinstance(handler.get("httpGet"), dict):
        _put(handler["httpGet"], path="/", scheme="HTTP")
    if isinstance(handler.get("grpc"), dict):
        _put(handler["grpc"], service="")


def _pull_policy(image: str) -> str:
    """Always for `latest` (also when nothing is said), IfNotPresent for any other tag and for digests."""
    if "@" in image:
        return "IfNotPresent"
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _fill_volume(volume: Object) -> None:
    if set(volume) <= {"name"}:
        volume["emptyDir"] = {}
    for source in ("configMap", "secret", "downwardAPI", "projected"):
        if isinstance(volume.get(source), dict):
            _put(volume[source], defaultMode=0o644)
    if isinstance(volume.get("hostPath"), dict):
        _put(volume["hostPath"], type="")
    items = _each(volume["downwardAPI"], "items") if isinstance(volume.get("downwardAPI"), dict) else []
    projected = _each(volume["projected"], "sources") if isinstance(volume.get("projected"), dict) else []
    for part in projected:
        if isinstance(part.get("serviceAccountToken"), dict):
            _put(part["serviceAccountToken"], expirationSeconds=3600)
        if isinstance(part.get("downwardAPI"), dict):
            items += _each(part["downwardAPI"], "items")
    for item in items:
        if isinstance(item.get("fieldRef"), dict):
            _put(item["fieldRef"], apiVersion="v1")


# --- everything else -----------------------------------------------------------------------------------------


def _service(obj: Object, old: Object | None) -> None:
    """Addresses and node ports are given by the member; here is only what follows from what is said, and what an
    update that does not mention them keeps."""
    spec = _below(obj, "spec")
    _put(spec, type="ClusterIP", sessionAffinity="None")
    if spec.get("sessionAffinity") == "ClientIP":
        _put(_below(_below(spec, "sessionAffinityConfig"), "clientIP"), timeoutSeconds=10800)
    if spec.get("type") != "ExternalName":
        _put(spec, internalTrafficPolicy="Cluster")
    if spec.get("type") in _SECOND_SERVICE_TYPES:
        _put(spec, externalTrafficPolicy="Cluster")
    if spec.get("type") == "LoadBalancer":
        _put(spec, allocateLoadBalancerNodePorts=True)
    for port in _each(spec, "ports"):
        _put(port, protocol="TCP")
        if port.get("targetPort") in (None, "", 0):
            port["targetPort"] = port.get("port")
    if old is not None:
        _keep_allocated(spec, _below(copy(old), "spec"))


def _keep_allocated(spec: Object, before: Object) -> None:
    if "ExternalName" in (spec.get("type"), before.get("type")):
        return
    if not spec.get("clusterIP") and before.get("clusterIP"):
        spec["clusterIP"] = before["clusterIP"]
        _put(spec, clusterIPs=before.get("clusterIPs") or [before["clusterIP"]])
    if spec.get("type") in _SECOND_SERVICE_TYPES:
        given = {(str(p.get("port")), p.get("protocol")): p.get("nodePort") for p in _each(before, "ports")}
        for port in _each(spec, "ports"):
            found = given.get((str(port.get("port")), port.get("protocol")))
            if found and not port.get("nodePort"):
                port["nodePort"] = found


def _secret(obj: Object, old: Object | None) -> None:
    _put(obj, type="Opaque")
    plain = obj.get("stringData")
    if isinstance(plain, dict):
        data = _below(obj, "data")
        for key, value in plain.items():
            if isinstance(value, str):
                data[key] = base64.b64encode(value.encode()).decode()
        del obj["stringData"]


def _namespace(obj: Object, old: Object | None) -> None:
    metadata = _below(obj, "metadata")
    if metadata.get("name"):
        _below(metadata, "labels")[NAMESPACE_NAME] = metadata["name"]
    if old is None:
        _put(_below(obj, "spec"), finalizers=["kubernetes"])
        _put(_below(obj, "status"), phase="Active")
    elif not is_deleting(old):
        # Only the deletion takes them away: without them the content would be left behind.
        _put(_below(obj, "spec"), finalizers=_below(copy(old), "spec").get("finalizers"))


def _persistent_volume_claim(obj: Object, old: Object | None) -> None:
    _put(_below(obj, "spec"), volumeMode="Filesystem")
    if old is None:
        _put(_below(obj, "status"), phase="Pending")


def _persistent_volume(obj: Object, old: Object | None) -> None:
    spec = _below(obj, "spec")
    _put(spec, volumeMode="Filesystem", persistentVolumeReclaimPolicy="Retain")
    if isinstance(spec.get("hostPath"), dict):
        _put(spec["hostPath"], type="")
    if old is None:
        _put(_below(obj, "status"), phase="Pending")


def _horizontal_pod_autoscaler(obj: Object, old: Object | None) -> None:
    fill_autoscaler(_below(obj, "spec"))


def _autoscaler_v1(obj: Object, old: Object | None) -> None:
    """What else it gets is filled in when it is stored."""
    _put(_below(obj, "spec"), minReplicas=1)


def fill_autoscaler(spec: Object) -> None:
    """Defaults of an autoscaler's spec, in place."""
    _put(spec, minReplicas=1)
    if not spec.get("metrics"):
        utilization = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": utilization}}]
    behavior = spec.get("behavior")
    if not isinstance(behavior, dict):
        return
    double = {"type": "Percent", "value": 100, "periodSeconds": 15}
    if isinstance(behavior.get("scaleUp"), dict):
        _put(behavior["scaleUp"], stabilizationWindowSeconds=0)
    for direction, policies in (
        ("scaleUp", [{"type": "Pods", "value": 4, "periodSeconds": 15}, double]),
        ("scaleDown", [double]),
    ):
        if isinstance(behavior.get(direction), dict):
            _put(behavior[direction], selectPolicy="Max", policies=policies)


def _network_policy(obj: Object, old: Object | None) -> None:
    spec = _below(obj, "spec")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    for field in ("ingress", "egress"):
        for rule in _each(spec, field):
            for port in _each(rule, "ports"):
                _put(port, protocol="TCP")


def _binding_of_role(obj: Object, old: Object | None) -> None:
    role = obj.get("roleRef")
    if isinstance(role, dict) and not role.get("apiGroup"):
        role["apiGroup"] = "rbac.authorization.k8s.io"
    for subject in _each(obj, "subjects"):
        if subject.get("kind") in ("User", "Group"):
            _put(subject, apiGroup="rbac.authorization.k8s.io")


def _storage_class(obj: Object, old: Object | None) -> None:
    _put(obj, reclaimPolicy="Delete", volumeBindingMode="Immediate")


def _csi_driver(obj: Object, old: Object | None) -> None:
    _put(
        _below(obj, "spec"),
        attachRequired=True,
        podInfoOnMount=False,
        storageCapacity=False,
        fsGroupPolicy="ReadWriteOnceWithFSType",
        volumeLifecycleModes=["Persistent"],
        requiresRepublish=False,
        seLinuxMount=False,
    )


def _priority_class(obj: Object, old: Object | None) -> None:
    _put(obj, preemptionPolicy="PreemptLowerPriority")


def _endpoints(obj: Object, old: Object | None) -> None:
    for subset in _each(obj, "subsets"):
        for port in _each(subset, "ports"):
            _put(port, protocol="TCP")


def _endpoint_slice(obj: Object, old: Object | None) -> None:
    for port in _each(obj, "ports"):
        _put(port, name="", protocol="TCP")


def _limit_range(obj: Object, old: Object | None) -> None:
    """Max is the default limit, and the default limit the default request."""
    for item in _each(_below(obj, "spec"), "limits"):
        if item.get("type") == "Container":
            for field, source in (
                ("default", "max"),
                ("defaultRequest", "default"),
                ("defaultRequest", "min"),
            ):
                if isinstance(item.get(source), dict):
                    _put(_below(item, field), **item[source])


def _custom_resource_definition(obj: Object, old: Object | None) -> None:
    spec = _below(obj, "spec")
    names = _below(spec, "names")
    if isinstance(names.get("kind"), str):
        _put(names, singular=names["kind"].lower(), listKind=f"{names['kind']}List")
    _put(_below(spec, "conversion"), strategy="None")


def _webhooks(obj: Object, old: Object | None) -> None:
    for webhook in _each(obj, "webhooks"):
        _put(webhook, failurePolicy="Fail", matchPolicy="Equivalent", timeoutSeconds=10)
        _below(webhook, "namespaceSelector")
        _below(webhook, "objectSelector")
        client = webhook.get("clientConfig")
        if isinstance(client, dict) and isinstance(client.get("service"), dict):
            _put(client["service"], port=443)
        for rule in _each(webhook, "rules"):
            _put(rule, scope="*")


def _mutating_webhooks(obj: Object, old: Object | None) -> None:
    _webhooks(obj, old)
    for webhook in _each(obj, "webhooks"):
        _put(webhook, reinvocationPolicy="Never")


DEFAULTS: Mapping[str, Default] = {
    kind: _hook(fill)
    for kind, fill in {
        "Deployment": _deployment,
        "ReplicaSet": _replica_set,
        "ReplicationController": _replication_controller,
        "StatefulSet": _stateful_set,
        "DaemonSet": _daemon_set,
        "Job": _job,
        "CronJob": _cron_job,
        "Pod": _pod,
        "PodTemplate": _pod_template,
        "Service": _service,
        "Secret": _secret,
        "Namespace": _namespace,
        "PersistentVolumeClaim": _persistent_volume_claim,
        "PersistentVolume": _persistent_volume,
        "HorizontalPodAutoscaler": _horizontal_pod_autoscaler,
        "NetworkPolicy": _network_policy,
        "RoleBinding": _binding_of_role,
        "ClusterRoleBinding": _binding_of_role,
        "StorageClass": _storage_class,
        "CSIDriver": _csi_driver,
        "PriorityClass": _priority_class,
        "Endpoints": _endpoints,
        "EndpointSlice": _endpoint_slice,
        "LimitRange": _limit_range,
        "CustomResourceDefinition": _custom_resource_definition,
        "ValidatingWebhookConfiguration": _webhooks,
        "MutatingWebhookConfiguration": _mutating_webhooks,
    }.items()
}

AUTOSCALER_V1 = _hook(_autoscaler_v1)

# --- filling in place ----------------------------------------------------------------------------------------


def _below(parent: Object, field: str) -> Object:
    """The object at `field`, made when absent. A value of another type is left alone."""
    child = parent.get(field)
    if child is None:
        child = parent[field] = {}
    return child if isinstance(child, dict) else {}


def _each(parent: Object, field: str) -> list[Object]:
    items = parent.get(field)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _put(target: Object, **defaults: Any) -> None:
    for field, value in defaults.items():
        if target.get(field) is None and value is not None:
            target[field] = copy(value) if isinstance(value, dict | list) else value
