"""`towline revoke`: certificates that are no good any more."""

from __future__ import annotations

from pathlib import Path

import click

from towline.cli.client import Client, absent
from towline.cli.options import config_option, kubeconfig_option

REVOCATIONS_PATH = "/towline/v1/revocations"


@click.command(name="revoke")
@click.argument("cluster")
@kubeconfig_option
@config_option
def command(cluster: str, kubeconfig: Path | None) -> None:
    """Revoke every certificate and join token of CLUSTER, and end its session.

    Use it when a key of its agent may be in wrong hands. The cluster stays a member and keeps its workloads; its agent
    comes back with a new token: `towline join CLUSTER --token-only`.
    """
    none = absent(f"There is no cluster {cluster!r}.", "`towline clusters` shows those there are.")
    with none, Client.from_kubeconfig(kubeconfig) as client:
        client.request("POST", REVOCATIONS_PATH, {"name": cluster})
    click.echo(f"The certificates of {cluster} are revoked. `towline join {cluster}` lets it come back.")
