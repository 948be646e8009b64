"""The table of protobuf fields against the OpenAPI definitions: two sources of the same facts must agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.kube.protobuf_wire import envelope, field, message
from towline.kube import builtin, protobuf, schemas
from towline.kube.protobuf_fields import META, PACKAGES, SCALARS, Field

TABLE = protobuf.table()
DEFINITIONS = schemas.definitions()
JSON_TYPES = {
    "string": "string", "bytes": "string", "bool": "boolean", "int32": "integer", "int64": "integer",
}  # fmt: skip
JSON_ONLY = {"CustomResourceDefinition"}
"""Kinds that no client sends as protobuf."""
GONE = {f"{META}.ObjectMeta": {"clusterName"}, "io.k8s.api.core.v1.EventSeries": {"state"}}
"""Fields that the definitions have no more. Old clients send them empty."""
CORE = "io.k8s.api.core.v1"
LATER = {
    "io.k8s.api.authentication.v1.TokenRequestSpec": {"attestations"},
    "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerCondition": {"observedGeneration"},
    "io.k8s.api.batch.v1.JobSpec": {"scheduling"},
    "io.k8s.api.storage.v1.CSIDriverSpec": {"serviceAccountTokenInSecrets", "preventPodSchedulingIfMissing"},
    f"{CORE}.ClusterTrustBundleProjection": {"user"},
    f"{CORE}.ConfigMapVolumeSource": {"defaultUser"},
    f"{CORE}.Container": {"restartPolicyRules"},
    f"{CORE}.DownwardAPIVolumeFile": {"user"},
    f"{CORE}.DownwardAPIVolumeSource": {"defaultUser"},
    f"{CORE}.EmptyDirVolumeSource": {"mode"},
    f"{CORE}.EnvVarSource": {"fileKeyRef"},
    f"{CORE}.EphemeralContainer": {"restartPolicyRules"},
    f"{CORE}.GRPCAction": {"mode"},
    f"{CORE}.HTTPGetAction": {"protocol"},
    f"{CORE}.KeyToPath": {"user"},
    f"{CORE}.NodeSpec": {"podPreemptionPolicy"},
    f"{CORE}.NodeStatus": {"declaredFeatures"},
    f"{CORE}.NodeSystemInfo": {"swap", "runningInUserNamespace"},
    f"{CORE}.PersistentVolumeClaimStatus": {"healthStatus"},
    f"{CORE}.PodSpec": {"schedulingGroup", "evictionResponders", "hostnameOverride"},
    f"{CORE}.PodStatus": {
        "allocatedResources", "extendedResourceClaimStatus", "nodeAllocatableResourceClaimStatuses", "resources",
        "volumeHealth",
    },
    f"{CORE}.ProjectedVolumeSource": {"defaultUser"},
    f"{CORE}.ResourceHealth": {"message"},
    f"{CORE}.SecretVolumeSource": {"defaultUser"},
    f"{CORE}.ServiceAccountTokenProjection": {"user"},
    f"{CORE}.VolumeMount": {"bindMountOptions"},
    f"{CORE}.VolumeMountStatus": {"volumeStatus"},
    f"{CORE}.VolumeProjection": {"podCertificate"},
}  # fmt: skip
"""Fields that came after Kubernetes 1.33. They are refused by number."""


def fields(name: str) -> Iterator[Field]:
    """The fields of a message as they stand in JSON."""
    for found in TABLE[name].values():
        if found.form == "inline":
            yield from fields(found.of_type)
        else:
            yield found


def reached(name: str, found: set[str]) -> set[str]:
    if name in TABLE and name not in found:
        found.add(name)
        for part in TABLE[name].values():
            reached(part.of_type, found)
    return found


def served() -> list[str]:
    """The messages that objects of served kinds are made of, apart from those with a JSON form of their own."""
    found = reached(f"{META}.DeleteOptions", set())
    for api_version, kind in KINDS:
        reached(f"{PACKAGES[api_version]}.{kind}", found)
    return sorted(name for name in found if name not in protobuf._SPECIAL and name in DEFINITIONS)


KINDS = [
    *((kind.api_version, kind.kind) for kind in builtin.kinds() if kind.kind not in JSON_ONLY),
    ("policy/v1", "Eviction"),
    ("autoscaling/v1", "Scale"),
    ("authorization.k8s.io/v1", "LocalSubjectAccessReview"),
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview"),
    ("authorization.k8s.io/v1", "SelfSubjectRulesReview"),
    ("authorization.k8s.io/v1", "SubjectAccessReview"),
    ("authentication.k8s.io/v1", "SelfSubjectReview"),
    ("authentication.k8s.io/v1", "TokenRequest"),
    ("authentication.k8s.io/v1", "TokenReview"),
]


def reference(node: Mapping[str, Any]) -> str:
    ref = node.get("$ref") or next((part.get("$ref", "") for part in node.get("allOf", ())), "")
    return str(ref).rpartition("/")[2]


def disagreement(found: Field, node: Mapping[str, Any]) -> str:
    if found.form:
        holder, child = ("array", "items") if found.form == "list" else ("object", "additionalProperties")
        if node.get("type") != holder:
            return f"is {node.get('type')}, not {holder}"
        node = node[child]
    ref = reference(node)
    if found.of_type in SCALARS:
        said = DEFINITIONS[ref].get("type") if ref else node.get("type")
        return "" if said == JSON_TYPES[found.of_type] else f"is {said}, not {JSON_TYPES[found.of_type]}"
    if found.of_type in protobuf._SPECIAL and not ref:
        return ""  # a type that OpenAPI writes out where it is used
    return "" if ref == found.of_type else f"is {ref or node.get('type')}, not {found.of_type}"


def test_every_served_kind_is_in_the_table() -> None:
    for api_version, kind in KINDS:
        assert protobuf._type_of(api_version, kind) in TABLE


def test_every_type_that_a_field_names_is_in_the_table() -> None:
    named = {found.of_type for message in TABLE.values() for found in message.values()}
    assert named - SCALARS - TABLE.keys() == set()


def test_a_name_stands_once_in_a_message() -> None:
    for name in TABLE:
        names = [found.name for found in fields(name)]
        assert len(names) == len(set(names)), name


def test_the_comparison_covers_the_kinds() -> None:
    assert len(served()) > 280


@pytest.mark.parametrize("name", served())
def test_fields_agree_with_the_definition(name: str) -> None:
    properties = DEFINITIONS[name].get("properties", {})
    found = {field.name: field for field in fields(name)}
    assert found.keys() - properties.keys() == GONE.get(name, set())
    wrong = {name: disagreement(found[name], properties[name]) for name in found.keys() & properties.keys()}
    assert {name: why for name, why in wrong.items() if why} == {}


@pytest.mark.parametrize("name", served())
def test_the_zero_of_a_field_that_must_be_there_is_said(name: str) -> None:
    required = DEFINITIONS[name].get("required", ())
    silent = {f.name for f in fields(name) if f.of_type in SCALARS and not f.form and not f.zero}
    assert silent & set(required) == set()


@pytest.mark.parametrize("name", served())
def test_every_field_that_was_there_in_1_33_is_in_the_table(name: str) -> None:
    lacking = DEFINITIONS[name].get("properties", {}).keys() - {field.name for field in fields(name)}
    assert lacking - {"apiVersion", "kind"} == LATER.get(name, set())


def test_what_go_embeds_without_a_name_stands_in_its_parent() -> None:
    debugger = message((1, message((1, "debug"), (2, "busybox"))), (2, "main"))
    pod = protobuf.decode(envelope("v1", "Pod", message((2, message((34, debugger))))))
    assert pod["spec"]["ephemeralContainers"] == [
        {"name": "debug", "image": "busybox", "targetContainerName": "main"}
    ]


@pytest.mark.parametrize(
    ("api_version", "kind", "raw", "said"),
    [
        ("apps/v1", "Deployment", field(2, field(77, 1)), "field 77 of io.k8s.api.apps.v1.DeploymentSpec"),
        ("v1", "Pod", field(1, field(99, "x")), f"field 99 of {META}.ObjectMeta"),
        ("v1", "Event", field(6, field(3, 1)), f"field 3 of {META}.Time"),
        (
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            b"",
            "CustomResourceDefinition of apiextensions",
        ),
        ("v1", "Gadget", b"", "Gadget of v1"),
    ],
)
def test_what_is_not_known_is_refused_and_json_asked_for(
    api_version: str, kind: str, raw: bytes, said: str
) -> None:
    with pytest.raises(protobuf.ProtobufError) as refused:
        protobuf.decode(envelope(api_version, kind, raw))
    assert said in str(refused.value) and "send JSON" in str(refused.value)
