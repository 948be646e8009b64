"""One resource in two versions or groups: HorizontalPodAutoscalers and Events; and kinds that nothing acts on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.served import Served

V1 = "/apis/autoscaling/v1/namespaces/shop/horizontalpodautoscalers"
V2 = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers"
CORE_EVENTS = "/api/v1/namespaces/shop/events"
EVENTS = "/apis/events.k8s.io/v1/namespaces/shop/events"
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
CPU = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
}
QUEUE = {
    "type": "External",
    "external": {
        "metric": {"name": "queue", "selector": {"matchLabels": {"q": "a"}}},
        "target": {"type": "AverageValue", "averageValue": "30"},
    },
}


def autoscaler(version: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"autoscaling/{version}",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {"scaleTargetRef": TARGET, "maxReplicas": 5, **spec},
    }


async def test_an_autoscaler_is_written_in_either_version_and_read_in_both(api: Served) -> None:
    made = await api.create(V1, autoscaler("v1", targetCPUUtilizationPercentage=50))
    assert made["apiVersion"] == "autoscaling/v1"
    assert made["spec"] == {
        "scaleTargetRef": TARGET, "maxReplicas": 5, "minReplicas": 1, "targetCPUUtilizationPercentage": 50,
    }  # fmt: skip
    newer = (await api.get(f"{V2}/web")).body
    assert newer["apiVersion"] == "autoscaling/v2"
    assert newer["spec"]["metrics"] == [CPU]
    assert newer["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert (await api.get(f"{V1}/web")).body == made
    listed = (await api.get(V1)).body
    assert (listed["apiVersion"], listed["items"][0]["spec"]) == ("autoscaling/v1", made["spec"])
    assert "apiVersion" not in listed["items"][0]


async def test_the_older_version_loses_nothing(api: Served) -> None:
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 60}}
    made = await api.create(V2, autoscaler("v2", metrics=[QUEUE, CPU], behavior=behavior))
    older = (await api.get(f"{V1}/web")).body
    annotations = older["metadata"]["annotations"]
    assert json.loads(annotations["autoscaling.alpha.kubernetes.io/metrics"]) == [
        {
            "type": "External",
            "external": {
                "metricName": "queue",
                "metricSelector": {"matchLabels": {"q": "a"}},
                "targetAverageValue": "30",
            },
        }
    ]
    assert "ScaleDown" in json.loads(annotations["autoscaling.alpha.kubernetes.io/behavior"])
    older["spec"]["maxReplicas"] = 9
    assert (await api("PUT", f"{V1}/web", older)).code == 200
    newer = (await api.get(f"{V2}/web")).body
    assert newer["spec"] == {**made["spec"], "maxReplicas": 9}
    assert "annotations" not in newer["metadata"]


async def test_a_write_without_a_change_in_the_older_version_commits_nothing(api: Served) -> None:
    await api.create(V2, autoscaler("v2", metrics=[QUEUE]))
    older = (await api.get(f"{V1}/web")).body
    before = api.cache.revision
    assert (await api("PUT", f"{V1}/web", older)).body == older
    assert api.cache.revision == before


async def test_the_older_version_is_checked_as_the_newer(api: Served) -> None:
    refused = await api("POST", V1, autoscaler("v1", targetCPUUtilizationPercentage=0, minReplicas=9))
    assert refused.code == 422
    assert set(refused.fields) == {
        "spec.maxReplicas",
        "spec.metrics[0].resource.target.averageUtilization",
    }


async def test_both_versions_are_patched_applied_and_deleted(api: Served) -> None:
    applied = await api.apply(f"{V1}/web", autoscaler("v1", targetCPUUtilizationPercentage=50))
    assert applied.code == 201
    patched = await api.patch(f"{V1}/web", {"spec": {"targetCPUUtilizationPercentage": 70}})
    assert patched.body["spec"]["targetCPUUtilizationPercentage"] == 70
    metrics = (await api.get(f"{V2}/web")).body["spec"]["metrics"]
    assert metrics[0]["resource"]["target"]["averageUtilization"] == 70
    scaled = await api.patch(f"{V2}/web/status", {"status": {"currentReplicas": 2, "desiredReplicas": 2}})
    assert scaled.code == 200
    assert (await api.get(f"{V1}/web")).body["status"]["currentReplicas"] == 2
    assert (await api("DELETE", f"{V1}/web")).code == 200
    assert (await api.get(f"{V2}/web")).code == 404


async def test_a_watch_shows_each_version_its_own(api: Served) -> None:
    await api.create(V2, autoscaler("v2", metrics=[CPU]))
    async with api.watch(V1) as older:
        seen = (await anext(older))["object"]
        assert (seen["apiVersion"], seen["spec"]["targetCPUUtilizationPercentage"]) == ("autoscaling/v1", 50)
        await api("DELETE", f"{V2}/web")
        assert (await anext(older))["object"]["apiVersion"] == "autoscaling/v1"


async def test_tables_of_both_versions_are_the_same(api: Served) -> None:
    await api.create(V2, autoscaler("v2", metrics=[CPU]))
    shown = [
        (await api.get(at, Accept="application/json;as=Table;v=v1;g=meta.k8s.io")).body for at in (V1, V2)
    ]
    assert shown[0]["rows"][0]["cells"] == shown[1]["rows"][0]["cells"]


def modern_event(**fields: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "e"},
        "regarding": {"kind": "Pod", "namespace": "shop", "name": "p"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "tester.io/it",
        "reportingInstance": "it-1",
        "action": "Pulling",
        "reason": "Pulled",
        "note": "it was pulled",
        "type": "Normal",
        **fields,
    }


async def test_an_event_of_either_group_is_in_both(api: Served) -> None:
    made = await api.create(EVENTS, modern_event())
    assert (made["apiVersion"], made["note"]) == ("events.k8s.io/v1", "it was pulled")
    core = (await api.get(f"{CORE_EVENTS}/e")).body
    assert (core["apiVersion"], core["message"], core["involvedObject"]["name"]) == (
        "v1",
        "it was pulled",
        "p",
    )
    assert core["reportingComponent"] == "tester.io/it"
    classic = {
        "metadata": {"name": "c"},
        "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "other"},
        "source": {"component": "kubelet"},
        "count": 3,
        "message": "again",
    }
    await api.create(CORE_EVENTS, classic)
    found = (await api.get(f"{EVENTS}?fieldSelector=regarding.name=other")).body["items"]
    assert [(e["metadata"]["name"], e["deprecatedCount"], e["note"]) for e in found] == [("c", 3, "again")]
    assert (await api("DELETE", f"{EVENTS}/c")).code == 200
    assert (await api.get(f"{CORE_EVENTS}/c")).code == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"eventTime": None}, "eventTime"),
        ({"reportingController": ""}, "reportingController"),
        ({"reportingController": "no good"}, "reportingController"),
        ({"action": ""}, "action"),
        ({"reason": "a" * 129}, "reason"),
        ({"reportingInstance": None}, "reportingInstance"),
        ({"note": "a" * 1025}, "message"),
        ({"type": "Odd"}, "type"),
        ({"deprecatedCount": 3}, "count"),
        ({"series": {"count": 1, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}}, "series.count"),
    ],
)
async def test_modern_events_say_who_did_what(api: Served, change: dict[str, Any], field: str) -> None:
    refused = await api("POST", EVENTS, modern_event(**change))
    assert refused.code == 422 and field in refused.fields


async def test_of_a_modern_event_only_the_series_changes(api: Served) -> None:
    made = await api.create(EVENTS, modern_event())
    refused = await api("PUT", f"{EVENTS}/e", {**made, "note": "other"})
    assert (refused.code, refused.fields) == (422, ["message"])
    series = {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}
    assert (await api("PUT", f"{EVENTS}/e", {**made, "series": series})).code == 200


async def test_a_kind_that_nothing_acts_on_says_so(api: Served) -> None:
    path = "/apis/search.karmada.io/v1alpha1/resourceregistries"
    registry = {
        "apiVersion": "search.karmada.io/v1alpha1",
        "kind": "ResourceRegistry",
        "metadata": {"name": "r"},
        "spec": {"targetCluster": {}, "resourceSelectors": [{"apiVersion": "v1", "kind": "Pod"}]},
    }
    made = await api("POST", path, registry)
    told = '299 - "ResourceRegistry is stored, but this version of Towline does not act on it yet"'
    assert (made.code, made.headers.getall("Warning")) == (201, [told])
    changed = await api.patch(f"{path}/r", {"spec": {"targetCluster": {"clusterNames": ["m1"]}}})
    assert changed.headers.getall("Warning") == [told]
    applied = await api.apply(f"{path}/s", {**registry, "metadata": {"name": "s"}})
    assert (applied.code, applied.headers.getall("Warning")) == (201, [told])
