"""What `towline join` prints: everything that one `kubectl apply -f -` installs in a member. Pure.

deploy/agent/agent.yaml is the same with a placeholder for the token, for those who render manifests themselves.
"""

from __future__ import annotations

from collections.abc import Iterable

from towline import __version__
from towline.cli.scope import AGENT, LABELS, NAMESPACE, Object, Scope, manifest, permissions

JOIN_SECRET = "towline-join"
IMAGE = f"towline:{__version__}"
DATA_DIR = "/var/lib/towline"
JOIN_DIR = "/var/run/towline"
HEALTH_PORT = 8080
USER_ID = 65532


def render(objects: Iterable[Object]) -> str:
    """YAML documents, in the order in which they are to be applied."""
    import yaml

    return "".join(f"---\n{yaml.safe_dump(obj, sort_keys=False)}" for obj in objects)


def agent_manifests(token: str, image: str = IMAGE, scope: Scope | None = None) -> list[Object]:
    """Namespace, ServiceAccount, RBAC, the Secret with the join token, and the agent's Deployment."""
    scope = scope or Scope()
    return [
        manifest("v1", "Namespace", NAMESPACE),
        manifest("v1", "ServiceAccount", AGENT, NAMESPACE),
        *permissions(scope),
        manifest("v1", "Secret", JOIN_SECRET, NAMESPACE, type="Opaque", stringData={"token": token}),
        _deployment(image, scope.flags()),
    ]


def _deployment(image: str, flags: list[str]) -> Object:
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
        "containers": [_container(image, flags)],
        "volumes": [
            {"name": "data", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
            # A file and not a variable: it follows the Secret, so that a new token needs no restart.
            {"name": "join", "secret": {"secretName": JOIN_SECRET, "optional": True}},
        ],
    }
    spec = {
        "replicas": 1,
        "revisionHistoryLimit": 2,
        "strategy": {"type": "Recreate"},  # two agents of one cluster would take turns
        "selector": {"matchLabels": {"app.kubernetes.io/name": AGENT}},
        "template": {"metadata": {"labels": {**LABELS}}, "spec": pod},
    }
    return manifest("apps/v1", "Deployment", AGENT, NAMESPACE, spec=spec)


def _container(image: str, flags: list[str]) -> Object:
    return {
        "name": "agent",
        "image": image,
        "args": [
            "agent", "--data-dir", DATA_DIR, "--join-token-file", f"{JOIN_DIR}/token",
            "--health-address", f"0.0.0.0:{HEALTH_PORT}", *flags,
        ],
        "env": [
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
        "volumeMounts": [
            {"name": "data", "mountPath": DATA_DIR},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "join", "mountPath": JOIN_DIR, "readOnly": True},
        ],
    }  # fmt: skip


def _probe(path: str, period_seconds: int, failures: int) -> Object:
    get = {"path": path, "port": "health"}
    return {"httpGet": get, "periodSeconds": period_seconds, "failureThreshold": failures}
