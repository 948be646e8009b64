"""Which fields of the built-in kinds can be selected, and what their values are."""

from __future__ import annotations

import pytest

from towline.kube.builtin import kinds
from towline.kube.field_labels import FIELD_LABELS, text_of
from towline.kube.objects import Object

POD: Object = {
    "spec": {"nodeName": "n1", "hostNetwork": True, "restartPolicy": "Never"},
    "status": {"phase": "Running", "podIPs": [{"ip": "10.1.1.1"}, {"ip": "fd00::1"}]},
}

VALUES: list[tuple[str, str, Object, str]] = [
    ("Pod", "spec.nodeName", POD, "n1"),
    ("Pod", "spec.host", POD, "n1"),
    ("Pod", "spec.restartPolicy", POD, "Never"),
    ("Pod", "spec.hostNetwork", POD, "true"),
    ("Pod", "spec.hostNetwork", {}, "false"),
    ("Pod", "status.phase", {}, ""),
    ("Pod", "status.phase", {"status": "odd"}, ""),
    ("Pod", "status.podIP", POD, "10.1.1.1"),
    ("Pod", "status.podIP", {"status": {"podIP": "10.1.1.2"}}, "10.1.1.2"),
    ("Pod", "status.podIP", {}, ""),
    ("Pod", "status.podIPs", POD, ""),
    ("Node", "spec.unschedulable", {}, "false"),
    ("Node", "spec.unschedulable", {"spec": {"unschedulable": True}}, "true"),
    ("ReplicationController", "status.replicas", {}, "0"),
    ("ReplicationController", "status.replicas", {"status": {"replicas": 3}}, "3"),
    ("Job", "status.successful", {}, "0"),
    ("Job", "status.successful", {"status": {"succeeded": 2}}, "2"),
    ("Event", "source", {"source": {"component": "kubelet"}, "reportingComponent": "x"}, "kubelet"),
    ("Event", "source", {"reportingComponent": "x"}, "x"),
    ("Event", "involvedObject.name", {"involvedObject": {"name": "web"}}, "web"),
    ("Secret", "type", {"type": "Opaque"}, "Opaque"),
    ("Service", "spec.type", {"spec": {"type": "NodePort"}}, "NodePort"),
    ("Namespace", "status.phase", {"status": {"phase": "Active"}}, "Active"),
]


@pytest.mark.parametrize(("kind", "label", "obj", "text"), VALUES)
def test_values(kind: str, label: str, obj: Object, text: str) -> None:
    assert text_of(FIELD_LABELS[kind][label], obj) == text


def test_every_row_belongs_to_a_kind() -> None:
    assert {kind.kind for kind in kinds() if kind.field_labels} == set(FIELD_LABELS)


def test_every_label_takes_an_empty_object() -> None:
    for labels in FIELD_LABELS.values():
        assert {text_of(label, {}) for label in labels.values()} <= {"", "0", "false"}
