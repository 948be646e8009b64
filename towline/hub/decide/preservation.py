"""Stateful failover: what the failed copy's status said travels to its replacement, as labels (Karmada 2.10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from towline.kube import jsonpath, names


class NotPreserved(Exception):
    """The state that a policy wants to keep is not there. The message is for people."""


def preserved_state(failover: Mapping[str, Any], status: Any) -> dict[str, str]:
    """Labels by `statePreservation` of a policy's `failover.cluster` or `failover.application`, from a copy's `status`. Raises
    NotPreserved: a replacement without its state would be worse than none yet."""
    rules = (failover.get("statePreservation") or {}).get("rules") or ()
    return {str(rule["aliasLabelName"]): _value(str(rule["jsonPath"]), status) for rule in rules}


def _value(path: str, status: Any) -> str:
    if status is None:
        raise NotPreserved("its status is not known, and the state is to be preserved")
    try:
        found = jsonpath.find(path, status)
    except jsonpath.PathError as error:
        raise NotPreserved(f"statePreservation cannot read {path}: {error}") from None
    if not found or found[0] is None:
        raise NotPreserved(f"statePreservation finds nothing at {path} in its status")
    if len(found) > 1:
        raise NotPreserved(
            f"statePreservation finds {len(found)} values at {path} in its status, and one is wanted"
        )
    text = found[0] if isinstance(found[0], str) else orjson.dumps(found[0]).decode()
    for wrong in names.validate_label_value(text):
        raise NotPreserved(f"what statePreservation finds at {path} is no label value: {wrong}")
    return text


def state_for(spec: Mapping[str, Any], cluster: str) -> Mapping[str, str]:
    """The labels for the copy in `cluster`: if it is the only one, the last eviction purged directly, and it was not there before."""
    tasks: Sequence[Mapping[str, Any]] = spec.get("gracefulEvictionTasks") or ()
    targets: Sequence[Mapping[str, Any]] = spec.get("clusters") or ()
    if not tasks or len(targets) != 1 or targets[0].get("name") != cluster:
        return {}
    last = tasks[-1]
    if last.get("purgeMode") != "Directly" or cluster in (last.get("clustersBeforeFailover") or ()):
        return {}
    found: Mapping[str, str] = last.get("preservedLabelState") or {}
    return found
