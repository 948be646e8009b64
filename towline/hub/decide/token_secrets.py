"""Secrets of the type `kubernetes.io/service-account-token`: each holds a token of the ServiceAccount that its annotation names,
for as long as that account lives, and the authority and namespace that a client needs beside it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from towline.hub.decide.conditions import rfc3339
from towline.hub.decide.plan import NOTHING, Delete, Plan, Put, Snapshot
from towline.kube import deletion, tokens
from towline.kube.objects import (
    Key,
    Object,
    annotations_of,
    finalizers_of,
    is_deleting,
    revision_of,
    uid_of,
    with_annotations,
)

Sign = Callable[[Mapping[str, Any]], str]
"""Claims -> the token that says them. Not the same twice: it is asked only where a token is missing."""


def decide(snapshot: Snapshot, key: Key, now: float, sign: Sign, ca: bytes) -> Plan:
    """`ca` is the bundle (PEM) with which clients know this API."""
    secret = snapshot.get(key)
    if secret is None or is_deleting(secret) or secret.get("type") != tokens.SECRET_TYPE:
        return NOTHING
    name = annotations_of(secret).get(tokens.ACCOUNT_NAME)
    if not name:
        return NOTHING
    account = snapshot.get(Key(*tokens.ACCOUNTS, key.namespace, name))
    meant = annotations_of(secret).get(tokens.ACCOUNT_UID)
    if account is None or (meant and meant != uid_of(account)):
        return _removed(secret, key, now)
    if is_deleting(account):
        return NOTHING
    holder = tokens.Account(key.namespace, name, uid_of(account))
    filled = with_annotations(secret, {tokens.ACCOUNT_UID: holder.uid})
    data = secret.get("data") or {}
    wanted = {**data, "ca.crt": _base64(ca)}
    if not data.get("namespace"):
        wanted["namespace"] = _base64(key.namespace.encode())
    if not data.get("token"):
        wanted["token"] = _base64(sign(tokens.legacy_claims(holder, key.name)).encode())
    filled = {**filled, "data": wanted}
    return NOTHING if filled == secret else Plan((Put(key, filled, revision_of(secret)),))


def _removed(secret: Object, key: Key, now: float) -> Plan:
    if finalizers_of(secret):
        held = deletion.marked(secret, rfc3339(now), finalizers_of(secret), counted=False)
        return Plan((Put(key, held, revision_of(secret)),))
    return Plan((Delete(key, revision_of(secret)),))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
