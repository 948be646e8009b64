"""How a cluster is to leave: what the annotations of its Cluster say, for whoever deletes it and however.

`towline unjoin` writes them; `kubectl annotate` does as well, before `kubectl delete cluster` or while it waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from towline.kube import errors
from towline.kube.field_errors import FieldError
from towline.kube.names import NEVER_UPDATED
from towline.kube.objects import annotations_of

WORKLOADS = "towline.io/exit-workloads"
"""What becomes of what the hub put into the cluster: `Remove` (default) or `Keep`."""
AGENT = "towline.io/exit-agent"
"""What becomes of the agent when all else is done: `Keep` (default) or `Remove`."""
FORCE = "towline.io/exit-force"
"""Present: the exit does not wait for the cluster. `towline unjoin --force` writes the time."""

REMOVE, KEEP = "Remove", "Keep"
_PATH = "metadata.annotations"


class Exit(NamedTuple):
    """What was chosen."""

    keep_workloads: bool = False
    remove_agent: bool = False
    forced: bool = False


def exit_of(cluster: Mapping[str, Any]) -> Exit:
    """The choice on a Cluster. What cannot be read keeps: nothing is lost by keeping."""
    notes = annotations_of(cluster)
    return Exit(
        keep_workloads=notes.get(WORKLOADS, REMOVE) != REMOVE,
        remove_agent=notes.get(AGENT, KEEP) == REMOVE,
        forced=FORCE in notes,
    )


def never_reported(cluster: Mapping[str, Any]) -> bool:
    """Whether no agent ever said anything of this Cluster: nothing is known to be in it. Should there be an agent all the same, it learns
    when it comes that its cluster is detached."""
    conditions = (cluster.get("status") or {}).get("conditions") or ()
    ready = next((each for each in conditions if each.get("type") == "Ready"), None)
    return ready is None or ready.get("reason") == NEVER_UPDATED


def to_go_on(name: str) -> str:
    """What to do when the exit of a cluster waits for it."""
    return f"To go on without waiting: `towline unjoin {name} --force`, or annotate the cluster with {FORCE}=true."


def problems(cluster: Mapping[str, Any]) -> list[FieldError]:
    """What is wrong with the choice on a Cluster."""
    notes = annotations_of(cluster)
    return [
        errors.unsupported(f"{_PATH}[{name}]", notes[name], [KEEP, REMOVE])
        for name in (WORKLOADS, AGENT)
        if notes.get(name, KEEP) not in (KEEP, REMOVE)
    ]
