"""`towline release`: an operator's word against the hub's caution."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from towline.cli.client import Client
from towline.cli.options import config_option, kubeconfig_option
from towline.cli.selection import Cluster, Selection, change, for_each, selection_options
from towline.kube.names import RELEASE_DELETIONS, RELEASE_EVICTIONS


@click.command(name="release")
@click.argument("names", nargs=-1, metavar="[CLUSTER]...")
@selection_options
@click.option(
    "--evictions", is_flag=True, help="The clusters are lost: move what runs there, as policies say."
)
@kubeconfig_option
@config_option
def command(
    names: tuple[str, ...], selector: str, everyone: bool, evictions: bool, kubeconfig: Path | None
) -> None:
    """Let through what the hub holds back for clusters; the conditions DeletionsHeld and EvictionsHeld say why.

    The hub holds deletions that nobody asked for by name when they are too many at once. Look at what is missing first: after
    this they happen. With --evictions: the hub evicts nothing from clusters that were lost together with most others, because it
    may be cut off itself. Look whether they are lost first.
    """
    annotation = RELEASE_EVICTIONS if evictions else RELEASE_DELETIONS
    what = "evictions" if evictions else "deletions"
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def release(client: Client, cluster: Cluster) -> str:
        change(client, cluster, lambda _: {"metadata": {"annotations": {annotation: stamp}}})
        return f"Held {what} of {cluster['metadata']['name']} are released."

    for_each(kubeconfig, Selection(names, selector, everyone), release)
