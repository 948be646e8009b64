"""`towline cordon` and `towline uncordon`: Karmada's taint that keeps new work away from a cluster, and nothing else (6.1)."""

from __future__ import annotations

from pathlib import Path

import click

from towline.cli.client import Client
from towline.cli.options import config_option, kubeconfig_option
from towline.cli.selection import Cluster, Selection, change, dry_run_option, for_each, selection_options
from towline.kube.names import TAINT_UNSCHEDULABLE

PLACE = (TAINT_UNSCHEDULABLE, "NoSchedule")


@click.command(name="cordon")
@click.argument("names", nargs=-1, metavar="[CLUSTER]...")
@selection_options
@dry_run_option
@kubeconfig_option
@config_option
def command(
    names: tuple[str, ...], selector: str, everyone: bool, dry_run: bool, kubeconfig: Path | None
) -> None:
    """Keep new work away from clusters. What runs there stays."""
    selection = Selection(names, selector, everyone)
    for_each(kubeconfig, selection, lambda client, cluster: set_cordon(client, cluster, True, dry_run))


def set_cordon(client: Client, cluster: Cluster, wanted: bool, dry_run: bool) -> str:
    """Give one cluster the taint, or take it; answers what to tell."""
    told = f"cluster/{cluster['metadata']['name']}"
    word = "cordoned" if wanted else "uncordoned"
    if _is_cordoned(cluster) == wanted:
        return f"{told} already {word}"

    def patch(current: Cluster) -> dict[str, object]:
        others = [taint for taint in _taints(current) if (taint.get("key"), taint.get("effect")) != PLACE]
        ours = [{"key": PLACE[0], "effect": PLACE[1]}] if wanted else []
        return {"spec": {"taints": [*others, *ours] or None}}

    change(client, cluster, patch, dry_run=dry_run)
    return f"{told} {word}{' (dry run)' if dry_run else ''}"


def _is_cordoned(cluster: Cluster) -> bool:
    return any((taint.get("key"), taint.get("effect")) == PLACE for taint in _taints(cluster))


def _taints(cluster: Cluster) -> list[dict[str, str]]:
    return (cluster.get("spec") or {}).get("taints") or []
