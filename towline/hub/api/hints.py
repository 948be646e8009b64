"""Plugins that refuse nothing and say what somebody may not expect: kubectl prints it as a warning."""

from __future__ import annotations

from collections.abc import Callable

from towline.hub.api.plugins import AdmissionRequest, Warnings
from towline.hub.decide.conditions import condition
from towline.kube import exits, names
from towline.kube.objects import Key, Object

CLUSTERS = (names.CLUSTER_GROUP, "clusters")
AGENT = Key("apps", "deployments", names.AGENT_NAMESPACE, names.AGENT)


class WaitingExit:
    """A Cluster that nobody hears of waits when it is deleted: `kubectl delete cluster` says so before it begins to wait. `is_connected(name)`:
    whether a hub has the session of its agent."""

    def __init__(self, is_connected: Callable[[str], bool]) -> None:
        self._is_connected = is_connected

    def handles(self, request: AdmissionRequest) -> bool:
        return request.operation == "DELETE" and (request.key.group, request.key.resource) == CLUSTERS

    async def admit(self, request: AdmissionRequest) -> tuple[Object | None, Warnings]:
        return request.object, ()

    async def validate(self, request: AdmissionRequest) -> Warnings:
        cluster, name = request.old or {}, request.key.name
        ready = condition(cluster.get("status"), "Ready") or {}
        is_gone = exits.never_reported(cluster) or exits.exit_of(cluster).forced
        if is_gone or (ready.get("status") == "True" and self._is_connected(name)):
            return ()
        why = str(ready.get("message") or "").rstrip(".")
        if ready.get("status") == "True":
            why = "its agent is not connected"
        told = f"cluster {name} cannot be reached ({why}): it stays until its agent is back and has removed what was propagated to it"
        return (f"{told}. {exits.to_go_on(name)}",)


class AgentInHub:
    """What `towline join` prints is applied in the cluster that joins; with the kubeconfig of the hub it would run nowhere."""

    def handles(self, request: AdmissionRequest) -> bool:
        return request.key == AGENT and request.operation == "CREATE"

    async def admit(self, request: AdmissionRequest) -> tuple[Object | None, Warnings]:
        return request.object, ()

    async def validate(self, request: AdmissionRequest) -> Warnings:
        return (
            "this is the hub, where nothing runs: apply what `towline join` prints in the cluster that is to join, with that cluster's kubeconfig",
        )
