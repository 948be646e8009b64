"""The words of which the scenarios in api_requests are made: objects, and requests about them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.contract.differential import JSON, PATCHES, Step

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = "/apis/diff.example.com/v1/namespaces/{}/widgets"
LONG = "x" * 254
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


# --- objects ---------------------------------------------------------------------------------------------------


def obj(api_version: str, kind: str, name: str, **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, **fields.pop("metadata", {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def configmap(name: str = "c", data: Any = None, **fields: Any) -> dict[str, Any]:
    return obj("v1", "ConfigMap", name, data={"a": "1"} if data is None else data, **fields)


def container(name: str = "main", **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": "nginx:1.27", **fields}


def pods(app: str, *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A template of pods."""
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": list(containers), **spec}}


def deployment(name: str = "web", **spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    given = {
        "replicas": 2,
        "selector": {"matchLabels": labels},
        "template": pods(name, container()),
        **spec,
    }
    return obj("apps/v1", "Deployment", name, spec=given, metadata={"labels": labels})


def service(name: str = "s", **spec: Any) -> dict[str, Any]:
    return obj("v1", "Service", name, spec={"selector": {"app": "web"}, "ports": [{"port": 80}], **spec})


def widget(name: str = "w", **fields: Any) -> dict[str, Any]:
    return obj("diff.example.com/v1", "Widget", name, **{"spec": {"size": 3}, **fields})


def crd() -> dict[str, Any]:
    properties = {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 1, "maximum": 9},
                "colour": {"type": "string", "default": "blue", "enum": ["blue", "red"]},
                "replicas": {"type": "integer"},
                "note": {"type": "string", "nullable": True, "maxLength": 5},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "port": {"x-kubernetes-int-or-string": True},
                "parts": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": {"type": "string"},
                            "count": {"type": "integer", "default": 1},
                        },
                    },
                },
            },
        },
        "status": {
            "type": "object",
            "properties": {"replicas": {"type": "integer"}, "phase": {"type": "string"}},
        },
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
        "subresources": {
            "status": {},
            "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
        },
        "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
    }
    spec = {
        "group": "diff.example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
        "versions": [version],
    }
    return obj("apiextensions.k8s.io/v1", "CustomResourceDefinition", "widgets.diff.example.com", spec=spec)


# --- steps -----------------------------------------------------------------------------------------------------


class Space:
    """The URLs of one scenario's namespace, and the first step, which makes it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.core = f"/api/v1/namespaces/{name}"
        self.configmaps = f"{self.core}/configmaps"
        self.services = f"{self.core}/services"
        self.secrets = f"{self.core}/secrets"
        self.deployments = f"/apis/apps/v1/namespaces/{name}/deployments"
        self.widgets = WIDGETS.format(name)
        self.made = post("namespace", "/api/v1/namespaces", obj("v1", "Namespace", name))


def get(name: str, path: str, accept: str = "", until: tuple[str, str] | None = None) -> Step:
    return Step(name, "GET", path, accept=accept, until=until)


def post(name: str, path: str, body: Any, type: str = JSON) -> Step:
    return Step(name, "POST", path, body, type)


def put(name: str, path: str, body: Any) -> Step:
    return Step(name, "PUT", path, body)


def delete(name: str, path: str, body: Any = None) -> Step:
    return Step(name, "DELETE", path, body)


def patch(name: str, path: str, body: Any, kind: str = "merge") -> Step:
    return Step(name, "PATCH", path, body, PATCHES[kind])


def apply(name: str, path: str, body: Any, manager: str = "one", query: str = "") -> Step:
    return Step(name, "PATCH", f"{path}?fieldManager={manager}{query}", body, PATCHES["apply"])


# --- one object of a kind ---------------------------------------------------------------------------------------


def shown(name: str, path: str, made: dict[str, Any], *changes: tuple[str, Any]) -> Iterator[Step]:
    """Create, read as an object and as a table, and change; a change is a suffix of a step's name and a merge patch."""
    at = f"{path}/{made['metadata']['name']}"
    yield post(name, path, made)
    yield get(f"{name}_table", at, TABLE)
    for label, change in changes:
        yield patch(f"{name}_{label}", at, change)


def refused(name: str, path: str, *mistakes: dict[str, Any]) -> Iterator[Step]:
    for number, made in enumerate(mistakes):
        named = {**made, "metadata": {**made["metadata"], "name": f"bad-{number}"}}
        yield post(f"{name}_bad_{number}", f"{path}?dryRun=All", named)


def spec(**fields: Any) -> dict[str, Any]:
    return {"spec": fields}
