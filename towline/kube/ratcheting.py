"""What was wrong before and did not change may stay: updates of objects whose CRD became stricter. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from towline.kube import schemas
from towline.kube.field_errors import FieldError
from towline.kube.schemas import Schema

_STEP = re.compile(r"\.?([^.\[\]]+)|\[([^\]]*)\]")


def new_errors(schema: Schema, errors: Sequence[FieldError], new: Any, old: Any) -> list[FieldError]:
    """`errors` of `new` without those about values that are the same in `old`. Items of a list are the same by their keys;
    where it has none, the whole list is compared."""
    repeated = any(error.reason == "FieldValueDuplicate" for error in errors)
    if repeated and any(e.reason == "FieldValueDuplicate" for e in schemas.validate(schema, old)):
        errors = [error for error in errors if error.reason != "FieldValueDuplicate"]
    return [error for error in errors if not _is_old(schema, error, new, old)]


def _is_old(schema: Schema | None, error: FieldError, new: Any, old: Any) -> bool:
    for field, index in _STEP.findall(error.path):
        if schema is None:
            return False
        if isinstance(new, list):
            position = int(index) if index.isdigit() else -1
            if not 0 <= position < len(new):
                return False
            new = new[position]
            old = _same_item(schema, new, old)
            schema = schema.items
        else:
            name = field or index
            schema = schema.child(name)
            new = new.get(name) if isinstance(new, dict) else None
            old = old.get(name) if isinstance(old, dict) else None
        if new is None or old is None:
            return False
        if new == old:
            return True
    return False


def _same_item(schema: Schema, item: Any, old: Any) -> Any:
    """The item of the list `old` that has the keys of `item`."""
    keys = schema.list_map_keys
    if not keys or not isinstance(old, list) or not isinstance(item, dict):
        return None
    wanted = [item.get(key) for key in keys]
    return next((o for o in old if isinstance(o, dict) and [o.get(key) for key in keys] == wanted), None)
