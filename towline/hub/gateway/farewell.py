"""Farewells: what an agent is told whose cluster was detached, be it this moment or long ago.

Its certificate is good for hearing that and for nothing else. One whose certificate has ended meanwhile asks over the API's port, where
it asks as nobody: what was chosen is no secret from whoever knows the uid of the Cluster object. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from towline.certs.authority import AgentIdentity
from towline.hub.decide.detached import Detached, detached_of, key_of
from towline.hub.gateway.effects import HubIdentity
from towline.hub.gateway.enrolment import Answer, Refusal
from towline.hub.gateway.surroundings import Clusters
from towline.kube.objects import Object
from towline.proto import fleet_pb2 as fleet

CLUSTERS = ("cluster.karmada.io", "clusters")


def detached(rows: Clusters, identity: AgentIdentity) -> Detached | None:
    """How the cluster left that this certificate was for; None: nobody knows of it.

    A certificate that was revoked before is good for this too: its agent may run still, and has to let go like any other."""
    row = rows.get(key_of(identity.cluster_object_uid))
    found = detached_of(row.object) if row is not None else None
    if found is None or found.cluster != identity.cluster or identity.generation > found.generation:
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


def asked(rows: Clusters, hub: HubIdentity, body: Any) -> Answer:
    """The answer to an agent without a certificate that is good: {"cluster", "object": uid of the Cluster object, "member": uid,
    "storeID", "epoch"} -> {"remains", "removeAgent"}, or 404."""
    try:
        uid, cluster = str(body["object"]), str(body["cluster"])
        hello = fleet.Hello(
            cluster=cluster, cluster_uid=body["member"], store_id=body["storeID"], epoch=body["epoch"]
        )
    except (KeyError, TypeError, ValueError):
        return Refusal(400, "BadRequest", "this is no agent's question").answer()
    row = rows.get(key_of(uid))
    found = detached_of(row.object) if row is not None else None
    if found is None or found.cluster != cluster:
        return Refusal(404, "NotFound", "nothing is known of such a cluster's end").answer()
    identity = AgentIdentity(cluster, uid, found.generation)
    said = farewell(found, identity, hello, hub, [row.object for row in rows.list(*CLUSTERS)])
    if not said.HasField("detached"):
        return Refusal(409, "Conflict", "this hub knows less than the agent").answer()
    remains = fleet.Remains.Name(said.detached.remains)
    return Answer(200, {"remains": remains, "removeAgent": said.detached.remove_agent})
