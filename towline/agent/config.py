"""Everything that one agent can be told: the flags of `towline agent`, as data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """How one agent runs. Only `data_dir` is always needed."""

    data_dir: Path
    """Holds the identity (key and certificate) and the last desired state. Created with mode 0700."""
    join_token: str = ""
    """`towline join NAME --token-only`. Needed until the agent has an identity, ignored afterwards."""
    join_token_file: Path | None = None
    """Holds such a token, and goes before it: another one that is put there is used within seconds. It need not be there."""
    kubeconfig: Path | None = None
    """The member's kubeconfig; None: the ServiceAccount of the pod that this runs in."""
    context: str = ""
    """A context of the kubeconfig; empty: its current one."""
    gateway_addresses: tuple[str, ...] = ()
    """HOST:PORT of the hub's gateways, tried in turn; empty: what the enrolment said."""
    health_address: str = ""
    """HOST:PORT for /livez, /readyz and /metrics over plain HTTP; empty: none."""
    identity_secret: str = ""
    """NAMESPACE/NAME of a Secret in the member that keeps the identity too, so that a rescheduled pod needs no
    token. Empty: `<the pod's namespace>/towline-agent` inside a cluster, none outside."""
    allow_namespaces: tuple[str, ...] = ()
    """Namespaces that this agent lets a hub write into (shell patterns: `team-*`); empty: all. A Namespace object is
    allowed when its name is."""
    allow_kinds: tuple[str, ...] = ()
    """Kinds that this agent lets a hub write, `Deployment.apps` or `deployments.apps` (shell patterns); empty: all, but only what lies
    in a namespace when `allow_namespaces` names some."""
    deletions_per_minute: int = 0
    """Never delete more objects a minute than this, whatever the hub asks for; the rest waits. 0: no limit."""
    facts_seconds: float = 10.0
    """How often the member's health and version are read."""
    write_concurrency: int = 8
    """How many write requests to the member are in flight at most."""
    request_timeout_seconds: float = 30.0
    """After this a request to the member has failed."""
    log_level: str = "info"
    """debug, info, warning or error."""
