"""`towline clusters`: the fleet, as its agents show it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from towline.cli.ages import age, table
from towline.cli.client import Client
from towline.cli.options import config_option, kubeconfig_option

CLUSTERS_PATH = "/towline/v1/clusters"
_HEAD = ("NAME", "READY", "CONNECTED", "LAST CONTACT", "CERTIFICATE", "AGENT", "KUBERNETES")


@click.command(name="clusters")
@kubeconfig_option
@click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help="Format."
)
@config_option
def command(kubeconfig: Path | None, output: str) -> None:
    """List the clusters: whether they are ready and connected, and until when their certificates last."""
    with Client.from_kubeconfig(kubeconfig) as client:
        items = client.get(CLUSTERS_PATH)["items"]
    if output == "json":
        click.echo(json.dumps(items, indent=2))
    elif not items:
        click.echo("There is no cluster yet. `towline join NAME` prints what one needs.")
    else:
        now = time.time()
        click.echo(table([_HEAD, *(row(item, now) for item in items)]))


def row(item: Any, now: float) -> tuple[str, ...]:
    """A line of the table. `now` is epoch seconds."""
    ready = item["ready"] or "-"
    if ready not in ("True", "-") and item["reason"]:
        ready = f"{ready} ({item['reason']})"
    ready += ", leaving" if item.get("leaving") else ""
    contact = item["lastContact"]
    heard = "now" if item["connected"] else f"{age(now - contact)} ago" if contact else "never"
    return (
        item["name"],
        ready,
        "yes" if item["connected"] else "no",
        heard,
        _certificate(item, now),
        item["agentVersion"] or "-",
        item["kubernetesVersion"] or "-",
    )


def _certificate(item: Any, now: float) -> str:
    ends = item["certificateEnds"]
    if not ends:
        return "none"
    if item["revoked"]:
        return "revoked"
    if not item["trusted"]:
        return "of an old authority"
    return f"{age(ends - now)} left" if ends > now else "expired"
