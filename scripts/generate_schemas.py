"""Writes towline/kube/assets/kubernetes*.json.gz: the schemas of Kubernetes' built-in kinds.

    .venv/bin/pip install -e '.[generate]' && .venv/bin/python scripts/generate_schemas.py

The source is the `kubernetes-validate` package, which carries Kubernetes' published OpenAPI definitions
rewritten as JSON Schema. This script undoes that rewriting (nullable types, `$defs` references), keeps the
definitions that GA kinds need, puts back the defaults that list keys rely on, and splits the descriptions
into a second file, which only /openapi needs.

Kubernetes' OpenAPI definitions are Copyright The Kubernetes Authors, licensed under the Apache License 2.0
(https://www.apache.org/licenses/LICENSE-2.0); kubernetes-validate is Apache-2.0 too. The assets carry this in
`meta`.
"""

from __future__ import annotations

import gzip
import importlib.metadata
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate

PACKAGE = Path(kubernetes_validate.__file__).parent
ASSETS = Path(__file__).parent.parent / "towline" / "kube" / "assets"
META = "io.k8s.apimachinery.pkg."
GA_GROUP = re.compile(r"io\.k8s\.(api|apiextensions-apiserver|kube-aggregator)\..*\.v[0-9]+\.[A-Za-z]+$")

REPLACED: dict[str, Any] = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {
        "x-kubernetes-int-or-string": True,
        "format": "int-or-string",
        "oneOf": [{"type": "integer"}, {"type": "string"}],
    },
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {
        "format": "quantity",
        "oneOf": [{"type": "string"}, {"type": "number"}],
    },
}
"""Definitions whose original form cannot be told from the rewritten one."""

FREE_FORM = (
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Patch",
    "io.k8s.apimachinery.pkg.runtime.RawExtension",
)
"""Definitions that take any JSON below them."""

DEFAULTS = {
    ("io.k8s.api.core.v1.ContainerPort", "protocol"): "TCP",
    ("io.k8s.api.core.v1.ServicePort", "protocol"): "TCP",
    ("io.k8s.api.core.v1.LocalObjectReference", "name"): "",
}
"""Defaults that stand in Kubernetes' definitions and take part in list keys; the package dropped all
defaults."""


def main() -> None:
    version, definitions = newest_definitions()
    names = needed(definitions)
    converted = {name: REPLACED.get(name) or convert(definitions[name]) for name in sorted(names)}
    for name in FREE_FORM:
        converted[name]["x-kubernetes-preserve-unknown-fields"] = True
    for (name, field), value in DEFAULTS.items():
        converted[name]["properties"][field]["default"] = value
    descriptions: dict[str, str] = {}
    bare = {name: without_descriptions(node, name, descriptions) for name, node in converted.items()}
    meta = {
        "source": f"kubernetes-validate {importlib.metadata.version('kubernetes-validate')}",
        "version": version,
        "notice": "OpenAPI definitions of Kubernetes, Copyright The Kubernetes Authors, Apache-2.0",
    }
    ASSETS.mkdir(exist_ok=True)
    write("kubernetes.json.gz", {"meta": meta, "definitions": bare})
    write("kubernetes-descriptions.json.gz", {"meta": meta, "descriptions": descriptions})


def newest_definitions() -> tuple[str, dict[str, Any]]:
    """The newest Kubernetes version in the package, and its definitions."""
    root = PACKAGE / "kubernetes-json-schema"
    versions = [
        tuple(map(int, m[1].split(".")))
        for p in root.iterdir()
        if (m := re.fullmatch(r"v([0-9.]+)-local", p.name))
    ]
    version = ".".join(map(str, max(versions)))
    document = json.loads((root / f"v{version}-local" / "_definitions.json").read_bytes())
    return version, document["$defs"]


def needed(definitions: dict[str, Any]) -> set[str]:
    """GA groups and the meta types, and everything they refer to."""
    found: set[str] = set()
    todo = [name for name in definitions if name.startswith(META) or GA_GROUP.match(name)]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo.extend(references(definitions[name]))
    return found


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].rpartition("/")[2]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


def convert(node: dict[str, Any]) -> dict[str, Any]:
    """One node of JSON Schema as a node of OpenAPI v3. A reference with siblings becomes `allOf`, as
    Kubernetes publishes it, because OpenAPI 3.0 ignores what stands beside a `$ref`."""
    out: dict[str, Any] = {}
    for keyword, value in node.items():
        if keyword == "type" and isinstance(value, list):
            out["type"] = next(t for t in value if t != "null")
        elif keyword == "properties":
            out["properties"] = {name: convert(child) for name, child in value.items()}
        elif keyword in ("items", "additionalProperties") and isinstance(value, dict):
            out[keyword] = convert(value)
        elif keyword == "enum":
            continue  # only apiVersion and kind of each kind: the package's addition
        elif keyword != "$ref":
            out[keyword] = value
    if "$ref" in node:
        reference = {"$ref": "#/components/schemas/" + node["$ref"].rpartition("/")[2]}
        return {**out, "allOf": [reference]} if out else reference
    return out


def without_descriptions(node: Any, path: str, descriptions: dict[str, str]) -> Any:
    """`node` without descriptions (and with plain `$ref` where only a description stood beside it); these go
    to `descriptions`, by their JSON pointer below the definitions."""
    if not isinstance(node, dict):
        return node
    out: dict[str, Any] = {}
    for keyword, value in node.items():
        if keyword == "description" and isinstance(value, str):
            descriptions[path] = value
        elif keyword == "properties":
            out["properties"] = {
                name: without_descriptions(child, f"{path}/properties/{name}", descriptions)
                for name, child in value.items()
            }
        elif keyword in ("items", "additionalProperties"):
            out[keyword] = without_descriptions(value, f"{path}/{keyword}", descriptions)
        else:
            out[keyword] = value
    return out["allOf"][0] if list(out) == ["allOf"] else out


def write(name: str, document: Any) -> None:
    text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    # mtime 0: the same input gives the same file
    (ASSETS / name).write_bytes(gzip.compress(text, 9, mtime=0))
    print(name, len(text), (ASSETS / name).stat().st_size)


if __name__ == "__main__":
    main()
