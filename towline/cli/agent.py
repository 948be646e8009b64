"""`towline agent`."""

from __future__ import annotations

from pathlib import Path

import click

from towline.agent.config import AgentConfig
from towline.cli.hub import address
from towline.cli.options import LEVELS, PathParam, config_option, serve


@click.command(name="agent")
@click.option(
    "--data-dir", type=PathParam, required=True, metavar="DIR", help="Identity and last desired state."
)
@click.option(
    "--join-token",
    default="",
    metavar="TOKEN",
    help="From `towline join NAME --token-only`; not needed after the first start. In TOWLINE_AGENT_JOIN_TOKEN nobody else sees it.",
)
@click.option(
    "--join-token-file",
    type=PathParam,
    metavar="FILE",
    help="The same in a file, as a Secret that is mounted. Another token put there is used at once.",
)
@click.option(
    "--kubeconfig",
    type=PathParam,
    metavar="FILE",
    help="Of the member cluster. Default: the ServiceAccount of the pod that this runs in.",
)
@click.option("--context", default="", help="A context of the kubeconfig. Default: its current one.")
@click.option(
    "--gateway-address",
    "gateway_addresses",
    multiple=True,
    metavar="HOST:PORT",
    help="The hub's gateway. Repeatable, tried in turn. Default: what the enrolment said.",
)
@click.option(
    "--health-address", default="", metavar="HOST:PORT", help="Serve /livez, /readyz, /metrics here."
)
@click.option(
    "--identity-secret",
    default="",
    metavar="NAMESPACE/NAME",
    help="A Secret in the member that keeps the identity too. Default in a pod: towline-agent beside it.",
)
@click.option(
    "--allow-namespace",
    "allow_namespaces",
    multiple=True,
    metavar="PATTERN",
    help="A namespace that the hub may write into, as `team-*`. Repeatable. Default: all.",
)
@click.option(
    "--allow-kind",
    "allow_kinds",
    multiple=True,
    metavar="PATTERN",
    help="A kind that the hub may write, as `deployments.apps`. Repeatable. Default: all.",
)
@click.option(
    "--deletions-per-minute",
    type=click.IntRange(0),
    default=0,
    help="Never delete more objects a minute, whatever the hub asks for. Default: no limit.",
)
@click.option(
    "--cluster-status-update-seconds",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="How often the cluster's health, version and kinds are read.",
)
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True)
@config_option
def command(
    data_dir: Path,
    join_token: str,
    join_token_file: Path | None,
    kubeconfig: Path | None,
    context: str,
    gateway_addresses: tuple[str, ...],
    health_address: str,
    identity_secret: str,
    allow_namespaces: tuple[str, ...],
    allow_kinds: tuple[str, ...],
    deletions_per_minute: int,
    cluster_status_update_seconds: int,
    log_level: str,
) -> None:
    """Run the agent of one member cluster.

    It dials the hub, applies what the hub wants in this cluster, and reports status back.
    """
    config = AgentConfig(
        data_dir=data_dir,
        join_token=join_token.strip(),
        join_token_file=join_token_file,
        kubeconfig=kubeconfig,
        context=context,
        gateway_addresses=tuple(address(a, "--gateway-address") for a in gateway_addresses),
        health_address=address(health_address, "--health-address") if health_address else "",
        identity_secret=identity_secret,
        allow_namespaces=allow_namespaces,
        allow_kinds=allow_kinds,
        deletions_per_minute=deletions_per_minute,
        facts_seconds=cluster_status_update_seconds,
        log_level=log_level,
    )
    from towline.agent.app import run

    serve(lambda: run(config), log_level)
