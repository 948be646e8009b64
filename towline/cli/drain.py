"""`towline drain`: everything moves off a cluster, and this tells how far it is.

The hub does it, because of a taint on the Cluster: it goes on when this command ends, and after a restart.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import click

from towline.cli.client import Client
from towline.cli.cordon import CORDONED, DRAINED, with_taints
from towline.cli.failures import Failure
from towline.cli.options import Seconds, config_option, kubeconfig_option
from towline.cli.selection import CLUSTERS, Selection, change
from towline.kube.interpreter import has_ended
from towline.kube.names import TAINT_DRAIN
from towline.kube.taints import Place, Taint, tolerates

BINDINGS = (
    "/apis/work.karmada.io/v1alpha2/resourcebindings",
    "/apis/work.karmada.io/v1alpha2/clusterresourcebindings",
)
PAGE = 500
LOOK_SECONDS = 1
"""How long each of the two watches is followed in turn."""

State = Literal["waiting", "moving", "removing", "stuck"]


@click.command(name="drain")
@click.argument("cluster")
@click.option(
    "--timeout",
    "timeout_seconds",
    type=Seconds(),
    default="0",
    metavar="TIME",
    help="How long to watch, as 90s or 10m; 0 is until it is done. The hub goes on afterwards.",
)
@kubeconfig_option
@config_option
def command(cluster: str, timeout_seconds: float, kubeconfig: Path | None) -> None:
    """Move everything off CLUSTER, gracefully.

    Nothing new is placed in CLUSTER from here on. A copy leaves when its replacement elsewhere is healthy, so many at a time as the
    hub's --resource-eviction-rate says. What cannot move stays, and is listed with the reason; then the exit code is 1. The hub goes on
    when this ends; `towline uncordon` stops it.
    """
    with Client.from_kubeconfig(kubeconfig) as client:
        _taint(client, cluster, add=(CORDONED, DRAINED))
        until = time.monotonic() + timeout_seconds if timeout_seconds else None
        told = _follow(client, cluster, lambda: until is not None and time.monotonic() > until)
        _conclude(client, cluster, told)


def _conclude(client: Client, cluster: str, told: Mapping[str, Stay]) -> None:
    stuck = {name for name, stay in told.items() if stay.state == "stuck"}
    for name, stay in sorted(told.items()):
        if stay.why:
            click.echo(f"{name} {_HINDERED[stay.state]}: {stay.why}", err=True)
    if told:
        left = f"{len(stuck)} cannot move, {len(told) - len(stuck)} are on their way"
        raise Failure(
            f"{cluster} is not drained: {left}.", f"It goes on; `towline uncordon {cluster}` stops it."
        )
    _taint(client, cluster, without=(DRAINED,))
    click.echo(f"{cluster} is drained. Nothing is placed there until `towline uncordon {cluster}`.")


_HINDERED: Mapping[State, str] = {"stuck": "cannot move", "moving": "is on its way"}


def _taint(client: Client, name: str, add: Sequence[Place] = (), without: Sequence[Place] = ()) -> None:
    found = next(Selection([name], "", False).read(client))
    if isinstance(found, Failure):
        raise found
    change(client, found, lambda current: with_taints(current, add, without))


# --- what is still there ---------------------------------------------------------------------------------------


class Stay(NamedTuple):
    """A binding that still has to do with the cluster, and how far it is from leaving it."""

    state: State
    why: str = ""
    failed: bool = False
    """Its replacement was refused: that may last for ever."""


def stay_of(binding: Mapping[str, Any], cluster: str) -> Stay | None:
    """None: it has left, was never there, or is a Job that has ended: that stays where it ran."""
    spec, status = binding.get("spec") or {}, binding.get("status") or {}
    entries = {entry.get("clusterName"): entry for entry in status.get("aggregatedStatus") or ()}
    if has_ended(spec.get("resource") or {}, (entries.get(cluster) or {}).get("status")):
        return None
    deleted = binding["metadata"].get("deletionTimestamp")
    if not deleted and any(target.get("name") == cluster for target in spec.get("clusters") or ()):
        return _waiting(spec, status, cluster)
    for task in spec.get("gracefulEvictionTasks") or ():
        if not deleted and task.get("fromCluster") == cluster:
            kept = task.get("suppressDeletion")
            if kept:
                return Stay("stuck", "its task keeps the copy (suppressDeletion)")
            return _moving(spec, entries)
    return Stay("removing") if cluster in entries else None


def _moving(spec: Mapping[str, Any], entries: Mapping[Any, Mapping[str, Any]]) -> Stay:
    """Which replacement is not there yet, as far as anything is known against one."""
    for target in spec.get("clusters") or ():
        name, entry = target["name"], entries.get(target["name"]) or {}
        if entry.get("applied") is False:
            why = f"its copy in {name} is not applied: {entry.get('appliedMessage') or 'nobody said why'}"
            return Stay("moving", why, failed=True)
        if entry.get("health") == "Unhealthy":
            return Stay("moving", f"its copy in {name} is not healthy yet")
    return Stay("moving")


def _waiting(spec: Mapping[str, Any], status: Mapping[str, Any], cluster: str) -> Stay:
    tolerations = (spec.get("placement") or {}).get("clusterTolerations")
    if tolerates(tolerations, Taint(TAINT_DRAIN, "", "NoExecute")):
        return Stay("stuck", f"its policy tolerates the taint {TAINT_DRAIN}")
    for condition in status.get("conditions") or ():
        _, drained, why = str(condition.get("message")).partition(f"{cluster} is being drained: ")
        if condition.get("type") == "EvictionBlocked" and drained:
            return Stay("stuck", why)
    return Stay("waiting")


# --- watching --------------------------------------------------------------------------------------------------


def _follow(client: Client, cluster: str, over: Callable[[], bool]) -> dict[str, Stay]:
    """Tell what moves until nothing is on its way any more, or time is over. Answers what is still there."""
    stays: dict[str, Stay] = {}
    revisions: dict[str, str | None] = dict.fromkeys(BINDINGS)
    said: Counter[State] | None = None
    silence_told = False
    while True:
        for path in BINDINGS:
            for binding, gone in _changes(client, path, revisions):
                _note(stays, binding, None if gone else stay_of(binding, cluster))
        counts: Counter[State] = Counter(stay.state for stay in stays.values())
        if counts != said:
            said = counts
            click.echo(
                f"{counts['waiting']} wait, {counts['moving']} move, {counts['removing']} are removed, {counts['stuck']} cannot move"
            )
        if counts["removing"] and not silence_told and not _answers(client, cluster):
            silence_told = True
            click.echo(_SILENT.format(cluster))
        if over() or not counts.total() - counts["stuck"]:
            return stays


_SILENT = "{0} does not answer: a copy there is removed when its agent is back. Should that never be, `towline unjoin {0} --force` gives it up."


def _answers(client: Client, cluster: str) -> bool:
    conditions = (client.get(f"{CLUSTERS}/{cluster}").get("status") or {}).get("conditions") or ()
    return not any(row.get("type") == "Ready" and row.get("status") != "True" for row in conditions)


def _note(stays: dict[str, Stay], binding: Mapping[str, Any], stay: Stay | None) -> None:
    ref, kind = (binding.get("spec") or {}).get("resource") or {}, binding["kind"]
    where = f"{ref['namespace']}/{ref.get('name')}" if ref.get("namespace") else str(ref.get("name"))
    name = f"{ref.get('kind')} {where}" if ref else f"{kind} {binding['metadata']['name']}"
    if stay is not None:
        if stay.failed and stays.get(name) != stay:
            click.echo(f"{name} {_HINDERED[stay.state]}: {stay.why}")
        stays[name] = stay
    elif stays.pop(name, None) is not None:
        elsewhere = sorted(str(target["name"]) for target in binding["spec"].get("clusters") or ())
        click.echo(f"{name} has moved{' to ' + ', '.join(elsewhere) if elsewhere else ''}")


def _changes(
    client: Client, path: str, revisions: dict[str, str | None]
) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """What is new at `path` since it was read last, and whether it is gone. Once everything, then what a short watch brings."""
    revision = revisions[path]
    if revision is None:
        yield from ((binding, False) for binding in _listed(client, path, revisions))
        return
    query = f"?watch=true&allowWatchBookmarks=true&resourceVersion={revision}&timeoutSeconds={LOOK_SECONDS}"
    for event in client.watch(path + query):
        if event["type"] == "ERROR":
            revisions[path] = None  # too old: read everything again
            return
        revisions[path] = event["object"]["metadata"]["resourceVersion"]
        if event["type"] != "BOOKMARK":
            yield event["object"], event["type"] == "DELETED"


def _listed(client: Client, path: str, revisions: dict[str, str | None]) -> Iterator[Mapping[str, Any]]:
    token = ""
    while True:
        answer = client.get(f"{path}?limit={PAGE}&continue={token}")
        kind = str(answer["kind"]).removesuffix("List")
        yield from ({"kind": kind, **binding} for binding in answer["items"])
        revisions[path] = answer["metadata"]["resourceVersion"]
        token = answer["metadata"].get("continue") or ""
        if not token:
            return
