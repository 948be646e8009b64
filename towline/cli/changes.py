"""Hypothetical changes, from flags and files: what `towline what-if` sends to the hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from towline.cli.client import Client, absent
from towline.cli.failures import Failure, Misuse
from towline.kube.names import TAINT_UNREACHABLE, TAINTS_OF_HEALTH

CLUSTERS = "/apis/cluster.karmada.io/v1alpha1/clusters"
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")

Object = dict[str, Any]
Edit = Callable[[Object], None]
"""What is done to a Cluster, in place."""


def edits(flag: str, texts: Sequence[str], parse: Callable[[str], Edit | None]) -> list[tuple[str, Edit]]:
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


def tainted(text: str) -> Edit | None:
    """`KEY[=VALUE]:EFFECT`; None for what cannot be read."""
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


def lost(now: str) -> Edit:
    """As if nothing was heard of it since `now` (RFC 3339); of one that is lost already, since that."""

    def edit(cluster: Object) -> None:
        status = cluster.setdefault("status", {})
        conditions = status.get("conditions") or ()
        others = [c for c in conditions if c["type"] != "Ready"]
        if any((c["type"], c["status"]) == ("Ready", "Unknown") for c in conditions):
            return
        ready = {"type": "Ready", "status": "Unknown", "reason": "ClusterStatusUnknown", "message": "what if", "lastTransitionTime": now}  # fmt: skip
        status["conditions"] = [ready, *others]
        spec = cluster.setdefault("spec", {})
        ours = [(key, "NoSchedule") for key in TAINTS_OF_HEALTH]
        kept = [t for t in spec.get("taints") or () if (t["key"], t["effect"]) not in ours]
        spec["taints"] = [*kept, {"key": TAINT_UNREACHABLE, "effect": "NoSchedule"}]

    return edit


def untainted(text: str) -> Edit | None:
    """`KEY[:EFFECT]`."""
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


def labelled(text: str) -> Edit | None:
    """`KEY=VALUE`, or `KEY-`."""
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


def edited(client: Client, edits: Sequence[tuple[str, Edit]]) -> list[Object]:
    """The Clusters as they would be."""
    clusters: dict[str, Object] = {}
    for name, edit in edits:
        if name not in clusters:
            with absent(f"There is no cluster {name!r}.", "`kubectl get clusters` shows those there are."):
                clusters[name] = client.get(f"{CLUSTERS}/{name}")
        edit(clusters[name])
    return list(clusters.values())


def read(paths: Sequence[Path], kinds: tuple[str, ...]) -> list[Object]:
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
