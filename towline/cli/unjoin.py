"""`towline unjoin`: a cluster leaves."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from towline.cli.client import Client, Refused, absent
from towline.cli.failures import Failure
from towline.cli.options import Seconds, config_option, kubeconfig_option
from towline.kube import exits

_POLL_SECONDS = 0.5
_PATH = "/apis/cluster.karmada.io/v1alpha1/clusters/"
_WORKS = "/apis/work.karmada.io/v1alpha1/namespaces/karmada-es-{}/works"


@click.command(name="unjoin")
@click.argument("cluster")
@kubeconfig_option
@click.option("--keep-workloads", is_flag=True, help="Leave in the cluster what was propagated to it.")
@click.option("--remove-agent", is_flag=True, help="Let the agent remove itself when all else is done.")
@click.option("--force", is_flag=True, help="Do not wait for a cluster that cannot be reached.")
@click.option(
    "--wait", type=Seconds(), default="60s", show_default=True, metavar="TIME",
    help="How long to watch it.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would happen and change nothing.")
@config_option
def command(
    cluster: str, kubeconfig: Path | None, keep_workloads: bool, remove_agent: bool, force: bool, wait: float, dry_run: bool
) -> None:  # fmt: skip
    """Detach CLUSTER: what it runs moves elsewhere, its copies are removed from it, then it is forgotten.

    A cluster that cannot be reached is not detached without --force: nobody can remove anything from it. Its agent learns what was chosen
    when it comes back.
    """
    with Client.from_kubeconfig(kubeconfig) as client:
        found = _found(client, cluster)
        chosen = exits.exit_of(found)
        kept = keep_workloads or chosen.keep_workloads
        ready = _condition(found, "Ready")
        reachable = ready.get("status") == "True" or exits.never_reported(found)
        if not reachable and not force:
            raise Failure(*_refusal(found, ready, kept))
        if dry_run:
            click.echo(_intent(client, cluster, reachable, kept))
            return
        notes = {exits.WORKLOADS: exits.KEEP} if keep_workloads else {}
        notes |= {exits.AGENT: exits.REMOVE} if remove_agent else {}
        notes |= {exits.FORCE: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")} if force else {}
        if notes:
            client.merge(_PATH + cluster, {"metadata": {"annotations": notes}})
        _delete(client, cluster)
        _await_end(client, found, wait)
    click.echo(f"Cluster {cluster} is detached.{' ' + _later(kept) if force or not reachable else ''}")


def _found(client: Client, cluster: str) -> Any:
    with absent(f"There is no cluster {cluster!r}.", "`towline clusters` shows those there are."):
        return client.get(_PATH + cluster)


def _delete(client: Client, cluster: str) -> None:
    try:
        client.request("DELETE", _PATH + cluster)
    except Refused as error:
        if error.code != 404:
            raise


def _refusal(cluster: Any, ready: Any, kept: bool) -> tuple[str, str]:
    name, why = cluster["metadata"]["name"], str(ready.get("message") or "nobody says why").rstrip(".")
    anyway = f"`towline unjoin {name} --force` forgets it now: what it runs moves elsewhere. {_later(kept)}"
    if cluster["metadata"].get("deletionTimestamp"):
        return f"Cluster {name} is being detached already and waits for its agent ({why}).", anyway
    return (
        f"Cluster {name} cannot be reached ({why}), so nothing can be removed from it. Nothing was changed.",
        f"Try again when it is back; or {anyway}",
    )


def _later(kept: bool) -> str:
    does = "let go of" if kept else "remove"
    return f"Should its agent come back it is told to {does} what was propagated."


def _intent(client: Client, cluster: str, reachable: bool, kept: bool) -> str:
    works = len(client.get(_WORKS.format(cluster))["items"])
    if not reachable:
        return f"Cluster {cluster} would be forgotten with {works} Works in it. {_later(kept)}"
    return f"Cluster {cluster} would {'let go of' if kept else 'lose'} {works} Works and then be forgotten."


def _await_end(
    client: Client,
    cluster: Any,
    wait_seconds: float,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Until this Cluster object is gone, saying what it waits for. Raises Failure when that takes too long."""
    name, uid, said = cluster["metadata"]["name"], cluster["metadata"]["uid"], ""
    ends_at = now() + wait_seconds
    while True:
        try:
            present = client.get(_PATH + name)
        except Refused as error:
            if error.code == 404:
                return
            raise
        if present["metadata"]["uid"] != uid:
            return
        waits_for = _condition(present, "Detaching").get("message") or ""
        if waits_for and waits_for != said:
            said = waits_for
            click.echo(f"Waiting: {said}", err=True)
        if now() >= ends_at:
            raise Failure(
                f"Cluster {name} is still being detached: {said.rstrip('.') or 'the hub has not said why'}.",
                f"It goes on without this command; `kubectl get cluster {name} -o yaml` shows how far it is.",
            )
        sleep(_POLL_SECONDS)


def _condition(cluster: Any, kind: str) -> Any:
    conditions = (cluster.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == kind), {})
