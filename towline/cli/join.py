"""`towline join`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from towline.cli.client import Client
from towline.cli.failures import Misuse
from towline.cli.manifests import IMAGE, agent_manifests, render
from towline.cli.options import config_option, kubeconfig_option

TOKENS_PATH = "/towline/v1/jointokens"


@click.command(name="join")
@click.argument("name")
@kubeconfig_option
@click.option("--region", default="", help="Region of the cluster.")
@click.option("--zone", "zones", multiple=True, help="Zone of the cluster. Repeatable.")
@click.option("--provider", default="", help="Provider of the cluster.")
@click.option(
    "--label", "labels", multiple=True, metavar="KEY=VALUE", help="Label of the Cluster. Repeatable."
)
@click.option("--image", default=IMAGE, show_default=True, help="The agent's image, as the member pulls it.")
@click.option("--token-only", is_flag=True, help="Print the join token alone.")
@config_option
def command(
    name: str,
    kubeconfig: Path | None,
    region: str,
    zones: tuple[str, ...],
    provider: str,
    labels: tuple[str, ...],
    image: str,
    token_only: bool,
) -> None:
    """Print what the cluster NAME needs to join.

    Pipe it into `kubectl apply -f -` in that cluster. The join token in it works once and for one hour.
    """
    request: dict[str, Any] = {"name": name, "labels": dict(_label(label) for label in labels)}
    request |= {k: v for k, v in (("region", region), ("zones", list(zones)), ("provider", provider)) if v}
    with Client.from_kubeconfig(kubeconfig) as client:
        token = make_token(client, request)
    click.echo(token if token_only else render(agent_manifests(token, image)), nl=token_only)


def make_token(client: Client, request: dict[str, Any]) -> str:
    """A join token from the hub, for `request["name"]`. Raises Failure."""
    answer = client.request("POST", TOKENS_PATH, request)
    return str(answer["token"])


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise Misuse(f"--label {text!r} is not KEY=VALUE.", "Write it like --label tier=prod.")
    return key, value
