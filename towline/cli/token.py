"""`towline token`: the join tokens that the hub has given out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from towline.cli.ages import age, table
from towline.cli.client import Client, absent
from towline.cli.join import TOKENS_PATH
from towline.cli.options import config_option, kubeconfig_option


@click.group(name="token")
def command() -> None:
    """List and revoke join tokens. `towline join` makes them."""


@command.command(name="list")
@kubeconfig_option
@config_option
def list_(kubeconfig: Path | None) -> None:
    """List the join tokens: for which cluster, until when, and whether they were used."""
    with Client.from_kubeconfig(kubeconfig) as client:
        items = client.get(TOKENS_PATH)["items"]
    if not items:
        click.echo("There are no join tokens. `towline join NAME` makes one.")
        return
    now = time.time()
    click.echo(table([("CLUSTER", "EXPIRES", "USED"), *(row(item, now) for item in items)]))


@command.command(name="revoke")
@click.argument("name")
@kubeconfig_option
@config_option
def revoke(name: str, kubeconfig: Path | None) -> None:
    """Revoke the join token of the cluster NAME. A cluster that has joined with it stays joined."""
    none = absent(f"There is no join token for cluster {name!r}.", "`towline token list` shows them.")
    with none, Client.from_kubeconfig(kubeconfig) as client:
        client.request("DELETE", TOKENS_PATH, {"name": name})
    click.echo(f"The join token of {name} is revoked.")


def row(item: Any, now: float) -> tuple[str, ...]:
    """A line of the list. `now` is epoch seconds."""
    left = item["expires"] - now
    expires = f"in {age(left)}" if left > 0 else f"{age(-left)} ago"
    return item["name"], expires, "yes" if item["used"] else "no"
