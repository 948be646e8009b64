"""Admission plugins: what else may change a write, or refuse it, before it is committed.

A write goes: the client's object, defaulted and with its field managers -> `admit` of each plugin, in order -> the kind's
own rules -> `validate` of each plugin -> the commit. As in Kubernetes, a plugin that changes the object does so
before the rules look at it, and what a plugin adds belongs to no field manager. A request that no plugin handles costs a
call of `handles`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from towline.hub.api.user import SYSTEM, User
from towline.kube.kinds import Kind
from towline.kube.objects import Key, Object

Warnings = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """One write. `operation` is CREATE, UPDATE or DELETE; `object` is None for a deletion, `old` for a creation. The name in
    `key` may be empty where the server still has to generate it. `options` are the request's own (CreateOptions, ...).
    What plugins put into `annotations` goes into the audit log; None where nobody asks."""

    user: User
    kind: Kind
    operation: str
    key: Key
    subresource: str = ""
    object: Object | None = None
    old: Object | None = None
    dry_run: bool = False
    options: Object | None = None
    annotations: dict[str, str] | None = None


class Plugin(Protocol):
    """Raises StatusError to refuse. Both may be called again for one request, when somebody else's write came first."""

    def handles(self, request: AdmissionRequest) -> bool:
        """Whether this plugin wants to see the request at all. Cheap."""

    async def admit(self, request: AdmissionRequest) -> tuple[Object | None, Warnings]:
        """The object as it should be, the very same one if it is right; None for a deletion."""

    async def validate(self, request: AdmissionRequest) -> Warnings:
        """Looks at what will be stored."""


Plugins = Sequence[Plugin]


async def admit(plugins: Plugins, request: AdmissionRequest) -> tuple[Object | None, Warnings]:
    """The request's object as all plugins leave it."""
    warnings: Warnings = ()
    for plugin in plugins:
        if request.user is not SYSTEM and plugin.handles(request):
            changed, told = await plugin.admit(request)
            warnings += told
            if changed is not request.object:
                request = replace(request, object=changed)
    return request.object, warnings


async def validate(plugins: Plugins, request: AdmissionRequest) -> Warnings:
    warnings: Warnings = ()
    for plugin in plugins:
        if request.user is not SYSTEM and plugin.handles(request):
            warnings += await plugin.validate(request)
    return warnings
