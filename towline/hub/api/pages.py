"""Pages of a list: continue tokens, and which entries one page holds. Pure.

The server keeps nothing for a client that pages: the token says at which revision the list began and where the next page
starts, and the source shows that revision again.
"""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from towline.hub.api.status import StatusError, bad_request, expired
from towline.hub.store.watch import Entry

NEWEST = -1
"""A token's revision when the list goes on without being consistent."""
_VERSION = "meta.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class Page:
    """Entries, in order. `token` is empty on the last page; `remaining` is None where nobody counted."""

    entries: Sequence[Entry]
    token: str = ""
    remaining: int | None = None


WHOLE = Page(())
"""Of a list that is answered at once."""


class Token(msgspec.Struct, frozen=True):
    """Where a list goes on. `start` is below the list's own path: `name` in a namespace, else `namespace/name`."""

    v: str = ""
    rv: int = 0
    start: str = ""


def decode(text: str) -> Token:
    """Raises 400 for what is no token."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        token = _decoder.decode(raw)
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise _invalid(f"continue key is not valid: {error}") from None
    if token.v != _VERSION:
        raise _invalid(f"continue key is not valid: server does not recognize this encoded version {token.v}")
    if token.rv == 0:
        raise _invalid(
            f"continue key is not valid: incorrect encoded start resourceVersion (version {_VERSION})"
        )
    if not token.start:
        raise _invalid(f"continue key is not valid: encoded start key empty (version {_VERSION})")
    if token.rv < NEWEST or any(part in ("", ".", "..") for part in token.start.removeprefix("/").split("/")):
        raise _invalid(f"continue key is not valid: {token.start}")
    return token


def page(
    entries: Sequence[Entry],
    holds: Callable[[Entry], bool] | None,
    *,
    namespace: str | None,
    revision: int,
    limit: int,
    start: str = "",
) -> Page:
    """At most `limit` (0: all) of the sorted `entries` from `start` on that `holds` selects; None selects all."""
    at = bisect_left(entries, _place(start, namespace), key=_place_of) if start else 0
    if holds is not None:
        found = []
        for entry in entries[at:]:
            if holds(entry):
                found.append(entry)
                if len(found) > limit > 0:
                    break
        if not 0 < limit < len(found):
            return Page(found)
        return Page(found[:limit], _after(found[limit - 1], namespace, revision))
    left = len(entries) - at - limit
    if not limit or left <= 0:
        return Page(entries[at:] if at else entries)
    chosen = entries[at : at + limit]
    return Page(chosen, _after(chosen[-1], namespace, revision), left)


def token_expired(token: Token) -> StatusError:
    """410 with a token that goes on in the newest state."""
    error = expired(
        "The provided continue parameter is too old to display a consistent list result. Start a new list without it, or "
        "use the continue token of this answer for the rest: objects that changed since the first page may then be missing or twice."
    )
    error.metadata = {"continue": _encode(token.start, NEWEST)}
    return error


def _after(entry: Entry, namespace: str | None, revision: int) -> str:
    key = entry.key
    path = f"{key.namespace}/{key.name}" if key.namespace and namespace is None else key.name
    return _encode(path + "\0", revision)


def _encode(start: str, revision: int) -> str:
    raw = msgspec.json.encode(Token(_VERSION, revision, start))
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _place(start: str, namespace: str | None) -> tuple[str, str]:
    first, slash, rest = start.removeprefix("/").partition("/")
    if namespace is not None:
        return namespace + "/", first
    return first + slash, rest


def _place_of(entry: Entry) -> tuple[str, str]:
    return entry.key.place


def _invalid(why: str) -> StatusError:
    return bad_request(f"invalid continue token: {why}")


_decoder = msgspec.json.Decoder(Token)
