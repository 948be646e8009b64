"""Acting as somebody else (`kubectl --as`): what the Impersonate-* headers ask for, and who asks then. Pure.

Each thing that is asked for needs the verb `impersonate` of its own: the user (or ServiceAccount), each group, each value of
each extra, the uid.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote

from towline.hub.api import status
from towline.hub.api.authentication import ANONYMOUS, UNAUTHENTICATED
from towline.hub.api.paths import Attributes
from towline.hub.api.user import AUTHENTICATED, User

SERVICE_ACCOUNT = "system:serviceaccount:"
_GROUP = "authentication.k8s.io"
_PREFIX = b"impersonate-"
_EXTRA = "impersonate-extra-"


class Impersonation(NamedTuple):
    """`user` may ask once whoever asks may do all of `needed`."""

    user: User
    needed: tuple[Attributes, ...]


def asked(raw_headers: Iterable[tuple[bytes, bytes]]) -> Impersonation | None:
    """What the headers ask for; None for nothing. Raises 400 for groups, extras or a uid without a user."""
    found = [
        (name.lower().decode("latin-1"), value.decode("utf-8", "replace"))
        for name, value in raw_headers
        if name[:12].lower() == _PREFIX
    ]
    if not found:
        return None
    name = next((value for header, value in found if header == "impersonate-user"), "")
    uid = next((value for header, value in found if header == "impersonate-uid"), "")
    groups = [value for header, value in found if header == "impersonate-group"]
    extra: dict[str, tuple[str, ...]] = {}
    for header, value in found:
        if header.startswith(_EXTRA):
            key = unquote(header.removeprefix(_EXTRA))
            extra[key] = (*extra.get(key, ()), value)
    if not name:
        if groups or extra or uid:
            raise status.bad_request("requested groups, extras or a uid without impersonating a user")
        return None
    account = _account(name)
    needed = [
        _resource("users", name) if account is None else _resource("serviceaccounts", account[1], account[0])
    ]
    needed += [_resource("groups", group) for group in groups]
    for key, values in extra.items():
        needed += [_resource("userextras", value, group=_GROUP, subresource=key) for value in values]
    if uid:
        needed.append(_resource("uids", uid, group=_GROUP))
    if account is not None and not groups:
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{account[0]}"]
    return Impersonation(User(name, _completed(name, groups), uid, extra), tuple(needed))


def _account(name: str) -> tuple[str, str] | None:
    """(namespace, name) of the ServiceAccount that a user's name names."""
    namespace, _, account = name.removeprefix(SERVICE_ACCOUNT).partition(":")
    named = name.startswith(SERVICE_ACCOUNT) and namespace and account and ":" not in account
    return (namespace, account) if named else None


def _resource(
    plural: str, name: str, namespace: str = "", *, group: str = "", subresource: str = ""
) -> Attributes:
    version = "v1" if group else ""
    return Attributes("impersonate", "", True, group, version, plural, subresource, namespace, name)


def _completed(name: str, groups: list[str]) -> tuple[str, ...]:
    """With the group that says whether this user is one: named groups decide it themselves."""
    if name == ANONYMOUS:
        return (*groups, *(() if UNAUTHENTICATED in groups else (UNAUTHENTICATED,)))
    decided = AUTHENTICATED in groups or UNAUTHENTICATED in groups
    return (*groups, *(() if decided else (AUTHENTICATED,)))
