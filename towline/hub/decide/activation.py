"""Lazy policies: what they say takes effect when the template itself changes, and not before (Karmada 2.1).

The template's content when a policy was last applied is remembered as a hash: on the binding, or on the template itself as long as it
has no binding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towline.hub.decide.policies import claim_by, claim_of
from towline.kube import names
from towline.kube.objects import (
    Object,
    annotations_of,
    content_hash,
    labels_of,
    revision_of,
    with_annotations,
)

TEMPLATE_HASH = "towline.io/template-hash"


def is_lazy(policy: Object) -> bool:
    return (policy.get("spec") or {}).get("activationPreference") == "Lazy"


def waits(template: Object, policy: Object) -> bool:
    """Whether a template without a binding gets none yet: `policy` is lazy and came, or began to select it, after the template's last change."""
    if not is_lazy(policy):
        return False
    seen = recorded(template)
    if seen is not None:
        return seen == content_stamp(template)
    return claim_of(template) != claim_by(policy) and revision_of(template) < revision_of(policy)


def recorded(obj: Object) -> str | None:
    """The content that `obj`, a binding or template, remembers."""
    return annotations_of(obj).get(TEMPLATE_HASH)


def with_record(obj: Object, stamp: str | None) -> Object:
    """`obj` remembering this content, or none; the same object when it does already."""
    if recorded(obj) == stamp:
        return obj
    return (
        with_annotations(obj, {TEMPLATE_HASH: stamp})
        if stamp
        else with_annotations(obj, remove=[TEMPLATE_HASH])
    )


def content_stamp(template: Object) -> str:
    """What a user can change of a template, hashed: the system's own labels and annotations do not count."""
    body = {field: value for field, value in template.items() if field not in ("metadata", "status")}
    return content_hash([body, *map(_own, (labels_of(template), annotations_of(template)))]).hex()


def _own(held: Mapping[str, str]) -> Mapping[str, Any]:
    return {
        key: value
        for key, value in held.items()
        if (".karmada.io" not in key or key == names.SKIP_AUTO_PROPAGATION) and key != TEMPLATE_HASH
    }
