"""Towline's own kinds: reviews of placement, which answer and are never stored. Their schemas are in `assets/placements.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import yaml

from towline.kube.karmada import rooted
from towline.kube.kinds import Kind
from towline.kube.schemas import Schema

GROUP, VERSION = "towline.io", "v1alpha1"

_NAMESPACED = {
    "PlacementExplanation": True,
    "ClusterPlacementExplanation": False,
    "PlacementForecast": True,
    "ClusterPlacementForecast": False,
}


@cache
def kinds() -> Mapping[str, Kind]:
    """The rows by kind."""
    asset = files("towline.kube").joinpath("assets", "placements.yaml")
    parts = yaml.load(asset.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return {
        name: Kind(
            GROUP,
            VERSION,
            name,
            f"{name.lower()}s",
            namespaced=namespaced,
            schema=Schema.of(rooted(parts[name], parts)),
            verbs=("create",),
        )
        for name, namespaced in _NAMESPACED.items()
    }
