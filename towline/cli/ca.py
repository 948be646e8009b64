"""`towline ca`: the hub's certificate authority."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from towline.cli.ages import age
from towline.cli.client import Client
from towline.cli.failures import Failure, Misuse
from towline.cli.options import config_option, kubeconfig_option

AUTHORITIES_PATH = "/towline/v1/authorities"
COPY_AGAIN = "Copy DIR/admin.kubeconfig from the hub again (DIR is its --data-dir): it is a new one since agents renew."
FINISHED = (
    "The old authority is gone. Copies of admin.kubeconfig from before are worthless: copy DIR/admin.kubeconfig from the hub again "
    "(DIR is its --data-dir). So are join tokens from before the rotation: `towline join` makes new ones."
)


@click.group(name="ca")
def command() -> None:
    """Look at the hub's certificate authority, and replace it."""


@command.command(name="status")
@kubeconfig_option
@config_option
def status(kubeconfig: Path | None) -> None:
    """Show the authority, and how far a rotation is."""
    with Client.from_kubeconfig(kubeconfig) as client:
        click.echo("\n".join(told(client.get(AUTHORITIES_PATH), time.time())))


@command.command(name="rotate")
@kubeconfig_option
@click.option("--finish", is_flag=True, help="Drop the old authority now.")
@click.option("--force", is_flag=True, help="With --finish: also when somebody still needs it.")
@config_option
def rotate(kubeconfig: Path | None, finish: bool, force: bool) -> None:
    """Replace the hub's certificate authority while everybody stays connected.

    A new authority is made and agents learn to trust both; then it signs, and agents renew; at last the old one is dropped. All but
    the last happens by itself. The last happens when no certificate needs the old one any more, or with --finish: copies
    of admin.kubeconfig from before the rotation end with it, so copy it again first. It waits for join tokens from before, too, unless forced.
    """
    if force and not finish:
        raise Misuse("--force means nothing without --finish.", "Give both, or neither.")
    with Client.from_kubeconfig(kubeconfig) as client:
        if finish and not force and not _outlasts(client, client.get(AUTHORITIES_PATH)):
            raise Failure("This kubeconfig needs the old authority; nothing was changed.", COPY_AGAIN)
        known = client.request("POST", AUTHORITIES_PATH, {"finish": finish, "force": force})
    click.echo("\n".join([*told(known, time.time()), *([FINISHED] if finish else [])]))


def _outlasts(client: Client, known: Any) -> bool:
    """Whether the kubeconfig in use is good without the old authority, or there is no better one yet."""
    from towline.certs.authority import bundle_of, issuer_of

    if known["stage"] != "Renewing":
        return True
    incoming = known["incoming"]
    if client.authority_pem and incoming["fingerprint"] not in bundle_of(client.authority_pem):
        return False
    return not client.certificate_pem or issuer_of(client.certificate_pem) == incoming["keyID"]


def told(known: Any, now: float) -> list[str]:
    """What is to be said of the authorities. `now` is epoch seconds."""
    current = known["current"]
    lines = [f"Authority: {_short(current)}, {age(current['ends'] - now)} left."]
    if known["stage"] == "Steady":
        return lines
    lines.append(f"It is being replaced by {_short(known['incoming'])}.")
    if known["stage"] == "Spreading":
        lines.append("Agents learn to trust both; then the new one signs.")
    else:
        left = age(known["neededUntil"] - now)
        lines.append(
            "The new one signs, and agents renew their certificates. The old one goes by itself when all have and the last "
            f"administrator's certificate of it has ended, in {left}; or with `towline ca rotate --finish`. Before that, replace every "
            "copy of admin.kubeconfig by DIR/admin.kubeconfig of the hub (DIR is its --data-dir), which is a new one already."
        )
    lines += [f"Waiting for {name}: {why}." for name, why in known["waiting"].items()]
    if not known["waiting"]:
        lines.append("Nobody keeps it waiting.")
    return lines


def _short(described: Any) -> str:
    return f"SHA-256 {described['fingerprint'][:16]}…"
