"""What is served here: `/version`, `/api`, `/apis` and below, in the plain and in the aggregated form.

Rendered from the table of kinds, and kept until that changes.
"""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson

from towline.hub.api.actions import Actions
from towline.hub.api.bodies import JSON, media_type
from towline.kube import schemas
from towline.kube.kinds import Kind, KindTable

SCALE = {"group": "autoscaling", "version": "v1", "kind": "Scale"}
_AGGREGATED = {"v2": "v2", "v2beta1": "v2beta1"}


class Document(NamedTuple):
    """A rendered document. `compressed`: `body` is gzip."""

    body: bytes
    content_type: str
    etag: str
    compressed: bool = False


class Discovery:
    """The documents, rendered lazily. `get` answers None for a path that is not one of discovery's."""

    def __init__(self, kinds: KindTable, actions: Actions | None = None) -> None:
        self._kinds = kinds
        self._actions = actions or {}
        self._generation = -1
        self._rendered: dict[tuple[str, str], Document] = {}

    def get(self, path: str, accept: str) -> Document | None:
        if self._generation != self._kinds.generation:
            self._rendered.clear()
            self._generation = self._kinds.generation
        parts = tuple(part for part in path.split("/") if part)
        aggregated = aggregated_version(accept) if parts in (("api",), ("apis",)) else ""
        at = ("/".join(parts), aggregated)
        found = self._rendered.get(at)
        if found is None:
            document = self._render(parts, aggregated)
            if document is None:
                return None
            body = orjson.dumps(document)
            kind = JSON
            if aggregated:
                kind = f"{JSON};g=apidiscovery.k8s.io;v={aggregated};as=APIGroupDiscoveryList"
            found = self._rendered[at] = Document(body, kind, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
        return found

    def _render(self, parts: tuple[str, ...], aggregated: str) -> Any:
        actions = self._actions
        groups = group_versions(self._kinds, actions)
        if parts == ("version",):
            return version()
        if parts == ("api",):
            if aggregated:
                return _aggregated(aggregated, {"": groups[""]} if "" in groups else {}, actions)
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        if parts == ("apis",):
            named = {group: versions for group, versions in groups.items() if group}
            if aggregated:
                return _aggregated(aggregated, named, actions)
            listed = [_group(group, versions) for group, versions in named.items()]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
        if len(parts) == 2 and parts[0] == "apis" and parts[1] in groups:
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(parts[1], groups[parts[1]])}
        if len(parts) == 2 and parts[0] == "api":
            return _resource_list("", parts[1], groups.get("", {}).get(parts[1]), actions)
        if len(parts) == 3 and parts[0] == "apis":
            return _resource_list(parts[1], parts[2], groups.get(parts[1], {}).get(parts[2]), actions)
        return None


def aggregated_version(accept: str) -> str:
    """v2 or v2beta1 where the Accept header prefers aggregated discovery, else ""."""
    for clause in accept.split(","):
        if media_type(clause) in (JSON, "*/*"):
            parameters = dict(part.strip().partition("=")[::2] for part in clause.split(";")[1:])
            if parameters.get("as") == "APIGroupDiscoveryList":
                if parameters.get("g") == "apidiscovery.k8s.io" and parameters.get("v") in _AGGREGATED:
                    return parameters["v"]
            else:
                return ""
    return ""


def version() -> Mapping[str, str]:
    """The Kubernetes version whose API this is."""
    full = schemas.source()["version"]
    major, minor = full.lstrip("v").split(".")[:2]
    if full.count(".") == 1:
        full += ".0"
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{full.lstrip('v')}+towline",
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": platform.python_implementation(),
        "platform": f"{platform.system().lower()}/{platform.machine()}",
    }


def group_versions(kinds: Iterable[Kind], actions: Actions | None = None) -> dict[str, dict[str, list[Kind]]]:
    """Kinds by group and version, the core group first, groups in the order of the table, a version's kinds by name, as
    `kubectl get all` shows them."""
    groups: dict[str, dict[str, list[Kind]]] = {"": {}}
    for kind in kinds:
        groups.setdefault(kind.group, {}).setdefault(kind.version, []).append(kind)
    for (group, _, subresource), action in (actions or {}).items():
        if not subresource:
            groups.setdefault(group, {}).setdefault(action.kind.version, [])
    if not groups[""]:
        del groups[""]
    for group, versions in groups.items():
        by_priority = sorted(versions.items(), key=lambda item: _priority(item[0]))
        groups[group] = {version: sorted(rows, key=lambda kind: kind.plural) for version, rows in by_priority}
    return groups


def _priority(version: str) -> tuple[int, int, int, str]:
    """Kubernetes' order of versions: v2, v1, v2beta1, v1beta2, v1alpha1, then the rest by name."""

    matched = re.fullmatch(r"v([0-9]+)(?:(alpha|beta)([0-9]+))?", version)
    if matched is None:
        return (3, 0, 0, version)
    stability = {None: 0, "beta": 1, "alpha": 2}[matched[2]]
    return (stability, -int(matched[1]), -int(matched[3] or 0), version)


def _group(group: str, versions: Iterable[str]) -> dict[str, Any]:
    listed = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": listed, "preferredVersion": listed[0]}


def _resource_list(group: str, version: str, kinds: list[Kind] | None, actions: Actions) -> Any:
    if kinds is None:
        return None
    resources: list[dict[str, Any]] = []
    for kind in kinds:
        resources.append(
            {
                "name": kind.plural,
                "singularName": kind.singular or kind.kind.lower(),
                "namespaced": kind.namespaced,
                "kind": kind.kind,
                "verbs": list(kind.verbs),
                **_optional("shortNames", kind.short_names),
                **_optional("categories", kind.categories),
                "storageVersionHash": _hash(kind),
            }
        )
        for name, response, verbs in subresources(kind, actions):
            entry = {"name": f"{kind.plural}/{name}", "singularName": "", "namespaced": kind.namespaced}
            if response != _gvk(kind):
                entry |= {"group": response["group"], "version": response["version"]}
            resources.append({**entry, "kind": response["kind"], "verbs": list(verbs)})
    for plural, name, namespaced in _only_created(group, version, actions):
        resources.append(
            {
                "name": plural,
                "singularName": name.lower(),
                "namespaced": namespaced,
                "kind": name,
                "verbs": ["create"],
            }
        )
    api_version = f"{group}/{version}" if group else version
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": api_version,
        "resources": resources,
    }


def subresources(kind: Kind, actions: Actions) -> list[tuple[str, dict[str, str], tuple[str, ...]]]:
    """(name, the group, version and kind that it answers, verbs)."""
    found: list[tuple[str, dict[str, str], tuple[str, ...]]] = []
    if (kind.group, kind.plural) == ("", "namespaces"):
        found.append(("finalize", _gvk(kind), ("update",)))
    if kind.scale is not None:
        found.append(("scale", SCALE, ("get", "patch", "update")))
    if kind.status:
        found.append(("status", _gvk(kind), ("get", "patch", "update")))
    for (group, plural, name), action in actions.items():
        if name and (group, plural) == (kind.group, kind.plural):
            found.append((name, _gvk(action.kind), ("create",)))
    return sorted(found, key=lambda subresource: subresource[0])


def _only_created(group: str, version: str, actions: Actions) -> list[tuple[str, str, bool]]:
    """(plural, kind, namespaced) of the resources of a version that are never stored, by name."""
    return sorted(
        (plural, action.kind.kind, action.kind.namespaced)
        for (of_group, plural, subresource), action in actions.items()
        if not subresource and (of_group, action.kind.version) == (group, version)
    )


def _aggregated(
    version: str, groups: Mapping[str, Mapping[str, list[Kind]]], actions: Actions
) -> dict[str, Any]:
    items = []
    for group, versions in groups.items():
        listed = [
            {
                "version": name,
                "resources": _aggregated_resources(group, name, kinds, actions),
                "freshness": "Current",
            }
            for name, kinds in versions.items()
        ]
        metadata: dict[str, Any] = {"creationTimestamp": None}
        if group:
            metadata["name"] = group
        items.append({"metadata": metadata, "versions": listed})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }


def _aggregated_resources(
    group: str, version: str, kinds: list[Kind], actions: Actions
) -> list[dict[str, Any]]:
    resources: list[dict[str, Any]] = []
    for kind in kinds:
        below = [
            {"subresource": name, "responseKind": response, "verbs": list(verbs)}
            for name, response, verbs in subresources(kind, actions)
        ]
        resources.append(
            {
                "resource": kind.plural,
                "responseKind": _gvk(kind),
                "scope": "Namespaced" if kind.namespaced else "Cluster",
                "singularResource": kind.singular or kind.kind.lower(),
                "verbs": list(kind.verbs),
                **_optional("shortNames", kind.short_names),
                **_optional("categories", kind.categories),
                **({"subresources": below} if below else {}),
            }
        )
    for plural, name, namespaced in _only_created(group, version, actions):
        resources.append(
            {
                "resource": plural,
                "responseKind": {"group": group, "version": version, "kind": name},
                "scope": "Namespaced" if namespaced else "Cluster",
                "singularResource": name.lower(),
                "verbs": ["create"],
            }
        )
    return resources


def _gvk(kind: Kind) -> dict[str, str]:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _optional(field: str, values: tuple[str, ...]) -> dict[str, list[str]]:
    return {field: list(values)} if values else {}


def _hash(kind: Kind) -> str:
    digest = hashlib.sha256(f"{kind.group}/{kind.version}/{kind.kind}".encode()).hexdigest()
    return digest[:12]
