"""URLs as requests: pure tables."""

from __future__ import annotations

import pytest

from towline.hub.api import bodies, paths
from towline.hub.api.bodies import Accepted
from towline.hub.api.paths import Attributes
from towline.hub.api.status import StatusError
from towline.kube.cells import human_duration


def resource(
    verb: str, group: str, version: str, plural: str, *, sub: str = "", ns: str = "", name: str = ""
) -> tuple[str, ...]:
    return (verb, group, version, plural, sub, ns, name)


@pytest.mark.parametrize(
    ("method", "url", "expected"),
    [
        ("GET", "/api/v1/pods", resource("list", "", "v1", "pods")),
        ("GET", "/api/v1/namespaces/a/pods", resource("list", "", "v1", "pods", ns="a")),
        ("GET", "/api/v1/namespaces/a/pods/b", resource("get", "", "v1", "pods", ns="a", name="b")),
        ("GET", "/api/v1/namespaces", resource("list", "", "v1", "namespaces")),
        ("GET", "/api/v1/namespaces/a", resource("get", "", "v1", "namespaces", ns="a", name="a")),
        ("PUT", "/api/v1/namespaces/a/finalize", resource("update", "", "v1", "namespaces", sub="finalize", ns="a", name="a")),
        ("GET", "/api/v1/namespaces/a/status", resource("get", "", "v1", "namespaces", sub="status", ns="a", name="a")),
        ("POST", "/apis/apps/v1/namespaces/a/deployments", resource("create", "apps", "v1", "deployments", ns="a")),
        ("DELETE", "/apis/apps/v1/namespaces/a/deployments", resource("deletecollection", "apps", "v1", "deployments", ns="a")),
        ("DELETE", "/apis/apps/v1/namespaces/a/deployments/d", resource("delete", "apps", "v1", "deployments", ns="a", name="d")),
        ("PATCH", "/apis/apps/v1/namespaces/a/deployments/d/scale",
         resource("patch", "apps", "v1", "deployments", sub="scale", ns="a", name="d")),
        ("GET", "/apis/g.io/v1/things/t", resource("get", "g.io", "v1", "things", name="t")),
        ("POST", "/api/v1/namespaces/a/serviceaccounts/s/token",
         resource("create", "", "v1", "serviceaccounts", sub="token", ns="a", name="s")),
        ("GET", "/api/v1/watch/namespaces/a/pods", resource("watch", "", "v1", "pods", ns="a")),
        ("GET", "/api/v1/watch/namespaces/a/pods/b", resource("watch", "", "v1", "pods", ns="a", name="b")),
        ("GET", "/apis/apps/v1//namespaces/a/deployments/", resource("list", "apps", "v1", "deployments", ns="a")),
    ],
)  # fmt: skip
def test_resources(method: str, url: str, expected: tuple[str, ...]) -> None:
    at = paths.attributes(method, url, {})
    found = (at.verb, at.group, at.version, at.resource, at.subresource, at.namespace, at.name)
    assert found == expected and at.resource_request


@pytest.mark.parametrize(
    "path", ["/", "/version", "/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/openapi/v3"]
)
def test_what_is_no_resource(path: str) -> None:
    assert paths.attributes("GET", path, {}) == Attributes("get", path)


@pytest.mark.parametrize(
    ("value", "watching"), [("1", True), ("true", True), ("", True), ("0", False), ("false", False)]
)
def test_watches(value: str, watching: bool) -> None:
    at = paths.attributes("GET", "/api/v1/pods", {"watch": value})
    assert at.verb == ("watch" if watching else "list")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/api/v1/pods"),
        ("POST", "/api/v1/namespaces/a/pods/b"),
        ("TRACE", "/api/v1/pods"),
        ("HEAD", "/api/v1/pods"),
    ],
)
def test_methods_that_do_not_fit(method: str, path: str) -> None:
    with pytest.raises(StatusError) as refused:
        paths.attributes(method, path, {})
    assert refused.value.code == 405


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", Accepted("plain")),
        ("*/*", Accepted("plain")),
        ("application/json", Accepted("plain")),
        ("application/vnd.kubernetes.protobuf,application/json", Accepted("plain")),
        ("application/yaml", Accepted("plain", yaml=True)),
        ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
         Accepted("table")),
        ("application/json;as=Table;v=v1beta1;g=meta.k8s.io", Accepted("table", "v1beta1")),
        ("application/json;as=Table;v=v7;g=meta.k8s.io, application/json", Accepted("plain")),
        ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Accepted("partial")),
        ("text/html, */*;q=0.1", Accepted("plain")),
        ("application/yaml; q=0.3, application/json;q=0.7", Accepted("plain")),
        ("application/json;q=0.1,application/yaml;q=odd", Accepted("plain", yaml=True)),
    ],
)  # fmt: skip
def test_forms_of_an_answer(header: str, expected: Accepted) -> None:
    assert bodies.accepted(header, "list") == expected


@pytest.mark.parametrize(
    ("verb", "form", "fits"),
    [
        ("get", "PartialObjectMetadata", True),
        ("get", "PartialObjectMetadataList", False),
        ("list", "PartialObjectMetadata", False),
        ("watch", "PartialObjectMetadata", True),
        ("create", "PartialObjectMetadataList", False),
        ("get", "Chair", False),
    ],
)
def test_forms_that_a_verb_answers(verb: str, form: str, fits: bool) -> None:
    header = f"application/json;as={form};g=meta.k8s.io;v=v1"
    if fits:
        assert bodies.accepted(header, verb) == Accepted("partial")
        return
    with pytest.raises(StatusError) as refused:
        bodies.accepted(header, verb)
    assert refused.value.code == 406
    assert bodies.accepted(header + ",application/json", verb) == Accepted("plain")


@pytest.mark.parametrize(
    ("url", "selector", "name"),
    [
        ("/api/v1/namespaces/a/pods", "metadata.name=b", "b"),
        ("/api/v1/pods", "spec.nodeName=n,metadata.name=b", "b"),
        ("/api/v1/namespaces/a/pods", "metadata.name!=b", ""),
        ("/api/v1/namespaces/a/pods", "nonsense", ""),
        ("/api/v1/namespaces/a/pods/c", "metadata.name=b", "c"),
    ],
)
def test_a_list_of_one_name_is_about_that_name(url: str, selector: str, name: str) -> None:
    assert paths.attributes("GET", url, {"fieldSelector": selector}).name == name


def test_watch_means_nothing_where_one_object_is_asked_for() -> None:
    assert paths.attributes("GET", "/api/v1/namespaces/a/pods/b", {"watch": "1"}).verb == "get"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (600, "10m"), (10_799, "179m"), (10_800, "3h"),
     (12_000, "3h20m"), (86_400, "24h"), (172_800, "2d"), (180_000, "2d2h"), (8 * 86_400, "8d"), (800 * 86_400, "2y70d"),
     (-5, "<invalid>")],
)  # fmt: skip
def test_ages(seconds: int, text: str) -> None:
    assert human_duration(seconds) == text
