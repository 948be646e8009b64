"""Everything that one hub can be told: the flags of `towline hub`, and the bounds of what it holds, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from towline.hub.decide.health import DEFAULT_LIMITS, HealthLimits

__all__ = ["OIDC_ALGORITHMS", "HealthLimits", "HubConfig", "OidcConfig"]

OIDC_ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")


@dataclass(frozen=True, slots=True)
class OidcConfig:
    """The fields are kube-apiserver's flags. An empty `username_prefix` stands for its rule: the issuer and `#`, except for the
    claim `email`; `-` is no prefix at all."""

    issuer_url: str
    client_id: str
    username_claim: str = "sub"
    username_prefix: str = ""
    groups_claim: str = ""
    groups_prefix: str = ""
    required_claims: Mapping[str, str] = field(default_factory=dict)
    ca_pem: str = ""
    signing_algorithms: tuple[str, ...] = ("RS256",)


@dataclass(frozen=True, slots=True)
class HubConfig:
    """How one hub runs. Only `data_dir` is always needed."""

    data_dir: Path
    """Holds the administrator's kubeconfig, the keys of tokens, the audit log and, with sqlite, the store (and in it the
    certificate authority). Created with mode 0700."""
    store: str = "sqlite"
    """`sqlite` (one file in data_dir) or `etcd://HOST:PORT[,HOST:PORT…]`."""
    etcd_ca: Path | None = None
    etcd_cert: Path | None = None
    etcd_key: Path | None = None
    api_address: str = "127.0.0.1:6443"
    gateway_address: str = "127.0.0.1:7443"
    advertise: tuple[str, ...] = ()
    """Names or addresses under which clients and agents reach this hub; empty: the hosts of the two addresses."""
    oidc: OidcConfig | None = None
    """Whose bearer tokens are taken beside certificates and the hub's own tokens."""
    service_account_issuer: str = ""
    """`iss` of ServiceAccounts' tokens; empty: https:// and the first advertised host. Changing it ends all tokens."""
    api_audiences: tuple[str, ...] = ()
    """Audiences of tokens that this API takes; empty: the issuer."""
    service_account_max_token_seconds: int = 0
    """Tokens that are requested for longer are shortened to this; 0: not."""
    unschedulable_seconds: int = 300
    """How long replicas may find no node in a member before they move elsewhere, where they are divided by room; 0: for ever."""
    namespace_sync: str = "all"
    """`all`: every namespace follows to every cluster, as in Karmada; `needed`: to the clusters that need it."""
    evictions_a_second: float = 0.5
    """How many bindings leave tainted, lost or drained clusters, in all clusters together; 0: none."""

    health: HealthLimits = DEFAULT_LIMITS
    """When clusters count as ready, not ready and lost. Agents are asked for four heartbeats in the grace."""

    server_certificate_days: int = 365
    """Renewed at every start, and at two thirds of that."""
    admin_certificate_days: int = 365
    agent_certificate_seconds: int = 7 * 86_400
    """Agents renew at two thirds of that."""
    lease_ttl_seconds: float = 8.0
    """A hub's leases, that of the leader and its own; they are renewed at a third of that. Also after how long without a sign of life a
    hub is taken for dead."""
    compact_seconds: float = 300.0
    """How often changes older than the last round are forgotten."""
    window_events: int = 10_000
    window_bytes: int = 4 * 1024 * 1024
    """Changes that watchers can resume from; whichever bound is reached first."""
    parsed_objects: int = 64
    """Objects whose parsed form is kept; a parsed one costs six times its bytes."""
    audit_bytes_max: int = 32 * 1024 * 1024
    audit_files: int = 4
    stop_seconds: float = 10.0
    """How long a graceful stop may take before what is left is cut off."""
