"""The table of protobuf fields against the OpenAPI definitions: two sources of the same facts must agree."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

import orjson
import pytest

from tests.api.test_protobuf import envelope, message
from towline.hub.api import protobuf
from towline.kube import builtin, schemas

TABLE: Mapping[str, Any] = orjson.loads(
    gzip.decompress(files("towline.kube").joinpath("assets", "kubernetes-protobuf.json.gz").read_bytes())
)
MESSAGES: Mapping[str, Mapping[str, list[str]]] = TABLE["messages"]
SCALARS = {
    "string": "string", "bytes": "string", "bool": "boolean", "double": "number",
    "int32": "integer", "int64": "integer", "uint32": "integer", "uint64": "integer",
}  # fmt: skip
JSON_ONLY = {"io.k8s.api.core.v1.NodeSystemInfo": {"runningInUserNamespace"}}
"""Fields of the definitions that the table, made from another version, does not have."""
ALPHA = "io.k8s.api.scheduling.v1alpha3."
"""What a Job refers to in a group that is not served. It reads as an empty object."""


def definition(name: str) -> str:
    return name.replace("apiextensions_apiserver", "apiextensions-apiserver")


def fields(name: str) -> Iterator[tuple[str, str, str]]:
    """(JSON name, type, flags) of a message's fields as they stand in JSON."""
    for json_name, of_type, flags in MESSAGES[name].values():
        if flags == "i":
            yield from fields(of_type)
        else:
            yield json_name, of_type, flags


def reached(name: str, found: set[str]) -> set[str]:
    if name in MESSAGES and name not in found:
        found.add(name)
        for _, of_type, _ in MESSAGES[name].values():
            reached(of_type, found)
    return found


def served() -> list[str]:
    """The messages that objects of served kinds are made of, apart from those with a JSON form of their own."""
    found: set[str] = set()
    for kind in builtin.kinds():
        reached(f"{TABLE['packages'][kind.api_version]}.{kind.kind}", found)
    return sorted(name for name in found if name not in protobuf._SPECIAL and definition(name) in DEFINITIONS)


DEFINITIONS = schemas.definitions()


def reference(node: Mapping[str, Any]) -> str:
    ref = node.get("$ref") or next((part.get("$ref", "") for part in node.get("allOf", ())), "")
    return str(ref).rpartition("/")[2]


def disagreement(of_type: str, flags: str, node: Mapping[str, Any]) -> str:
    if flags in ("r", "m"):
        holder, child = ("array", "items") if flags == "r" else ("object", "additionalProperties")
        if node.get("type") != holder:
            return f"is {node.get('type')}, not {holder}"
        node = node[child]
    ref = reference(node)
    if of_type in SCALARS:
        said = DEFINITIONS[ref].get("type") if ref else node.get("type")
        return "" if said == SCALARS[of_type] else f"is {said}, not {SCALARS[of_type]}"
    if of_type in protobuf._SPECIAL and not ref:
        return ""  # a type that OpenAPI writes out where it is used
    return "" if ref == definition(of_type) else f"is {ref or node.get('type')}, not {of_type}"


def test_every_served_kind_is_in_the_table() -> None:
    for kind in builtin.kinds():
        assert protobuf._type_of(kind.api_version, kind.kind) in MESSAGES


def test_every_type_that_a_field_of_a_served_kind_names_is_in_the_table() -> None:
    named = {of_type for name in served() for _, of_type, _ in MESSAGES[name].values()} - SCALARS.keys()
    assert {of_type for of_type in named - MESSAGES.keys() if not of_type.startswith(ALPHA)} == set()


def test_the_comparison_covers_the_kinds() -> None:
    assert len(served()) > 300


@pytest.mark.parametrize("name", served())
def test_fields_agree_with_the_definition(name: str) -> None:
    properties = DEFINITIONS[definition(name)].get("properties", {})
    found = {json_name: (of_type, flags) for json_name, of_type, flags in fields(name)}
    assert found.keys() <= properties.keys()
    lacking = properties.keys() - found.keys() - {"apiVersion", "kind"}
    assert lacking == JSON_ONLY.get(name, set())
    wrong = {f: disagreement(*found[f], properties[f]) for f in found}
    assert {f: why for f, why in wrong.items() if why} == {}


def test_what_go_embeds_without_a_name_stands_in_its_parent() -> None:
    debugger = message((1, message((1, "debug"), (2, "busybox"))), (2, "main"))
    pod = protobuf.decode(envelope("v1", "Pod", message((2, message((34, debugger))))))
    assert pod["spec"]["ephemeralContainers"] == [
        {"name": "debug", "image": "busybox", "targetContainerName": "main"}
    ]
