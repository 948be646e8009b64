"""`towline join`."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click

from towline.cli.client import Client
from towline.cli.failures import Misuse
from towline.cli.manifests import IMAGE, agent_manifests, render
from towline.cli.options import Seconds, config_option, kubeconfig_option
from towline.cli.scope import NAMESPACE, PART_OF, Resource, Scope

REMOVE_ROLES = f"kubectl delete roles,rolebindings -A -l {PART_OF}"
"""In the member: those that are still meant come again with the manifests."""
TOKENS_PATH = "/towline/v1/jointokens"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PLURAL = re.compile(r"[a-z][a-z0-9]*")
_GROUP = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


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
@click.option(
    "--scope",
    default="cluster",
    show_default=True,
    metavar="cluster|namespaces=A,B",
    help="Where the hub may write in this cluster.",
)
@click.option(
    "--kinds",
    default="",
    metavar="KINDS",
    help="What the hub may write, as `deployments.apps,configmaps`. Default: every kind.",
)
@click.option("--token-only", is_flag=True, help="Print the join token alone.")
@click.option(
    "--ttl",
    type=Seconds(),
    default="1h",
    show_default=True,
    metavar="TIME",
    help="For how long the token is good, as 30m, 24h or 7d (the most).",
)
@config_option
def command(
    name: str,
    kubeconfig: Path | None,
    region: str,
    zones: tuple[str, ...],
    provider: str,
    labels: tuple[str, ...],
    image: str,
    scope: str,
    kinds: str,
    token_only: bool,
    ttl: float,
) -> None:
    """Print what the cluster NAME needs to join.

    Pipe it into `kubectl apply -f -` in that cluster. The join token in it works once and for the time of --ttl. With --scope or --kinds
    the agent gets just the rights that it needs for them, and tells the hub what it will not write.
    """
    limits = _scope(scope, kinds)
    request: dict[str, Any] = {"name": name, "labels": dict(_label(label) for label in labels)}
    request |= {k: v for k, v in (("region", region), ("zones", list(zones)), ("provider", provider)) if v}
    request["ttlSeconds"] = int(ttl)
    with Client.from_kubeconfig(kubeconfig) as client:
        answer = make_token(client, request)
    for note in notes(name, answer, token_only):
        click.echo(f"Note: {note}", err=True)
    token = str(answer["token"])
    click.echo(token if token_only else render(agent_manifests(token, image, limits)), nl=token_only)


def make_token(client: Client, request: dict[str, Any]) -> Any:
    """What the hub answers about a new join token for `request["name"]`; the token is its `token`. Raises Failure."""
    return client.request("POST", TOKENS_PATH, request)


def notes(name: str, answer: Any, token_only: bool) -> list[str]:
    """What somebody may not expect of the token in `answer`."""
    told: list[str] = []
    if answer.get("replaced"):
        told.append(f"the join token that {name} had and did not use is worthless from now on.")
    if answer.get("joined"):
        told.append(
            f"{name} is joined already. The token is good for that same cluster only, whose region, zones, provider and labels stay "
            "as they are."
        )
        if not token_only:
            told.append(
                f"roles in namespaces that --scope names no more stay there. Remove them before you apply this: `{REMOVE_ROLES}`."
            )
    hubs = answer.get("hubs") or ()
    if hubs and not token_only and all(map(_is_loopback, hubs)):
        told.append(
            f"the hub says that it is reached at {', '.join(hubs)}, which no pod of another machine can dial. Start it with "
            "--advertise HOST (and --api-address, --gateway-address 0.0.0.0:PORT), and join again."
        )
    return told


def _is_loopback(hub: str) -> bool:
    host = hub.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _scope(scope: str, kinds: str) -> Scope:
    where, equals, names = scope.partition("=")
    namespaces = tuple(name.strip() for name in names.split(",") if name.strip())
    if (where, bool(equals)) not in (("cluster", False), ("namespaces", True)) or (equals and not namespaces):
        raise Misuse(f"--scope {scope!r} is not known.", "Write cluster, or namespaces=team-a,team-b.")
    for name in namespaces:
        if not _NAME.fullmatch(name):
            told = "RBAC knows no patterns: name each." if "*" in name else "Namespaces are lower-case names."
            raise Misuse(f"--scope: {name!r} is not a namespace.", told)
        if name == NAMESPACE:
            raise Misuse(f"--scope: {name} is the agent's own namespace.", "Choose others.")
    chosen = tuple(_resource(each.strip()) for each in kinds.split(",") if each.strip())
    for kind in chosen:
        if namespaces and not kind.namespaced:
            raise Misuse(f"--kinds: {kind} lie in no namespace.", "Give --scope cluster, or leave them out.")
    return Scope(namespaces, tuple(dict.fromkeys(chosen)))


def _resource(text: str) -> Resource:
    """`deployments.apps` as a kind. What Kubernetes itself serves has to be spelled right; other groups are believed."""
    from towline.kube import builtin

    plural, _, group = text.partition(".")
    known = {(kind.group, kind.plural): kind.namespaced for kind in builtin.kinds()}
    if not _PLURAL.fullmatch(plural) or (group and not _GROUP.fullmatch(group)):
        raise Misuse(
            f"--kinds: {text!r} is not a kind.",
            "Write plurals with their groups, as deployments.apps,configmaps.",
        )
    if (group, plural) not in known and group in {each for each, _ in known}:
        elsewhere = [f"{plural}.{other}" for other, its in known if its == plural and other]
        told = (
            f"Did you mean {elsewhere[0]}?"
            if elsewhere
            else "Write it as `kubectl api-resources` lists it, with its group."
        )
        raise Misuse(f"--kinds: there are no {text}.", told)
    return Resource(plural, group, known.get((group, plural), True))


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise Misuse(f"--label {text!r} is not KEY=VALUE.", "Write it like --label tier=prod.")
    return key, value
