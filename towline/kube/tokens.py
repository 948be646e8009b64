"""ServiceAccounts' tokens: what they claim, and whether a claim still holds. Pure; signatures are somebody else's business.

A token of today says when it ends, for whom it is, and which objects must live (its account, and perhaps a Pod, a Secret or
a Node). A legacy token lives in a Secret and as long as that. Times are epoch seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from towline.kube import errors
from towline.kube.objects import Key, Meta, Object
from towline.kube.schemas import FieldError

SECRET_TYPE = "kubernetes.io/service-account-token"
ACCOUNT_NAME = "kubernetes.io/service-account.name"
ACCOUNT_UID = "kubernetes.io/service-account.uid"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
LEGACY_ISSUER = "kubernetes/serviceaccount"
LEEWAY_SECONDS = 60
"""How far clocks may differ, and how long what is being deleted still counts."""
DEFAULT_SECONDS = 3600
SECONDS_MIN = 600
SECONDS_MAX = 2**32

ACCOUNTS, SECRETS = ("", "serviceaccounts"), ("", "secrets")
BOUND: Mapping[str, tuple[str, bool]] = {
    "Pod": ("pods", True),
    "Secret": ("secrets", True),
    "Node": ("nodes", False),
}
"""What a token may be bound to: kind -> (plural, namespaced)."""

_CLAIM = "kubernetes.io"
_LEGACY = "kubernetes.io/serviceaccount/"
_EXTRA = "authentication.kubernetes.io/"


class Reference(NamedTuple):
    name: str
    uid: str


class Refused(ValueError):
    """A token that does not hold; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a token stands for. `bound` are the objects that it names by kind; a Node beside a Pod is told, not checked."""

    namespace: str
    name: str
    uid: str
    jti: str = ""
    bound: Mapping[str, Reference] = field(default_factory=dict)

    @property
    def username(self) -> str:
        return f"system:serviceaccount:{self.namespace}:{self.name}"

    @property
    def groups(self) -> tuple[str, ...]:
        return ("system:serviceaccounts", f"system:serviceaccounts:{self.namespace}")

    @property
    def key(self) -> Key:
        return Key(*ACCOUNTS, self.namespace, self.name)

    def extra(self) -> dict[str, tuple[str, ...]]:
        told: dict[str, tuple[str, ...]] = {}
        if self.jti:
            told[f"{_EXTRA}credential-id"] = (f"JTI={self.jti}",)
        for kind in ("Pod", "Node"):
            if kind in self.bound:
                told[f"{_EXTRA}{kind.lower()}-name"] = (self.bound[kind].name,)
                if self.bound[kind].uid:
                    told[f"{_EXTRA}{kind.lower()}-uid"] = (self.bound[kind].uid,)
        return told


# --- making --------------------------------------------------------------------------------------------------


def claims(account: Account, issuer: str, audiences: Sequence[str], seconds: int, now: float) -> Object:
    """What a token of `account` says that is good for `seconds`."""
    issued = int(now)
    private: Object = {
        "namespace": account.namespace,
        "serviceaccount": {"name": account.name, "uid": account.uid},
    }
    for kind, (name, uid) in account.bound.items():
        private[kind.lower()] = {"name": name, "uid": uid} if uid else {"name": name}
    return {
        "aud": list(audiences),
        "exp": issued + seconds,
        "iat": issued,
        "iss": issuer,
        "jti": account.jti,
        _CLAIM: dict(sorted(private.items())),
        "nbf": issued,
        "sub": account.username,
    }


def legacy_claims(account: Account, secret: str) -> Object:
    """What the token in the Secret `secret` says."""
    return {
        "iss": LEGACY_ISSUER,
        f"{_LEGACY}namespace": account.namespace,
        f"{_LEGACY}secret.name": secret,
        f"{_LEGACY}service-account.name": account.name,
        f"{_LEGACY}service-account.uid": account.uid,
        "sub": account.username,
    }


def check_seconds(seconds: int) -> list[FieldError]:
    """What is wrong with a TokenRequest's expirationSeconds."""
    path = "spec.expirationSeconds"
    if seconds < SECONDS_MIN:
        return [errors.invalid(path, seconds, "may not specify a duration less than 10 minutes")]
    if seconds > SECONDS_MAX:
        return [errors.invalid(path, seconds, "may not specify a duration larger than 2^32 seconds")]
    return []


# --- checking ------------------------------------------------------------------------------------------------

Look = Callable[[Key], Meta | None]
"""The metadata of what is stored now."""


def audiences_of(said: Mapping[str, Any]) -> list[str]:
    audience = said.get("aud")
    if isinstance(audience, str):
        return [audience]
    return [each for each in audience if isinstance(each, str)] if isinstance(audience, list) else []


def account_of(said: Mapping[str, Any]) -> Account:
    """Whom a token stands for that says `said`. Raises Refused where a legacy one contradicts itself."""
    if said.get("iss") == LEGACY_ISSUER:
        namespace, name, uid = (str(said.get(f"{_LEGACY}{field}") or "") for field in _LEGACY_FIELDS)
        account = Account(namespace, name, uid)
        if "" in (namespace, name, uid) or said.get("sub") != account.username:
            raise Refused("sub claim is invalid")
        return account
    private = said.get(_CLAIM)
    told = private if isinstance(private, dict) else {}
    name, uid = _reference(told.get("serviceaccount"))
    bound = {kind: _reference(told[kind.lower()]) for kind in BOUND if told.get(kind.lower())}
    return Account(str(told.get("namespace") or ""), name, uid, str(said.get("jti") or ""), bound)


_LEGACY_FIELDS = ("namespace", "service-account.name", "service-account.uid")


def check(said: Mapping[str, Any], account: Account, now: float, look: Look) -> None:
    """Raises Refused unless a rightly signed token of `account` that says `said` is good now."""
    _check_times(said, now)
    found = look(account.key)
    if found is None:
        raise Refused(f'serviceaccounts "{account.name}" not found')
    if found.uid != account.uid:
        raise Refused(f"service account UID ({found.uid}) does not match claim ({account.uid})")
    if _gone(found, now):
        raise Refused(f"service account {account.namespace}/{account.name} has been deleted")
    for kind, reference in account.bound.items():
        if kind == "Node" and "Pod" in account.bound:
            continue
        plural, namespaced = BOUND[kind]
        bound = look(Key("", plural, account.namespace if namespaced else "", reference.name))
        if bound is None or _gone(bound, now):
            raise Refused("service account token has been invalidated")
        if bound.uid != reference.uid:
            raise Refused(
                f"{kind.lower()} UID ({bound.uid}) does not match service account {kind.lower()} ref claim "
                f"({reference.uid})"
            )


def check_legacy(account: Account, secret: Mapping[str, Any] | None, matches: bool, look: Look) -> None:
    """Raises Refused unless the legacy token of `account` is good now. `secret` is what `secret_of` names, `matches` whether
    it holds this very token."""
    metadata = (secret or {}).get("metadata") or {}
    if not metadata or metadata.get("deletionTimestamp"):
        raise Refused("Token has been invalidated")
    if not matches:
        raise Refused("Token does not match server's copy")
    found = look(account.key)
    if found is None:
        raise Refused(f'serviceaccounts "{account.name}" not found')
    if found.deletionTimestamp:
        raise Refused(f"ServiceAccount {account.namespace}/{account.name} has been deleted")
    if found.uid != account.uid:
        raise Refused(f"ServiceAccount UID ({found.uid}) does not match claim ({account.uid})")
    if (metadata.get("labels") or {}).get(INVALID_SINCE):
        raise Refused(
            f"the token in secret {account.namespace}/{metadata.get('name')} for service account "
            f"{account.namespace}/{account.name} has been marked invalid; remove its label {INVALID_SINCE} or "
            "request another token"
        )


def secret_of(said: Mapping[str, Any]) -> Key:
    """The Secret that a legacy token lives in. Raises Refused."""
    namespace, name = said.get(f"{_LEGACY}namespace"), said.get(f"{_LEGACY}secret.name")
    if not isinstance(namespace, str) or not isinstance(name, str) or not namespace or not name:
        raise Refused("secretName claim is missing")
    return Key(*SECRETS, namespace, name)


def _check_times(said: Mapping[str, Any], now: float) -> None:
    expires, begins, issued = (_number(said, claim) for claim in ("exp", "nbf", "iat"))
    if expires is not None and now - LEEWAY_SECONDS > expires:
        raise Refused("service account token has expired")
    if begins is not None and now + LEEWAY_SECONDS < begins:
        raise Refused("service account token is not valid yet")
    if issued is not None and now + LEEWAY_SECONDS < issued:
        raise Refused("service account token is issued in the future")


def _number(said: Mapping[str, Any], claim: str) -> float | None:
    value = said.get(claim)
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise Refused(f"the claim {claim} is not a time")


def _reference(said: Any) -> Reference:
    value = said if isinstance(said, dict) else {}
    return Reference(str(value.get("name") or ""), str(value.get("uid") or ""))


def _gone(meta: Meta, now: float) -> bool:
    """Deleted for longer than clocks may differ: a Pod that is ending may still use its token."""
    if meta.deletionTimestamp is None:
        return False
    return datetime.fromisoformat(meta.deletionTimestamp).timestamp() < now - LEEWAY_SECONDS
