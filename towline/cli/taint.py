"""`towline taint`: kubectl's command for nodes, for clusters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from towline.cli.client import Client
from towline.cli.failures import Failure, Misuse
from towline.cli.options import config_option, kubeconfig_option
from towline.cli.selection import Cluster, Selection, change, dry_run_option, for_each, selection_options
from towline.kube.taints import TaintChanges, TaintError, changed, parse_changes, taints_of


@click.command(name="taint")
@click.argument("words", nargs=-1, required=True, metavar="[CLUSTER]... TAINT...")
@selection_options
@click.option("--overwrite", is_flag=True, help="Change the value of a taint that is there already.")
@dry_run_option
@kubeconfig_option
@config_option
def command(
    words: tuple[str, ...],
    selector: str,
    everyone: bool,
    overwrite: bool,
    dry_run: bool,
    kubeconfig: Path | None,
) -> None:
    """Add taints to clusters, or take them away.

    A TAINT is KEY=VALUE:EFFECT or KEY:EFFECT; with a - at its end (also KEY-) it is taken away. The effect is NoSchedule (no new
    work without a toleration), PreferNoSchedule, or NoExecute (what does not tolerate it leaves). `towline taint clusters NAME TAINT`,
    as karmadactl has it, means the same.
    """
    given = [word for word in words if not _is_taint(word)]
    if given[:1] in (["cluster"], ["clusters"]) and (selector or everyone or given[1:]):
        given = given[1:]  # as `karmadactl taint clusters NAME` and `kubectl taint nodes NAME` say it
    try:
        changes = parse_changes(word for word in words if _is_taint(word))
    except TaintError as error:
        raise Misuse(
            f"{error}.", "Write taints like key=value:NoSchedule, key:NoSchedule- or key-."
        ) from None
    selection = Selection(given, selector, everyone)
    for_each(
        kubeconfig, selection, lambda client, cluster: taint(client, cluster, changes, overwrite, dry_run)
    )


def taint(client: Client, cluster: Cluster, changes: TaintChanges, overwrite: bool, dry_run: bool) -> str:
    """Change one cluster's taints; answers what to tell. Raises Failure."""
    name = str(cluster["metadata"]["name"])
    words: list[str] = []

    def patch(current: Cluster) -> dict[str, Any]:
        try:
            taints, word = changed(f"cluster {name}", taints_of(current), changes, overwrite=overwrite)
        except TaintError as error:
            raise Failure(f"{error}.") from None
        words.append(word)
        return {"spec": {"taints": taints or None}}

    change(client, cluster, patch, dry_run=dry_run)
    return f"cluster/{name} {words[-1]}{' (dry run)' if dry_run else ''}"


def _is_taint(word: str) -> bool:
    """Names of clusters have none of these."""
    return ":" in word or "=" in word or word.endswith("-")
