"""What `towline join` prints: everything that one `kubectl apply -f -` installs in a member. Pure.

deploy/agent/agent.yaml is the same with a placeholder for the token, for those who render manifests themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from towline import __version__

Object = dict[str, Any]

NAMESPACE = "towline-system"
AGENT = "towline-agent"
JOIN_SECRET = "towline-join"
IMAGE = f"towline:{__version__}"
DATA_DIR = "/var/lib/towline"
HEALTH_PORT = 8080
USER_ID = 65532

_LABELS = {"app.kubernetes.io/name": AGENT, "app.kubernetes.io/part-of": "towline"}


def render(objects: Iterable[Object]) -> str:
    """YAML documents, in the order in which they are to be applied."""
    import yaml

    return "".join(f"---\n{yaml.safe_dump(obj, sort_keys=False)}" for obj in objects)


def agent_manifests(token: str, image: str = IMAGE) -> list[Object]:
    """Namespace, ServiceAccount, RBAC, the Secret with the join token, and the agent's Deployment."""
    return [
        _object("v1", "Namespace", NAMESPACE),
        _object("v1", "ServiceAccount", AGENT, NAMESPACE),
        _cluster_role(),
        _cluster_role_binding(),
        _object("v1", "Secret", JOIN_SECRET, NAMESPACE, type="Opaque", stringData={"token": token}),
        _deployment(image),
    ]


def _object(api_version: str, kind: str, name: str, namespace: str = "", **content: Any) -> Object:
    metadata: Object = {
        "name": name,
        **({"namespace": namespace} if namespace else {}),
        "labels": {**_LABELS},
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


def _cluster_role() -> Object:
    # The hub may send any kind, including Roles, which nobody may create who does not hold what they grant.
    everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    rules = [everything, {"nonResourceURLs": ["*"], "verbs": ["get"]}]
    return _object("rbac.authorization.k8s.io/v1", "ClusterRole", AGENT, rules=rules)


def _cluster_role_binding() -> Object:
    return _object(
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
        AGENT,
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": AGENT},
        subjects=[{"kind": "ServiceAccount", "name": AGENT, "namespace": NAMESPACE}],
    )


def _deployment(image: str) -> Object:
    pod = {
        "serviceAccountName": AGENT,
        "terminationGracePeriodSeconds": 20,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(image)],
        "volumes": [{"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
    }
    spec = {
        "replicas": 1,
        "revisionHistoryLimit": 2,
        "strategy": {"type": "Recreate"},  # two agents of one cluster would take turns
        "selector": {"matchLabels": {"app.kubernetes.io/name": AGENT}},
        "template": {"metadata": {"labels": {**_LABELS}}, "spec": pod},
    }
    return _object("apps/v1", "Deployment", AGENT, NAMESPACE, spec=spec)


def _container(image: str) -> Object:
    token = {"secretKeyRef": {"name": JOIN_SECRET, "key": "token", "optional": True}}
    return {
        "name": "agent",
        "image": image,
        "args": ["agent", "--data-dir", DATA_DIR, "--health-address", f"0.0.0.0:{HEALTH_PORT}"],
        "env": [
            {"name": "TOWLINE_AGENT_JOIN_TOKEN", "valueFrom": token},
            {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        ],
        "ports": [{"name": "health", "containerPort": HEALTH_PORT}],
        "livenessProbe": _probe("/livez", 10, 6),
        "readinessProbe": _probe("/readyz", 5, 3),
        "resources": {
            "requests": {"cpu": "50m", "memory": "96Mi"},
            "limits": {"memory": "256Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "data", "mountPath": DATA_DIR}, {"name": "tmp", "mountPath": "/tmp"}],
    }


def _probe(path: str, period_seconds: int, failures: int) -> Object:
    get = {"path": path, "port": "health"}
    return {"httpGet": get, "periodSeconds": period_seconds, "failureThreshold": failures}
