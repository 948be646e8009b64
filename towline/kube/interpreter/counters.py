"""Workloads whose status is counters: how it travels and how it is summed.

A template's observedGeneration may only say that the newest generation was seen when every member says so of the
newest *template*: a member's own generation counts other things too. So the reflected status carries the
generation of the template that the member's copy was made from (an annotation on the copy).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from towline.kube import names
from towline.kube.interpreter.operations import Items, number, reported, without_zeros
from towline.kube.objects import Object, annotations_of, generation_of

_TEMPLATE_GENERATION = "resourceTemplateGeneration"


def reflect(counters: Sequence[str]) -> Callable[[Object], Object | None]:
    """reflect_status: the counters and the three generations, without zeros."""

    def reflect_status(obj: Object) -> Object | None:
        status = obj.get("status")
        if not isinstance(status, dict):
            return None
        template_generation = annotations_of(obj).get(names.TEMPLATE_GENERATION, "")
        return without_zeros(
            {
                **{name: status.get(name) for name in counters},
                "observedGeneration": status.get("observedGeneration"),
                "generation": generation_of(obj),
                _TEMPLATE_GENERATION: int(template_generation) if template_generation.isdigit() else None,
            }
        )

    return reflect_status


def aggregate(counters: Sequence[str]) -> Callable[[Object, Items], Object]:
    """aggregate: sums, and observedGeneration when all members have seen the newest template."""

    def aggregate_status(template: Object, items: Items) -> Object:
        generation = generation_of(template)
        statuses = [status for _, status in reported(items)]
        sums = {name: sum(number(status.get(name)) for status in statuses) for name in counters}
        seen = sum(
            1
            for status in statuses
            if number(status.get("observedGeneration")) >= number(status.get("generation"))
            and number(status.get(_TEMPLATE_GENERATION)) >= generation
        )
        merged = {**(template.get("status") or {}), **sums}
        if seen == len(items):
            merged["observedGeneration"] = generation
        return {k: v for k, v in merged.items() if v or k not in counters}

    return aggregate_status


def rolled_out(obj: Object) -> bool:
    """healthy: the newest template runs everywhere and is available."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    updated = number(status.get("updatedReplicas"))
    return (
        observed(obj)
        and updated >= number(spec.get("replicas", 1))
        and number(status.get("availableReplicas")) >= updated
    )


def observed(obj: Object) -> bool:
    """The member's controller has seen the object's newest generation."""
    return number((obj.get("status") or {}).get("observedGeneration")) >= generation_of(obj)
