"""`towline what-if`: which placements would change if something was otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from towline.cli import resources
from towline.cli.client import Client, Refused
from towline.cli.explain import ROOT, asked
from towline.cli.explained import listed, table
from towline.cli.failures import Failure, Misuse
from towline.cli.options import (
    PathParam,
    config_option,
    kubeconfig_option,
    namespace_option,
    output_option,
    show,
)

CLUSTERS = "/apis/cluster.karmada.io/v1alpha1/clusters"
CORDON = "cluster.karmada.io/unschedulable:NoSchedule"
"""The taint that `karmadactl cordon` sets."""
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")

Object = dict[str, Any]


@click.command(name="what-if")
@click.argument("words", nargs=-1, metavar="[KIND/NAME]")
@namespace_option
@click.option("--all", "everything", is_flag=True, help="All that is propagated of the namespace.")
@click.option("-A", "--all-namespaces", is_flag=True, help="All that is propagated.")
@click.option(
    "--taint", "taints", multiple=True, metavar="CLUSTER=KEY[=VALUE]:EFFECT", help="A cluster gets a taint."
)
@click.option("--cordon", "cordoned", multiple=True, metavar="CLUSTER", help="A cluster takes no more.")
@click.option(
    "--untaint", "untaints", multiple=True, metavar="CLUSTER=KEY[:EFFECT]", help="A cluster loses a taint."
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="CLUSTER=KEY=VALUE",
    help="A cluster gets a label; CLUSTER=KEY- takes it away.",
)
@click.option("--remove", "removed", multiple=True, metavar="CLUSTER", help="A cluster leaves.")
@click.option("--add", "added", multiple=True, type=PathParam, metavar="FILE", help="Clusters join: YAML.")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    type=PathParam,
    metavar="FILE",
    help="Policies come, or are others: YAML.",
)
@click.option("--replicas", type=click.IntRange(0), metavar="N", help="KIND/NAME asks for so many.")
@output_option
@kubeconfig_option
@config_option
def command(
    words: tuple[str, ...],
    namespace: str,
    everything: bool,
    all_namespaces: bool,
    taints: tuple[str, ...],
    cordoned: tuple[str, ...],
    untaints: tuple[str, ...],
    labels: tuple[str, ...],
    removed: tuple[str, ...],
    added: tuple[Path, ...],
    policies: tuple[Path, ...],
    replicas: int | None,
    output: str,
    kubeconfig: Path | None,
) -> None:
    """Say what would move if clusters, policies or replicas were otherwise. Changes nothing.

    Of KIND/NAME, of a namespace (--all) or of everything (-A). Every option but --replicas may repeat. Copies stay where
    they are with a new NoSchedule taint, as they do when it is real: what is placed next keeps away.

    \b
    towline what-if deployment/web -n shop --remove member2
    towline what-if deployment/web -n shop --replicas 20 --taint member1=gpu=broken:NoSchedule
    towline what-if -A --label member3=tier=gold --policy policy.yaml

    The same through the API: create a PlacementForecast (or ClusterPlacementForecast) in towline.io/v1alpha1.
    """
    if bool(words) + everything + all_namespaces != 1:
        raise Misuse(
            "What is it about?", "Give one of KIND/NAME, --all (of a namespace) and -A (of everything)."
        )
    edits = [*_edits("--taint", taints, _tainted), *_edits("--untaint", untaints, _untainted)]
    edits += _edits("--label", labels, _labelled)
    edits += [(cluster, _tainted(CORDON)) for cluster in cordoned]
    with Client.from_kubeconfig(kubeconfig) as client:
        spec: Object = {"apply": [*_edited(client, edits), *_read(added, ("Cluster",))]}
        spec["apply"] += _read(policies, ("PropagationPolicy", "ClusterPropagationPolicy"))
        cluster = {"apiVersion": "cluster.karmada.io/v1alpha1", "kind": "Cluster"}
        spec["delete"] = [{**cluster, "name": name} for name in removed]
        if replicas is not None:
            spec["replicas"] = replicas
        space = "" if all_namespaces else namespace or client.namespace
        if words:
            kind, name = resources.split(words)
            resource = resources.find(client, kind)
            spec["templates"] = [{"apiVersion": resource.api_version, "kind": resource.kind, "name": name}]
            space = space if resource.namespaced else ""
        where = f"/namespaces/{space}/placementforecasts" if space else "/clusterplacementforecasts"
        answer = asked(client, f"{ROOT}{where}", {"spec": spec})
    show(answer, output, lambda: forecasts(answer["status"]))


def forecasts(status: Mapping[str, Any]) -> str:
    """The status of a PlacementForecast as text."""
    lines = [status["summary"]]
    rows = [["TEMPLATE", "CLUSTER", "NOW", "THEN"]]
    notes: list[str] = []
    for forecast in status["forecasts"]:
        name = _called(forecast["template"])
        now, then = forecast["now"], forecast["then"]
        rows += [
            [name, move["cluster"], _copies(move, "before"), _copies(move, "after")]
            for move in forecast.get("moves") or ()
        ]
        if then["state"] != now["state"]:
            notes.append(f"{name} would be {then['state']}{_why(then)}")
        elif not forecast.get("moves"):
            stays = (
                f"stays in {listed(then['targets'])}"
                if then["targets"]
                else f"stays {then['state']}{_why(then)}"
            )
            notes.append(f"{name} {stays}")
        if forecast.get("pending"):
            notes.append(f"{name}: {forecast['pending']}")
    if len(rows) > 1:
        lines += ["", *table(rows)]
    if notes:
        lines += ["", *notes]
    lines += [f"Withheld: {told}" for told in status.get("withheld") or ()]
    return "\n".join(lines) + "\n"


def _called(template: Mapping[str, Any]) -> str:
    namespace = f"{template['namespace']}/" if template.get("namespace") else ""
    return f"{template['kind'].lower()} {namespace}{template['name']}"


def _copies(move: Mapping[str, Any], field: str) -> str:
    if field not in move:
        return "-"
    return str(move[field]) if move[field] else "a copy"


def _why(standing: Mapping[str, Any]) -> str:
    return f": {standing['message']}" if standing.get("message") else ""


# --- changes -------------------------------------------------------------------------------------------------


def _edits(flag: str, texts: Sequence[str], parse: Any) -> list[tuple[str, Any]]:
    """(cluster, what is done to it) of each flag."""
    found = []
    for text in texts:
        cluster, equals, rest = text.partition("=")
        edit = parse(rest) if cluster and equals else None
        if edit is None:
            raise Misuse(
                f"{flag} {text!r} cannot be read.", "`towline what-if --help` shows how to write it."
            )
        found.append((cluster, edit))
    return found


def _tainted(text: str) -> Any:
    rest, _, effect = text.rpartition(":")
    key, _, value = rest.partition("=")
    if not key or effect not in EFFECTS:
        return None
    taint = {"key": key, **({"value": value} if value else {}), "effect": effect}

    def edit(cluster: Object) -> None:
        spec = cluster.setdefault("spec", {})
        others = [t for t in spec.get("taints") or () if (t["key"], t["effect"]) != (key, effect)]
        spec["taints"] = [*others, taint]

    return edit


def _untainted(text: str) -> Any:
    key, _, effect = text.partition(":")
    if not key or effect not in ("", *EFFECTS):
        return None

    def edit(cluster: Object) -> None:
        spec = cluster.setdefault("spec", {})
        before = spec.get("taints") or []
        spec["taints"] = [t for t in before if t["key"] != key or effect not in ("", t["effect"])]
        if len(spec["taints"]) == len(before):
            raise Failure(f"Cluster {cluster['metadata']['name']} has no taint {text}.", "")

    return edit


def _labelled(text: str) -> Any:
    key, equals, value = text.partition("=")
    if not equals and not key.endswith("-"):
        return None

    def edit(cluster: Object) -> None:
        labels = cluster["metadata"].setdefault("labels", {})
        if equals:
            labels[key] = value
        else:
            labels.pop(key[:-1], None)

    return edit


def _edited(client: Client, edits: Sequence[tuple[str, Any]]) -> list[Object]:
    """The Clusters as they would be."""
    clusters: dict[str, Object] = {}
    for name, edit in edits:
        if name not in clusters:
            try:
                clusters[name] = client.get(f"{CLUSTERS}/{name}")
            except Refused as error:
                if error.code == 404:
                    told = "`kubectl get clusters` shows those there are."
                    raise Failure(f"There is no cluster {name!r}.", told) from None
                raise
        edit(clusters[name])
    return list(clusters.values())


def _read(paths: Sequence[Path], kinds: tuple[str, ...]) -> list[Object]:
    """The objects in YAML files, of these kinds only."""
    import yaml

    found: list[Object] = []
    for path in paths:
        try:
            objects = [obj for obj in yaml.safe_load_all(path.read_text()) if obj]
        except OSError as error:
            raise Failure(f"{path} cannot be read: {error.strerror}.", "Check the path.") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise Failure(f"{path} is not YAML: {' '.join(str(error).split())}.", "Correct it.") from None
        for obj in objects:
            if not isinstance(obj, dict) or obj.get("kind") not in kinds:
                told = obj.get("kind") if isinstance(obj, dict) else obj
                raise Failure(f"{path} holds {told!r}, which is no {' or '.join(kinds)}.", "")
        found += objects
    return found
