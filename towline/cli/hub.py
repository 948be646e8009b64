"""`towline hub`."""

from __future__ import annotations

import contextlib
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click

from towline.cli.failures import Misuse
from towline.cli.options import LEVELS, PathParam, config_option, serve
from towline.hub.config import OIDC_ALGORITHMS, HealthLimits, HubConfig, OidcConfig

_HOST = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9._]{0,251}[A-Za-z0-9])?")


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
    "--unschedulable-threshold-seconds",
    "unschedulable_seconds",
    type=click.IntRange(0),
    default=300,
    show_default=True,
    help="Replicas that find no node in a member for so long move elsewhere, if divided by room. 0: never.",
)
@click.option(
    "--resource-eviction-rate",
    type=click.FloatRange(min=0),
    default=0.5,
    show_default=True,
    metavar="A_SECOND",
    help="How many bindings leave lost, tainted or drained clusters; 0: none.",
)
@click.option(
    "--service-account-issuer",
    default="",
    metavar="URL",
    help="Issuer of ServiceAccounts' tokens.  [default: the API's advertised address]",
)
@click.option(
    "--api-audiences",
    multiple=True,
    metavar="AUDIENCE",
    help="Whom tokens for this API name. Repeatable.  [default: the issuer]",
)
@click.option(
    "--service-account-max-token-seconds",
    type=click.IntRange(min=3600, max=2**32),
    metavar="SECONDS",
    help="How long requested tokens may be good for.",
)
@click.option(
    "--window-events",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="Changes that watchers can resume from; older ones answer 410 and clients list again.",
)
@click.option(
    "--cluster-monitor-grace-seconds",
    type=click.IntRange(min=4),
    default=40,
    show_default=True,
    help="How long an agent may be silent before its cluster's state is Unknown.",
)
@click.option(
    "--cluster-startup-grace-seconds",
    type=click.IntRange(min=4),
    default=60,
    show_default=True,
    help="The same before an agent's first report.",
)
@click.option(
    "--cluster-success-threshold-seconds",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    help="How long a member's API server must be ready before its cluster is Ready again.",
)
@click.option(
    "--cluster-failure-threshold-seconds",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    help="How long it must not be ready before its cluster is not Ready.",
)
@click.option(
    "--agent-certificate-seconds",
    type=click.IntRange(60, 365 * 86_400),
    default=7 * 86_400,
    show_default=True,
    help="How long agents' certificates are good; they renew at two thirds of it.",
)
@click.option("--oidc-issuer-url", metavar="URL", help="Take bearer tokens of this OpenID Connect issuer.")
@click.option("--oidc-client-id", metavar="ID", help="The audience that its tokens must name.")
@click.option(
    "--oidc-username-claim",
    default="sub",
    show_default=True,
    metavar="CLAIM",
    help="Whose value is the user.",
)
@click.option(
    "--oidc-username-prefix",
    default="",
    metavar="TEXT",
    help="Before user names. Default: the issuer and `#`; `-` for none.",
)
@click.option("--oidc-groups-claim", default="", metavar="CLAIM", help="Whose values are the groups.")
@click.option("--oidc-groups-prefix", default="", metavar="TEXT", help="Before groups.")
@click.option(
    "--oidc-required-claim",
    multiple=True,
    metavar="CLAIM=VALUE",
    help="A claim that every token must have. Repeatable.",
)
@click.option(
    "--oidc-ca-file",
    type=PathParam,
    metavar="FILE",
    help="Certificate authority of the issuer. Default: the system's.",
)
@click.option(
    "--oidc-signing-algs",
    default="RS256",
    show_default=True,
    metavar="ALGS",
    help="Accepted algorithms, comma-separated.",
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
    unschedulable_seconds: int,
    resource_eviction_rate: float,
    service_account_issuer: str,
    api_audiences: tuple[str, ...],
    service_account_max_token_seconds: int | None,
    window_events: int,
    cluster_monitor_grace_seconds: int,
    cluster_startup_grace_seconds: int,
    cluster_success_threshold_seconds: int,
    cluster_failure_threshold_seconds: int,
    agent_certificate_seconds: int,
    log_level: str,
    **oidc: Any,
) -> None:
    """Run the hub.

    The first start creates a certificate authority and DIR/admin.kubeconfig, which is all that kubectl needs.
    """
    if store != "sqlite" and not store.startswith("etcd://"):
        raise Misuse(f"There is no store {store!r}.", "Use `--store sqlite` or `--store etcd://HOST:PORT`.")
    if (etcd_cert is None) != (etcd_key is None):
        raise Misuse("A client certificate for etcd needs its key.", "Give both --etcd-cert and --etcd-key.")
    if service_account_issuer and not service_account_issuer.startswith("https://"):
        raise Misuse(
            f"--service-account-issuer {service_account_issuer!r} is not https.",
            "Others fetch the keys of tokens below it.",
        )
    config = HubConfig(
        data_dir=data_dir,
        store=store,
        etcd_ca=etcd_ca,
        etcd_cert=etcd_cert,
        etcd_key=etcd_key,
        api_address=address(api_address, "--api-address"),
        gateway_address=address(gateway_address, "--gateway-address"),
        advertise=tuple(map(_host, advertise)),
        namespace_sync=namespace_sync,
        unschedulable_seconds=unschedulable_seconds,
        evictions_a_second=resource_eviction_rate,
        service_account_issuer=service_account_issuer,
        api_audiences=api_audiences,
        service_account_max_token_seconds=service_account_max_token_seconds or 0,
        window_events=window_events,
        health=HealthLimits(
            success_threshold_seconds=cluster_success_threshold_seconds,
            failure_threshold_seconds=cluster_failure_threshold_seconds,
            monitor_grace_seconds=cluster_monitor_grace_seconds,
            startup_grace_seconds=cluster_startup_grace_seconds,
        ),
        agent_certificate_seconds=agent_certificate_seconds,
        oidc=_oidc(**oidc),
    )
    from towline.hub.app import run

    serve(lambda: run(config), log_level)


def _oidc(
    oidc_issuer_url: str | None,
    oidc_client_id: str | None,
    oidc_username_claim: str,
    oidc_username_prefix: str,
    oidc_groups_claim: str,
    oidc_groups_prefix: str,
    oidc_required_claim: tuple[str, ...],
    oidc_ca_file: Path | None,
    oidc_signing_algs: str,
) -> OidcConfig | None:
    if oidc_issuer_url is None and oidc_client_id is None:
        return None
    if not oidc_issuer_url or not oidc_client_id:
        raise Misuse(
            "An OpenID Connect issuer needs its client.", "Give both --oidc-issuer-url and --oidc-client-id."
        )
    if not oidc_issuer_url.startswith("https://"):
        raise Misuse(
            f"--oidc-issuer-url {oidc_issuer_url!r} is not https.",
            "Tokens are only as good as the keys' way here.",
        )
    algorithms = tuple(name.strip() for name in oidc_signing_algs.split(","))
    for name in algorithms:
        if name not in OIDC_ALGORITHMS:
            raise Misuse(
                f"--oidc-signing-algs: {name!r} is not known.", f"Choose of {', '.join(OIDC_ALGORITHMS)}."
            )
    required: dict[str, str] = {}
    for pair in oidc_required_claim:
        claim, found, value = pair.partition("=")
        if not found or not claim:
            raise Misuse(
                f"--oidc-required-claim {pair!r} is not CLAIM=VALUE.", "Write it like hd=example.com."
            )
        required[claim] = value
    try:
        ca_pem = oidc_ca_file.read_text() if oidc_ca_file is not None else ""
    except OSError as error:
        raise Misuse(
            f"--oidc-ca-file cannot be read: {error}", "Name a file with PEM certificates."
        ) from None
    return OidcConfig(
        oidc_issuer_url, oidc_client_id, oidc_username_claim, oidc_username_prefix, oidc_groups_claim, oidc_groups_prefix,
        required, ca_pem, algorithms,
    )  # fmt: skip


def _host(value: str) -> str:
    """`value` if it is a name or an address."""
    host = value.removeprefix("[").removesuffix("]")
    with contextlib.suppress(ValueError):
        return str(ip_address(host))
    if not _HOST.fullmatch(value):
        raise Misuse(
            f"--advertise {value!r} is not a host.",
            "Write a name or an address, as hub.example.org; the ports are those of --api-address and --gateway-address.",
        )
    return value


def address(value: str, flag: str) -> str:
    """`value` if it is HOST:PORT."""
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise Misuse(f"{flag} {value!r} is not HOST:PORT.", "Write it like 127.0.0.1:6443.")
    return value
