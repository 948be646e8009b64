"""What volumes and their classes must satisfy beyond their schemas.

Hooks are `(new, old) -> errors`, and stand objects of any shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towline.kube import errors
from towline.kube.cells import at, table
from towline.kube.field_rules import amount, one_of, unchanged
from towline.kube.objects import Object
from towline.kube.schemas import FieldError
from towline.kube.selector_validation import validate_label_selector

_ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_VOLUME_MODES = ("Block", "Filesystem")
_RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")
_BINDING_MODES = ("Immediate", "WaitForFirstConsumer")
_NO_SOURCE = frozenset(
    {
        "accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity", "persistentVolumeReclaimPolicy",
        "storageClassName", "volumeAttributesClassName", "volumeMode",
    }
)  # fmt: skip
"""Fields of a PersistentVolume's spec that do not say where its bytes are."""

_DRIVER_SETTLED = ("attachRequired", "fsGroupPolicy", "volumeLifecycleModes")
_BOUND = ("volumeAttributesClassName", "resources")


def validate_persistent_volume(new: Object, old: Object | None) -> list[FieldError]:
    spec = table(at(new, "spec"))
    found = _modes(spec.get("accessModes"), "spec.accessModes")
    capacity = table(spec.get("capacity"))
    if not capacity:
        found.append(errors.required("spec.capacity"))
    if set(capacity) != {"storage"}:
        found.append(errors.unsupported("spec.capacity", dict(capacity), ("storage",)))
    found += _positive(capacity.get("storage"), "spec.capacity[storage]")
    policy = spec.get("persistentVolumeReclaimPolicy")
    found += one_of(policy, "spec.persistentVolumeReclaimPolicy", _RECLAIM_POLICIES)
    found += one_of(spec.get("volumeMode"), "spec.volumeMode", _VOLUME_MODES)
    if not _source(spec):
        found.append(errors.required("spec", "must specify a volume type"))
    if old is not None and _source(table(at(old, "spec"))) != _source(spec):
        message = "spec.persistentvolumesource is immutable after creation"
        found.append(errors.forbidden("spec.persistentvolumesource", message))
    return found + unchanged(new, old, "spec", "volumeMode")


def _source(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in spec.items() if field not in _NO_SOURCE and value is not None}


def validate_persistent_volume_claim(new: Object, old: Object | None) -> list[FieldError]:
    spec = table(at(new, "spec"))
    found: list[FieldError] = []
    if not spec.get("accessModes"):
        found.append(errors.required("spec.accessModes", "at least 1 access mode is required"))
    else:
        found += _modes(spec["accessModes"], "spec.accessModes")
    wanted = at(spec, "resources", "requests", "storage")
    if wanted is None:
        found.append(errors.required("spec.resources[storage]"))
    found += _positive(wanted, "spec.resources[storage]")
    found += one_of(spec.get("volumeMode"), "spec.volumeMode", _VOLUME_MODES)
    found += validate_label_selector(spec.get("selector"), "spec.selector")
    if old is not None and _claimed(old, new) != _claimed(new, new):
        message = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
        found.append(errors.forbidden("spec", message))
    before, given = (amount(at(o, "spec", "resources", "requests", "storage")) for o in (old or {}, new))
    held = amount(at(new, "status", "capacity", "storage"))
    if before is not None and given is not None and held is not None and given < before and given <= held:
        message = "field can not be less than status.capacity"
        found.append(errors.forbidden("spec.resources.requests.storage", message))
    return found


def _claimed(obj: Object, newest: Object) -> dict[str, Any]:
    """What of a claim's spec never changes: the volume and a missing class are filled in once, a bound claim may grow."""
    spec = {field: value for field, value in table(at(obj, "spec")).items() if value not in (None, {}, [])}
    free = set(_BOUND) if at(newest, "status", "phase") == "Bound" else set()
    kept = {field: value for field, value in spec.items() if field not in free}
    for field in ("volumeName", "storageClassName"):
        if not kept.get(field):
            kept[field] = at(newest, "spec", field)
    return kept


def validate_storage_class(new: Object, old: Object | None) -> list[FieldError]:
    found: list[FieldError] = []
    if not new.get("provisioner"):
        found.append(errors.required("provisioner"))
    found += one_of(new.get("reclaimPolicy"), "reclaimPolicy", ("Delete", "Retain"))
    found += one_of(new.get("volumeBindingMode"), "volumeBindingMode", _BINDING_MODES)
    for field in ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"):
        found += unchanged(new, old, field)
    return found


def validate_volume_attributes_class(new: Object, old: Object | None) -> list[FieldError]:
    found: list[FieldError] = []
    if not new.get("driverName"):
        found.append(errors.required("driverName"))
    if not new.get("parameters"):
        found.append(errors.required("parameters", "must contain at least one key/value pair"))
    found += unchanged(new, old, "driverName")
    if old is not None and old.get("parameters") != new.get("parameters"):
        found.append(errors.forbidden("parameters", "updates to parameters are forbidden."))
    return found


def validate_csi_driver(new: Object, old: Object | None) -> list[FieldError]:
    found: list[FieldError] = []
    for field in _DRIVER_SETTLED:
        # Kubernetes names the first of these with a letter too many, and programs may look for it.
        path = "spec.attachedRequired" if field == "attachRequired" else f"spec.{field}"
        if old is not None and at(old, "spec", field) != at(new, "spec", field):
            found.append(errors.invalid(path, at(new, "spec", field), errors.IMMUTABLE))
    return found


def _modes(modes: Any, path: str) -> list[FieldError]:
    given = modes if isinstance(modes, list) else []
    found = [] if given else [errors.required(path)]
    found += [errors.unsupported(path, mode, _ACCESS_MODES) for mode in given if mode not in _ACCESS_MODES]
    if "ReadWriteOncePod" in given and len(given) > 1:
        found.append(errors.forbidden(path, "may not use ReadWriteOncePod with other access modes"))
    return found


def _positive(value: Any, path: str) -> list[FieldError]:
    number = amount(value)
    if number is None or number > 0:
        return []
    return [errors.invalid(path, value, "must be greater than zero")]
