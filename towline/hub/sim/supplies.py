"""What workloads need around them: addresses for Services, volumes for PersistentVolumeClaims, the nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from towline.hub.sim.round import Round
from towline.kube.objects import Key, Object, is_deleting, uid_of

SERVICE_NETWORK, SERVICE_BITS = 0x0A600000, 16  # 10.96.0.0/16
BALANCER_NETWORK, BALANCER_BITS = 0xCB007100, 8  # 203.0.113.0/24, set aside for documentation


def run_service(round: Round, key: Key, service: Object) -> None:
    """A clusterIP for every Service that wants one, and an ingress address for a LoadBalancer."""
    spec = service.get("spec") or {}
    if is_deleting(service) or spec.get("type") == "ExternalName":
        return
    if not spec.get("clusterIP"):
        address = round.new_address(SERVICE_NETWORK, SERVICE_BITS)
        spec = {**spec, "clusterIP": address, "clusterIPs": [address]}
        service = round.put(key, {**service, "spec": spec})
    status = service.get("status") or {}
    balancer = status.get("loadBalancer") or {}
    if spec.get("type") == "LoadBalancer" and not balancer.get("ingress"):
        # From the last byte of the clusterIP: nobody routes to it, it only has to be there and stay.
        last = str(spec["clusterIP"]).rpartition(".")[2] or "1"
        ingress = [{"ip": f"203.0.113.{last}", "ipMode": "VIP"}]
        round.put_status(key, service, {**status, "loadBalancer": {**balancer, "ingress": ingress}})


def run_claim(round: Round, key: Key, claim: Object) -> None:
    """Every PersistentVolumeClaim is bound at once, with what it asked for."""
    spec = claim.get("spec") or {}
    if is_deleting(claim) or (claim.get("status") or {}).get("phase") == "Bound":
        return
    if not spec.get("volumeName"):
        claim = round.put(key, {**claim, "spec": {**spec, "volumeName": f"pvc-{uid_of(claim)}"}})
    wanted = (spec.get("resources") or {}).get("requests") or {}
    status: Object = {"phase": "Bound", "accessModes": spec.get("accessModes") or ["ReadWriteOnce"]}
    if wanted.get("storage"):
        status["capacity"] = {"storage": wanted["storage"]}
    round.put_status(key, claim, status)


def node(
    index: int,
    stamp: str,
    *,
    region: str,
    zones: Sequence[str],
    cpu: str,
    memory: str,
    pods: int,
    version: str,
) -> Object:
    """The Node object number `index` of a member; zones go round."""
    name = f"node-{index}"
    address = f"172.16.{index // 250}.{index % 250 + 1}"
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        **({"topology.kubernetes.io/region": region} if region else {}),
        **({"topology.kubernetes.io/zone": zones[index % len(zones)]} if zones else {}),
    }
    amounts = {"cpu": cpu, "memory": memory, "pods": str(pods), "ephemeral-storage": "100Gi"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"providerID": f"sim://{name}", "podCIDR": "10.244.0.0/16"},
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "conditions": [_healthy(stamp, *row) for row in _NODE_CONDITIONS],
            "nodeInfo": _node_info(name, version),
        },
    }


_NODE_CONDITIONS = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID"),
    ("Ready", "True", "KubeletReady"),
)


def _healthy(stamp: str, type: str, status: str, reason: str) -> Object:
    times = {"lastHeartbeatTime": stamp, "lastTransitionTime": stamp}
    return {"type": type, "status": status, "reason": reason, "message": reason, **times}


def _node_info(name: str, version: str) -> dict[str, Any]:
    return {
        "machineID": name,
        "systemUUID": name,
        "bootID": name,
        "kernelVersion": "sim",
        "osImage": "Towline simulated node",
        "containerRuntimeVersion": "sim://1",
        "kubeletVersion": version,
        "kubeProxyVersion": version,
        "operatingSystem": "linux",
        "architecture": "amd64",
    }
