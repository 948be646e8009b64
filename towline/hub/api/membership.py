"""One member, one Cluster: two objects that name the same member would both send it their Works."""

from __future__ import annotations

from towline.hub.api import status
from towline.hub.api.plugins import AdmissionRequest, Warnings
from towline.hub.store.cache import Cache
from towline.hub.store.works import CLUSTERS
from towline.kube import errors
from towline.kube.objects import Object


class OneClusterAMember:
    """The plugin. A member is known by `spec.id`, the uid of its kube-system namespace (Karmada 5.1). Enrolment looks for itself."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def handles(self, request: AdmissionRequest) -> bool:
        key, now = request.key, _member(request.object)
        return (key.group, key.resource) == CLUSTERS and bool(now) and now != _member(request.old)

    async def admit(self, request: AdmissionRequest) -> tuple[Object | None, Warnings]:
        return request.object, ()

    async def validate(self, request: AdmissionRequest) -> Warnings:
        name, member = request.key.name, _member(request.object)
        for entry in self._cache.list(*CLUSTERS):
            if entry.key.name != name and _member(entry.object) == member:
                told = f"this member is joined already, as cluster {entry.key.name}; detach it first"
                raise status.invalid(request.kind, name, [errors.invalid("spec.id", member, told)])
        return ()


def _member(cluster: Object | None) -> str:
    return str(((cluster or {}).get("spec") or {}).get("id") or "")
