"""Writes towline/kube/assets/kubernetes-protobuf.json.gz: the protobuf field numbers of core/v1, meta/v1 and what these stand on.

    .venv/bin/pip install --no-deps --target DIR k8s-proto==0.0.3
    .venv/bin/python scripts/generate_protobuf.py DIR

The source is the `k8s-proto` package from PyPI: code that protoc generated from Kubernetes' definitions. Its generated modules
need a protobuf runtime older than ours (which is why it stands in a directory of its own, and not in the `generate` extra), so
nothing of it is imported: each module carries its file descriptor as a literal, which is read here. What Kubernetes added
later, and every other group, is written by hand in towline/kube/protobuf_fields.py.

Which zeros JSON always writes comes from the `required` lists of the built-in schemas (scripts/generate_schemas.py).

Kubernetes' definitions are Copyright The Kubernetes Authors, licensed under the Apache License 2.0
(https://www.apache.org/licenses/LICENSE-2.0); k8s-proto is Apache-2.0 too. The asset carries this in `meta`.
"""

from __future__ import annotations

import ast
import gzip
import importlib.metadata
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

from towline.kube import schemas
from towline.kube.protobuf_fields import CORE, META, RUNTIME

VERSION = "0.0.3"
ASSET = Path(__file__).parent.parent / "towline" / "kube" / "assets" / "kubernetes-protobuf.json.gz"

EMBEDDED = {
    f"{CORE}.VolumeSource", f"{CORE}.PersistentVolumeSource", f"{META}.Verbs",
    f"{RUNTIME}.TypeMeta", f"{RUNTIME}.Unknown",
}  # fmt: skip
"""Messages that OpenAPI does not name, because JSON never has them as such."""

SCALARS = {
    FieldDescriptorProto.TYPE_STRING: "string", FieldDescriptorProto.TYPE_BYTES: "bytes",
    FieldDescriptorProto.TYPE_BOOL: "bool", FieldDescriptorProto.TYPE_DOUBLE: "double",
    FieldDescriptorProto.TYPE_INT32: "int32", FieldDescriptorProto.TYPE_INT64: "int64",
    FieldDescriptorProto.TYPE_UINT32: "uint32", FieldDescriptorProto.TYPE_UINT64: "uint64",
}  # fmt: skip


def main() -> None:
    directory = Path(sys.argv[1])
    [package] = importlib.metadata.distributions(name="k8s-proto", path=[str(directory)])
    assert package.version == VERSION, package.version
    definitions = schemas.definitions()
    messages: dict[str, dict[int, list[Any]]] = {}
    for file in descriptors(directory):
        for message in file.message_type:
            name = openapi_name(f"{file.package}.{message.name}")
            if name in definitions or name in EMBEDDED:
                messages[name] = fields_of(message, definitions.get(name))
    document = {
        "meta": {
            "source": f"the PyPI package k8s-proto {VERSION}",
            "notice": "Field numbers of Kubernetes, Copyright The Kubernetes Authors, Apache-2.0",
        },
        "messages": dict(sorted(messages.items())),
    }
    data = gzip.compress(json.dumps(document, separators=(",", ":")).encode(), 9, mtime=0)
    ASSET.write_bytes(data)
    print(f"{len(messages)} messages, {len(data)} bytes")


def descriptors(directory: Path) -> Iterator[FileDescriptorProto]:
    for path in sorted(directory.glob("k8s/io/**/*_pb2.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "serialized_pb":
                text = next(n.value for n in ast.walk(node) if isinstance(n, ast.Constant))
                assert isinstance(text, str), path
                yield FileDescriptorProto.FromString(text.encode("latin-1"))


def fields_of(message: DescriptorProto, definition: Any) -> dict[int, list[Any]]:
    """{number: [JSON name, type, form, zero]}: a `Field` of towline.kube.protobuf_fields. A message that has gone from
    Kubernetes is left out, for who does not say it does not send it. A scalar that has gone stays: old clients send its zero."""
    maps = {entry.name: entry for entry in message.nested_type if entry.options.map_entry}
    properties = (definition or {}).get("properties")
    fields: dict[int, list[Any]] = {}
    for field in message.field:
        entry = maps.get(field.type_name.rpartition(".")[2])
        of_type = type_name(entry.field[1] if entry else field)
        if properties and field.name not in properties and field.type not in SCALARS:
            continue
        form = "map" if entry else "list" if field.label == FieldDescriptorProto.LABEL_REPEATED else ""
        zero = not form and field.type in SCALARS and field.name in (definition or {}).get("required", ())
        fields[field.number] = [field.name, of_type, form, zero]
    return fields


def type_name(field: FieldDescriptorProto) -> str:
    return SCALARS.get(field.type) or openapi_name(field.type_name.lstrip("."))


def openapi_name(name: str) -> str:
    """`k8s.io.api.apps.v1` -> `io.k8s.api.apps.v1`, as OpenAPI calls it."""
    return "io.k8s." + name.removeprefix("k8s.io.")


if __name__ == "__main__":
    main()
