"""The manifests that the end-to-end tests and the benchmark apply."""

from __future__ import annotations

from typing import Any

APPS = "/apis/apps/v1/namespaces"
POLICIES = "/apis/policy.karmada.io/v1alpha1/namespaces"
WORK = "/apis/work.karmada.io"


def namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def deployment(name: str, space: str, replicas: int = 2, image: str = "nginx:1.27") -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": space, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": image, "ports": [{"containerPort": 80}]}]},
            },
        },
    }


def configmap(name: str, space: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": space},
        "data": data or {"k": "v"},
    }


def policy(
    name: str, space: str, clusters: list[str] | None = None, *kinds: str, **spec: Any
) -> dict[str, Any]:
    """A PropagationPolicy for all objects of `kinds` ("apps/v1 Deployment") in its namespace."""
    selectors = [
        dict(zip(("apiVersion", "kind"), k.split(), strict=True)) for k in kinds or ("apps/v1 Deployment",)
    ]
    placement = {"clusterAffinity": {"clusterNames": clusters}} if clusters else {}
    return {
        "apiVersion": "policy.karmada.io/v1alpha1",
        "kind": "PropagationPolicy",
        "metadata": {"name": name, "namespace": space},
        "spec": {
            "resourceSelectors": selectors,
            "placement": {**placement, **spec.pop("placement", {})},
            **spec,
        },
    }


def divided(**weights: int) -> dict[str, Any]:
    """A placement that divides replicas by static weights."""
    return {
        "replicaScheduling": {
            "replicaSchedulingType": "Divided",
            "replicaDivisionPreference": "Weighted",
            "weightPreference": {
                "staticWeightList": [
                    {"targetCluster": {"clusterNames": [name]}, "weight": weight}
                    for name, weight in weights.items()
                ]
            },
        }
    }
