"""What a lost disk forgot: the objects in the member that carry this cluster's marks.

Only an agent that was detached looks for them, and only if its disk never knew of a hub: as long as there is a hub, its removals name
their objects. What cannot be listed is not found, and stays.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from towline.agent.desired import Ref
from towline.agent.execution import owner_of
from towline.agent.facts import Facts
from towline.agent.kubernetes import Member, Refused, group_version_path
from towline.kube import names
from towline.kube.objects import annotations_of, name_of, namespace_of

log = logging.getLogger("towline.agent.leftovers")

_LIST_PAGE = 500
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"


@dataclass(slots=True)
class Leftover:
    """What there is of one Work. `preserve`: its objects are not to be deleted."""

    refs: list[Ref] = field(default_factory=list)
    preserve: bool = False


async def find(member: Member, cluster: str, namespaces: Sequence[str]) -> dict[str, Leftover]:
    """By the Work's name. What may not be listed everywhere is looked for in `namespaces`. Raises MemberUnreachable."""
    facts = await Facts(member, 0.0, lambda facts: None, lambda: None).look()
    found: dict[str, Leftover] = {}
    seen: set[tuple[str, str, str, str]] = set()
    for row in facts.api_enablements:
        for resource in row.resources:
            for item in await _there(
                member, group_version_path(row.group_version), resource.name, namespaces
            ):
                ref = Ref(row.group_version, resource.kind, namespace_of(item), name_of(item))
                same = (
                    row.group_version.rpartition("/")[0],
                    *ref[1:],
                )  # it may be served in several versions
                if same not in seen:
                    seen.add(same)
                    _note(found, ref, item, names.execution_namespace(cluster))
    return found


def _note(found: dict[str, Leftover], ref: Ref, item: Mapping[str, Any], space: str) -> None:
    owner = owner_of(item)
    if owner is None or owner.namespace != space:
        return
    leftover = found.setdefault(owner.name, Leftover())
    leftover.refs.append(ref)
    kept = annotations_of(item).get(names.PRESERVE_ANNOTATION) == "true"
    leftover.preserve = leftover.preserve or kept or ref.kind == "Namespace"


async def _there(member: Member, group: str, plural: str, namespaces: Sequence[str]) -> list[Any]:
    try:
        return await _listed(member, f"{group}/{plural}")
    except Refused as refused:
        log.debug("%s/%s cannot be listed: %s", group, plural, refused)
    items: list[Any] = []
    for namespace in namespaces:
        with suppress(Refused):
            items += await _listed(member, f"{group}/namespaces/{namespace}/{plural}")
    return items


async def _listed(member: Member, path: str) -> list[Any]:
    query = {"limit": str(_LIST_PAGE), "labelSelector": f"{names.MANAGED}=true"}
    items: list[Any] = []
    while True:
        page = await member.get(path, query, accept=_METADATA)
        items += page.get("items") or []
        again = (page.get("metadata") or {}).get("continue")
        if not again:
            return items
        query["continue"] = again
