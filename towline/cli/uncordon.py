"""`towline uncordon`: see `cordon`."""

from __future__ import annotations

from pathlib import Path

import click

from towline.cli.cordon import set_cordon
from towline.cli.options import config_option, kubeconfig_option
from towline.cli.selection import Selection, dry_run_option, for_each, selection_options


@click.command(name="uncordon")
@click.argument("names", nargs=-1, metavar="[CLUSTER]...")
@selection_options
@dry_run_option
@kubeconfig_option
@config_option
def command(
    names: tuple[str, ...], selector: str, everyone: bool, dry_run: bool, kubeconfig: Path | None
) -> None:
    """Let clusters have new work again that `towline cordon` kept away."""
    selection = Selection(names, selector, everyone)
    for_each(kubeconfig, selection, lambda client, cluster: set_cordon(client, cluster, False, dry_run))
