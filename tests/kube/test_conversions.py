"""Two versions of one object: nothing is lost on the way to the other and back."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from towline.kube import conversions
from towline.kube.objects import Object, copy

WORDS = st.text("abcz", min_size=1, max_size=5)
COUNTS = st.integers(1, 100)
SELECTORS = st.fixed_dictionaries({"matchLabels": st.dictionaries(WORDS, WORDS, min_size=1)})
REFERENCES = st.fixed_dictionaries({"kind": WORDS, "name": WORDS, "apiVersion": WORDS})
IDENTIFIERS = st.fixed_dictionaries({"name": WORDS}, optional={"selector": SELECTORS})


def targets(**kinds: str) -> st.SearchStrategy[Any]:
    """A target of one of these types, with the one amount that belongs to it."""
    amounts: dict[str, st.SearchStrategy[Any]] = {"averageUtilization": COUNTS}
    made = [
        st.fixed_dictionaries({"type": st.just(kind), field: amounts.get(field, WORDS)})
        for kind, field in kinds.items()
    ]
    return st.one_of(made)


RESOURCE_TARGETS = targets(Utilization="averageUtilization", AverageValue="averageValue")
VALUE_TARGETS = targets(Value="value", AverageValue="averageValue")
SOURCES: dict[str, st.SearchStrategy[Any]] = {
    "resource": st.fixed_dictionaries(
        {"name": st.sampled_from(["cpu", "memory"]), "target": RESOURCE_TARGETS}
    ),
    "containerResource": st.fixed_dictionaries(
        {"name": WORDS, "container": WORDS, "target": RESOURCE_TARGETS}
    ),
    "pods": st.fixed_dictionaries({"metric": IDENTIFIERS, "target": targets(AverageValue="averageValue")}),
    "object": st.fixed_dictionaries(
        {"describedObject": REFERENCES, "metric": IDENTIFIERS, "target": VALUE_TARGETS}
    ),
    "external": st.fixed_dictionaries({"metric": IDENTIFIERS, "target": VALUE_TARGETS}),
}
METRICS = st.one_of(
    [
        st.fixed_dictionaries({"type": st.just(source[0].upper() + source[1:]), source: content})
        for source, content in SOURCES.items()
    ]
)
POLICIES = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["Pods", "Percent"]), "value": COUNTS, "periodSeconds": COUNTS}
    ),
    min_size=1,
)
RULES = st.fixed_dictionaries(
    {"selectPolicy": st.sampled_from(["Max", "Min", "Disabled"]), "policies": POLICIES},
    optional={"tolerance": WORDS},
)
BEHAVIORS = st.fixed_dictionaries({}, optional={"scaleDown": RULES})


def is_cpu(metric: Object) -> bool:
    source = metric.get("resource", {})
    return source.get("name") == "cpu" and "averageUtilization" in source.get("target", {})


@given(st.lists(METRICS, min_size=1, max_size=4), BEHAVIORS, st.dictionaries(WORDS, WORDS))
def test_an_autoscaler_survives_the_older_version(
    metrics: list[Object], behavior: Object, annotations: dict[str, str]
) -> None:
    """The older version has one CPU target, and knows no order between it and the rest, as in Kubernetes."""
    cpu = [metric for metric in metrics if is_cpu(metric)][:1]
    kept = [metric for metric in metrics if not is_cpu(metric)] + cpu
    spec: Object = {"scaleTargetRef": {"kind": "A", "name": "a"}, "minReplicas": 2, "maxReplicas": 3}
    obj: Object = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "a", **({"annotations": annotations} if annotations else {})},
        "spec": {**spec, "metrics": kept, **({"behavior": behavior} if behavior else {})},
        "status": {
            "currentReplicas": 1,
            "desiredReplicas": 2,
            "conditions": [{"type": "AbleToScale", "status": "True"}],
            "currentMetrics": [
                {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 7}}}
            ],
        },
    }
    before = copy(obj)
    older = conversions.AUTOSCALER.from_stored(obj)
    assert obj == before
    assert older["status"]["currentCPUUtilizationPercentage"] == 7
    kept_older = copy(older)
    assert conversions.AUTOSCALER.to_stored(older) == obj
    assert older == kept_older


def test_an_annotation_that_is_no_json_counts_as_absent() -> None:
    nonsense = {"metadata": {"annotations": {"autoscaling.alpha.kubernetes.io/metrics": "{"}}, "spec": {}}
    stored = conversions.AUTOSCALER.to_stored(nonsense)
    assert stored["spec"]["metrics"][0]["resource"]["name"] == "cpu"
    assert "annotations" not in stored["metadata"]


@given(st.dictionaries(st.sampled_from(["regarding", "note", "deprecatedCount", "reason", "type"]), WORDS))
def test_an_event_is_the_same_in_other_words(fields: Object) -> None:
    event = {"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, **fields}
    stored = conversions.EVENT.to_stored(event)
    assert stored["apiVersion"] == "v1" and "note" not in stored
    assert conversions.EVENT.from_stored(stored) == event
