"""What can only be created and is never stored: an action, whose answer is the object with its status.

As a subresource it acts on the object that the URL names (`serviceaccounts/token`), as a resource of its own it only answers
(`tokenreviews`). Which there are is data; discovery shows them, and requests reach them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from towline.hub.api.paths import Attributes
from towline.hub.api.status import bad_request
from towline.hub.api.user import User
from towline.kube.objects import Object


class Acted(NamedTuple):
    """The answer to a creation."""

    object: Object
    warnings: tuple[str, ...] = ()


Act = Callable[[User, Attributes, Object], Awaitable[Acted]]
"""(who asks, what the URL says, the body). Raises StatusError."""


@dataclass(frozen=True, slots=True)
class Action:
    """What is taken and answered, and who does it. `namespaced` matters to resources only: a subresource is where its
    object is."""

    group: str
    version: str
    kind: str
    act: Act
    namespaced: bool = False

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


Actions = Mapping[tuple[str, str, str], Action]
"""By (group, plural, subresource); no subresource where the action is a resource of its own."""


def envelope(action: Action, obj: Object) -> Object:
    """`obj` with the action's apiVersion and kind. Raises 400 where it says others, or is no object of this kind."""
    said = (obj.get("apiVersion") or action.api_version, obj.get("kind") or action.kind)
    if said != (action.api_version, action.kind):
        raise bad_request(
            f"the object provided is a {said[1]} of {said[0]}, and not a {action.kind} of {action.api_version}"
        )
    for field in ("metadata", "spec"):
        if not isinstance(obj.get(field) or {}, dict):
            raise bad_request(
                f'{action.kind} in version "{action.version}" cannot be handled as a {action.kind}: '
                f"{field} is not an object"
            )
    return {**obj, "apiVersion": action.api_version, "kind": action.kind}
