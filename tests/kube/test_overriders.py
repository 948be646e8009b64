"""The seven overriders, one table each (Karmada 1.3, 2.5)."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from towline.kube import images, overriders, yaml_text
from towline.kube.objects import Object, copy
from towline.kube.overriders import OverrideError

DIGEST = "sha256:" + "0123456789abcdef" * 4
OTHER = "sha256:" + "fedcba9876543210" * 4


def deployment(image: str = "nginx:1", **container: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
        "spec": {
            "replicas": 3,
            "template": {
                "spec": {
                    "containers": [{"name": "main", "image": image, **container}, {"name": "side"}],
                    "initContainers": [{"name": "main", "image": "busybox:1", "args": ["a"]}],
                }
            },
        },
    }


def main(obj: Object) -> Object:
    found: Object = obj["spec"]["template"]["spec"]["containers"][0]
    return found


def over(obj: Object, **changes: Any) -> Object:
    """Carries changes out, and sees that what was given is as it was."""
    before = copy(obj)
    after = overriders.changed(obj, changes, "spec.overriders")
    assert obj == before
    return after


def refusal(obj: Object, **changes: Any) -> OverrideError:
    with pytest.raises(OverrideError) as caught:
        over(obj, **changes)
    return caught.value


# --- images --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("nginx", "", "nginx", "", ""),
        ("nginx:1.27", "", "nginx", "1.27", ""),
        ("library/nginx:1", "", "library/nginx", "1", ""),
        ("quay.io/team/web:v1", "quay.io", "team/web", "v1", ""),
        ("localhost/web", "localhost", "web", "", ""),
        ("host:5000/web", "host:5000", "web", "", ""),
        (f"quay.io/web@{DIGEST}", "quay.io", "web", "", DIGEST),
        (f"web:v1@{DIGEST}", "", "web", "v1", DIGEST),
    ],
)
def test_an_image_in_its_parts(text: str, registry: str, repository: str, tag: str, digest: str) -> None:
    image = images.parse(text)
    assert (image.registry, image.repository, image.tag, image.digest) == (registry, repository, tag, digest)
    assert str(image) == text


@pytest.mark.parametrize("text", ["", ":1", "quay.io/", "web:", "web: 1", "a b", "@sha256:00"])
def test_what_names_no_image(text: str) -> None:
    with pytest.raises(ValueError, match="is not the name of an image"):
        images.parse(text)


@pytest.mark.parametrize(
    ("image", "component", "operator", "value", "expected"),
    [
        ("nginx:1", "Registry", "add", "quay.io", "quay.io/nginx:1"),
        ("quay.io/nginx:1", "Registry", "add", ":443", "quay.io:443/nginx:1"),
        ("quay.io/nginx:1", "Registry", "replace", "eu.example:5000", "eu.example:5000/nginx:1"),
        ("nginx", "Registry", "replace", "eu.example", "eu.example/nginx"),
        ("quay.io/nginx:1", "Registry", "remove", None, "nginx:1"),
        ("quay.io/team/web:1", "Repository", "add", "-arm", "quay.io/team/web-arm:1"),
        ("quay.io/team/web:1", "Repository", "replace", "other/web", "quay.io/other/web:1"),
        ("web:1", "Tag", "add", "-alpine", "web:1-alpine"),
        ("web", "Tag", "add", "1", "web:1"),
        ("web:1", "Tag", "replace", "2", "web:2"),
        ("web", "Tag", "replace", "2", "web:2"),
        ("web:1", "Tag", "replace", DIGEST, f"web@{DIGEST}"),
        (f"web@{DIGEST}", "Tag", "replace", "2", "web:2"),
        (f"web@{DIGEST}", "Tag", "replace", OTHER, f"web@{OTHER}"),
        (f"web:1@{DIGEST}", "Tag", "replace", "2", "web:2"),
        ("web:1", "Tag", "remove", None, "web"),
        (f"web:1@{DIGEST}", "Tag", "remove", None, "web"),
        ("web", "Tag", "remove", None, "web"),
    ],
)
def test_image_overrider(image: str, component: str, operator: str, value: str | None, expected: str) -> None:
    change = {"component": component, "operator": operator, **({"value": value} if value else {})}
    after = over(deployment(image), imageOverrider=[change])
    assert main(after)["image"] == expected
    spec = after["spec"]["template"]["spec"]
    assert spec["containers"][1] == {"name": "side"}, "a container without an image"
    assert spec["initContainers"][0]["image"] == "busybox:1", "never initContainers"
    by_path = {**change, "predicate": {"path": "/spec/template/spec/containers/0/image"}}
    assert over(deployment(image), imageOverrider=[by_path]) == after


@pytest.mark.parametrize(
    ("api_version", "kind", "known"),
    [
        ("v1", "Pod", True),
        *(("apps/v1", kind, True) for kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet")),
        ("batch/v1", "Job", True),
        ("batch/v1", "CronJob", False),
        ("apps.kruise.io/v1beta1", "StatefulSet", True),
        ("example.com/v1", "Application", False),
    ],
)
def test_kinds_whose_containers_are_known(api_version: str, kind: str, known: bool) -> None:
    pod = {"containers": [{"name": "main", "image": "nginx"}]}
    obj: Object = {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": "x"},
        "spec": pod if kind == "Pod" else {"template": {"spec": pod}},
    }
    changes = {
        "imageOverrider": [{"component": "Tag", "operator": "add", "value": "2"}],
        "commandOverrider": [{"containerName": "main", "operator": "add", "value": ["sh"]}],
        "argsOverrider": [{"containerName": "main", "operator": "add", "value": ["-c"]}],
    }
    after = over(obj, **changes)
    spec = after["spec"] if kind == "Pod" else after["spec"]["template"]["spec"]
    expected = {"name": "main", "image": "nginx:2", "command": ["sh"], "args": ["-c"]}
    assert spec["containers"] == ([expected] if known else pod["containers"])


def test_a_predicate_reaches_any_field() -> None:
    crontab = {
        "apiVersion": "example.com/v1",
        "kind": "Tab",
        "metadata": {"name": "x"},
        "spec": {"image": "a/b:1"},
    }
    change = {
        "predicate": {"path": "/spec/image"},
        "component": "Registry",
        "operator": "add",
        "value": "q.io",
    }
    assert over(crontab, imageOverrider=[change])["spec"]["image"] == "q.io/a/b:1"


# --- commands, arguments, labels, annotations ----------------------------------------------------------------


@pytest.mark.parametrize("field", ["command", "args"])
@pytest.mark.parametrize(
    ("present", "operator", "value", "expected"),
    [
        (["a"], "add", ["b", "a"], ["a", "b", "a"]),
        (None, "add", ["b"], ["b"]),
        (None, "add", [], None),
        (["a", "b", "a"], "remove", ["a", "z"], ["b"]),
        (["a"], "remove", ["a"], None),
        (None, "remove", ["a"], None),
        (["a"], "remove", None, ["a"]),
    ],
)
def test_command_and_args_overriders(
    field: str, present: list[str] | None, operator: str, value: list[str] | None, expected: list[str] | None
) -> None:
    change = {"containerName": "main", "operator": operator, **({} if value is None else {"value": value})}
    before: Object = {field: present} if present else {}
    after = over(deployment(**before), **{f"{field}Overrider": [change]})
    assert main(after).get(field) == expected
    assert after["spec"]["template"]["spec"]["containers"][1] == {"name": "side"}
    elsewhere = {**change, "containerName": "nobody"}
    assert over(deployment(), **{f"{field}Overrider": [elsewhere]}) == deployment()


@pytest.mark.parametrize("field", ["labels", "annotations"])
@pytest.mark.parametrize(
    ("present", "operator", "value", "expected"),
    [
        ({"a": "1"}, "add", {"a": "2", "b": "3"}, {"a": "2", "b": "3"}),
        (None, "add", {"b": "3"}, {"b": "3"}),
        ({"a": "1"}, "replace", {"a": "2", "b": "3"}, {"a": "2"}),
        (None, "replace", {"a": "2"}, None),
        ({"a": "1", "c": "4"}, "remove", {"a": "", "z": ""}, {"c": "4"}),
        ({"a": "1"}, "remove", {"a": "whatever"}, None),
        (None, "remove", {"a": ""}, None),
    ],
)
def test_labels_and_annotations_overriders(
    field: str, present: Any, operator: str, value: dict[str, str], expected: Any
) -> None:
    obj = deployment()
    obj["metadata"].pop("labels")
    if present:
        obj["metadata"][field] = present
    after = over(obj, **{f"{field}Overrider": [{"operator": operator, "value": value}]})
    assert after["metadata"].get(field) == expected
    assert after["spec"] is obj["spec"], "what an overrider leaves alone is shared"


# --- fields in text ------------------------------------------------------------------------------------------


def settings(text: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "s"}, "data": {"a.conf": text}}


PATCHES = [
    {"subPath": "/db/host", "operator": "replace", "value": "eu"},
    {"subPath": "/db/port", "operator": "add", "value": 5432},
    {"subPath": "/old", "operator": "remove"},
    {"subPath": "/list/-", "operator": "add", "value": {"deep": [True, None]}},
]
BEFORE = {"db": {"host": "us"}, "old": 1, "list": ["a"], "big": 12345678901234567890123}
AFTER = {**BEFORE, "db": {"host": "eu", "port": 5432}, "list": ["a", {"deep": [True, None]}]}
del AFTER["old"]


def test_field_overrider_of_json() -> None:
    after = over(
        settings(json.dumps(BEFORE)), fieldOverrider=[{"fieldPath": "/data/a.conf", "json": PATCHES}]
    )
    assert after["data"]["a.conf"] == json.dumps(AFTER, separators=(",", ":")), "compact, in its order"


def test_field_overrider_of_yaml() -> None:
    after = over(
        settings(yaml.safe_dump(BEFORE)), fieldOverrider=[{"fieldPath": "/data/a.conf", "yaml": PATCHES}]
    )
    assert yaml.safe_load(after["data"]["a.conf"]) == AFTER


def test_yaml_that_nobody_changed_means_the_same_in_every_version_of_yaml() -> None:
    text = "\n".join(
        ["a: no", "b: 'no'", "c: 010", "d: 1:30", "e: 2026-01-01", "f: 0x1F", "g: |", "  two", "  lines", "80: x", "h: 1_000",
         "i: True", "j: .inf", "k: ~"]
    ) + "\n"  # fmt: skip
    value = yaml_text.parse(text)
    assert all(isinstance(key, str) for key in value)
    again = yaml_text.encode({**value, "new": "yes"})
    assert yaml.safe_load(again) == {**yaml.safe_load(text), "new": "yes"}
    assert again.startswith(
        "a: no\nb: 'no'\nc: 010\nd: 1:30\ne: 2026-01-01\nf: 0x1F\ng: |\n  two\n  lines\n80: x\n"
    )


@cases(100)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=8,
    )
)
def test_yaml_text_comes_back(value: Any) -> None:
    text = yaml.safe_dump(value)
    assert yaml.safe_load(yaml_text.encode(yaml_text.parse(text))) == yaml.safe_load(text)


# --- any field -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"path": "/spec/replicas", "operator": "replace", "value": 7}, {"replicas": 7}),
        ({"path": "/spec/paused", "operator": "add", "value": True}, {"replicas": 3, "paused": True}),
        ({"path": "/spec/paused", "operator": "add"}, {"replicas": 3, "paused": None}),
        ({"path": "/spec/replicas", "operator": "remove"}, {}),
        ({"path": "/spec/a~1b~0c", "operator": "add", "value": {}}, {"replicas": 3, "a/b~c": {}}),
    ],
)
def test_plaintext_overrider(change: Object, expected: Object) -> None:
    spec = over(deployment(), plaintext=[change])["spec"]
    spec = {field: value for field, value in spec.items() if field != "template"}
    assert spec == expected


def test_overriders_are_carried_out_in_karmadas_order_whatever_the_order_of_fields() -> None:
    changes = {
        "plaintext": [{"path": "/metadata/labels/app", "operator": "replace", "value": "last"}],
        "labelsOverrider": [{"operator": "add", "value": {"app": "first"}}],
    }
    assert over(deployment(), **changes)["metadata"]["labels"]["app"] == "last"


# --- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "change", "why"),
    [
        ("plaintext", {"path": "/spec/x/y", "operator": "remove"}, "cannot remove /spec/x: the path does not exist"),
        ("plaintext", {"path": "/spec/x", "operator": "replace", "value": 1}, "cannot replace /spec/x: the path"),
        ("plaintext", {"path": "", "operator": "remove"}, "nothing would be left of the object"),
        ("plaintext", {"path": "/metadata", "operator": "replace", "value": 1}, "nothing would be left of the object"),
        ("plaintext", {"path": "/kind", "operator": "replace", "value": "Job"}, "apiVersion and kind cannot be changed"),
        ("plaintext", {"path": "/metadata/name", "operator": "replace", "value": "b"}, "cannot be changed"),
        ("plaintext", {"path": "/metadata/namespace", "operator": "replace", "value": "b"}, "cannot be changed"),
        ("plaintext", {"path": "/metadata/labels", "operator": "replace", "value": "b"}, "must be a map of strings"),
        ("plaintext", {"path": "/metadata/annotations", "operator": "add", "value": {"a": 1}}, "a map of strings"),
        ("labelsOverrider", {"operator": "add", "value": {"a": "not a label"}}, "label a: 'not a label'"),
        ("imageOverrider", {"component": "Repository", "operator": "remove"}, "nothing would be left of the repository"),
        ("imageOverrider", {"component": "Tag", "operator": "replace", "value": "a b"}, "is not the name of an image"),
        ("imageOverrider", {"component": "Tag", "operator": "add", "value": "1", "predicate": {"path": "/spec/x"}},
         "cannot add /spec/x: the path does not exist"),
        ("imageOverrider", {"component": "Tag", "operator": "add", "value": "1", "predicate": {"path": "/spec/replicas"}},
         "/spec/replicas holds no text"),
        ("fieldOverrider", {"fieldPath": "/spec", "json": PATCHES}, "/spec holds no text"),
        ("fieldOverrider", {"fieldPath": "/data", "json": PATCHES}, "/data: the path does not exist"),
        ("fieldOverrider", {"fieldPath": "/metadata/name", "json": PATCHES}, "the text at /metadata/name is not JSON"),
        ("fieldOverrider", {"fieldPath": "/metadata/labels/app", "yaml": [{"subPath": "/a", "operator": "remove"}]},
         "yaml[0]: cannot remove /a: the path does not exist in the text at /metadata/labels/app"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_says_where_and_why(field: str, change: Object, why: str) -> None:
    fine: Object = {"labelsOverrider": [], "plaintext": []}
    error = refusal(deployment(), **{**fine, field: [change]})
    assert error.path == f"spec.overriders.{field}[0]" and why in error.why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [", "is not YAML: did not find expected node content at line 2"),
        ("a: 1\n---\nb: 2", "is not YAML: but found another document"),
        ("!!python/object:os.system x", "could not determine a constructor"),
        ("a: " + "x" * yaml_text.TEXT_LENGTH_MAX, "is longer than"),
        ("[" * 2000, "is not YAML"),
    ],
)
def test_text_that_is_not_yaml(text: str, why: str) -> None:
    change = {"fieldPath": "/data/a.conf", "yaml": [{"subPath": "/a", "operator": "remove"}]}
    assert why in refusal(settings(text), fieldOverrider=[change]).why


def test_an_image_with_a_digest_takes_no_addition() -> None:
    change = {"component": "Tag", "operator": "add", "value": "-x"}
    assert "has a digest" in refusal(deployment(f"web@{DIGEST}"), imageOverrider=[change]).why


@pytest.mark.parametrize(
    "spec", [None, 1, [], {"template": {"spec": {"containers": ["x", None, {"image": 3}]}}}]
)
def test_objects_of_any_shape_are_stood(spec: Any) -> None:
    obj = {**deployment(), "spec": spec}
    changes = {
        "imageOverrider": [{"component": "Tag", "operator": "remove"}],
        "argsOverrider": [{"containerName": "main", "operator": "add", "value": ["x"]}],
    }
    assert over(obj, **changes) == obj
