"""What is served, in the plain and the aggregated form, and its types."""

from __future__ import annotations

from typing import Any

from tests.api.objects import CRDS, crd
from tests.api.served import Served

V2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
V2BETA1 = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"


async def plain(api: Served) -> set[tuple[str, ...]]:
    """All (groupVersion, name, kind, verbs) by walking the plain documents."""
    groups = (await api.get("/apis")).body["groups"]
    paths = ["/api/v1"] + [f"/apis/{v['groupVersion']}" for group in groups for v in group["versions"]]
    found = set()
    for path in paths:
        document = (await api.get(path)).body
        assert document["kind"] == "APIResourceList"
        for resource in document["resources"]:
            found.add((document["groupVersion"], resource["name"], resource["kind"], *resource["verbs"]))
    return found


def aggregated(document: Any) -> set[tuple[str, ...]]:
    found = set()
    for group in document["items"]:
        for version in group["versions"]:
            name = "/".join(filter(None, [group["metadata"].get("name"), version["version"]]))
            for resource in version["resources"]:
                found.add((name, resource["resource"], resource["responseKind"]["kind"], *resource["verbs"]))
                for sub in resource.get("subresources", []):
                    path = f"{resource['resource']}/{sub['subresource']}"
                    found.add((name, path, sub["responseKind"]["kind"], *sub["verbs"]))
    return found


async def test_both_forms_say_the_same(api: Served) -> None:
    await api.create(CRDS, crd())
    expected = await plain(api)
    for accept, version in ((V2, "v2"), (V2BETA1, "v2beta1")):
        found: set[tuple[str, ...]] = set()
        for path in ("/api", "/apis"):
            answer = await api.get(path, Accept=accept)
            assert answer.body["apiVersion"] == f"apidiscovery.k8s.io/{version}"
            assert "as=APIGroupDiscoveryList" in answer.headers["Content-Type"]
            found |= aggregated(answer.body)
        assert found == expected
    assert ("example.com/v1", "widgets/scale", "Scale", "get", "patch", "update") in expected
    assert ("apps/v1", "deployments/status", "Deployment", "get", "patch", "update") in expected


async def test_crds_appear_and_vanish(api: Served) -> None:
    assert (await api.get("/apis/example.com/v1")).code == 404
    before = (await api.get("/openapi/v3")).body["paths"]
    await api.create(CRDS, crd())
    document = (await api.get("/apis/example.com/v1")).body
    assert document["resources"][0]["shortNames"] == ["wd"] and document["resources"][0]["categories"] == [
        "things"
    ]
    after = (await api.get("/openapi/v3")).body["paths"]
    assert set(after) - set(before) == {"apis/example.com/v1"}
    assert all(after[path] == before[path] for path in before), "the hashes of the others stay"
    async with api.watch(CRDS) as watch:
        await watch.next(1)
        await api("DELETE", f"{CRDS}/widgets.example.com")
        while (await watch.next(1))[0][0] != "DELETED":
            pass
    assert (await api.get("/apis/example.com/v1")).code == 404
    assert (await api.get("/openapi/v3")).body["paths"] == before


async def test_names_of_a_served_kind_cannot_be_taken(api: Served) -> None:
    rival = crd("policy.karmada.io", "propagationpolicies", "PropagationPolicy")
    rival["spec"]["versions"][0]["name"] = "v1alpha1"
    rival["metadata"]["annotations"] = {"api-approved.kubernetes.io": "unapproved, a test"}
    answer = await api("POST", CRDS, rival)
    kind = api.kinds.resource("policy.karmada.io", "v1alpha1", "propagationpolicies")
    assert answer.code == 201 and not kind.custom and kind.short_names == ("pp",)


async def test_documents_are_cached_by_their_tag(api: Served) -> None:
    for path in ("/api", "/apis", "/openapi/v3", "/openapi/v3/apis/apps/v1"):
        first = await api.get(path)
        again = await api.get(path, If_None_Match=first.headers["ETag"])
        assert again.code == 304 and again.raw == b""


async def test_openapi_v3_has_what_kubectl_reads(api: Served) -> None:
    await api.create(CRDS, crd())
    index = (await api.get("/openapi/v3")).body["paths"]
    for path, entry in index.items():
        answer = await api.get(entry["serverRelativeURL"])
        assert answer.code == 200, path
        schemas = answer.body["components"]["schemas"]
        for reference in references(answer.body):
            assert reference.removeprefix("#/components/schemas/") in schemas, f"{path}: {reference}"
        marked = [s for s in schemas.values() if "x-kubernetes-group-version-kind" in s]
        assert marked, path
    deployments = (await api.get("/openapi/v3/apis/apps/v1")).body
    item = deployments["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    names = {parameter["name"] for parameter in item["patch"]["parameters"]}
    assert names == {"dryRun", "fieldManager", "fieldValidation", "force"}
    assert item["patch"]["x-kubernetes-group-version-kind"] == {
        "group": "apps",
        "version": "v1",
        "kind": "Deployment",
    }
    assert "application/strategic-merge-patch+json" in item["patch"]["requestBody"]["content"]
    widgets = (await api.get("/openapi/v3/apis/example.com/v1")).body
    patch = widgets["paths"]["/apis/example.com/v1/namespaces/{namespace}/widgets/{name}"]["patch"]
    assert "application/strategic-merge-patch+json" not in patch["requestBody"]["content"]


async def test_openapi_v2(api: Served) -> None:
    await api.create(CRDS, crd())
    document = (await api.get("/openapi/v2")).body
    assert document["swagger"] == "2.0"
    definitions = document["definitions"]
    for reference in references(document):
        assert reference.removeprefix("#/definitions/") in definitions, reference
    assert "com.example.v1.Widget" in definitions and "io.k8s.api.apps.v1.Deployment" in definitions
    port = definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]
    assert (port["type"], port["format"]) == ("string", "int-or-string") and "oneOf" not in port


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        found = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return found.union(*(references(child) for child in node.values()))
    if isinstance(node, list):
        return set().union(*(references(child) for child in node))
    return set()
