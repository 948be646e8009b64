"""Rules of built-in kinds, each one row: those that the comparison with Kubernetes (tests/contract) does not meet."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kube.test_builtin import workload, wrong
from towline.kube.objects import Object

NONE: Object = {"clusterIP": "None"}


def made(kind: str, **fields: Any) -> Object:
    return {"kind": kind, "metadata": {"name": "a"}, **fields}


def pod(container: Object | None = None, **spec: Any) -> Object:
    only = {"name": "a", "image": "a", **(container or {})}
    return made("Pod", spec={"containers": [only], **spec})


def job(**spec: Any) -> Object:
    return made("Job", spec={"template": {**pod(restartPolicy="Never"), "metadata": {}}, **spec})


def service(**spec: Any) -> Object:
    return made("Service", spec={"ports": [{"port": 80}], **spec})


def policy(peer: Object) -> Object:
    return made("NetworkPolicy", spec={"podSelector": {}, "ingress": [{"from": [peer]}]})


def volume(**spec: Any) -> Object:
    given = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "nfs": {"server": "a", "path": "/"},
    }
    return made("PersistentVolume", spec={**given, **spec})


@pytest.mark.parametrize(
    ("obj", "path"),
    [
        (workload("Deployment", strategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "101%"}}),
         "spec.strategy.rollingUpdate.maxUnavailable"),
        (workload("Deployment", selector={"matchLabels": {"app": "a b"}}), "spec.selector.matchLabels"),
        (workload("DaemonSet", updateStrategy={"type": "Recreate"}), "spec.updateStrategy"),
        (workload("StatefulSet", updateStrategy={"type": "Recreate"}), "spec.updateStrategy"),
        (job(completionMode="Indexed", completions=None), "spec.completions"),
        (job(completionMode="Both"), "spec.completionMode"),
        (job(backoffLimitPerIndex=1), "spec.backoffLimitPerIndex"),
        (pod({"env": [{"name": "A", "value": "a", "valueFrom": {"fieldRef": {}}}]}), "spec.containers[0].env[0].valueFrom"),
        (pod({"ports": [{"containerPort": 80, "protocol": "HTTP"}]}), "spec.containers[0].ports[0].protocol"),
        (pod({"ports": [{"containerPort": 80, "name": "A"}]}), "spec.containers[0].ports[0].name"),
        (pod({"resources": {"requests": {"cpu": "-1"}}}), "spec.containers[0].resources.requests[cpu]"),
        (pod({"resources": {"limits": {"nvidia.com/gpu": 2}, "requests": {"nvidia.com/gpu": 1}}}),
         "spec.containers[0].resources.requests"),
        (pod({"volumeMounts": [{"name": "a"}]}, volumes=[{"name": "a"}]),
         "spec.containers[0].volumeMounts[0].mountPath"),
        (service(internalTrafficPolicy="Near"), "spec.internalTrafficPolicy"),
        (service(selector={"app": "a b"}), "spec.selector"),
        (made("Endpoints", subsets=[{}]), "subsets[0]"),
        (made("Endpoints", subsets=[{"addresses": [{"ip": "1.2.3.4"}], "ports": [{"port": 0}]}]),
         "subsets[0].ports[0].port"),
        (made("EndpointSlice", addressType="IPv6", endpoints=[{"addresses": ["1.2.3.4"]}]),
         "endpoints[0].addresses[0]"),
        (made("EndpointSlice", addressType="FQDN", endpoints=[{"addresses": ["no good"]}]),
         "endpoints[0].addresses[0]"),
        (made("EndpointSlice", addressType="IPv4", endpoints=[{}]), "endpoints[0].addresses"),
        (made("EndpointSlice", addressType="IPv4", ports=[{"name": "a"}, {"name": "a"}]), "ports[1].name"),
        (policy({"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}), "spec.ingress[0].from[0]"),
        (policy({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}),
         "spec.ingress[0].from[0].ipBlock.except[0]"),
        (policy({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["fe80::/64"]}}),
         "spec.ingress[0].from[0].ipBlock.except[0]"),
        (policy({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}}),
         "spec.ingress[0].from[0].podSelector.matchExpressions[0].operator"),
        (volume(capacity={"storage": "0"}), "spec.capacity[storage]"),
        (volume(accessModes=["ReadWriteOncePod", "ReadWriteMany"]), "spec.accessModes"),
        (volume(volumeMode="Tape"), "spec.volumeMode"),
        (made("VolumeAttributesClass", parameters={"a": "b"}), "driverName"),
        (made("LimitRange", spec={"limits": [{"type": "Pod", "default": {"cpu": 1}}]}), "spec.limits[0].default"),
        (made("LimitRange", spec={"limits": [{"type": "Pod"}, {"type": "Pod"}]}), "spec.limits[1].type"),
        (made("PodDisruptionBudget", spec={"unhealthyPodEvictionPolicy": "Ask"}),
         "spec.unhealthyPodEvictionPolicy"),
        (made("ClusterRole", rules=[{"verbs": ["get"], "nonResourceURLs": ["/a"], "resources": ["b"]}]),
         "rules[0].nonResourceURLs"),
        (made("ClusterRoleBinding", roleRef={"kind": "Role", "name": "a"}), "roleRef.kind"),
        (made("ClusterRoleBinding", roleRef={"kind": "ClusterRole", "name": "a"},
              subjects=[{"kind": "ServiceAccount", "name": "b"}]), "subjects[0].namespace"),
        (made("RoleBinding", roleRef={"kind": "Role"}), "roleRef.name"),
        (made("RuntimeClass"), "handler"),
        (made("Secret", type="kubernetes.io/dockercfg", data={".dockercfg": "bm8="}), "data[.dockercfg]"),
        (made("Secret", type="kubernetes.io/basic-auth"), "data[username]"),
    ],
)  # fmt: skip
def test_rules(obj: Object, path: str) -> None:
    assert path in wrong(obj)


@pytest.mark.parametrize(
    "obj",
    [
        pod(), job(), service(), service(**NONE), policy({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}),
        volume(), made("Secret", type="kubernetes.io/basic-auth", data={"username": "YQ=="}),
        made("PriorityClass", value=2_000_000_000, metadata={"name": "system-cluster-critical"}),
        made("RoleBinding", roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "system:a"}),
    ],
    ids=lambda obj: obj["kind"],
)  # fmt: skip
def test_what_is_right_is_taken(obj: Object) -> None:
    assert wrong(obj) == {}


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        (volume(), volume(nfs={"server": "b", "path": "/"}), "spec.persistentvolumesource"),
        (pod(), pod({"image": "b"}), ""),
        (pod(), pod({"command": ["b"]}), "spec"),
        (made("ControllerRevision", data={"a": 1}), made("ControllerRevision", data={"a": 2}), "data"),
        (made("CSIDriver", spec={"fsGroupPolicy": "None"}), made("CSIDriver", spec={"fsGroupPolicy": "File"}),
         "spec.fsGroupPolicy"),
        (made("RuntimeClass", handler="a"), made("RuntimeClass", handler="b"), "handler"),
    ],
)  # fmt: skip
def test_what_never_changes(old: Object, new: Object, path: str) -> None:
    assert list(wrong(new, old)) == ([path] if path else [])


def claim(phase: str = "Pending", **spec: Any) -> Object:
    given = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return made("PersistentVolumeClaim", spec={**given, **spec}, status={"phase": phase})


def test_a_claim_is_completed_once_and_grows_when_bound() -> None:
    bigger: dict[str, Any] = {"resources": {"requests": {"storage": "2Gi"}}}
    assert wrong(claim(volumeName="v", storageClassName="s"), claim()) == {}
    assert "spec" in wrong(claim(volumeName="w"), claim(volumeName="v"))
    assert "spec" in wrong(claim(**bigger), claim())
    assert wrong(claim("Bound", **bigger), claim("Bound")) == {}
    shrunk = claim("Bound")
    shrunk["status"]["capacity"] = {"storage": "2Gi"}
    assert list(wrong(shrunk, claim("Bound", **bigger))) == ["spec.resources.requests.storage"]
