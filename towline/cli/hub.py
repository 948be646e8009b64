"""`towline hub`."""

from __future__ import annotations

from pathlib import Path

import click

from towline.cli.failures import Misuse
from towline.cli.options import LEVELS, PathParam, config_option, serve
from towline.hub.config import HubConfig


@click.command(name="hub")
@click.option(
    "--data-dir", type=PathParam, required=True, metavar="DIR", help="Certificates, kubeconfig, store."
)
@click.option(
    "--store", default="sqlite", show_default=True, help="`sqlite`, or `etcd://HOST:PORT[,HOST:PORT…]`."
)
@click.option("--etcd-ca", type=PathParam, metavar="FILE", help="Certificate authority of etcd.")
@click.option("--etcd-cert", type=PathParam, metavar="FILE", help="Client certificate for etcd.")
@click.option("--etcd-key", type=PathParam, metavar="FILE", help="Key of the client certificate for etcd.")
@click.option("--api-address", default="127.0.0.1:6443", show_default=True, help="Where kubectl connects.")
@click.option("--gateway-address", default="127.0.0.1:7443", show_default=True, help="Where agents connect.")
@click.option(
    "--advertise",
    multiple=True,
    metavar="HOST",
    help="A name or address under which others reach this hub. Repeatable. Default: the hosts of the addresses.",
)
@click.option(
    "--namespace-sync",
    type=click.Choice(["all", "needed"]),
    default="all",
    show_default=True,
    help="Whether namespaces follow to all clusters or to those that need them.",
)
@click.option(
    "--window-events",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="Changes that watchers can resume from; older ones answer 410 and clients list again.",
)
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True)
@config_option
def command(
    data_dir: Path,
    store: str,
    etcd_ca: Path | None,
    etcd_cert: Path | None,
    etcd_key: Path | None,
    api_address: str,
    gateway_address: str,
    advertise: tuple[str, ...],
    namespace_sync: str,
    window_events: int,
    log_level: str,
) -> None:
    """Run the hub.

    The first start creates a certificate authority and DIR/admin.kubeconfig, which is all that kubectl needs.
    """
    if store != "sqlite" and not store.startswith("etcd://"):
        raise Misuse(f"There is no store {store!r}.", "Use `--store sqlite` or `--store etcd://HOST:PORT`.")
    if (etcd_cert is None) != (etcd_key is None):
        raise Misuse("A client certificate for etcd needs its key.", "Give both --etcd-cert and --etcd-key.")
    config = HubConfig(
        data_dir=data_dir,
        store=store,
        etcd_ca=etcd_ca,
        etcd_cert=etcd_cert,
        etcd_key=etcd_key,
        api_address=address(api_address, "--api-address"),
        gateway_address=address(gateway_address, "--gateway-address"),
        advertise=advertise,
        namespace_sync=namespace_sync,
        window_events=window_events,
    )
    from towline.hub.app import run

    serve(lambda: run(config), log_level)


def address(value: str, flag: str) -> str:
    """`value` if it is HOST:PORT."""
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise Misuse(f"{flag} {value!r} is not HOST:PORT.", "Write it like 127.0.0.1:6443.")
    return value
