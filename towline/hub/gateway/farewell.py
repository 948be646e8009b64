"""Farewells: what an agent is told whose cluster was detached, be it this moment or long ago.

Its certificate is good for hearing that and for nothing else. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from towline.certs.authority import AgentIdentity
from towline.hub.decide.detached import Detached, detached_of, key_of
from towline.hub.gateway.effects import HubIdentity
from towline.hub.gateway.surroundings import Clusters
from towline.kube.objects import Object
from towline.proto import fleet_pb2 as fleet


def detached(rows: Clusters, identity: AgentIdentity) -> Detached | None:
    """How the cluster left that this certificate was for; None: nobody knows of it, or the certificate was revoked before."""
    row = rows.get(key_of(identity.cluster_object_uid))
    found = detached_of(row.object) if row is not None else None
    if found is None or (found.cluster, found.generation) != (identity.cluster, identity.generation):
        return None
    return found


def verdict(found: Detached, identity: AgentIdentity) -> fleet.Detached:
    """What was chosen."""
    return fleet.Detached(
        cluster_uid=identity.cluster_object_uid,
        remains=fleet.LET_GO if found.keep_workloads else fleet.REMOVE,
        remove_agent=found.remove_agent,
    )


def farewell(
    found: Detached, identity: AgentIdentity, hello: fleet.Hello, hub: HubIdentity, clusters: Iterable[Object]
) -> fleet.GoAway:
    """The answer to the Hello of an agent that comes back. It is told nothing that it would act on by a hub that knows less than the
    one it was last in sync with, and must touch nothing where its member has joined again."""
    reason = f"cluster {identity.cluster} is detached"
    knows = hello.store_id in ("", hub.store_id) and hello.epoch <= hub.epoch
    if not knows or hello.cluster != identity.cluster:
        return fleet.GoAway(reason=reason)
    said = verdict(found, identity)
    members = {str((cluster.get("spec") or {}).get("id") or "") for cluster in clusters}
    if {found.member, hello.cluster_uid} & (members - {""}):
        said.remains, said.remove_agent = fleet.LEAVE, False
    return fleet.GoAway(reason=reason, detached=said)
