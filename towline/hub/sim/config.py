"""Everything that one simulated member can be told: the flags of `towline sim`, as data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SimConfig:
    """How one simulated member runs. Only `data_dir` is always needed."""

    data_dir: Path
    """Holds its certificate authority and, as soon as it serves, `kubeconfig`. Created with mode 0700."""
    address: str = "127.0.0.1:0"
    """HOST:PORT of its API; port 0: the operating system chooses."""
    store: str = "memory"
    """`memory`: it forgets everything when it ends, and is another cluster afterwards; `sqlite`: a file in data_dir keeps it."""
    nodes: int = 3
    region: str = ""
    zones: tuple[str, ...] = ()
    """Labels of the nodes; zones go round."""
    node_cpu: str = "64"
    node_memory: str = "256Gi"
    node_pods: int = 1000
    ready_seconds: float = 1.0
    """From a Pod's creation to ready, where no annotation says otherwise."""
    complete_seconds: float = 1.0
    """From ready to done, for Pods of Jobs."""
