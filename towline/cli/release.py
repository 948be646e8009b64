"""`towline release`: the delete breaker's other half."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from towline.cli.client import Client, Refused
from towline.cli.failures import Failure
from towline.cli.options import config_option, kubeconfig_option

ANNOTATION = "towline.io/release-deletions"


@click.command(name="release")
@click.argument("cluster")
@kubeconfig_option
@config_option
def command(cluster: str, kubeconfig: Path | None) -> None:
    """Let through the deletions that the delete breaker holds back for CLUSTER.

    The hub holds deletions that nobody asked for by name when they are too many at once; the Cluster's conditions
    say so. Look at what is missing first: after this they happen.
    """
    patch = {"metadata": {"annotations": {ANNOTATION: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}}}
    try:
        with Client.from_kubeconfig(kubeconfig) as client:
            client.merge(f"/apis/cluster.karmada.io/v1alpha1/clusters/{cluster}", patch)
    except Refused as error:
        if error.code == 404:
            raise Failure(
                f"There is no cluster {cluster!r}.", "`kubectl get clusters` shows those there are."
            ) from None
        raise
    click.echo(f"Held deletions of {cluster} are released.")
