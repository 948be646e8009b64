"""Names: the names that Karmada's controllers compute, its well-known keys, and Kubernetes' rules for names.

Names must be equal to Karmada's, byte for byte: users, dashboards and other controllers look objects up by them.
"""

from __future__ import annotations

import re
from typing import Literal

# --- API groups and versions ---------------------------------------------------------------------------------

CLUSTER_GROUP = "cluster.karmada.io"
POLICY_GROUP = "policy.karmada.io"
WORK_GROUP = "work.karmada.io"
CONFIG_GROUP = "config.karmada.io"
APPS_GROUP = "apps.karmada.io"
AUTOSCALING_GROUP = "autoscaling.karmada.io"
NETWORKING_GROUP = "networking.karmada.io"
REMEDY_GROUP = "remedy.karmada.io"
SEARCH_GROUP = "search.karmada.io"
MULTI_CLUSTER_GROUP = "multicluster.x-k8s.io"

# --- namespaces ----------------------------------------------------------------------------------------------

EXECUTION_NAMESPACE_PREFIX = "karmada-es-"
SYSTEM_NAMESPACE = "karmada-system"
CLUSTER_NAMESPACE = "karmada-cluster"
AGENT = "towline-agent"
"""The name of all that `towline join` installs in a member."""
AGENT_NAMESPACE = "towline-system"
"""Where members' agents live: nothing of the hub goes there."""

# --- labels --------------------------------------------------------------------------------------------------

POLICY_ID = "propagationpolicy.karmada.io/permanent-id"
CLUSTER_POLICY_ID = "clusterpropagationpolicy.karmada.io/permanent-id"
BINDING_ID = "resourcebinding.karmada.io/permanent-id"
CLUSTER_BINDING_ID = "clusterresourcebinding.karmada.io/permanent-id"
WORK_ID = "work.karmada.io/permanent-id"
MULTI_CLUSTER_SERVICE_ID = "multiclusterservice.karmada.io/permanent-id"
MANAGED = "karmada.io/managed"
SYSTEM = "karmada.io/system"
SKIP_AUTO_PROPAGATION = "namespace.karmada.io/skip-auto-propagation"
RETAIN_REPLICAS = "resourcetemplate.karmada.io/retain-replicas"
DELETION_PROTECTED = "resourcetemplate.karmada.io/deletion-protected"
CLAIMED_BY = "resourcetemplate.karmada.io/claimed-by"
FAILBACK = "towline.io/failback"
"""On bindings: `waiting` for the cluster that they came from, or `returning` to it."""
NAMESPACE_NAME = "kubernetes.io/metadata.name"

# --- annotations ---------------------------------------------------------------------------------------------

POLICY_NAMESPACE_ANNOTATION = "propagationpolicy.karmada.io/namespace"
POLICY_NAME_ANNOTATION = "propagationpolicy.karmada.io/name"
CLUSTER_POLICY_NAME_ANNOTATION = "clusterpropagationpolicy.karmada.io/name"
APPLIED_PLACEMENT = "policy.karmada.io/applied-placement"
APPLIED_OVERRIDES = "policy.karmada.io/applied-overrides"
APPLIED_CLUSTER_OVERRIDES = "policy.karmada.io/applied-cluster-overrides"
BINDING_NAMESPACE_ANNOTATION = "resourcebinding.karmada.io/namespace"
BINDING_NAME_ANNOTATION = "resourcebinding.karmada.io/name"
CLUSTER_BINDING_NAME_ANNOTATION = "clusterresourcebinding.karmada.io/name"
WORK_NAMESPACE_ANNOTATION = "work.karmada.io/namespace"
WORK_NAME_ANNOTATION = "work.karmada.io/name"
PRESERVE_ANNOTATION = "towline.io/preserve-on-deletion"
"""On an object in a member: the one thing about its Work that whoever finds it there has to know."""
CONFLICT_RESOLUTION = "work.karmada.io/conflict-resolution"
TEMPLATE_UID = "resourcetemplate.karmada.io/uid"
TEMPLATE_GENERATION = "resourcetemplate.karmada.io/generation"
MANAGED_LABELS = "resourcetemplate.karmada.io/managed-labels"
MANAGED_ANNOTATIONS = "resourcetemplate.karmada.io/managed-annotations"

MOVED_FROM = "towline.io/moved-from"
"""On bindings: what failed over from which cluster to where, and is to return (hub/decide/origins.py)."""
WELL_SINCE = "towline.io/well-since"
"""On Clusters that something is to return to: since when they are well."""

# --- finalizers ----------------------------------------------------------------------------------------------

CLUSTER_FINALIZER = "karmada.io/cluster-controller"
EXECUTION_FINALIZER = "karmada.io/execution-controller"
BINDING_FINALIZER = "karmada.io/binding-controller"
CLUSTER_BINDING_FINALIZER = "karmada.io/cluster-resource-binding-controller"
POLICY_FINALIZER = "karmada.io/propagation-policy-controller"
CLUSTER_POLICY_FINALIZER = "karmada.io/cluster-propagation-policy-controller"
PROPAGATION_FINALIZER = "towline.io/propagation"
"""On templates and hub Namespaces: they stay until no member holds a copy."""

# --- taints --------------------------------------------------------------------------------------------------

TAINT_NOT_READY = "cluster.karmada.io/not-ready"
TAINT_UNREACHABLE = "cluster.karmada.io/unreachable"
TAINT_UNSCHEDULABLE = "cluster.karmada.io/unschedulable"
NEVER_UPDATED = "ClusterStatusNeverUpdated"
"""The reason of a Cluster's condition Ready when no agent of it ever reported."""
TAINT_DRAIN = "towline.io/drain"
"""With effect NoExecute: everything is to move off this cluster (`towline drain`)."""

TAINTS_OF_HEALTH = (TAINT_NOT_READY, TAINT_UNREACHABLE)
"""With the effect NoSchedule they follow from a cluster's condition Ready, and from nothing else."""

# --- what operators tell the hub about a Cluster -------------------------------------------------------------

RELEASE_DELETIONS = "towline.io/release-deletions"
"""What the delete breaker holds may go, as long as this is there."""
RELEASE_EVICTIONS = "towline.io/release-evictions"
"""An RFC 3339 time: a loss before it is a real one, whatever the hub thinks."""

# --- what hubs on one store tell each other ------------------------------------------------------------------

LET_GO_BY = "towline.io/let-go-by"
"""On a Namespace that is being deleted: the clusters whose agents said that they hold it no more, with commas between."""

# --- bounds --------------------------------------------------------------------------------------------------

LABEL_LENGTH_MAX = 63
SUBDOMAIN_LENGTH_MAX = 253
CLUSTER_NAME_LENGTH_MAX = 48
"""63 less what the execution namespace's prefix may take (Karmada reserves 15)."""

NameStyle = Literal["subdomain", "label", "label1035", "path"]
"""How a kind's names are spelled: most are DNS subdomains; Namespaces are labels; Services are RFC 1035 labels;
RBAC objects only have to fit into a path."""

# --- names that Karmada computes -----------------------------------------------------------------------------


def binding_name(name: str, kind: str) -> str:
    """The ResourceBinding's or ClusterResourceBinding's name for template `name` of `kind`: `nginx-deployment`."""
    return f"{name.replace(':', '.')}-{kind}".lower()


def work_name(namespace: str, name: str, kind: str) -> str:
    """The Work's name for a template; `namespace` is empty for cluster-scoped kinds: `nginx-687f7fb96f`."""
    stem = name.replace(":", ".").lower()
    scope = f"{namespace}-" if namespace else ""
    return f"{stem}-{safe_encode(fnv32a(f'{scope}{stem}-{kind}'.lower()))}"


def policy_name(namespace: str, name: str, api_version: str, kind: str) -> str:
    """The name of a policy that the command line generates for one object: `nginx-6d7f8d5f5b`."""
    group, _, version = api_version.rpartition("/")
    stem = name.replace(":", ".")
    return f"{stem}-{safe_encode(fnv32a(f'{namespace}{group}/{version}, Kind={kind}'))}".lower()


def depended_by_label(namespace: str, binding: str) -> str:
    """The label key that an attached binding carries for the independent binding `namespace`/`binding`."""
    return f"resourcebinding.karmada.io/depended-by-{safe_encode(fnv32a(f'{namespace}/{binding}'))}"


def execution_namespace(cluster: str) -> str:
    """The namespace of `cluster`'s Works."""
    return EXECUTION_NAMESPACE_PREFIX + cluster


def cluster_of_execution_namespace(namespace: str) -> str | None:
    """The cluster whose Works live in `namespace`; None when it is no execution namespace."""
    cluster = namespace.removeprefix(EXECUTION_NAMESPACE_PREFIX)
    return cluster if cluster and cluster != namespace else None


def is_reserved_namespace(namespace: str) -> bool:
    """Whether Karmada or the agent itself owns `namespace`: nothing in it is propagated."""
    reserved = (SYSTEM_NAMESPACE, CLUSTER_NAMESPACE, AGENT_NAMESPACE)
    return namespace in reserved or namespace.startswith(EXECUTION_NAMESPACE_PREFIX)


def fnv32a(text: str) -> int:
    """32-bit FNV-1a over the UTF-8 bytes of `text`."""
    digest = 0x811C9DC5
    for byte in text.encode():
        digest = (digest ^ byte) * 0x01000193 & 0xFFFFFFFF
    return digest


def safe_encode(number: int) -> str:
    """`number`'s decimal digits in an alphabet without vowels, as Kubernetes does for generated suffixes."""
    return "".join(_SAFE_ALPHABET[ord(digit) % len(_SAFE_ALPHABET)] for digit in str(number))


_SAFE_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"

# --- Kubernetes' rules for names -----------------------------------------------------------------------------
# Each function answers the messages of everything that is wrong, so that callers can put them behind a field path.


def validate_name(name: str, style: NameStyle = "subdomain", *, prefix: bool = False) -> list[str]:
    """What is wrong with an object's `name`. `prefix` for a generateName, which may end in a dash."""
    if prefix and name.endswith("-"):
        name = name[:-1] + "a"
    return _STYLES[style](name)


def validate_subdomain(value: str) -> list[str]:
    """RFC 1123 subdomain."""
    return _check(value, _SUBDOMAIN, SUBDOMAIN_LENGTH_MAX, _SUBDOMAIN_MESSAGE)


def validate_label(value: str) -> list[str]:
    """RFC 1123 label."""
    return _check(value, _LABEL, LABEL_LENGTH_MAX, _LABEL_MESSAGE)


def validate_label1035(value: str) -> list[str]:
    """RFC 1035 label: like a label, but starts with a letter."""
    return _check(value, _LABEL1035, LABEL_LENGTH_MAX, _LABEL1035_MESSAGE)


def validate_path_segment(value: str) -> list[str]:
    """What may stand alone between two slashes of a URL."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{mark}'" for mark in ("/", "%") if mark in value]


def validate_cluster_name(value: str) -> list[str]:
    """A member cluster's name: a label of at most 48 characters."""
    errors = validate_label(value)
    if len(value) > CLUSTER_NAME_LENGTH_MAX:
        errors.append(f"must be no more than {CLUSTER_NAME_LENGTH_MAX} characters")
    return errors


def validate_qualified_name(value: str) -> list[str]:
    """A label's or annotation's key: an optional DNS subdomain, a slash, and a name of at most 63 characters."""
    prefix, slash, name = value.rpartition("/")
    if "/" in prefix:
        return [
            f"{_QUALIFIED_MESSAGE} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    errors = []
    if slash and not prefix:
        errors.append("prefix part must be non-empty")
    elif slash:
        errors += [f"prefix part {message}" for message in validate_subdomain(prefix)]
    if not name:
        errors.append("name part must be non-empty")
    elif len(name) > LABEL_LENGTH_MAX:
        errors.append(f"name part must be no more than {LABEL_LENGTH_MAX} characters")
    if not _QUALIFIED.fullmatch(name):
        errors.append(f"name part {_QUALIFIED_MESSAGE}")
    return errors


def validate_label_value(value: str) -> list[str]:
    """A label's value; it may be empty."""
    errors = []
    if len(value) > LABEL_LENGTH_MAX:
        errors.append(f"must be no more than {LABEL_LENGTH_MAX} characters")
    if value and not _QUALIFIED.fullmatch(value):
        errors.append(_LABEL_VALUE_MESSAGE)
    return errors


def validate_data_key(value: str) -> list[str]:
    """A key of a ConfigMap's or Secret's data: it becomes a file's name."""
    errors = _check(value, _DATA_KEY, SUBDOMAIN_LENGTH_MAX, _DATA_KEY_MESSAGE)
    if value == "." or value == "..":
        errors.append(f"must not be '{value}'")
    elif value.startswith(".."):
        errors.append("must not start with '..'")
    return errors


def _check(value: str, pattern: re.Pattern[str], length_max: int, message: str) -> list[str]:
    errors = []
    if len(value) > length_max:
        errors.append(f"must be no more than {length_max} characters")
    if not pattern.fullmatch(value):
        errors.append(message)
    return errors


_LABEL_TEXT = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN_TEXT = rf"{_LABEL_TEXT}(\.{_LABEL_TEXT})*"
_LABEL1035_TEXT = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED_TEXT = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_DATA_KEY_TEXT = "[-._a-zA-Z0-9]+"
_LABEL = re.compile(_LABEL_TEXT)
_SUBDOMAIN = re.compile(_SUBDOMAIN_TEXT)
_LABEL1035 = re.compile(_LABEL1035_TEXT)
_QUALIFIED = re.compile(_QUALIFIED_TEXT)
_DATA_KEY = re.compile(_DATA_KEY_TEXT)

# The texts are Kubernetes' own: users search for them and programs match them.
_LABEL_MESSAGE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    f"'{_LABEL_TEXT}')"
)
_SUBDOMAIN_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    f"'{_SUBDOMAIN_TEXT}')"
)
_LABEL1035_MESSAGE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
    "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation "
    f"is '{_LABEL1035_TEXT}')"
)
_QUALIFIED_MESSAGE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    f"'{_QUALIFIED_TEXT}')"
)
_LABEL_VALUE_MESSAGE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
    "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_DATA_KEY_MESSAGE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
    f"'KEY_NAME',  or 'key-name', regex used for validation is '{_DATA_KEY_TEXT}')"
)

_STYLES = {
    "subdomain": validate_subdomain,
    "label": validate_label,
    "label1035": validate_label1035,
    "path": validate_path_segment,
}


def version_order(version: str) -> tuple[int, int, int, str]:
    """Kubernetes' order of versions: v2, v1, v2beta1, v1beta2, v1alpha1, then the rest by name."""
    matched = re.fullmatch(r"v([0-9]+)(?:(alpha|beta)([0-9]+))?", version)
    if matched is None:
        return (3, 0, 0, version)
    stability = {None: 0, "beta": 1, "alpha": 2}[matched[2]]
    return (stability, -int(matched[1]), -int(matched[3] or 0), version)
