"""What can only be created and is never stored: an action, whose answer is the object with its status.

As a subresource it acts on the object that the URL names (`serviceaccounts/token`), as a resource of its own it only answers
(`tokenreviews`). Which there are is data; discovery shows them, and requests reach them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from towline.hub.api.paths import Attributes
from towline.hub.api.user import User
from towline.kube.kinds import Kind
from towline.kube.objects import Object


class Acted(NamedTuple):
    """The answer to a creation."""

    object: Object
    warnings: tuple[str, ...] = ()


Act = Callable[[User, Attributes, Object], Awaitable[Acted]]
"""(who asks, what the URL says, the object, whose fields have the schema's types). Raises StatusError."""


@dataclass(frozen=True, slots=True)
class Action:
    """`kind` is what is taken and answered; it is in no table of kinds. Its `namespaced` matters to resources only: a
    subresource is where its object is."""

    kind: Kind
    act: Act


Actions = Mapping[tuple[str, str, str], Action]
"""By (group, plural, subresource); no subresource where the action is a resource of its own."""
