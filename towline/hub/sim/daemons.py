"""DaemonSets: one Pod on every node that its template admits."""

from __future__ import annotations

from towline.hub.sim.pods import is_active, is_ready, node_takes
from towline.hub.sim.replicas import count_available, pod_key
from towline.hub.sim.round import Round, pod_from, share, template_hash, without_zeros
from towline.kube.objects import Key, Object, generation_of, is_deleting, labels_of, name_of

REVISION_LABEL = "controller-revision-hash"


def run_daemon_set(round: Round, key: Key, daemon_set: Object) -> None:
    if is_deleting(daemon_set):
        return
    template = daemon_set["spec"].get("template") or {}
    revision = template_hash(template)
    nodes = {name_of(n) for n in round.cluster.scan("", "nodes") if node_takes(n, template.get("spec") or {})}
    held: dict[str, Object] = {}
    for pod in round.children(daemon_set, "", "pods"):
        node = str(pod["spec"].get("nodeName"))
        if not is_active(pod) or node in held or node not in nodes:
            round.remove(pod_key(pod))  # ended, a second one on its node, or not wanted there any more
        else:
            held[node] = pod
    _replace_outdated(round, daemon_set, revision, held)
    for node in sorted(nodes - held.keys()):
        prefix = f"{name_of(daemon_set)}-"
        pod = pod_from(daemon_set, round.new_name(prefix), {REVISION_LABEL: revision}, nodeName=node)
        pod["metadata"]["generateName"] = prefix
        held[node] = round.create(pod_key(pod), pod)
    pods = list(held.values())
    available = count_available(round, key, daemon_set, pods)
    status = {
        "currentNumberScheduled": len(pods),
        "desiredNumberScheduled": len(nodes),
        "numberMisscheduled": 0,
        "numberReady": sum(map(is_ready, pods)),
        "numberAvailable": available,
        "numberUnavailable": len(nodes) - available,
        "updatedNumberScheduled": sum(labels_of(p).get(REVISION_LABEL) == revision for p in pods),
        "observedGeneration": generation_of(daemon_set),
    }
    always = ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady")
    round.put_status(key, daemon_set, without_zeros(status, *always))


def _replace_outdated(round: Round, daemon_set: Object, revision: str, held: dict[str, Object]) -> None:
    """Takes away Pods of an earlier template, at most maxUnavailable at a time; those not ready at once."""
    strategy = daemon_set["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return
    rolling = strategy.get("rollingUpdate") or {}
    allowed = max(1, share(rolling.get("maxUnavailable"), len(held), up=True, default=1))
    spare = allowed - sum(not is_ready(pod) for pod in held.values())
    for node, pod in sorted(held.items(), key=lambda item: (is_ready(item[1]), item[0])):
        if labels_of(pod).get(REVISION_LABEL) == revision:
            continue
        if not is_ready(pod) or spare > 0:
            spare -= is_ready(pod)
            round.remove(pod_key(pod))
            del held[node]
