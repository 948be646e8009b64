"""Where the hub keeps its objects: one contract, three backends, and the cache that all reads are served from.

Belongs here: bytes under keys, revisions, changes, leases, and the copies in memory that follow them. Does not belong
here: what an object means; that is `kube` and `hub.decide`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from towline.hub.store.contract import Store

SQLITE_FILE = "hub.sqlite"


def connect(
    url: str,
    *,
    data_dir: Path | None = None,
    now: Callable[[], float] = lambda: 0.0,
    ca: Path | None = None,
    cert: Path | None = None,
    key: Path | None = None,
) -> Store:
    """The store that `url` names, not opened yet. Raises ValueError for a URL that names none.

    - `sqlite`: the file hub.sqlite in `data_dir`; `sqlite:///path/to/file`: that file.
    - `etcd://host:2379,host2:2379`, or the members' `http://` or `https://` URLs with commas between: one etcd cluster;
      `etcd://` speaks TLS when `ca` or `cert` is given. `ca`, `cert` and `key` are PEM files.
    - `memory`: nothing is kept.

    `now` (epoch seconds) is what leases of sqlite and memory end by; etcd has its own clock."""
    scheme, _, rest = url.partition("://")
    if scheme in ("etcd", "http", "https"):
        from towline.hub.store.etcd import EtcdStore  # grpc costs 20 MB: only who uses it pays

        members = rest if scheme == "etcd" else url
        return EtcdStore([m.strip() for m in members.split(",") if m.strip()], ca=ca, cert=cert, key=key)
    if scheme == "sqlite":
        from towline.hub.store.sqlite import SqliteStore

        if not rest and data_dir is None:
            raise ValueError("the sqlite store needs a data directory, or a path: sqlite:///path/to/file")
        return SqliteStore(Path(rest) if rest else Path(data_dir or ".") / SQLITE_FILE, now=now)
    if scheme == "memory" and not rest:
        from towline.hub.store.memory import MemoryStore

        return MemoryStore(now=now)
    raise ValueError(f"not a store's URL: {url!r} (sqlite, sqlite:///path, etcd://host:2379, memory)")
