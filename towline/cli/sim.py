"""`towline sim`."""

from __future__ import annotations

from pathlib import Path

import click

from towline.cli.hub import address as host_and_port
from towline.cli.options import LEVELS, PathParam, config_option, serve
from towline.hub.sim.config import SimConfig


@click.command(name="sim")
@click.option("--data-dir", type=PathParam, required=True, metavar="DIR", help="Where its kubeconfig goes.")
@click.option(
    "--address", default="127.0.0.1:0", show_default=True, help="HOST:PORT of its API; port 0: any."
)
@click.option(
    "--store",
    type=click.Choice(["memory", "sqlite"]),
    default="memory",
    show_default=True,
    help="Where its objects are; in memory they end with it, and the next one is another cluster.",
)
@click.option("--nodes", type=click.IntRange(0, 5000), default=3, show_default=True, help="How many nodes.")
@click.option("--region", default="", help="Region label of the nodes.")
@click.option("--zone", "zones", multiple=True, help="Zone label of the nodes. Repeatable: they go round.")
@click.option("--node-cpu", default="64", show_default=True, help="Cores of each node.")
@click.option("--node-memory", default="256Gi", show_default=True, help="Memory of each node.")
@click.option(
    "--node-pods", type=click.IntRange(1), default=1000, show_default=True, help="Pods on each node."
)
@click.option(
    "--ready-seconds",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="From a Pod's creation to ready; the annotation sim.towline.io/ready-seconds overrides it.",
)
@click.option(
    "--complete-seconds",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="From ready to done, for Pods of Jobs; the annotation sim.towline.io/complete-seconds overrides it.",
)
@click.option("--log-level", type=click.Choice(LEVELS), default="warning", show_default=True)
@config_option
def command(
    data_dir: Path,
    address: str,
    store: str,
    nodes: int,
    region: str,
    zones: tuple[str, ...],
    node_cpu: str,
    node_memory: str,
    node_pods: int,
    ready_seconds: float,
    complete_seconds: float,
    log_level: str,
) -> None:
    """Run a simulated member cluster.

    A Kubernetes API whose workloads become ready by themselves; DIR/kubeconfig is there as soon as it serves.
    The annotation sim.towline.io/fail on a workload or its Pod template keeps its Pods from becoming ready.
    """
    config = SimConfig(
        data_dir=data_dir,
        address=host_and_port(address, "--address"),
        store=store,
        nodes=nodes,
        region=region,
        zones=zones,
        node_cpu=node_cpu,
        node_memory=node_memory,
        node_pods=node_pods,
        ready_seconds=ready_seconds,
        complete_seconds=complete_seconds,
    )
    from towline.hub.sim.app import run

    serve(lambda: run(config), log_level)
