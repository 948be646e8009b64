"""Clusters in which something befell a binding not long ago: kept on it as an annotation, so that a restart forgets nothing."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from towline.hub.decide.conditions import epoch, rfc3339
from towline.kube.objects import Object, annotations_of, with_annotations

DESCHEDULED = "towline.io/descheduled"
"""Replicas found no node there, and were taken from it."""
FAILED = "towline.io/failed-in"
"""The application failed there, and failed over."""
SECONDS = 1800.0
"""How long that counts."""


def until(binding: Object, annotation: str, now: float) -> dict[str, float]:
    """By cluster, the end of what counts now, in epoch seconds. What cannot be read does not count."""
    return {name: at + SECONDS for name, at in _noted(binding, annotation).items() if 0 <= now - at < SECONDS}


def noting(binding: Object, annotation: str, clusters: Iterable[str], now: float) -> Object:
    """`binding` that says of these clusters that it is now, and no more of those that do not count any longer."""
    kept = {name: at - SECONDS for name, at in until(binding, annotation, now).items()}
    said = {name: rfc3339(at) for name, at in {**kept, **dict.fromkeys(clusters, now)}.items()}
    return with_annotations(binding, {annotation: orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode()})


def _noted(binding: Object, annotation: str) -> dict[str, float]:
    text = annotations_of(binding).get(annotation)
    if text is None:
        return {}
    try:
        return {str(name): epoch(at) or 0.0 for name, at in orjson.loads(text).items()}
    except (orjson.JSONDecodeError, AttributeError, TypeError):
        return {}
