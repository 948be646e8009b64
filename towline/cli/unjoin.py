"""`towline unjoin`: a cluster leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from towline.cli.ages import age
from towline.cli.client import Client, Refused
from towline.cli.clusters import CLUSTERS_PATH
from towline.cli.failures import Failure
from towline.cli.options import Seconds, config_option, kubeconfig_option
from towline.cli.selection import CLUSTERS, look_up
from towline.kube import exits

_POLL_SECONDS = 0.5
_UNREACHABLE = "AgentUnreachable"
"""Why a Detaching Cluster waits when it waits for an agent that is lost."""
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
        kept, forced = keep_workloads or chosen.keep_workloads, force or chosen.forced
        reachable = _is_reachable(found)
        if not reachable and not forced:
            raise Failure(*_refusal(found, kept))
        if dry_run:
            click.echo(_intent(client, cluster, reachable, kept))
            return
        ends_at = time.monotonic() + wait
        if not (forced or _is_leaving(found) or exits.never_reported(found)):
            with _interrupted("Nothing was changed."):
                _await_agent(client, cluster, kept, ends_at)
        with _interrupted(_goes_on(cluster)):
            if notes := _notes(keep_workloads, remove_agent, force):
                client.merge(f"{CLUSTERS}/{cluster}", {"metadata": {"annotations": notes}})
            _delete(client, cluster)
            _await_end(client, found, forced, ends_at)
    click.echo(f"Cluster {cluster} is detached.{' ' + _later(kept) if forced or not reachable else ''}")


def _notes(keep_workloads: bool, remove_agent: bool, force: bool) -> dict[str, str]:
    """What was chosen, as annotations of the Cluster; what was not is left as it is."""
    notes = {exits.WORKLOADS: exits.KEEP} if keep_workloads else {}
    notes |= {exits.AGENT: exits.REMOVE} if remove_agent else {}
    return notes | ({exits.FORCE: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")} if force else {})


def _found(client: Client, cluster: str) -> Any:
    found = look_up(client, cluster)
    if isinstance(found, Failure):
        raise found
    return found


def _delete(client: Client, cluster: str) -> None:
    try:
        client.request("DELETE", f"{CLUSTERS}/{cluster}")
    except Refused as error:
        if error.code != 404:
            raise


def _is_reachable(cluster: Any) -> bool:
    return _condition(cluster, "Ready").get("status") == "True" or exits.never_reported(cluster)


def _is_leaving(cluster: Any) -> bool:
    return bool(cluster["metadata"].get("deletionTimestamp"))


def _refusal(cluster: Any, kept: bool) -> tuple[str, str]:
    name = cluster["metadata"]["name"]
    why = str(_condition(cluster, "Ready").get("message") or "nobody says why").rstrip(".")
    if _is_leaving(cluster):
        return f"Cluster {name} is being detached already and waits for its agent ({why}).", _anyway(
            name, kept
        )
    return (
        f"Cluster {name} cannot be reached ({why}), so nothing can be removed from it. Nothing was changed.",
        f"Try again when it is back; or {_anyway(name, kept)}",
    )


def _anyway(name: str, kept: bool) -> str:
    return f"`towline unjoin {name} --force` forgets it now: what it runs moves elsewhere. {_later(kept)}"


def _goes_on(name: str) -> str:
    return f"It goes on without this command; `kubectl describe cluster {name}` shows how far it is."


def _later(kept: bool) -> str:
    does = "let go of" if kept else "remove"
    return f"Should its agent come back it is told to {does} what was propagated."


def _intent(client: Client, cluster: str, reachable: bool, kept: bool) -> str:
    works = len(client.get(_WORKS.format(cluster))["items"])
    if not reachable:
        return f"Cluster {cluster} would be forgotten with {works} Works in it. {_later(kept)}"
    told = f"Cluster {cluster} would {'let go of' if kept else 'lose'} {works} Works and then be forgotten."
    away = _away(client, cluster)
    return f"{told} But {away}, and has to come back first." if away else told


# --- waiting ---------------------------------------------------------------------------------------------------


@contextmanager
def _interrupted(state: str) -> Iterator[None]:
    """Ctrl-C meanwhile leaves this `state`, and says so."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(state) from None


class Interrupted(Failure):
    exit_code = 130


def _await_agent(
    client: Client, cluster: str, kept: bool, ends_at: float,
    now: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
) -> None:  # fmt: skip
    """Until the cluster's agent is connected, for it has to do what is asked. Raises Failure when the cluster counts as unreachable
    meanwhile, or time is over."""
    told = False
    while away := _away(client, cluster):
        found, anyway = _found(client, cluster), _anyway(cluster, kept)
        if not _is_reachable(found):
            raise Failure(*_refusal(found, kept))
        if now() >= ends_at:
            raise Failure(f"Nothing was changed: {away}.", f"Try again when it is back; or {anyway}")
        if not told:
            click.echo(f"Waiting: {away}. Nothing is changed before it is back. {anyway}", err=True)
        told = True
        sleep(_POLL_SECONDS)


def _away(client: Client, cluster: str) -> str:
    """That no hub has a session of its agent, in words; empty while one has, or where the user may not know."""
    try:
        rows = client.get(CLUSTERS_PATH)["items"]
    except Refused:
        return ""
    row = next((row for row in rows if row["name"] == cluster and not row["connected"]), None)
    heard = (
        f" (last contact {age(time.time() - row['lastContact'])} ago)" if row and row["lastContact"] else ""
    )
    return f"the agent of cluster {cluster} is not connected{heard}" if row else ""


def _await_end(
    client: Client, cluster: Any, forced: bool, ends_at: float,
    now: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
) -> None:  # fmt: skip
    """Until this Cluster object is gone, saying what it waits for. Raises Failure when that takes too long, or cannot end because the
    cluster is lost."""
    name, uid, said = cluster["metadata"]["name"], cluster["metadata"]["uid"], ""
    while True:
        waiting: Any = {}
        try:
            present = client.get(f"{CLUSTERS}/{name}")
            if present["metadata"]["uid"] != uid:
                return
            waiting = _condition(present, "Detaching")
            why = str(waiting.get("message") or "").rstrip(".")
        except Refused as error:
            if error.code == 404:
                return
            raise
        except Failure:
            why = "the hub cannot be reached; it may be starting again"
        if now() >= ends_at or (waiting.get("reason") == _UNREACHABLE and not forced):
            told = f"Cluster {name} is still being detached: {why or 'the hub has not said why yet'}."
            raise Failure(told, _goes_on(name))
        if why and why != said:
            said = why
            click.echo(f"Waiting: {why}.", err=True)
        sleep(_POLL_SECONDS)


def _condition(cluster: Any, kind: str) -> Any:
    conditions = (cluster.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == kind), {})
