"""Deletion protection: what is labelled against it stays, whoever deletes it and however many things at once."""

from __future__ import annotations

from towline.hub.api import status
from towline.hub.api.plugins import AdmissionRequest, Warnings
from towline.kube import deletion
from towline.kube.objects import Object, labels_of


class DeletionProtection:
    """The plugin. The hub's own decisions about namespaces and garbage keep to the same label."""

    def handles(self, request: AdmissionRequest) -> bool:
        return (
            request.operation == "DELETE"
            and request.old is not None
            and deletion.is_protected(labels_of(request.old))
        )

    async def admit(self, request: AdmissionRequest) -> tuple[Object | None, Warnings]:
        return request.object, ()

    async def validate(self, request: AdmissionRequest) -> Warnings:
        kind, name = request.kind, request.key.name
        raise status.forbidden(kind.plural, kind.group, name, deletion.PROTECTED)
