"""`towline cordon` and `towline uncordon`: Karmada's taint that keeps new work away from a cluster, and nothing else (6.1)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from towline.cli.client import Client
from towline.cli.options import config_option, kubeconfig_option
from towline.cli.selection import Cluster, Selection, change, dry_run_option, for_each, selection_options
from towline.kube.names import TAINT_DRAIN, TAINT_UNSCHEDULABLE
from towline.kube.taints import Place, place_of, taints_of

CORDONED = (TAINT_UNSCHEDULABLE, "NoSchedule")
DRAINED = (TAINT_DRAIN, "NoExecute")
"""Of a cluster that `towline drain` empties; uncordoning ends that too."""


def cordoning(name: str, wanted: bool, says: str) -> click.Command:
    """The command that gives clusters the taint, or takes it."""

    @click.command(name=name, help=says)
    @click.argument("names", nargs=-1, metavar="[CLUSTER]...")
    @selection_options
    @dry_run_option
    @kubeconfig_option
    @config_option
    def command(
        names: tuple[str, ...], selector: str, everyone: bool, dry_run: bool, kubeconfig: Path | None
    ) -> None:
        selection = Selection(names, selector, everyone)
        for_each(kubeconfig, selection, lambda client, cluster: set_cordon(client, cluster, wanted, dry_run))

    return command


command = cordoning("cordon", True, "Keep new work away from clusters. What runs there stays.")


def set_cordon(client: Client, cluster: Cluster, wanted: bool, dry_run: bool) -> str:
    """Give one cluster the taint, or take it; answers what to tell."""
    told = f"cluster/{cluster['metadata']['name']}"
    word = "cordoned" if wanted else "uncordoned"
    present = set(map(place_of, taints_of(cluster)))
    if CORDONED in present if wanted else not present & {CORDONED, DRAINED}:
        return f"{told} already {word}"
    add, without = ((CORDONED,), ()) if wanted else ((), (CORDONED, DRAINED))
    change(client, cluster, lambda current: with_taints(current, add, without), dry_run=dry_run)
    return f"{told} {word}{' (dry run)' if dry_run else ''}"


def with_taints(cluster: Cluster, add: Sequence[Place] = (), without: Sequence[Place] = ()) -> Cluster:
    """The patch that gives `cluster` these taints and takes those."""
    kept = [taint for taint in taints_of(cluster) if place_of(taint) not in without]
    present = set(map(place_of, kept))
    more = [{"key": key, "effect": effect} for key, effect in add if (key, effect) not in present]
    return {"spec": {"taints": [*kept, *more] or None}}
