"""`towline what-if`: which placements would change if something was otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from towline.cli import changes, resources
from towline.cli.client import Client
from towline.cli.explain import ROOT, asked
from towline.cli.explained import listed, table
from towline.cli.failures import Misuse
from towline.cli.options import (
    PathParam,
    config_option,
    kubeconfig_option,
    namespace_option,
    output_option,
    show,
)
from towline.kube.names import TAINT_DRAIN

CORDON = "cluster.karmada.io/unschedulable:NoSchedule"
"""The taint that `karmadactl cordon` sets."""

Object = dict[str, Any]


@click.command(name="what-if")
@click.argument("words", nargs=-1, metavar="[KIND/NAME]")
@namespace_option
@click.option("--all", "everything", is_flag=True, help="All that is propagated of the namespace.")
@click.option("-A", "--all-namespaces", is_flag=True, help="All that is propagated.")
@click.option(
    "--taint", "taints", multiple=True, metavar="CLUSTER=KEY[=VALUE]:EFFECT", help="A cluster gets a taint."
)
@click.option("--cordon", "cordoned", multiple=True, metavar="CLUSTER", help="A cluster takes no more.")
@click.option("--drain", "drained", multiple=True, metavar="CLUSTER", help="Everything moves off a cluster.")
@click.option("--lose", "lost", multiple=True, metavar="CLUSTER", help="A cluster is cut off, for good.")
@click.option(
    "--untaint", "untaints", multiple=True, metavar="CLUSTER=KEY[:EFFECT]", help="A cluster loses a taint."
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="CLUSTER=KEY=VALUE",
    help="A cluster gets a label; CLUSTER=KEY- takes it away.",
)
@click.option("--remove", "removed", multiple=True, metavar="CLUSTER", help="A cluster leaves.")
@click.option("--add", "added", multiple=True, type=PathParam, metavar="FILE", help="Clusters join: YAML.")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    type=PathParam,
    metavar="FILE",
    help="Policies come, or are others: YAML.",
)
@click.option("--replicas", type=click.IntRange(0), metavar="N", help="KIND/NAME asks for so many.")
@output_option
@kubeconfig_option
@config_option
def command(
    words: tuple[str, ...],
    namespace: str,
    everything: bool,
    all_namespaces: bool,
    taints: tuple[str, ...],
    cordoned: tuple[str, ...],
    drained: tuple[str, ...],
    lost: tuple[str, ...],
    untaints: tuple[str, ...],
    labels: tuple[str, ...],
    removed: tuple[str, ...],
    added: tuple[Path, ...],
    policies: tuple[Path, ...],
    replicas: int | None,
    output: str,
    kubeconfig: Path | None,
) -> None:
    """Say what would move if clusters, policies or replicas were otherwise. Changes nothing.

    Of KIND/NAME, of a namespace (--all) or of everything (-A). Every option but --replicas may repeat. Copies stay where
    they are with a new NoSchedule taint, as they do when it is real: what is placed next keeps away. They leave a cluster that
    is lost or tainted NoExecute if their policy says so, once they have tolerated it for as long as they do.

    \b
    towline what-if deployment/web -n shop --remove member2
    towline what-if deployment/web -n shop --replicas 20 --taint member1=gpu=broken:NoSchedule
    towline what-if -A --lose member1
    towline what-if -A --label member3=tier=gold --policy policy.yaml

    The same through the API: create a PlacementForecast (or ClusterPlacementForecast) in towline.io/v1alpha1.
    """
    if bool(words) + everything + all_namespaces != 1:
        raise Misuse(
            "What is it about?", "Give one of KIND/NAME, --all (of a namespace) and -A (of everything)."
        )
    tainted = [*taints, *(f"{cluster}={CORDON}" for cluster in (*cordoned, *drained))]
    tainted += [f"{cluster}={TAINT_DRAIN}:NoExecute" for cluster in drained]
    cut_off = changes.lost(datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    edits = [
        *changes.edits("--taint", tainted, changes.tainted),
        *changes.edits("--untaint", untaints, changes.untainted),
        *changes.edits("--label", labels, changes.labelled),
        *((cluster, cut_off) for cluster in lost),
    ]
    with Client.from_kubeconfig(kubeconfig) as client:
        clusters = [*changes.edited(client, edits), *changes.read(added, ("Cluster",))]
        rules = changes.read(policies, ("PropagationPolicy", "ClusterPropagationPolicy"))
        cluster = {"apiVersion": "cluster.karmada.io/v1alpha1", "kind": "Cluster"}
        spec: Object = {
            "apply": [*clusters, *rules],
            "delete": [{**cluster, "name": name} for name in removed],
        }
        if replicas is not None:
            spec["replicas"] = replicas
        space = "" if all_namespaces else namespace or client.namespace
        if words:
            kind, name = resources.split(words)
            resource = resources.find(client, kind)
            spec["templates"] = [{"apiVersion": resource.api_version, "kind": resource.kind, "name": name}]
            space = space if resource.namespaced else ""
        where = f"/namespaces/{space}/placementforecasts" if space else "/clusterplacementforecasts"
        answer = asked(client, f"{ROOT}{where}", {"spec": spec})
    show(answer, output, lambda: forecasts(answer["status"]))


def forecasts(status: Mapping[str, Any]) -> str:
    """The status of a PlacementForecast as text."""
    lines = [status["summary"], *([status["held"]] if status.get("held") else [])]
    rows = [["TEMPLATE", "CLUSTER", "NOW", "THEN"]]
    notes: list[str] = []
    for forecast in status["forecasts"]:
        name = _called(forecast["template"])
        rows += [
            [name, move["cluster"], _copies(move, "before"), _copies(move, "after")]
            for move in forecast.get("moves") or ()
        ]
        notes += _notes(name, forecast)
    if len(rows) > 1:
        lines += ["", *table(rows)]
    if notes:
        lines += ["", *notes]
    lines += [f"Withheld: {told}" for told in status.get("withheld") or ()]
    return "\n".join(lines) + "\n"


def _notes(name: str, forecast: Mapping[str, Any]) -> Iterator[str]:
    then, moves = forecast["then"], forecast.get("moves") or ()
    more = (forecast.get("movesCount") or 0) - len(moves)
    if more > 0:
        yield f"{name} changes in {more} more clusters"
    if then["state"] != forecast["now"]["state"]:
        yield f"{name} would be {then['state']}{_why(then)}"
    elif not moves and then.get("targets"):
        yield f"{name} stays in {listed(then['targets'])}"
    elif not moves and then["state"] != "Placed":
        yield f"{name} stays {then['state']}{_why(then)}"
    if forecast.get("pending"):
        yield f"{name}: {forecast['pending']}"


def _called(template: Mapping[str, Any]) -> str:
    namespace = f"{template['namespace']}/" if template.get("namespace") else ""
    return f"{template['kind'].lower()} {namespace}{template['name']}"


def _copies(move: Mapping[str, Any], field: str) -> str:
    if field not in move:
        return "-"
    return str(move[field]) if move[field] else "a copy"


def _why(standing: Mapping[str, Any]) -> str:
    return f": {standing['message']}" if standing.get("message") else ""
